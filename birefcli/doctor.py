"""What this machine has, what birefcli uses of it and why, and what is broken.

Nothing here may fail because something else is broken: every library is imported by itself, and
what it raises is a fault.
"""

import importlib
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from birefcli import __version__
from birefcli.errors import BirefcliError, DeviceError, Message, Option, Spell
from birefcli.models import hub, zoo
from birefcli.models.cache import cache_folder
from birefcli.models.load import load_model
from birefcli.models.locate import Place, locate_known
from birefcli.options import ModelOptions, Precision
from birefcli.system import cgroup, cpu, machine
from birefcli.system.packages import LIBRARIES, OPTIONAL
from birefcli.system.paths import exists, is_file, is_folder
from birefcli.system.secrets import without_secrets

LITTLE_MEMORY = 4e9  # bytes; the default model and one photo in flight take about three

Facts: TypeAlias = dict[str, Any]
"""By name, each a value of JSON, or a Message; NAME_why is the reason for NAME."""


@dataclass(frozen=True)
class Fault:
    """Something broken: what, and what to do about it."""

    what: Message
    remedy: Message
    fatal: bool = True
    """False for a warning: everything works."""


@dataclass
class Diagnosis:
    """All that was found. ``facts``: by topic."""

    facts: dict[str, Facts] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    advice: list[Message] = field(default_factory=list)
    """Concrete steps that would make it faster."""

    @property
    def usable(self) -> bool:
        """Whether everything works."""
        return not any(fault.fatal for fault in self.faults)

    def add_fault(self, what: str | Message, remedy: str | Message, *, fatal: bool = True) -> None:
        """Record something broken, and what to do about it."""
        self.faults.append(Fault(Message(what), Message(remedy), fatal))

    def as_dict(self, spell: Spell = str) -> dict[str, Any]:
        """The same as one JSON object; ``spell`` writes the options that messages name."""
        found = {
            "usable": self.usable,
            **self.facts,
            "faults": [vars(fault) for fault in self.faults],
            "faster": self.advice,
        }
        spelled: dict[str, Any] = _spelled(found, spell)
        return spelled


def _spelled(value: Any, spell: Spell) -> Any:  # noqa: ANN401 - any value of JSON, or a Message
    if isinstance(value, Message):
        return value.spelled(spell)
    if isinstance(value, dict):
        return {name: _spelled(inner, spell) for name, inner in value.items()}
    return [_spelled(inner, spell) for inner in value] if isinstance(value, list) else value


def examine(
    device: str,
    precision: Precision,
    *,
    measure: bool,
    on_step: Callable[[str], object] = lambda _: None,
) -> Diagnosis:
    """Check everything. ``device`` and ``precision`` are those of :class:`ModelOptions`.

    ``on_step`` is called with each step before it runs: some take seconds.
    """
    diagnosis = Diagnosis()
    diagnosis.facts["machine"] = _machine()
    steps: dict[str, Callable[[Diagnosis], Facts]] = {
        "libraries": _libraries,
        "computing": lambda _: _computing(device, precision),
        "codecs": _codecs,
        "extras": lambda _: _extras(),
        "models": _models,
    }
    if measure:
        steps["measured"] = lambda found: _measured(found, device, precision)
    for topic, step in steps.items():
        if topic == "measured" and any(fault.fatal for fault in diagnosis.faults):
            continue  # it would fail for a reason that is reported already, or mislead
        on_step("measuring mini" if topic == "measured" else f"checking {topic}")
        diagnosis.facts[topic] = _run(step, topic, diagnosis)
    diagnosis.advice += _advice(diagnosis)
    return diagnosis


def _run(step: Callable[[Diagnosis], Facts], topic: str, diagnosis: Diagnosis) -> Facts:
    """Facts of one topic; an exception becomes a fault."""
    try:
        return step(diagnosis)
    except Exception as error:  # a broken library may raise anything
        cause = _cause(error)
        diagnosis.add_fault(Message(f"{topic}: ", cause), _remedy(error))
        return {"failed": cause}


def _cause(error: BaseException) -> Message:
    """First line of an exception, after its class where it is none of birefcli's."""
    if isinstance(error, BirefcliError):
        return error.message
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return Message(f"{type(error).__name__}: {without_secrets(text)}")


def _remedy(error: BaseException) -> Message:
    if isinstance(error, DeviceError):
        return Message("choose another with ", Option("device"))
    if isinstance(error, BirefcliError):
        return Message("see above")
    if isinstance(error, ImportError):
        return Message("install birefcli again in a new virtual environment")
    return Message("run again with ", Option("debug"), " and report it")


# Machine


def _machine() -> Facts:
    return {
        "birefcli": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.cpu_name(),
        "cores": os.cpu_count(),
        **_cores_limit(),
        "memory_gb": _gigabytes(machine.physical_memory()),
        **_memory_limit(),
    }


def _cores_limit() -> Facts:
    """Cores of which a container, or whoever starts this process, leaves less than there are."""
    time = cgroup.limits().cores
    if time is not None and time < cpu.admitted():
        return {"cores_limit": round(time, 2), "cores_limit_why": "processor time of control group"}
    admitted = cpu.admitted()
    if admitted < (os.cpu_count() or 1):
        return {"cores_limit": admitted, "cores_limit_why": "those it may run on"}
    return {"cores_limit": None}


def _memory_limit() -> Facts:
    limits, there = machine.memory_limits(), machine.physical_memory()
    who = min(limits, key=lambda name: limits[name], default=None)
    if who is None or (there is not None and limits[who] >= there):
        return {"memory_limit_gb": None}
    return {"memory_limit_gb": _gigabytes(limits[who]), "memory_limit_gb_why": who}


def _gigabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 1e9, 1)


# Libraries


def _libraries(diagnosis: Diagnosis) -> Facts:
    return {name: _import(diagnosis, name, module) for name, module in LIBRARIES.items()}


def _import(diagnosis: Diagnosis, name: str, module: str) -> str:
    """Version of a library; where it cannot be imported, the cause, and a fault."""
    try:
        package = importlib.import_module(module)
    except Exception as error:  # RuntimeError: operator torchvision::nms does not exist
        cause = _cause(error)
        diagnosis.add_fault(f"{name}: {cause}", _library_remedy(name))
        return f"broken ({cause})" if not isinstance(error, ModuleNotFoundError) else "missing"
    return str(getattr(package, "__version__", "unknown"))


def _library_remedy(name: str) -> str:
    if name in ("torchvision", "timm"):
        return (
            "torch and torchvision do not fit each other: pip install -U torch torchvision,"
            " both from one index (training and networks with timm backbones need it; the models"
            " that have a name do not)"
        )
    return f"reinstall it: pip uninstall -y {name}; pip install {name}"


# Computing


def _computing(device: str, precision: Precision) -> Facts:
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
            else "more at once take more memory; of mini one for each of torch's threads"
        ),
        "threads": cpu.count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "deformable_convolution": _deformable_path(kind),
    }
    if kind == "cuda":
        facts |= machine.gpu_facts(placement.device) | machine.gpus()
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
        return f"tile by tile, large maps gathered by {how}"
    return "torchvision's operator" if kind == "cuda" else "plain torch operators"


# Codecs


def _codecs(diagnosis: Diagnosis) -> Facts:
    from birefcli.images import codecs

    for name in codecs.missing():
        remedy = "install Pillow from a wheel: pip uninstall -y pillow; pip install pillow"
        diagnosis.add_fault(f"this Pillow reads no {name}", remedy)
    return codecs.describe()


# Optional packages


def _extras() -> Facts:
    return {
        module: {
            "installed": machine.installed_version(module),
            "brings": purpose,
            "install": f"pip install 'birefcli[{extra}]'",
            "faster": faster,
        }
        for module, (extra, purpose, faster) in OPTIONAL.items()
    }


# Models


def _models(diagnosis: Diagnosis) -> Facts:
    from huggingface_hub import constants

    folder = cache_folder()
    _check_cache(folder, diagnosis)
    here: Facts = {}
    for model in zoo.ZOO.values():
        facts = _model_facts(model, diagnosis)
        if facts["state"] != "missing" or model.name == zoo.DEFAULT:
            here[model.name] = facts
    return {
        "cache": str(folder),
        "HF_HOME": os.environ.get("HF_HOME"),
        "offline": bool(constants.HF_HUB_OFFLINE),
        "here": here,
    }


def _model_facts(model: zoo.Model, diagnosis: Diagnosis) -> Facts:
    """State of a known model, and the size of its file in MB; a fault where it is damaged."""
    location = locate_known(model)
    there = location.path is not None and is_file(location.path)
    size = location.path.stat().st_size if location.path is not None and there else None
    if location.place is Place.BUNDLED:
        state = "built in" if there else "missing"
        if not there:
            diagnosis.add_fault(
                f"{model.name}: {location.path} is missing", "install birefcli again"
            )
    else:
        state = hub.state(model).value
        if state == "damaged":
            remedy = f"birefcli models pull {model.name}"
            diagnosis.add_fault(f"model {model.name} is damaged", remedy)
    return {"state": state, "megabytes": None if size is None else round(size / 1e6)}


def _check_cache(folder: Path, diagnosis: Diagnosis) -> None:
    """Add a fault where the cache cannot be read, a warning where it cannot be written."""
    existing = next((p for p in (folder, *folder.parents) if exists(p)), folder)
    remedy = "set HF_HOME to a folder of yours, or mend its permissions"
    if not is_folder(existing):
        diagnosis.add_fault(f"cache {folder}: {existing} is no folder", remedy)
    elif not os.access(existing, os.R_OK | os.X_OK):
        diagnosis.add_fault(f"cache {folder}: cannot be read", remedy)
    elif (why := machine.why_unwritable(existing)) is not None:
        # What is downloaded already works from a read-only folder.
        diagnosis.add_fault(f"cache {folder}: cannot be written ({why})", remedy, fatal=False)


# Measured


def _measured(diagnosis: Diagnosis, device: str, precision: Precision) -> Facts:
    """Seconds a photo in ``mini``, and an estimate for the default model."""
    import statistics

    import numpy as np

    from birefcli.bench.estimate import estimate
    from birefcli.bench.measure import synchronize
    from birefcli.matting.batch_size import default_batch
    from birefcli.matting.device import parse_device

    placement = parse_device(device, precision)
    if placement.device.type == "cpu" and placement.precision is not Precision.FP32:
        fp32 = Option("precision", "fp32")
        why = Message("half precision can take minutes a photo on a CPU; use ", fp32, " there")
        return {"mini_seconds": "not measured", "mini_seconds_why": why}
    options = ModelOptions("mini", device=device, precision=precision)
    predictor = load_model(options).predictor
    batch = [np.full((*predictor.size[::-1], 3), 128, np.uint8)] * default_batch(predictor)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        predictor.alphas(batch)
        synchronize(placement.device)
        times.append((time.perf_counter() - started) / len(batch))
    _check_load(diagnosis)
    return {
        "mini_seconds": float(f"{statistics.median(times[1:]):.3g}"),
        "mini_seconds_why": "a photo, network alone, median of 5",
        **estimate(placement.device, placement.dtype),
    }


def _check_load(diagnosis: Diagnosis) -> None:
    """Add a warning where others keep the processor busy, which makes figures too large."""
    load, cores = machine.load(), os.cpu_count() or 1  # both are the whole machine's
    if load is not None and load > cores:
        what = f"the machine was busy while mini was timed: load {load:.1f} on {cores} cores"
        remedy = "measure again when nothing else runs: the times above are too long"
        diagnosis.add_fault(what, remedy, fatal=False)


# Advice


def _advice(diagnosis: Diagnosis) -> list[Message]:
    computing = diagnosis.facts.get("computing", {})
    steps: list[Message] = []
    if computing.get("device") == "cpu" and computing.get("device_why") != "asked for":
        steps.append(_advice_for_cpu(computing))
    if "cuda:1" in computing:
        count = sum(name.startswith("cuda:") for name in computing)
        steps.append(Message("birefcli matte ", Option("device", "all"), f" uses all {count} GPUs"))
    return steps + _advice_for_machine(diagnosis.facts)


def _advice_for_machine(facts: dict[str, Facts]) -> list[Message]:
    """Threads that are not used, extras that are not installed, little memory."""
    machine_facts, computing = facts["machine"], facts.get("computing", {})
    steps: list[Message] = []
    if "torch_threads_why" in computing:
        steps.append(
            Message(
                f"torch uses {computing['torch_threads']} of {computing['threads']} cores:"
                f" {computing['torch_threads_why']}"
            )
        )
    for module, extra in facts.get("extras", {}).items():
        if isinstance(extra, dict) and extra["faster"] and extra["installed"] is None:
            steps.append(Message(f"{extra['install']} ({module}): {extra['brings']}"))
    memory = machine_facts["memory_limit_gb"] or machine_facts["memory_gb"] or 99
    if memory * 1e9 < LITTLE_MEMORY:
        lite, small = Option("model", "lite"), Option("max_memory")
        steps.append(Message("little memory: use ", lite, " or mini, and a small ", small))
    return steps


def _advice_for_cpu(computing: Facts) -> Message:
    if not machine.has_nvidia_gpu():
        lite = Option("model", "lite")
        return Message("a GPU, or on this CPU ", lite, " or 512 (less detail), or mini (a sketch)")
    if computing.get("cuda") is None:
        return Message(
            "there is an NVIDIA GPU, and this torch is built without CUDA: install one"
            " with it from pytorch.org"
        )
    return Message(
        "there is an NVIDIA GPU that torch cannot use: see whether nvidia-smi works, and"
        f" whether the driver is new enough for CUDA {computing['cuda']}"
    )
