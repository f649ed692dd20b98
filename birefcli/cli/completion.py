"""Completions for the shell when Tab is pressed: quick, so nothing heavy is imported.

Without completions a shell completes file names; so files are listed here only beside names.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import typer

from birefcli.cli.help_page import for_shells
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.models import zoo
from birefcli.options import Align, Format, Product
from birefcli.products.presets import presets
from birefcli.system.paths import names_in

Completions: TypeAlias = list[tuple[str, str]]
"""Words, each with its help."""

DEVICE_NODES = Path("/dev")  # where NVIDIA's driver has one for each GPU
DEVICES = {
    "auto": "the best device",
    "cpu": "the processor",
    "cuda": "the first NVIDIA GPU",
    "mps": "the GPU of an Apple computer",
}
BACKGROUNDS = {
    "white": "a colour",
    "black": "a colour",
    "gray": "a colour",
    "blur": "the photo, blurred",
}


def model(incomplete: str) -> Completions:
    """Names of known models, and weights files of this folder."""
    return _names(zoo.ZOO.values(), incomplete) + _files(incomplete, zoo.FILE_SUFFIXES)


def opponent(incomplete: str) -> Completions:
    """What a model can be compared with: other models, and exported networks."""
    return _names(zoo.ZOO.values(), incomplete) + _files(incomplete, (".onnx", *zoo.FILE_SUFFIXES))


def known(context: typer.Context, incomplete: str) -> Completions:
    """Names of known models that are not on the command line yet."""
    return _remaining(context, zoo.ZOO.values(), incomplete)


def published(context: typer.Context, incomplete: str) -> Completions:
    """The same without the model inside the package."""
    return _remaining(context, (m for m in zoo.ZOO.values() if not m.bundled), incomplete)


def device(incomplete: str) -> Completions:
    """Kinds of device, and the single NVIDIA GPUs of this machine."""
    nodes = (re.fullmatch(r"nvidia(\d+)", path.name) for path in DEVICE_NODES.glob("nvidia*"))
    numbers = sorted(int(node[1]) for node in nodes if node)
    return _matching(DEVICES | {f"cuda:{n}": f"NVIDIA GPU {n}" for n in numbers}, incomplete)


def devices(incomplete: str) -> Completions:
    """The same after a comma, without the devices before it; or all GPUs."""
    before, comma, last = incomplete.rpartition(",")
    if not comma:
        return device(incomplete) + _matching({"all": "every NVIDIA GPU"}, incomplete)
    # Only the CPU can be named more than once.
    used = {"auto", *before.split(",")} - {"cpu"}
    left = [(name, meaning) for name, meaning in device(last) if name not in used]
    return [(f"{before},{name}", meaning) for name, meaning in left]


def products(incomplete: str) -> Completions:
    """Products; after a comma, without those before it."""
    before, comma, _ = incomplete.rpartition(",")
    left = [kind.value for kind in Product if kind.value not in before.split(",")]
    return _matching({f"{before}{comma}{name}": "" for name in left}, incomplete)


def formats(incomplete: str) -> Completions:
    """File formats."""
    return _matching({kind.value: "" for kind in Format}, incomplete)


def background(incomplete: str) -> Completions:
    """A few colours, blur, and pictures of this folder."""
    return _matching(BACKGROUNDS, incomplete) + _files(incomplete, tuple(PHOTO_SUFFIXES))


def bits(incomplete: str) -> Completions:
    """Bits a channel."""
    words = {"8": "a channel", "16": "a channel: png, tiff", "1": "a mask without grey: png"}
    return _matching(words, incomplete)


def preset(incomplete: str) -> Completions:
    """Sets of options."""
    return _matching({name: each.purpose for name, each in presets().items()}, incomplete)


def align(incomplete: str) -> Completions:
    """Places on a canvas."""
    return _matching({place.value: "" for place in Align}, incomplete)


def name_template(incomplete: str) -> Completions:
    """What a name can be made of; never files, which it is not."""
    begun, brace, _ = incomplete.rpartition("{")
    if "}" in incomplete[len(begun) :]:
        return [(incomplete, "")]
    words = {"{stem}": "the photo's name", "{name}": "with its extension"}
    start = begun if brace else incomplete
    return _matching({start + word: text for word, text in words.items()}, incomplete)


def _names(models: Iterable[zoo.Model], incomplete: str) -> Completions:
    return _matching({model.name: model.purpose for model in models}, incomplete)


def _remaining(context: typer.Context, models: Iterable[zoo.Model], incomplete: str) -> Completions:
    named = context.params.get("names") or ()
    return _names((model for model in models if model.name not in named), incomplete)


def _matching(words: dict[str, str], incomplete: str) -> Completions:
    found = (word for word in words if word.startswith(incomplete))
    return [(word, for_shells(words[word])) for word in found]


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Completions:
    if "/" in incomplete:  # no name has one: the shell completes it better
        return []
    found = (name for name in names_in(Path()) if Path(name).suffix.lower() in suffixes)
    # A name with a space or a quote the shell would have to quote; alone, it knows how.
    plain = (name for name in sorted(found) if re.fullmatch(r"[\w.+-]+", name))
    return [(name, "a file") for name in plain if name.startswith(incomplete)]
