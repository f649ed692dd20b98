"""What a training may replace: files that an earlier one has written, and nobody else's."""

import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from birefcli.errors import Message, Option, OutputError
from birefcli.models import files
from birefcli.models.pickled import MAX_PICKLE
from birefcli.models.weights import CONFIG_KEY
from birefcli.system.regular_file import is_free, open_regular, regular_status

_LOG_START = re.compile(rb'\{"(step": \d+, "loss|epoch": \d+, "step)": ')
_CHECKPOINT_KEYS = (b"network", b"averaged", b"optimiser")
_HEAD = 200  # bytes of a log


def refuse_foreign(output: Path, log: Path, checkpoint: Path, others: Iterable[Path]) -> None:
    """See that what would be replaced is a training's: the weights, and files in the folder beside.

    A damaged checkpoint is one where the log says whose folder it is; the log may be lost. Raises
    OutputError.
    """
    if not _is_free(output) and not _is_sound(output, _is_weights):
        what = "is there and was not made by birefcli train"
        raise OutputError(f"{output}: {what}", hint="name another file")
    known, ours = (log, _is_log) if _is_there(log) else (checkpoint, _is_checkpoint)
    if _is_there(known) and _is_sound(known, ours):
        return
    theirs = [known] if _is_there(known) else []
    for path in (*theirs, *(path for path in others if not _is_free(path))):
        hint = Message("move it, or choose another ", Option("output"))
        raise OutputError(f"{path}: is there and was not made by birefcli train", hint=hint)


def _is_weights(path: Path) -> bool:
    with open_regular(path) as file:
        return CONFIG_KEY in files.read_notes(file)


def _is_log(path: Path) -> bool:
    """Whether a file begins as a training's log, or is empty as before the first step."""
    with open_regular(path) as file:
        head = file.read(_HEAD)
    return not head or _LOG_START.match(head) is not None


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is one of ``torch.save`` with what a training saves; no tensor is read."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as content:
            data = content.read(MAX_PICKLE)
    return all(key in data for key in _CHECKPOINT_KEYS)


def _is_sound(path: Path, check: Callable[[Path], bool]) -> bool:
    """What a look says; False where a file cannot be what it looks for. Raises OutputError."""
    try:
        return check(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception:  # of foreign bytes libraries raise anything
        return False


def _is_free(path: Path) -> bool:
    return not _is_there(path) or is_free(path)


def _is_there(path: Path) -> bool:
    """Raises OutputError where that cannot be told, or something else has the name."""
    try:
        return regular_status(path) is not None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
