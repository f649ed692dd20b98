"""Weights files before anything of them is loaded: whether they can be weights, and what they say.

A name may lead to a pipe, to 100 GB of nothing, or to a header that says a million things. Looking
takes milliseconds and bounded memory, and needs neither torch nor safetensors.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from birefcli.errors import BirefcliError, ModelError, printable
from birefcli.system.regular_file import open_regular

MAX_FILE = 8_000_000_000
"""Bytes; the largest published weights and the state of their optimiser, in fp32, take 3 GB."""

MAX_HEADER = 4_000_000
"""Bytes of a safetensors header; the largest published one has 0.2 million."""

MAX_TENSORS = 10_000
"""In a file; the largest published network has 1,200."""

ONNX_START = 0x08
"""First byte: the tag of ``ir_version``, field 1 of ``ModelProto`` in onnx.proto."""

_SHOWN = 200  # characters of a foreign text

AGAIN = "download or copy it again"


def notes_of(path: Path) -> dict[str, str]:
    """See that a file can be weights; the text entries that it has for a program.

    Raises ModelError.
    """
    from birefcli.models import pickled  # what it needs, help does not

    with naming(path), open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(64)
        file.seek(0)
        if (wrong := _wrong_at_a_glance(path, start, size)) is not None:
            raise ModelError(f"{path}: {wrong}")
        if is_safetensors(path, start):
            return read_notes(file)
        pickled.check(file)
        return {}


def _wrong_at_a_glance(path: Path, start: bytes, size: int) -> str | None:
    if not start:
        return f"empty file; {AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights; run `git lfs pull`"
    if path.suffix.lower() == ".onnx" and start[0] == ONNX_START:
        return "an ONNX file already; a model is given by the weights it was exported from"
    if size > MAX_FILE:
        return f"no weights file: it has {size / 1e9:.0f} GB, and none has more than 8"
    return None


def is_safetensors(path: Path, start: bytes) -> bool:
    """Whether a file is to be read as safetensors, by its name or its first bytes."""
    return path.suffix.lower() == ".safetensors" or start[8:9] == b"{"


def read_notes(file: BinaryIO) -> dict[str, str]:
    """The text entries in the header of a safetensors file that is open at its start.

    Raises OSError, or ValueError for a file of another kind.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError("not a safetensors file: too long a header")
    header = json.loads(file.read(length))
    if isinstance(header, dict) and len(header) > MAX_TENSORS:
        raise ValueError("too many tensors")
    notes = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise ValueError("its metadata is no table of texts")
    return notes


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever is raised about a weights file into a ModelError that names it.

    A library that cannot be imported is none of the file's faults.
    """
    try:
        yield
    except (BirefcliError, ImportError):
        raise
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise ModelError(f"{path}: cannot be read ({reason})") from error
    except Exception as error:  # of foreign bytes libraries raise anything
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise ModelError(f"{path}: not enough memory to load it") from error
        raise ModelError(
            f"{path}: truncated, damaged, or no weights file ({first_line(error)}); {AGAIN}"
        ) from error


def first_line(error: BaseException) -> str:
    """What an exception says first; its class where it says nothing."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return shown(text) or type(error).__name__


def shown(text: str) -> str:
    """What a message repeats of a foreign text: one line, and not too long."""
    return printable(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
