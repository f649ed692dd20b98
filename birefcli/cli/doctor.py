"""``birefcli doctor``: what is used here and why, what is broken, what would be faster."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birefcli.cli import shared_options
from birefcli.cli.spelling import spelling
from birefcli.errors import ExitCode, Message, Spell, printable
from birefcli.models import zoo
from birefcli.options import Precision, check_device
from birefcli.system.text import json_line

if TYPE_CHECKING:
    from birefcli.doctor import Diagnosis

Measure = Annotated[
    bool,
    typer.Option("--measure/--no-measure", help="Time mini for a few seconds, and estimate."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
LABEL = 24  # columns of the labels
WIDTH = 80


def doctor(
    context: typer.Context,
    measure: Measure = True,
    as_json: AsJson = False,
    device: shared_options.Device = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    debug: shared_options.Debug = False,
) -> None:
    """Show what birefcli uses on this machine and why, and what is broken.

    Exit code 0 when everything works, 4 when something is broken.
    """
    check_device(device)
    from rich.console import Console

    from birefcli.doctor import examine

    with Console(stderr=True).status("") as status:  # shown on a terminal only
        diagnosis = examine(device, precision, measure=measure, on_step=status.update)
    spell = spelling(context)
    if as_json:
        print(json_line(diagnosis.as_dict(spell)))
    else:
        print("\n".join(map(printable, _lines(diagnosis, spell))))
    raise typer.Exit(ExitCode.OK if diagnosis.usable else ExitCode.MODEL)


def _lines(diagnosis: "Diagnosis", spell: Spell) -> Iterator[str]:
    for topic, facts in diagnosis.facts.items():
        yield topic
        for name, value in facts.items():
            if not name.endswith("_why"):
                yield from _fact(name, value, facts.get(f"{name}_why"), spell)
        yield ""
    for fault in diagnosis.faults:
        yield f"{'BROKEN' if fault.fatal else 'warning'}: {fault.what.spelled(spell)}"
        yield f"  {fault.remedy.spelled(spell)}"
    if diagnosis.advice:
        yield "what would make it faster"
        yield from (f"  {step.spelled(spell)}" for step in diagnosis.advice)
    yield _last_line(diagnosis)


def _last_line(diagnosis: "Diagnosis") -> str:
    if not diagnosis.usable:
        return "something is broken: see above"
    default = diagnosis.facts["models"]["here"].get(zoo.DEFAULT, {})
    if default.get("state") not in ("missing", "partial"):
        return "everything works"
    pull = f"birefcli models pull {zoo.DEFAULT}"
    return f"everything works; the default model is not downloaded yet: {pull}"


def _fact(name: str, value: Any, why: str | Message | None, spell: Spell) -> Iterator[str]:  # noqa: ANN401
    if name == "here":
        for model, facts in value.items():
            yield from _row(model, _model(model, facts))
    elif isinstance(value, dict):
        yield from _row(name, _extra(value))
    else:
        unit = " GB" if name.endswith("_gb") and value is not None else ""
        reason = ("",) if why is None else (" (", why, ")")
        text = Message(_value(value), unit, *reason)
        yield from _row(_label(name), text.spelled(spell))


def _model(name: str, facts: dict[str, Any]) -> str:
    if facts["state"] == "missing":
        return f"not downloaded: birefcli models pull {name}"
    size = "" if facts["megabytes"] is None else f", {facts['megabytes']} MB"
    return f"{facts['state']}{size}"


def _extra(facts: dict[str, Any]) -> str:
    """An optional package: its version, or how to install it, and what it is for."""
    version = facts["installed"]
    state = version if version is not None else f"not installed: {facts['install']}"
    return f"{state} ({facts['brings']})"


def _value(value: Any) -> str | Message:  # noqa: ANN401
    if isinstance(value, Message):
        return value
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _label(name: str) -> str:
    """A fact's name in words; names of environment variables stay."""
    return name if name.isupper() else name.removesuffix("_gb").replace("_", " ")


def _row(label: str, text: str) -> Iterator[str]:
    """One fact, on as many lines as it takes; paths are not broken."""
    lines = textwrap.wrap(text, WIDTH - LABEL - 2, break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(lines or [""]):
        yield f"  {'' if i else label:<{LABEL}}{line}".rstrip()
