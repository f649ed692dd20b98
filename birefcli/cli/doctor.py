"""``birefcli doctor``: what will be used here, why, what is broken, what would be faster."""

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birefcli.cli import shared_options
from birefcli.cli.spelling import spelling
from birefcli.errors import ExitCode, Message, Spell
from birefcli.options import Precision

if TYPE_CHECKING:
    from birefcli.doctor import Diagnosis

Measure = Annotated[
    bool,
    typer.Option("--measure/--no-measure", help="Run mini for a few seconds, and estimate."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
LABEL = 24  # columns of the names
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

    Exit status 0 when everything works, 4 when something is broken.
    """
    from rich.console import Console

    from birefcli.doctor import examine

    with Console(stderr=True).status("") as status:  # seen on a terminal only
        diagnosis = examine(device, precision, measure=measure, on_step=status.update)
    if as_json:
        print(json.dumps(diagnosis.as_dict(spelling(context))))
    else:
        print("\n".join(_lines(diagnosis, spelling(context))))
    raise typer.Exit(ExitCode.OK if diagnosis.usable else ExitCode.MODEL)


def _lines(diagnosis: "Diagnosis", spell: Spell) -> Iterator[str]:
    def text(message: str | Message) -> str:
        return Message(message).spelled(spell)

    for topic, facts in diagnosis.facts.items():
        yield topic
        for name, value in facts.items():
            if not name.endswith("_why"):
                why = facts.get(f"{name}_why")
                yield from _line(name, value, None if why is None else text(why))
        yield ""
    for fault in diagnosis.faults:
        yield f"{'BROKEN' if fault.fatal else 'warning'}: {text(fault.what)}"
        yield f"  {text(fault.remedy)}"
    if diagnosis.advice:
        yield "what would make it faster"
        yield from (f"  {text(step)}" for step in diagnosis.advice)
    yield "everything works" if diagnosis.usable else "something is broken: see above"


def _line(name: str, value: Any, why: str | None) -> Iterator[str]:  # noqa: ANN401
    if name == "here":
        for model, facts in value.items():
            size = "" if facts["megabytes"] is None else f", {facts['megabytes']} MB"
            state = facts["state"]
            pull = f"not downloaded: birefcli models pull {model}"
            yield from _row(model, pull if state == "missing" else f"{state}{size}")
        return
    if isinstance(value, dict):  # an optional package
        there = value["installed"]
        text = there if there is not None else f"not installed: {value['install']}"
        yield from _row(name, f"{text} ({value['brings']})")
        return
    shown = {None: "none", True: "yes", False: "no"}.get(value, value) if _plain(value) else value
    unit = " GB" if name.endswith("_gb") and value is not None else ""
    yield from _row(_label(name), f"{shown}{unit}" + (f" ({why})" if why else ""))


def _label(name: str) -> str:
    """A fact's name in words; environment variables keep theirs."""
    return name if name.isupper() else name.removesuffix("_gb").replace("_", " ")


def _row(label: str, text: str) -> Iterator[str]:
    """One fact, on as many lines as it takes; what cannot be broken, like a path, is not."""
    lines = textwrap.wrap(text, WIDTH - LABEL - 2, break_long_words=False, break_on_hyphens=False)
    for i, line in enumerate(lines or [""]):
        yield f"  {'' if i else label:<{LABEL}}{line}".rstrip()


def _plain(value: Any) -> bool:  # noqa: ANN401
    return value is None or isinstance(value, bool)
