"""From the words of a command line to what a batch is to do."""

import os
import re
from pathlib import Path

import typer

from birefcli import values
from birefcli.batch.lists import read_list
from birefcli.batch.output import output_of
from birefcli.batch.places import PIPE
from birefcli.batch.shard import parse_shard
from birefcli.cli import rules
from birefcli.cli.matte_options import MatteOptions
from birefcli.cli.spelling import spelled
from birefcli.cli.stderr import say
from birefcli.errors import Message, Option, UsageError
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.options import (
    DEVICES,
    SUFFIXES,
    BatchOptions,
    ClusterOptions,
    Format,
    ModelOptions,
    Rendering,
    RunOn,
    Selection,
    check_device,
)
from birefcli.products.words import NAMES, read_rendering, refuse_idle, with_preset
from birefcli.system import cpu
from birefcli.system.paths import is_folder


def read_selection(words: MatteOptions) -> Selection:
    """Which photos, and where to. Raises UsageError, NoInputError."""
    inputs, listing = tuple(words.inputs or ()), words.files_from
    selection = Selection(
        inputs=inputs,
        output=words.output,
        recursive=words.recursive,
        include=values.patterns("include", words.include),
        exclude=values.patterns("exclude", words.exclude),
        name=words.name,
        listed=() if listing is None else read_list(listing, null=words.null),
        shard=None if words.shard is None else parse_shard(words.shard, os.environ),
    )
    if listing == PIPE and PIPE in inputs:
        both = Message(Option("files_from", "-"), " and the photo - both want stdin")
        raise UsageError(both)
    if not inputs and listing is None:
        raise UsageError("no photo named; see birefcli matte --help")
    _check_selection(selection, words.json_lines)
    return selection


def read_options(context: typer.Context, words: MatteOptions, selection: Selection) -> BatchOptions:
    """How the photos are done. Raises UsageError."""
    rendering = _read_rendering(context, words, selection)
    _check_effects(context, words, selection, rendering)
    devices = _devices(words)
    return BatchOptions(
        rendering=rendering,
        model=ModelOptions(
            name=words.model,
            size=values.size(words.size),
            patch_order=words.patch_order,
            offline=words.offline,
            device=devices[0],
            precision=words.precision,
            compile=words.compiled,
            edges=words.edges,
        ),
        devices=devices,
        batch=values.automatic("batch", words.batch),
        threads=values.automatic("threads", words.threads) or cpu.count(),
        max_pixels=values.pixels("max_megapixels", words.max_megapixels),
        max_memory=values.memory("max_memory", words.max_memory),
        connections=words.connections,
        max_failures=1 if words.fail_fast else words.max_failures,
        fail_if_empty=words.fail_if_empty,
        photo_timeout=values.seconds("photo_timeout", words.photo_timeout),
        cluster=_cluster(words) if words.on is RunOn.RAY else None,
    )


def _cluster(words: MatteOptions) -> ClusterOptions:
    """What is each worker's own on a cluster; its machine decides what is ``auto``."""
    automatic = words.max_memory == "auto"
    return ClusterOptions(
        workers=words.workers,
        threads=values.automatic("threads", words.threads),
        max_memory=None if automatic else values.memory("max_memory", words.max_memory),
    )


RENDERING = {**{name: name for name in NAMES}, "format": "format_"}
"""Fields of the words by the names of options."""

EITHER = (
    ("canvas", "aspect"),
    ("canvas", "resize"),
    ("fill", "head"),
    ("fill", "crop"),
    ("head", "crop"),
)
"""Options that exclude each other."""


def _read_rendering(context: typer.Context, words: MatteOptions, selection: Selection) -> Rendering:
    """How products look: what is typed, then a preset, then variables and defaults.

    A preset that a variable names comes after other variables. Raises UsageError.
    """
    given = {name: getattr(words, field) for name, field in RENDERING.items()}
    given["preset"] = _preset(words)
    given["format"] = _format(values.file_format(words.format_), selection).value
    weak = set()
    if words.preset is not None:
        typed = rules.is_typed(context, "preset")
        beaten = {rules.DEFAULT, rules.VARIABLE} if typed else {rules.DEFAULT}
        weak = {name for name in NAMES if rules.source(context, RENDERING[name]) in beaten}
        weak -= {"preset", "format"}
    for pair in EITHER:  # what is typed beats a variable that says otherwise
        typed_ones = {name for name in pair if rules.is_typed(context, RENDERING[name])}
        if typed_ones:
            weak |= set(pair) - typed_ones
    if not Format(given["format"]).has_quality:  # one that is set for other runs does nothing
        idle = {name for name in ("quality", "max_bytes") if not rules.is_typed(context, name)}
        weak |= idle
    strong, told = with_preset({name: value for name, value in given.items() if name not in weak})
    if told is not None and not words.quiet:
        say(spelled(context, told))
    return read_rendering(strong)


def _preset(words: MatteOptions) -> str | None:
    """The one preset. Raises UsageError for more."""
    names = list(dict.fromkeys(words.preset or ()))
    if len(names) > 1:
        raise UsageError("choose one", option="preset", value=" and ".join(names))
    return names[0] if names else None


def _check_selection(selection: Selection, json_lines: bool) -> None:
    if "" in selection.inputs:
        raise UsageError("a photo's name is empty: is a variable not set?")
    if not selection.output:
        if selection.inputs == ("help",):
            raise UsageError("say where the results go; or did you mean --help?")
        raise UsageError("say where the results go: --output FOLDER, FILE or -")
    if selection.output == PIPE and json_lines:
        given = Option("json", given=True)
        raise UsageError(Message(given, " and ", Option("output", "-"), " both want stdout"))
    if selection.inputs.count(PIPE) > 1:
        raise UsageError("stdin (-) can be read once")
    if selection.shard is not None and PIPE in selection.inputs:
        raise UsageError(Message("stdin (-) is one photo, and has no ", Option("shard")))
    made = selection.name.replace("{stem}", "a").replace("{name}", "a")
    if (
        "{" in made
        or "}" in made
        or not made
        or made in (".", "..")
        or "/" in made
        or os.sep in made
    ):
        wrong = "give plain text with {stem} or {name}"
        raise UsageError(wrong, option="name", value=selection.name)


def _check_effects(
    context: typer.Context, words: MatteOptions, selection: Selection, rendering: Rendering
) -> None:
    if rules.is_typed(context, "quiet") and rules.is_typed(context, "verbose"):
        raise UsageError("--quiet and --verbose: choose one")
    listed = words.files_from is not None or words.failed_to is not None
    lists = "--files-from, --failed-to or --orphans"
    rules.refuse_without(context, lists, there=listed, names=("null",))
    refuse_idle(rendering, {name for name in NAMES if rules.is_typed(context, RENDERING[name])})
    folder = not output_of(selection).is_one
    rules.refuse_without(
        context,
        "--on ray",
        there=words.on is RunOn.RAY,
        names=("workers",),
        hint="on this machine OMP_NUM_THREADS sets the network's cores, --threads those that decode"
        " and encode",
    )
    rules.refuse_without(context, "a folder as --output", there=folder, names=("name", "shard"))


def _format(asked: Format | None, selection: Selection) -> Format:
    _refuse_odd(selection)
    output = output_of(selection)
    if not output.is_one or not output.suffix:
        return asked or Format.PNG
    named = SUFFIXES[output.suffix]
    if asked not in (None, named):
        both = (Option("format", asked.value), " and ", Option("output", selection.output))
        raise UsageError(Message(*both, " disagree"))
    return named


def _devices(words: MatteOptions) -> tuple[str, ...]:
    """See that these can be devices, before it takes torch to see whether they are there."""
    names = values.listed("device", words.device) or ("auto",)
    if words.on is RunOn.RAY and names not in (("auto",), ("cpu",), ("cuda",)):
        wrong = Message("choose from auto, cpu, cuda with ", Option("on", words.on.value))
        raise UsageError(wrong, option="device", value=",".join(names))
    for name in names:
        check_device(name, DEVICES)
    return names


def _refuse_odd(selection: Selection) -> None:
    """Refuse a folder that looks like a file of a format that cannot be written.

    One photo may have been meant for one file; several go to a folder, whatever it is called.
    """
    output, suffix = selection.output, output_of(selection).suffix
    if suffix in SUFFIXES or output.endswith(("/", os.sep)) or is_folder(Path(output)):
        return
    first = next(iter(selection.inputs), "/")
    alone = len(selection.inputs) == 1 and not (first.endswith("/") or is_folder(Path(first)))
    meant = alone and re.fullmatch(r"\.[a-z][a-z0-9]{1,3}", suffix)
    if suffix in PHOTO_SUFFIXES or meant:
        raise UsageError(
            f"{suffix} is no format that can be written; use {', '.join(SUFFIXES)}, or end a"
            " folder's name in /",
            option="output",
            value=output,
        )
