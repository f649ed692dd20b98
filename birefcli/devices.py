"""Which device the network runs on, and in which precision. Never a silent fallback."""

from dataclasses import dataclass

import torch

from birefcli.errors import DeviceError, UsageError
from birefcli.options import Precision

DTYPES = {
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
    Precision.FP32: torch.float32,
}


@dataclass(frozen=True)
class Compute:
    """Where and in what the network computes."""

    device: torch.device
    precision: Precision
    """Never ``AUTO``."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights and features."""
        return DTYPES[self.precision]


def choose(device: str, precision: Precision) -> Compute:
    """Choose what ``--device`` and ``--precision`` mean on this machine. Raises DeviceError."""
    chosen = _best() if device == "auto" else _asked(device)
    if precision is Precision.AUTO:
        # Half precision on MPS is known for NaN; on a CPU it is slower than float32.
        precision = Precision.FP16 if chosen.type == "cuda" else Precision.FP32
    return Compute(chosen, precision)


def default_batch(device: torch.device) -> int:
    """Photos at once where nothing was measured: more only where a GPU would idle otherwise."""
    return 4 if device.type == "cuda" else 1


def _best() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _asked(name: str) -> torch.device:
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise UsageError(f"--device {name}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        return torch.device("cuda", _cuda_index(name, number))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {name}: this machine has no MPS device; use --device cpu")
    return torch.device(kind)


def _cuda_index(name: str, number: str) -> int:
    if not torch.cuda.is_available():
        why = (
            "torch finds no CUDA device or driver"
            if torch.version.cuda is not None
            else "this torch is built without CUDA"
        )
        raise DeviceError(f"--device {name}: {why}; use --device cpu")
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: only {torch.cuda.device_count()} CUDA device(s) here")
    return index
