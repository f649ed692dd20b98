"""``birefcli models``: list, download, verify and remove the known networks."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from birefcli.cli import completion
from birefcli.cli.command import Command, Group
from birefcli.cli.spelling import spelling
from birefcli.cli.stderr import say
from birefcli.errors import Message, ModelError, Spell, UsageError, printable
from birefcli.models import hub, zoo
from birefcli.models.cache import cache_folder
from birefcli.models.locate import locate_known
from birefcli.models.zoo import Model
from birefcli.system.paths import is_file
from birefcli.system.text import json_line

app = typer.Typer(
    name="models",
    cls=Group,
    help="List, download, verify and remove the networks that --model can name.",
    add_completion=False,
    rich_markup_mode=None,
)


def _argument(
    metavar: str, complete: Callable[..., completion.Completions]
) -> typer.models.ArgumentInfo:
    info: typer.models.ArgumentInfo = typer.Argument(
        metavar=metavar,
        help="A name from birefcli models list.",
        show_default=False,
        autocompletion=complete,
    )
    return info


Pulled = Annotated[list[str] | None, _argument("NAME", completion.published)]
Verified = Annotated[list[str] | None, _argument("NAME", completion.known)]
Found = Annotated[str, _argument("NAME", completion.known)]
Removed = Annotated[str, _argument("NAME", completion.published)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]

_BUILT_IN = "built in"


@app.command("list", cls=Command)
def list_models(as_json: Json = False) -> None:
    """Show the known models and their state on this machine.

    On a terminal a table; otherwise tab-separated lines under a header line.
    """
    models = list(zoo.ZOO.values())
    if as_json:
        for model in models:
            print(json_line(_record(model)))
    elif sys.stdout.isatty():
        _print_table(models)
    else:
        print("name", "width", "height", "megabytes", "state", "purpose", sep="\t")
        for model in models:
            print(
                model.name,
                *model.size,
                _megabytes(model),
                _state(model),
                model.purpose,
                sep="\t",
            )


@app.command(cls=Command)
def pull(
    context: typer.Context,
    names: Pulled = None,
    every: Annotated[bool, typer.Option("--all", help="All models: about 4.4 GB.")] = False,
    quiet: Quiet = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="Show no progress bar.")
    ] = False,
) -> None:
    """Download models into the cache and verify them; what is in the cache is left alone.

    An interrupted download goes on where it stopped. After a failure the
    other models are still downloaded.
    """
    if every == bool(names):
        raise UsageError("name the models to pull, or use --all")
    models = _published() if every else _known(names)
    bar = not (quiet or no_progress)
    outcomes = {model.name: _pull(model, quiet=quiet, bar=bar) for model in models}
    raise_all(outcomes, spelling(context))


@app.command(cls=Command)
def path(name: Found) -> None:
    """Print where a model's file is; exit code 4 if it is not on this machine."""
    # A shell gets the very bytes of it, whatever the encoding of stdout.
    sys.stdout.buffer.write(os.fsencode(_path(zoo.lookup(name))) + b"\n")


@app.command(cls=Command)
def verify(names: Verified = None, quiet: Quiet = False) -> None:
    """Read cached models again and compare their checksums; exit code 4 if one is damaged.

    Without a name: every model in the cache.
    """
    models = _known(names) if names else [m for m in _published() if locate_known(m).path]
    if not models and not quiet:
        print(printable(f"no model is in the cache ({cache_folder()})"))
    bad = []
    for model in models:
        file = _path(model)
        state = _BUILT_IN if model.bundled else hub.verify(model).value
        if state == hub.State.DAMAGED.value:
            bad.append(model.name)
        if not quiet:
            print(printable(f"{model.name}: {state} ({file})"))
    if bad:
        damaged = " ".join(bad)
        raise ModelError(f"{damaged}: damaged; `birefcli models pull {damaged}` replaces that")


@app.command(cls=Command)
def remove(
    name: Removed,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Delete a model from the cache, where other programs may be using it too."""
    model = zoo.lookup(name)
    if model.bundled:
        raise UsageError(f"{model.name} ships inside the package and cannot be removed")
    if hub.state(model) is hub.State.MISSING:
        raise ModelError(f"{model.name}: nothing to remove, it is not in {cache_folder()}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"use --yes to remove {model.name} without a question")
        if not typer.confirm(f"Remove {model.name} from {cache_folder()}?", err=True):
            return
    freed = hub.remove(model)
    if not quiet:
        print(f"{model.name}: removed, {freed / 1e6:.0f} MB freed")


def _published() -> list[Model]:
    return [model for model in zoo.ZOO.values() if not model.bundled]


def _known(names: list[str] | None) -> list[Model]:
    """The named models, all looked up before anything is done with the first."""
    return [zoo.lookup(name) for name in dict.fromkeys(names or [])]


def _pull(model: Model, *, quiet: bool, bar: bool) -> ModelError | None:
    """Download one model and print its path; a failure is returned, so that others go on."""
    try:
        if model.bundled:
            file = _path(model)
        else:
            hub.discard_damaged(model)
            file = hub.fetch(model, progress=bar)
    except ModelError as error:
        return error
    if not quiet:
        print(printable(f"{model.name}: {file}"))
    return None


def _path(model: Model) -> Path:
    file = locate_known(model).path
    if file is None or not is_file(file):
        raise ModelError(
            f"{model.name}: not on this machine; run `birefcli models pull {model.name}`"
            if not model.bundled
            else f"{model.name}: {file} is missing; install birefcli again"
        )
    return file


def raise_all(outcomes: Mapping[str, ModelError | None], spell: Spell) -> None:
    """Raise the failure of a model; of several, say each, and once what is to be done."""
    failures = {name: error for name, error in outcomes.items() if error is not None}
    if len(failures) == 1:
        raise failures.popitem()[1]
    known: set[str] = set()
    for name, error in failures.items():
        hint = Message(error.hint or "").spelled(spell)
        alike = hint.replace(f"pull {name}`", "pull`")
        said = error.fault if alike in known else error.message
        known.add(alike)
        say(f"birefcli: {said.spelled(spell)}")
    if failures:
        raise ModelError(f"{len(failures)} models could not be fetched")


def _state(model: Model) -> str:
    return _BUILT_IN if model.bundled else hub.state(model).value


def _megabytes(model: Model) -> int:
    """Size of the model's file, rounded; 0 where it is missing."""
    if model.megabytes is not None:
        return model.megabytes
    file = locate_known(model).path
    return round(file.stat().st_size / 1e6) if file is not None and is_file(file) else 0


def _record(model: Model) -> dict[str, object]:
    file = locate_known(model).path
    return {
        "name": model.name,
        "width": model.size[0],
        "height": model.size[1],
        "bytes": model.size_bytes,
        "state": _state(model),
        "path": None if file is None else str(file),
        "purpose": model.purpose,
        "backbone": model.backbone,
        "precision": model.precision,
        "licence": model.licence,
        "repo": model.repo,
        "revision": model.revision or None,
        "sha256": model.sha256,
    }


def _print_table(models: list[Model]) -> None:
    from rich import box
    from rich.table import Table

    from birefcli.cli.terminal import TableConsole

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Name", style="bold", no_wrap=True)
    table.add_column("Input", justify="right", no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("State", no_wrap=True)
    table.add_column("For")
    for model in models:
        size = "×".join(map(str, model.size))
        table.add_row(model.name, size, str(_megabytes(model)), _state(model), model.purpose)
    TableConsole().print(table)
