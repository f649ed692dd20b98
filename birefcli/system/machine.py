"""What this machine is: memory, processor, GPUs, their driver, folders and packages."""

import os
import platform
import re
import tempfile
from pathlib import Path
from typing import Any

from birefcli.system import cgroup
from birefcli.system.paths import exists

OWN_LIMITS = ("RLIMIT_AS", "RLIMIT_DATA")
"""Of addresses (``ulimit -v``) and data (``-d``), both of which are more than is in use."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def memory() -> int | None:
    """Bytes of memory that this process may use; None where the system does not say."""
    known = [size for size in (physical_memory(), *memory_limits().values()) if size is not None]
    return min(known, default=None)


def physical_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def load() -> float | None:
    """Mean number of processes that ran or waited to, of the last minute; None where unknown."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def memory_limits() -> dict[str, int]:
    """Bytes that this process may use, by who says so; none may be as much as there is."""
    group = cgroup.limits().memory
    found = {} if group is None else {"control group": group}
    own = [limit for kind in OWN_LIMITS if (limit := _own_limit(kind)) is not None]
    return found | ({"ulimit": min(own)} if own else {})


def address_limit() -> int | None:
    """Bytes of addresses that this process may use (``ulimit -v``); None where all it wants."""
    return _own_limit("RLIMIT_AS")


def _own_limit(kind: str) -> int | None:
    """A limit that this process was started with; None where it has none of the kind."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    number = getattr(resource, kind, None)
    limit = resource.RLIM_INFINITY if number is None else resource.getrlimit(number)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def size_of_torch() -> int:
    """Bytes of the libraries that torch loads, NVIDIA's too; 0 where there is no torch."""
    import importlib.util

    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return 0
    folder = Path(found.origin).parent
    folders = (folder / "lib", folder.parent / "nvidia")
    files = (file for each in folders for file in each.rglob("*.so*"))
    return sum(file.stat().st_size for file in files)


def cpu_name() -> str:
    """The processor's name, or ``unknown``."""
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
    return exists(NVIDIA_DRIVER) or exists(Path("/dev/nvidia0"))


def installed_version(module: str) -> str | None:
    """Version of an installed package; None where it is missing. Importing could take seconds."""
    import importlib.metadata  # slow to import, and help needs none of it

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
