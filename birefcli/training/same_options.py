"""Whether a training that is resumed has the options it began with: other ones train otherwise."""

from collections.abc import Mapping
from pathlib import Path

from birefcli.errors import Message, Option, UsageError, printable
from birefcli.system.paths import is_file, real_path
from birefcli.training.plan import Plan
from birefcli.training.schedule import Hyperparameters

NONE = "none"


def options_of(plan: Plan, hyperparameters: Hyperparameters, epochs: int) -> dict[str, str]:
    """What decides a training beside its data, by the options' names in Python: for a checkpoint.

    ``hyperparameters`` are the plan's. How quickly and where it is computed decides nothing.
    """
    stages = [f"{stage.size}x{stage.steps}x{stage.batch}" for stage in plan.stages]
    last = hyperparameters.stages[-1]
    return {
        "model": _start(plan),
        "backbone": NONE if plan.backbone is None else str(real_path(plan.backbone)),
        "patch_order": plan.patch_order.value,
        "size": str(plan.size or last.size),
        "stage": ",".join(stages) or NONE,
        "batch": str(last.batch),
        "lr": f"{hyperparameters.lr:g}",
        "edges": "a tenth" if plan.edges is None else str(plan.edges),
        "loss": plan.loss.value,
        "seed": str(plan.seed),
        "shares": ",".join(f"{share:g}" for share in plan.shares) or NONE,
        "soften": "yes" if plan.soften else "no",
        "epochs": str(epochs),
    }


def refuse_others(checkpoint: Path, before: Mapping[str, object], now: Mapping[str, str]) -> None:
    """See that nothing differs but that there are more epochs.

    Raises UsageError with all that does. ``before``: of the checkpoint, any text.
    """
    changed = [
        Message(Option(name), f" {printable(str(before[name]))} (now {value})")
        for name, value in now.items()
        if before.get(name, value) != value and not (name == "epochs" and _is_more(before, value))
    ]
    if not changed:
        return
    listed = [part for change in changed for part in (", ", change)][1:]
    raise UsageError(
        Message(f"{checkpoint}: its training began with ", *listed),
        hint=Message(
            *("give the same options again, or ", Option("restart"), ", or another "),
            Option("output"),
        ),
    )


def _start(plan: Plan) -> str:
    if plan.model is None:
        return NONE
    path = Path(plan.model)
    return str(real_path(path)) if is_file(path) else plan.model


def _is_more(before: Mapping[str, object], now: str) -> bool:
    """Whether the training is gone on with, and not cut short."""
    text = str(before["epochs"])
    return text.isdecimal() and int(text) < int(now)
