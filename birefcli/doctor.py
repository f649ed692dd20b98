"""What this machine offers, what will be used of it and why, and what is broken.

Nothing here may fail because something else is broken: every library is looked at by itself, and
what it raises is a finding.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from birefcli import __version__
from birefcli.errors import BirefcliError, DeviceError
from birefcli.models import hub, zoo
from birefcli.models.cache import cache_folder, cached
from birefcli.models.load import load_model
from birefcli.options import Precision
from birefcli.system import cpu

OPTIONAL = {
    "numba": ("fast", "deformable convolution on a CPU in a compiled loop", True),
    "isal": ("fast", "PNG and TIFF packed in a third of the time", True),
    "simplejpeg": ("fast", "JPEG decoded in less time, to the same pixels", True),
    "pillow_heif": ("heif", "HEIC and AVIF photos, as phones take them", False),
    "onnxruntime": ("bench", "birefcli bench --against FILE.onnx", False),
}
"""Module, the extra of birefcli that installs it, what it brings, and whether that is speed."""
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv": "cv2",
    "safetensors": "safetensors",
    "huggingface-hub": "huggingface_hub",
}
"""What must be there, and how it is imported."""
LITTLE_MEMORY = 4e9  # bytes; the default model and one photo in flight take about three
PORTRAIT_FLOP = 2.5e12  # arithmetic of one photo in the default model, 2 for each multiply-add
EFFICIENCY = 0.7  # share of a matrix product's speed that a whole network reaches, roughly


@dataclass(frozen=True)
class Fault:
    """Something broken: what, and what to do about it."""

    what: str
    remedy: str
    fatal: bool = True
    """False for what is only worth knowing: everything works."""


@dataclass
class Diagnosis:
    """All that was found. ``facts``: by topic, each name with its value, ready to be shown."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    """Concrete steps that would make it faster."""

    @property
    def usable(self) -> bool:
        """Whether everything works."""
        return not any(fault.fatal for fault in self.faults)

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "usable": self.usable,
            **self.facts,
            "faults": [asdict(fault) for fault in self.faults],
            "faster": self.advice,
        }


def examine(
    device: str,
    precision: Precision,
    *,
    measure: bool,
    tell: Callable[[str], object] = lambda _: None,
) -> Diagnosis:
    """Look at everything. ``device`` and ``precision`` are as for `birefcli matte`.

    ``tell`` hears what is looked at, before it is: some of it takes seconds.
    """
    diagnosis = Diagnosis()
    diagnosis.facts["machine"] = _machine()
    steps: dict[str, Callable[[Diagnosis], dict[str, Any]]] = {
        "libraries": _libraries,
        "computing": lambda found: _computing(found, device, precision),
        "codecs": _codecs,
        "extras": _extras,
        "models": _models,
    }
    if measure:
        steps["measured"] = lambda found: _measured(found, device, precision)
    for topic, look in steps.items():
        if topic == "measured" and any(fault.fatal for fault in diagnosis.faults):
            continue  # it would fail for a reason that is told already, or mislead
        tell("measuring mini" if topic == "measured" else f"looking at {topic}")
        diagnosis.facts[topic] = _looked(look, topic, diagnosis)
    diagnosis.advice += _advice(diagnosis)
    return diagnosis


def _looked(
    look: Callable[[Diagnosis], dict[str, Any]], topic: str, diagnosis: Diagnosis
) -> dict[str, Any]:
    """Facts of one topic; what keeps them from being found is a fault."""
    try:
        return look(diagnosis)
    except Exception as error:  # whatever a broken library raises is what we are here to tell
        diagnosis.faults.append(Fault(f"{topic}: {_cause(error)}", _remedy(error)))
        return {"failed": _cause(error)}


def _cause(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if isinstance(error, BirefcliError) else f"{type(error).__name__}: {text}"


def _remedy(error: BaseException) -> str:
    if isinstance(error, BirefcliError):
        return "choose another with --device" if isinstance(error, DeviceError) else "see above"
    if isinstance(error, ImportError):
        return "install birefcli again in a new virtual environment"
    return "run again with --debug and report it"


# Machine


def _machine() -> dict[str, Any]:
    memory = _memory()
    return {
        "birefcli": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": cpu.count(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
    }


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1].strip() if found else platform.processor() or "unknown"


# Libraries


def _libraries(diagnosis: Diagnosis) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, package in LIBRARIES.items():
        facts[name] = _imported(diagnosis, name, package)
    return facts


def _imported(diagnosis: Diagnosis, name: str, package: str) -> str:
    """Version of a library that can be imported; a fault and its cause where it cannot."""
    try:
        module = importlib.import_module(package)
    except Exception as error:  # RuntimeError: operator torchvision::nms does not exist
        cause = _cause(error)
        diagnosis.faults.append(Fault(f"{name}: {cause}", _library_remedy(name)))
        return f"broken ({cause})" if not isinstance(error, ModuleNotFoundError) else "missing"
    return str(getattr(module, "__version__", "unknown"))


def _library_remedy(name: str) -> str:
    if name in ("torchvision", "timm"):
        return (
            "torch and torchvision do not fit each other: pip install --upgrade torch torchvision,"
            " both from one index (training and networks with timm backbones need it; the models"
            " that have a name do not)"
        )
    return f"pip install --force-reinstall {name}"


# Computing


def _computing(diagnosis: Diagnosis, device: str, precision: Precision) -> dict[str, Any]:
    import torch

    from birefcli.matting.device import default_batch, parse_device

    placement = parse_device(device, precision)
    kind = placement.device.type
    facts: dict[str, Any] = {
        "device": str(placement.device),
        "device_why": "asked for" if device != "auto" else _device_why(kind),
        "cuda": torch.version.cuda,
        "precision": placement.precision.value,
        "precision_why": "asked for" if precision is not Precision.AUTO else _precision_why(kind),
        "batch": default_batch(placement.device),
        "batch_why": (
            "a GPU would idle between single photos"
            if kind == "cuda"
            else "more at once take more memory and are no faster"
        ),
        "threads": cpu.count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "deformable_convolution": _deformable_path(kind),
    }
    if kind == "cuda":
        facts |= _cuda(placement.device) | _gpus()
    if torch.get_num_threads() < cpu.count():
        limit = os.environ.get("OMP_NUM_THREADS")
        why = f"OMP_NUM_THREADS is {limit}; unset it" if limit else "torch counts fewer cores"
        facts["torch_threads_why"] = why
    return facts


def _device_why(kind: str) -> str:
    return {
        "cuda": "torch finds a CUDA device",
        "mps": "no CUDA device, but Apple's GPU",
        "cpu": "torch finds no CUDA device and no Apple GPU",
    }[kind]


def _precision_why(kind: str) -> str:
    return {
        "cuda": "half the memory and more than twice as fast; what overflows is done again in fp32",
        "mps": "fp16 is known to give NaN there",
        "cpu": "fp16 and bf16 are slower on most CPUs",
    }[kind]


def _deformable_path(kind: str) -> str:
    if kind == "cpu":
        from birefcli.birefnet import gather

        how = "a loop that numba compiles" if gather.compiled() else "torch's operators"
        return f"tile by tile, gathered by {how}"
    return "torchvision's operator" if kind == "cuda" else "plain torch operators"


def _cuda(device: Any) -> dict[str, Any]:  # noqa: ANN401 - torch is not imported here
    import torch

    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "gpu": properties.name,
        "gpu_memory_gb": round(total / 1e9, 1),
        "gpu_memory_free_gb": round(free / 1e9, 1),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
    }


def _gpus() -> dict[str, str]:
    """Every CUDA device, where there are several."""
    import torch

    count = torch.cuda.device_count()
    every = [torch.cuda.get_device_properties(i) for i in range(count)] if count > 1 else []
    return {f"cuda:{i}": f"{p.name}, {p.total_memory / 1e9:.1f} GB" for i, p in enumerate(every)}


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D+([\d.]+)", text)
    return found[1] if found else None


# Codecs


def _codecs(diagnosis: Diagnosis) -> dict[str, Any]:
    import cv2
    from PIL import features

    build: str = cv2.getBuildInformation()
    facts = {
        "jpeg": _pillow_codec(features, "jpg", "libjpeg_turbo"),
        "png": f"zlib {features.version('zlib')}" + _zlib_ng(features),
        "webp": _pillow_codec(features, "webp", None),
        "tiff": _pillow_codec(features, "libtiff", None),
        "colour_profiles": _pillow_codec(features, "littlecms2", None),
        "opencv_baseline": _build_line(build, "Baseline"),
        "opencv_dispatch": _build_line(build, "Dispatched code generation"),
        "opencv_used": _cpu_features(cv2.getCPUFeaturesLine()),
    }
    for name, codec in (("JPEG", "jpg"), ("PNG", "zlib"), ("WebP", "webp")):
        if not features.check(codec):
            remedy = "install Pillow from a wheel: pip install --force-reinstall pillow"
            diagnosis.faults.append(Fault(f"this Pillow reads no {name}", remedy))
    return facts


def _pillow_codec(features: Any, codec: str, turbo: str | None) -> str:  # noqa: ANN401
    if not features.check(codec):
        return "missing"
    plain = "" if turbo is None or features.check(turbo) else " (not libjpeg-turbo: slow)"
    named = turbo if turbo and features.check(turbo) else codec
    version = features.version(named)
    return f"{named.replace('_', '-')} {version}{plain}"


def _zlib_ng(features: Any) -> str:  # noqa: ANN401
    try:
        version = features.version("zlib_ng")
    except ValueError:  # an older Pillow does not know the word
        return ""
    return f" (zlib-ng {version})" if version else ""


def _build_line(build: str, label: str) -> str:
    found = re.search(rf"^\s*{label}:\s*(.*)$", build, re.M)
    return found[1].strip() if found else "unknown"


def _cpu_features(line: str) -> str:
    """What of OpenCV's dispatched code this CPU runs: words without the marks of the others."""
    words = [word.lstrip("*") for word in line.split() if not word.endswith("?")]
    return " ".join(words) or "none"


# Optional packages


def _extras(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        module: {
            "installed": _version_of(module),
            "brings": brings,
            "install": f"pip install 'birefcli[{extra}]'",
            "faster": faster,
        }
        for module, (extra, brings, faster) in OPTIONAL.items()
    }


def _version_of(module: str) -> str | None:
    """Version of a package that is there; it is not imported, which may take seconds."""
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return None


# Models


def _models(diagnosis: Diagnosis) -> dict[str, Any]:
    from huggingface_hub import constants

    folder = cache_folder()
    _check_cache(folder, diagnosis)
    here = {}
    for model in zoo.ZOO.values():
        state = _state(model)
        if state == "missing" and model.name != zoo.DEFAULT:
            continue
        file = zoo.MINI_FILE if model.bundled else cached(model)
        size = file.stat().st_size if file is not None and file.is_file() else None
        here[model.name] = {
            "state": state,
            "megabytes": None if size is None else round(size / 1e6),
        }
        if state == "damaged":
            remedy = f"birefcli models pull {model.name}"
            diagnosis.faults.append(Fault(f"model {model.name} is damaged", remedy))
    if not zoo.MINI_FILE.is_file():
        fault = Fault(f"mini: {zoo.MINI_FILE} is missing", "install birefcli again")
        diagnosis.faults.append(fault)
    return {
        "cache": str(folder),
        "HF_HOME": os.environ.get("HF_HOME"),
        "offline": bool(constants.HF_HUB_OFFLINE),
        "here": here,
    }


def _state(model: zoo.Model) -> str:
    if model.bundled:
        return "built in" if zoo.MINI_FILE.is_file() else "missing"
    return hub.state(model).value


def _check_cache(folder: Path, diagnosis: Diagnosis) -> None:
    """See that the cache can be read, and written where models are to be downloaded."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    remedy = "set HF_HOME to a folder of yours, or mend its permissions"
    if not existing.is_dir():
        fault = Fault(f"cache {folder}: {existing} is no folder", remedy)
    elif not os.access(existing, os.R_OK | os.X_OK):
        fault = Fault(f"cache {folder}: cannot be read", remedy)
    elif (why := _unwritable(existing)) is not None:
        # What is downloaded already works from a read-only folder.
        fault = Fault(f"cache {folder}: cannot be written ({why})", remedy, fatal=False)
    else:
        return
    diagnosis.faults.append(fault)


def _unwritable(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


# Measured


def _measured(diagnosis: Diagnosis, device: str, precision: Precision) -> dict[str, Any]:
    """Seconds a photo takes `mini`, and from them a guess for the default model."""
    import statistics

    import numpy as np

    from birefcli.bench.measure import synchronize
    from birefcli.matting.device import default_batch, parse_device

    placement = parse_device(device, precision)
    if placement.device.type == "cpu" and placement.precision is not Precision.FP32:
        why = "half precision can take minutes a photo on a CPU; use --precision fp32 there"
        return {"mini_seconds": "not measured", "mini_seconds_why": why}
    predictor = load_model("mini", device=device, precision=precision).predictor
    width, height = predictor.size
    batch = [np.full((height, width, 3), 128, np.uint8)] * default_batch(placement.device)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        predictor.alphas(batch)
        synchronize(placement.device)
        times.append((time.perf_counter() - started) / len(batch))
    seconds = statistics.median(times[1:])
    return {
        "mini_seconds": round(seconds, 4),
        "mini_seconds_why": "a photo, network alone, median of 5",
        **_estimate(placement.device, placement.dtype),
    }


def _estimate(device: Any, dtype: Any) -> dict[str, Any]:  # noqa: ANN401
    """Seconds of the default model, from the speed of a matrix product: it is mostly those."""
    import torch

    from birefcli.bench.measure import synchronize

    tokens, channels, wide = 4096, 768, 3072  # the MLP of Swin-L's third stage
    a = torch.ones(tokens, channels, device=device, dtype=dtype)
    b = torch.ones(channels, wide, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    speed = 2 * tokens * channels * wide / best
    return {
        "matrix_gflops": round(speed / 1e9),
        "portrait_seconds_why": "an ESTIMATE from the matrix product, not measured",
        "portrait_seconds": round(PORTRAIT_FLOP / speed / EFFICIENCY, 3),
    }


# Advice


def _advice(diagnosis: Diagnosis) -> list[str]:
    computing = diagnosis.facts.get("computing", {})
    machine = diagnosis.facts.get("machine", {})
    steps = []
    if computing.get("device") == "cpu" and computing.get("device_why") != "asked for":
        steps += _advice_for_cpu(computing)
    if "cuda:1" in computing:
        gpus = sum(name.startswith("cuda:") for name in computing)
        steps.append(f"birefcli matte --device all uses all {gpus} GPUs")
    if "torch_threads_why" in computing:
        steps.append(
            f"torch uses {computing['torch_threads']} of {machine['cores']} cores:"
            f" {computing['torch_threads_why']}"
        )
    for module, extra in diagnosis.facts.get("extras", {}).items():
        if extra["faster"] and extra["installed"] is None:
            steps.append(f"{extra['install']} ({module}): {extra['brings']}")
    if (machine.get("memory_gb") or 99) * 1e9 < LITTLE_MEMORY:
        steps.append("little memory: use --model lite or mini, and a small --max-memory")
    return steps


def _advice_for_cpu(computing: dict[str, Any]) -> list[str]:
    if Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists():
        if computing.get("cuda") is None:
            return [
                "there is an NVIDIA GPU, and this torch is built without CUDA: install one"
                " with it from pytorch.org"
            ]
        return [
            "there is an NVIDIA GPU that torch cannot use: see whether nvidia-smi works, and"
            " whether the driver is new enough for CUDA " + str(computing["cuda"])
        ]
    return ["a GPU, or on this CPU --model lite or 512 (less detail), or mini (a sketch)"]
