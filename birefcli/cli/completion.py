"""What a shell offers when Tab is pressed. It must be quick: nothing heavy is imported.

Where nothing is offered, shells offer files; so files are listed here only beside names.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import typer

from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.models import zoo
from birefcli.options import Format, Product

Offer = list[tuple[str, str]]
"""Words, and what they mean."""

NODES = Path("/dev")  # where the driver of NVIDIA has one for each GPU
DEVICES = {
    "auto": "the best there is",
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


def model(incomplete: str) -> Offer:
    """Names of known models, and weights files of this folder."""
    return _names(zoo.ZOO.values(), incomplete) + _files(incomplete, zoo.FILE_SUFFIXES)


def opponent(incomplete: str) -> Offer:
    """What a model can be compared with: others, and exported networks."""
    return _names(zoo.ZOO.values(), incomplete) + _files(incomplete, (".onnx", *zoo.FILE_SUFFIXES))


def known(context: typer.Context, incomplete: str) -> Offer:
    """Names of models that are not on the command line yet."""
    return _unsaid(context, zoo.ZOO.values(), incomplete)


def published(context: typer.Context, incomplete: str) -> Offer:
    """The same without the model that is part of the package."""
    return _unsaid(context, (m for m in zoo.ZOO.values() if not m.bundled), incomplete)


def device(incomplete: str) -> Offer:
    """Kinds of device, and the single NVIDIA GPUs of this machine."""
    nodes = (re.fullmatch(r"nvidia(\d+)", path.name) for path in NODES.glob("nvidia*"))
    numbers = sorted(int(node[1]) for node in nodes if node)
    return _matching(DEVICES | {f"cuda:{n}": f"NVIDIA GPU {n}" for n in numbers}, incomplete)


def devices(incomplete: str) -> Offer:
    """The same, after those that are named already and a comma; or all GPUs."""
    before, comma, last = incomplete.rpartition(",")
    if not comma:
        return device(incomplete) + _matching({"all": "every NVIDIA GPU"}, incomplete)
    # Only the CPU can be named more than once.
    taken = {"auto", *before.split(",")} - {"cpu"}
    left = [(name, told) for name, told in device(last) if name not in taken]
    return [(f"{before},{name}", told) for name, told in left]


def products(incomplete: str) -> Offer:
    """Products, after those that are named already and a comma."""
    before, comma, _ = incomplete.rpartition(",")
    left = [kind.value for kind in Product if kind.value not in before.split(",")]
    return _matching({f"{before}{comma}{name}": "" for name in left}, incomplete)


def formats(incomplete: str) -> Offer:
    """File formats."""
    return _matching({kind.value: "" for kind in Format}, incomplete)


def background(incomplete: str) -> Offer:
    """A few colours, blur, and pictures of this folder."""
    return _matching(BACKGROUNDS, incomplete) + _files(incomplete, tuple(PHOTO_SUFFIXES))


def bits(incomplete: str) -> Offer:
    """Bits a channel."""
    return _matching({"8": "a channel", "16": "a channel: png, tiff"}, incomplete)


def _names(models: Iterable[zoo.Model], incomplete: str) -> Offer:
    return _matching({model.name: model.purpose for model in models}, incomplete)


def _unsaid(context: typer.Context, models: Iterable[zoo.Model], incomplete: str) -> Offer:
    said = context.params.get("names") or ()
    return _names((model for model in models if model.name not in said), incomplete)


def _matching(words: dict[str, str], incomplete: str) -> Offer:
    return [(word, help_) for word, help_ in words.items() if word.startswith(incomplete)]


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Offer:
    if "/" in incomplete:  # no name has one: the shell completes it better
        return []
    found = (path.name for path in Path().iterdir() if path.suffix.lower() in suffixes)
    # A name with a space or a quote the shell would have to quote; alone, it knows how.
    plain = (name for name in sorted(found) if re.fullmatch(r"[\w.+-]+", name))
    return [(name, "a file") for name in plain if name.startswith(incomplete)]
