"""How Python ends: at once where nothing is left to do, without taking all modules apart.

That takes half a second once torch is imported, most of it to look for garbage, and nobody is
helped by it: the system takes the memory back all the same. Everything that ends anything still
has its turn before: threads are waited for, and what was registered with :mod:`atexit` is called
(logging, multiprocessing, temporary folders).
"""

import atexit
import gc
import os
import sys
from contextlib import suppress
from types import FrameType

_code: int | None = None
"""What the process is to end with; None: Python ends in its own way."""
_prepared = False
_SCRIPT = ["<module>"]
_MODULE = ["<module>", "_run_code", "_run_module_as_main"]  # python -m


def prepare() -> None:
    """Have the last word at Python's end: what is registered first with atexit is called last.

    Call it before any library is imported. Where somebody was first, as a measurement of coverage
    that begins with Python, Python ends in its own way.
    """
    global _prepared
    registered = getattr(atexit, "_ncallbacks", None)
    if os.name == "posix" and not _prepared and registered is not None and registered() == 0:
        atexit.register(_leave)
        _prepared = True


def leave_at_once(code: int, frame: FrameType) -> None:
    """End with this code once Python's own end begins; ``frame``: of whoever now raises SystemExit.

    Not where a debugger or a profiler runs that frame, or a program that may go on. Where a CUDA
    device is used, whose tools read their counters when a library is unloaded, Python only looks
    for no garbage in what is there by now.
    """
    global _code
    if not _prepared or not _is_outermost(frame):
        return
    gc.freeze()
    if not _uses_cuda():
        _code = code


def _is_outermost(frame: FrameType) -> bool:
    """Whether this function was called by nobody but the console script, or ``python -m``."""
    callers, caller = [], frame.f_back
    while caller is not None:
        callers.append(caller.f_code)
        caller = caller.f_back
    names = [code.co_name for code in callers]
    ours = names == _MODULE or (
        names == _SCRIPT and callers[0].co_filename.rpartition("/")[2] == "birefcli"
    )
    return ours and sys.gettrace() is None and sys.getprofile() is None


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _leave() -> None:
    if _code is None:
        return
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    _flush_c()
    os._exit(_code)


def _flush_c() -> None:
    """Write what libraries in C have printed, as oneDNN does where ``ONEDNN_VERBOSE`` is set."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
