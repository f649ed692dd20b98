"""Which devices the network runs on, and in which precision. Never a silent fallback."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from birefcli.errors import DeviceError, Message, Option, UsageError
from birefcli.options import Precision, check_device

DTYPES = {
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
    Precision.FP32: torch.float32,
}


@dataclass(frozen=True)
class Placement:
    """Where and in what the network computes."""

    device: torch.device
    precision: Precision
    """Never ``AUTO``."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights and features."""
        return DTYPES[self.precision]


def parse_device(device: str, precision: Precision) -> Placement:
    """What the names of a device and of a precision mean on this machine.

    Raises DeviceError, UsageError.
    """
    chosen = _best() if device == "auto" else _asked(device)
    if precision is Precision.AUTO:
        # Half precision on MPS is known for NaN; on a CPU it is slower than float32.
        precision = Precision.FP16 if chosen.type == "cuda" else Precision.FP32
    return Placement(chosen, precision)


def parse_devices(names: Sequence[str], precision: Precision) -> dict[str, Placement]:
    """What the names of devices mean, ``all`` too: by the name that messages have for each.

    Only the CPU can be named more than once: its processes share the cores. Raises DeviceError,
    UsageError.
    """
    text = ",".join(names)
    if text == "all":
        names = _all()
    if len(names) == 1:
        return {names[0]: parse_device(names[0], precision)}
    alone = next((name for name in names if name in ("auto", "all")), None)
    if alone is not None:
        raise UsageError(f"give {alone} alone", option="device", value=text)
    placements = [parse_device(name, precision) for name in names]
    taken = Counter(str(placement.device) for placement in placements)
    for device, times in taken.items():
        if times > 1 and device != "cpu":
            raise UsageError(
                f"{device} is named {times} times; once is enough", option="device", value=text
            )
    return dict(zip(_distinct_names(placements), placements, strict=True))


def _distinct_names(placements: list[Placement]) -> list[str]:
    names = [str(placement.device) for placement in placements]
    return [
        f"{name} #{names[:i].count(name) + 1}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _all() -> list[str]:
    _cuda_index("all", "")
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def as_current(device: torch.device) -> AbstractContextManager[object]:
    """While entered, ``device`` is the one of this thread; where that is not CUDA, nothing.

    Each thread has a current CUDA device, at first number 0, whatever others have: kernels,
    recordings, new streams and pinned memory go to it, not to that of the tensors.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def device_answers(device: torch.device) -> bool:
    """Whether a device still computes: after some faults every call of its process fails."""
    try:
        return int(torch.ones(2, device=device).sum().item()) == 2
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:  # every error of a device is one
        return False


def default_batch(device: torch.device) -> int:
    """Photos at once where nothing was measured: more only where a GPU would idle otherwise.

    That is for large networks, see :func:`birefcli.matting.batch_size.default_batch`.
    """
    return 4 if device.type == "cuda" else 1


def _best() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _asked(name: str) -> torch.device:
    check_device(name)
    kind, _, number = name.partition(":")
    if kind == "cuda":
        return torch.device("cuda", _cuda_index(name, number))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise _no_device(name, "this machine has no MPS device")
    return torch.device(kind)


def _cuda_index(name: str, number: str) -> int:
    if not torch.cuda.is_available():
        why = (
            "torch finds no CUDA device or driver"
            if torch.version.cuda is not None
            else "this torch is built without CUDA"
        )
        raise _no_device(name, why)
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        found = f"only {torch.cuda.device_count()} CUDA device(s) here"
        raise DeviceError(found, option="device", value=name)
    return index


def _no_device(name: str, why: str) -> DeviceError:
    hint = Message("use ", Option("device", "cpu"))
    return DeviceError(why, option="device", value=name, hint=hint)
