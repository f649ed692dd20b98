"""What this machine is: its processor, memory, GPUs, folders, and the builds of its libraries."""

import importlib.metadata
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
NVIDIA_NODE = Path("/dev/nvidia0")
MISSING = "missing"
"""Instead of the version of a codec."""


def memory() -> int | None:
    """Bytes of main memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def cpu_name() -> str:
    """The processor's model, or ``unknown``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1].strip() if found else platform.processor() or "unknown"


def gpu_facts(device: Any) -> dict[str, Any]:  # noqa: ANN401 - torch is not imported here
    """Name, memory in GB, compute capability and driver of one CUDA device (torch.device)."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "gpu": properties.name,
        "gpu_memory_gb": round(total / 1e9, 1),
        "gpu_memory_free_gb": round(free / 1e9, 1),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": nvidia_driver(),
    }


def several_gpus() -> dict[str, str]:
    """Name and memory of every CUDA device, as ``cuda:N``; empty where there is only one."""
    import torch

    count = torch.cuda.device_count()
    every = [torch.cuda.get_device_properties(i) for i in range(count)] if count > 1 else []
    return {f"cuda:{i}": f"{p.name}, {p.total_memory / 1e9:.1f} GB" for i, p in enumerate(every)}


def matrix_flops(
    device: Any,  # noqa: ANN401 - torch is not imported here
    dtype: Any,  # noqa: ANN401
    synchronize: Callable[[Any], None],
) -> float:
    """Operations a second of a matrix product, 2 for each multiply-add, at best of 8.

    ``synchronize`` waits until the device has computed what was asked of it.
    """
    import torch

    rows, inner, columns = 4096, 768, 3072  # the MLP of Swin-L's third stage
    a = torch.ones(rows, inner, device=device, dtype=dtype)
    b = torch.ones(inner, columns, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is loaded, or has a device, whatever torch can use."""
    return NVIDIA_DRIVER.exists() or NVIDIA_NODE.exists()


def nvidia_driver() -> str | None:
    """Version of NVIDIA's kernel module; None where there is none."""
    try:
        text = NVIDIA_DRIVER.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D+([\d.]+)", text)
    return found[1] if found else None


def installed_version(module: str) -> str | None:
    """Version of an installed package; None where it is missing. Importing could take seconds."""
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return None


def why_unwritable(folder: Path) -> str | None:
    """The system's reason why no file can be written into a folder; None where one can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def pillow_codecs() -> dict[str, str]:
    """Library and version of each codec that Pillow is built with, or ``MISSING``."""
    png = _codec("zlib")
    return {
        "jpeg": _jpeg(),
        "png": png if png == MISSING else png + _zlib_ng(),
        "webp": _codec("webp"),
        "tiff": _codec("libtiff"),
        "colour_profiles": _codec("littlecms2"),
    }


def _codec(name: str) -> str:
    from PIL import features

    return f"{name} {features.version(name)}" if features.check(name) else MISSING


def _jpeg() -> str:
    from PIL import features

    if features.check("libjpeg_turbo"):
        return f"libjpeg-turbo {features.version('libjpeg_turbo')}"
    plain = _codec("jpg")
    return plain if plain == MISSING else f"{plain} (not libjpeg-turbo: slow)"


def _zlib_ng() -> str:
    from PIL import features

    try:
        version = features.version("zlib_ng")
    except ValueError:  # an older Pillow does not know this feature
        return ""
    return f" (zlib-ng {version})" if version else ""


def opencv_build() -> dict[str, str]:
    """Instruction sets that OpenCV is built for, dispatches to, and uses on this processor."""
    import cv2

    build: str = cv2.getBuildInformation()
    return {
        "opencv_baseline": _build_line(build, "Baseline"),
        "opencv_dispatch": _build_line(build, "Dispatched code generation"),
        "opencv_used": _used_features(cv2.getCPUFeaturesLine()),
    }


def _build_line(build: str, label: str) -> str:
    found = re.search(rf"^\s*{label}:\s*(.*)$", build, re.M)
    return found[1].strip() if found else "unknown"


def _used_features(line: str) -> str:
    """What this CPU runs of OpenCV's dispatched code: the words without a question mark."""
    words = [word.lstrip("*") for word in line.split() if not word.endswith("?")]
    return " ".join(words) or "none"
