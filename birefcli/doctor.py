"""What this machine offers, what will be used of it and why, and what is broken.

Nothing here may fail because something else is broken: every library is looked at by itself, and
what it raises is a finding.
"""

import importlib
import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from birefcli import __version__
from birefcli.errors import BirefcliError, DeviceError, Message, Option, Spell
from birefcli.models import hub, zoo
from birefcli.models.cache import cache_folder
from birefcli.models.load import load_model
from birefcli.models.locate import locate_known
from birefcli.options import ModelOptions, Precision
from birefcli.system import cpu, machine

OPTIONAL = {
    "numba": ("fast", "deformable convolution on a CPU in a compiled loop", True),
    "isal": ("fast", "PNG and TIFF packed in a third of the time", True),
    "simplejpeg": ("fast", "JPEG decoded in less time, to the same pixels", True),
    "pillow_heif": ("heif", "HEIC and AVIF photos, as phones take them", False),
    "onnxruntime": ("bench", "comparing with networks in ONNX, in birefcli bench", False),
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


@dataclass(frozen=True)
class Fault:
    """Something broken: what, and what to do about it."""

    what: str | Message
    remedy: str | Message
    fatal: bool = True
    """False for what is only worth knowing: everything works."""


@dataclass
class Diagnosis:
    """All that was found. ``facts``: by topic, each name with its value, ready to be shown."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    advice: list[str | Message] = field(default_factory=list)
    """Concrete steps that would make it faster."""

    @property
    def usable(self) -> bool:
        """Whether everything works."""
        return not any(fault.fatal for fault in self.faults)

    def as_dict(self, spell: Spell = str) -> dict[str, Any]:
        """The same for JSON; ``spell`` writes options."""

        def text(message: str | Message) -> str:
            return Message(message).spelled(spell)

        return {
            "usable": self.usable,
            **{
                topic: {
                    name: text(value) if isinstance(value, Message) else value
                    for name, value in facts.items()
                }
                for topic, facts in self.facts.items()
            },
            "faults": [
                {"what": text(f.what), "remedy": text(f.remedy), "fatal": f.fatal}
                for f in self.faults
            ],
            "faster": [text(step) for step in self.advice],
        }


def examine(
    device: str,
    precision: Precision,
    *,
    measure: bool,
    on_step: Callable[[str], object] = lambda _: None,
) -> Diagnosis:
    """Look at everything. ``device`` and ``precision`` are as for `birefcli matte`.

    ``on_step`` is called with what is looked at, before it is: some of it takes seconds.
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
            continue  # it would fail for a reason that is known already, or mislead
        on_step("measuring mini" if topic == "measured" else f"looking at {topic}")
        diagnosis.facts[topic] = _looked(look, topic, diagnosis)
    diagnosis.advice += _advice(diagnosis)
    return diagnosis


def _looked(
    look: Callable[[Diagnosis], dict[str, Any]], topic: str, diagnosis: Diagnosis
) -> dict[str, Any]:
    """Facts of one topic; what keeps them from being found is a fault."""
    try:
        return look(diagnosis)
    except Exception as error:  # whatever a broken library raises is a finding
        diagnosis.faults.append(Fault(Message(f"{topic}: ", _cause(error)), _remedy(error)))
        return {"failed": _cause(error)}


def _cause(error: BaseException) -> Message:
    if isinstance(error, BirefcliError):
        return error.message
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return Message(f"{type(error).__name__}: {text}")


def _remedy(error: BaseException) -> Message:
    if isinstance(error, BirefcliError):
        choose = Message("choose another with ", Option("device"))
        return choose if isinstance(error, DeviceError) else Message("see above")
    if isinstance(error, ImportError):
        return Message("install birefcli again in a new virtual environment")
    return Message("run again with ", Option("debug"), " and report it")


# Machine


def _machine() -> dict[str, Any]:
    memory = machine.memory()
    return {
        "birefcli": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.cpu_name(),
        "cores": cpu.count(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
    }


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
            "torch and torchvision do not fit each other: pip install -U torch torchvision,"
            " both from one index (training and networks with timm backbones need it; the models"
            " that have a name do not)"
        )
    return f"reinstall it: pip uninstall -y {name}; pip install {name}"


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
        facts |= _cuda(placement.device) | machine.gpus()
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
        "driver": machine.nvidia_driver(),
    }


# Codecs


def _codecs(diagnosis: Diagnosis) -> dict[str, Any]:
    from birefcli.images import codecs

    for name in codecs.missing():
        remedy = "install Pillow from a wheel: pip uninstall -y pillow; pip install pillow"
        diagnosis.faults.append(Fault(f"this Pillow reads no {name}", remedy))
    return codecs.describe()


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
        file = locate_known(model).path
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

    from birefcli.bench.estimate import estimate
    from birefcli.bench.measure import synchronize
    from birefcli.matting.device import default_batch, parse_device

    placement = parse_device(device, precision)
    if placement.device.type == "cpu" and placement.precision is not Precision.FP32:
        fp32 = Option("precision", "fp32")
        why = Message("half precision can take minutes a photo on a CPU; use ", fp32, " there")
        return {"mini_seconds": "not measured", "mini_seconds_why": why}
    options = ModelOptions("mini", device=device, precision=precision)
    predictor = load_model(options).predictor
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
        **estimate(placement.device, placement.dtype),
    }


# Advice


def _advice(diagnosis: Diagnosis) -> list[str | Message]:
    computing = diagnosis.facts.get("computing", {})
    facts = diagnosis.facts.get("machine", {})
    steps: list[str | Message] = []
    if computing.get("device") == "cpu" and computing.get("device_why") != "asked for":
        steps += _advice_for_cpu(computing)
    if "cuda:1" in computing:
        gpus = sum(name.startswith("cuda:") for name in computing)
        every = Option("device", "all")
        steps.append(Message("birefcli matte ", every, f" uses all {gpus} GPUs"))
    if "torch_threads_why" in computing:
        steps.append(
            f"torch uses {computing['torch_threads']} of {facts['cores']} cores:"
            f" {computing['torch_threads_why']}"
        )
    for module, extra in diagnosis.facts.get("extras", {}).items():
        if extra["faster"] and extra["installed"] is None:
            steps.append(f"{extra['install']} ({module}): {extra['brings']}")
    if (facts.get("memory_gb") or 99) * 1e9 < LITTLE_MEMORY:
        lite, memory = Option("model", "lite"), Option("max_memory")
        steps.append(Message("little memory: use ", lite, " or mini, and a small ", memory))
    return steps


def _advice_for_cpu(computing: dict[str, Any]) -> list[str | Message]:
    if machine.has_nvidia_gpu():
        if computing.get("cuda") is None:
            return [
                "there is an NVIDIA GPU, and this torch is built without CUDA: install one"
                " with it from pytorch.org"
            ]
        return [
            "there is an NVIDIA GPU that torch cannot use: see whether nvidia-smi works, and"
            " whether the driver is new enough for CUDA " + str(computing["cuda"])
        ]
    lite = Option("model", "lite")
    return [Message("a GPU, or on this CPU ", lite, " or 512 (less detail), or mini (a sketch)")]
