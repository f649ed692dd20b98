"""One photo's failure as an outcome: what an exception says, and whom else it would meet."""

from dataclasses import replace

import cv2
import torch

from birefcli.batch.outcome import Outcome, Seconds
from birefcli.batch.targets import Job
from birefcli.errors import DeviceMemoryError, Message, Option, PhotoError, PhotoTooLargeError

DEBUG = Message("run again with ", Option("debug"), " and report it")


def failure(job: Job, error: Exception, seconds: Seconds) -> Outcome:
    """One photo's failure; what nobody expected is a bug, and still costs one photo."""
    text: str | Message
    if isinstance(error, OSError) and error.strerror:
        other = error.filename is not None and str(error.filename) != job.label
        text = error.strerror + (f" ({error.filename})" if other else "")
    elif _is_lack_of_memory(error):
        text = "out of memory"
    elif isinstance(error, PhotoError):
        text = error.message
    elif isinstance(error, OSError):
        text = str(error) or type(error).__name__
    else:
        text = Message(f"a bug: {type(error).__name__}: {error} (", DEBUG, ")")
        return replace(Outcome.failed(job, text, seconds), bug=error)
    memory = isinstance(error, (torch.OutOfMemoryError, DeviceMemoryError))
    return replace(Outcome.failed(job, text, seconds), out_of_memory=memory)


def read_failure(job: Job, error: Exception, seconds: Seconds) -> Outcome:
    """That of a photo which could not be read: it may be that it is not all there yet."""
    return replace(failure(job, error, seconds), unread=_may_be_unfinished(error))


def write_failure(job: Job, error: Exception, seconds: Seconds, coverage: float | None) -> Outcome:
    """That of a photo whose products could not be made or written."""
    fatal = isinstance(error, OSError) and _meets_all(error, job)
    return replace(failure(job, error, seconds), fatal=fatal, coverage=coverage)


def _meets_all(error: OSError, job: Job) -> bool:
    """Whether what kept this photo from being written will keep the others too."""
    return any(target.meets_all(error, job.relative) for target in job.targets.values())


def _may_be_unfinished(error: Exception) -> bool:
    """Whether what kept a photo from being read may be that it is not all there yet."""
    too_large = isinstance(error, (PhotoTooLargeError, DeviceMemoryError))
    return not too_large and not _is_lack_of_memory(error)


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    # On a CPU, torch has no exception of its own for it.
    lacking = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return lacking or isinstance(error, (MemoryError, torch.OutOfMemoryError))
