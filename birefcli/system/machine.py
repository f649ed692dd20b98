"""What this machine is: memory, processor, GPUs, their driver. Knows nothing of photos."""

import os
import platform
import re
from pathlib import Path

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def memory() -> int | None:
    """Bytes of memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def cpu_name() -> str:
    """The processor's name, or ``unknown``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1].strip() if found else platform.processor() or "unknown"


def gpus() -> dict[str, str]:
    """Name and memory of every CUDA device, where there are several."""
    import torch

    count = torch.cuda.device_count()
    every = [torch.cuda.get_device_properties(i) for i in range(count)] if count > 1 else []
    return {f"cuda:{i}": f"{p.name}, {p.total_memory / 1e9:.1f} GB" for i, p in enumerate(every)}


def nvidia_driver() -> str | None:
    """Version of NVIDIA's kernel driver; None where there is none, or not on Linux."""
    try:
        text = NVIDIA_DRIVER.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D+([\d.]+)", text)
    return found[1] if found else None


def has_nvidia_gpu() -> bool:
    """Whether the system knows of an NVIDIA GPU, whatever torch makes of it."""
    return NVIDIA_DRIVER.exists() or Path("/dev/nvidia0").exists()
