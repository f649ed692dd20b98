"""Files of ``torch.save``: looked at before torch loads them, and loaded without running code.

torch keeps code out of a pickle that it loads as weights only. It does not keep a pickle from
taking all time or all memory: a few hundred bytes can hold a tuple of tuples whose hash takes
years, or nest so deeply that the process dies. So the operations are gone through first.
"""

import io
import pickletools
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from birefcli.errors import ModelError

MAX_PICKLE = 2_000_000
"""Bytes of the pickle in a file, which names its tensors; the largest network's has 0.1 million."""

_MAX_OPERATIONS = 500_000  # of a pickle; each tensor takes about 25
_MAX_TUPLE = 5_000  # values in a tuple and in the tuples in it
_OLD_START = re.compile(rb"\x80.(\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", re.DOTALL)
_OLD_PICKLES = 5  # before torch 1.6: a number, a version, the machine, the content, its tensors
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # in torch's refusal of a class or function


def check(file: BinaryIO) -> None:
    """See that a file, open at its start, is of ``torch.save`` and can be loaded in bounded time.

    Raises ValueError that says what is wrong, OSError.
    """
    start = file.read(64)
    if _OLD_START.match(start):
        content = io.BytesIO(start + file.read(MAX_PICKLE))
        for _ in range(_OLD_PICKLES):
            _check_pickle(content)
    elif start.startswith(b"PK\x03\x04"):
        _check_archive(file)
    else:
        raise ValueError("not written by torch.save")


def load(path: Path) -> Any:  # noqa: ANN401 - whatever was saved
    """Content of a file that :func:`check` has passed, mapped from it where possible.

    Raises ModelError for a file that holds more than plain values, and whatever torch raises.
    """
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version; what matters is raised
            # Files in the format before torch 1.6 cannot be mapped.
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        # The reason alone: torch's text goes on to explain how to run the file's code.
        foreign = _GLOBAL.search(str(error))
        what = foreign[1] if foreign else "Python objects"
        raise ModelError(
            f"{path}: holds {what} besides tensors, and loading that could run any code; save its "
            "state_dict alone, best as .safetensors"
        ) from error


def _check_archive(file: BinaryIO) -> None:
    """See that a zip is as torch writes it: nothing is packed, and no name is there twice."""
    if _directory_size(file) > MAX_PICKLE:
        raise ValueError("a zip of too many files")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a packed zip, not written by torch.save")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("a zip that holds a name twice")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError("not written by torch.save")
        if pickles[0].file_size > MAX_PICKLE:
            raise ValueError("too long a table of tensors")
        _check_pickle(io.BytesIO(archive.read(pickles[0])))


def _directory_size(file: BinaryIO) -> int:
    """Bytes of a zip's list of files, as it says: Python would read it, however long it is."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 17)))  # the record at the end, with the longest comment
    end = file.read()
    short, long = end.rfind(b"PK\x05\x06"), end.rfind(b"PK\x06\x06")
    sizes = [0]
    if 0 <= short <= len(end) - 16:
        sizes += [n for n in struct.unpack_from("<I", end, short + 12) if n != 0xFFFFFFFF]
    if 0 <= long <= len(end) - 48:
        sizes += struct.unpack_from("<Q", end, long + 40)
    return max(sizes)


def _check_pickle(content: io.BytesIO) -> None:
    """Go through a pickle up to its end. Raises ValueError where it is damaged or too nested."""
    sizes: list[int] = []  # of what lies on the pickle's stack; 1 for all but tuples
    marks: list[int] = []
    memory: dict[object, int] = {}
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if count > _MAX_OPERATIONS:
            raise ValueError("too long a table of tensors")
        name = operation.name
        if name == "MARK":
            marks.append(len(sizes))
        elif "PUT" in name or name == "MEMOIZE":
            memory[len(memory) if argument is None else argument] = sizes[-1]
        elif "GET" in name:
            sizes.append(memory[argument])
        else:
            _apply(operation, sizes, marks)
        if sizes and sizes[-1] > _MAX_TUPLE:
            raise ValueError("too deeply nested")


def _apply(operation: Any, sizes: list[int], marks: list[int]) -> None:  # noqa: ANN401
    """Do to the sizes what an operation does to the pickle's stack."""
    taken = operation.stack_before
    if pickletools.markobject in taken:
        first = marks.pop() - taken.index(pickletools.markobject)
    else:
        first = len(sizes) - len(taken)
    if first < 0:
        raise ValueError("takes what is not there")
    size = 1 + sum(sizes[first:]) if "TUPLE" in operation.name else 1
    sizes[first:] = [size] * len(operation.stack_after)
