"""From the words of options to how products look: one reader for commands, requests and Python."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict, TypeVar

from birefcli import values
from birefcli.errors import Message, Option, UsageError, no_choice
from birefcli.options import (
    TRIMAP_WIDTH,
    Align,
    Canvas,
    Compress,
    Format,
    Margin,
    Product,
    Rendering,
    Shadow,
)
from birefcli.products.limits import check_rendering
from birefcli.products.presets import find_preset

LOGGER = logging.getLogger(__name__)
Value = TypeVar("Value", bound=Enum)

NAMES = (
    *("write", "format", "bits", "compress", "background", "crop", "margin", "refine", "strip"),
    *("metadata", "preset", "resize", "quality", "max_bytes", "threshold", "trimap_width"),
    *("canvas", "aspect", "fill", "head", "align", "shadow"),
)
"""Options that say how products look."""
SWITCHES = ("crop", "refine", "strip", "metadata")
"""Those of them that are on or off."""
WHOLE = {"bits": "8 or 16", "quality": "a whole number from 1 to 100"}
"""Those that are whole numbers, and which."""
SPELT = {"center": "centre", "middle": "centre"}
ONE_SIZE = ("canvas", "aspect")
ONE_SHARE = ("fill", "head")


class LayoutWords(TypedDict, total=False):
    """What products show, and where: options of ``birefcli matte``, by their names in Python.

    Texts are those of the command line; sizes may be tuples or numbers, shares numbers up to 1.
    """

    crop: bool
    margin: int | str
    preset: str
    canvas: str | tuple[int, int]
    aspect: str | tuple[int, int]
    fill: float | str
    head: float | str
    align: str
    shadow: str
    resize: int | str | tuple[int, int]
    threshold: float | str
    trimap_width: int | str


class FileWords(LayoutWords, total=False):
    """The same, and how a file holds it."""

    bits: int
    compress: str
    strip: bool
    metadata: bool
    quality: int | None
    max_bytes: int | str | None


MEANT = {"write": "product", "bg": "background", "bgcolor": "background"}
"""What others call arguments of Python's."""


def check_names(function: str, given: Iterable[str], words: type, besides: Collection[str]) -> None:
    """See that a function of Python's knows the options it is given.

    ``words``: the TypedDict of these; ``besides``: its other arguments, which may be meant. Raises
    TypeError, in Python's own words, and with the nearest name.
    """
    own = words.__annotations__
    for name in given:
        if name in own:
            continue
        known = (*besides, *own)
        near = get_close_matches(name.lower(), known, 1)
        meant = MEANT.get(name) or next(iter(near), None)
        hint = f"Did you mean {meant!r}?" if meant else f"There are {', '.join(known)}"
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}. {hint}")


def of_arguments(product: Product, given: Mapping[str, Any], background: str | None) -> Rendering:
    """How one product looks, by arguments of Python's; ``background``: one that is text.

    Raises UsageError, which calls arguments as they are called there.
    """
    words, overruled = with_preset({name: as_word(name, value) for name, value in given.items()})
    if overruled is not None:
        _warn_once(overruled)
    said = {"write": product.value, "background": background}
    try:
        rendering = read_rendering({**words, **said})
        refuse_idle(rendering, given)
    except UsageError as error:
        error.rename("write", "product")
        raise
    return rendering


@lru_cache(64)
def _warn_once(told: Message) -> None:
    """Warn of it, and not again for every photo that is made so."""
    LOGGER.warning("%s", told)


def as_word(name: str, value: object) -> Any:  # noqa: ANN401 - switches and numbers stay
    """What Python gave for an option, as :func:`read_rendering` takes it. Raises UsageError."""
    if isinstance(value, tuple):
        return (":" if name == "aspect" else "x").join(map(str, value))
    if value is None:
        return value
    if name in SWITCHES:
        return values.switch(name, value)
    return values.whole(name, value, WHOLE[name]) if name in WHOLE else str(value)


class IdleError(UsageError):
    """An option was given that does nothing without another one."""

    def __init__(self, name: str, other: Option | Message) -> None:
        """``name``: the option; ``other``: what it wants."""
        super().__init__(Message(Option(name), " does nothing without ", other))
        self.option = name


def read_rendering(given: Mapping[str, Any], default: Product = Product.CUTOUT) -> Rendering:
    """How products look, by the words of options; what is not given has its default.

    ``given``: by names of :data:`NAMES`, texts as of a command line, of ``write`` one or several;
    numbers, switches and members of enumerations may be such already. A preset's words count where
    no others are given. Raises UsageError.
    """
    words = with_preset(given).words
    rendering = Rendering(
        products=_products(words, default),
        format=values.file_format(words.get("format")) or Format.PNG,
        bits=words.get("bits", 8),
        compress=_choice(words, "compress", Compress, Compress.FAST),
        background=words.get("background", "white"),
        crop=words.get("crop", False),
        margin=values.margin(words["margin"]) if "margin" in words else Margin(),
        refine=words.get("refine", True),
        strip=words.get("strip", False),
        metadata=words.get("metadata", True),
        resize=values.resize(words["resize"]) if "resize" in words else None,
        quality=words.get("quality"),
        max_bytes=values.max_bytes(words["max_bytes"]) if "max_bytes" in words else None,
        threshold=values.threshold(words["threshold"]) if "threshold" in words else None,
        trimap_width=_trimap_width(words),
        canvas=_canvas(words),
        shadow=_choice(words, "shadow", Shadow, Shadow.NONE),
    )
    check_rendering(rendering)
    return rendering


class Filled(NamedTuple):
    """Words of options, with those of their preset among them and no preset any more."""

    words: dict[str, Any]
    overruled: Message | None = None
    """What to tell where the preset's share is of the head, and the one that is given is not: so it
    makes no ID picture, which nobody sees of one that looks like it. The other way round too."""


def with_preset(given: Mapping[str, Any]) -> Filled:
    """The same words, and those of the preset among them, which come second. Raises UsageError.

    What is None counts as not given.
    """
    words = {name: value for name, value in given.items() if value is not None}
    if "preset" not in words:
        return Filled(words)
    name = words.pop("preset")
    preset = dict(find_preset(name).words)
    dropped: dict[str, Any] = {}
    # One size is enough: that of the preset gives way to another; so does what its share is of.
    for pair in (ONE_SIZE, ONE_SHARE):
        if any(each in words for each in pair):
            dropped |= {each: preset.pop(each) for each in pair if each in preset}
    return Filled({**preset, **words}, _overruled(name, dropped, words))


def _overruled(preset: str, dropped: Mapping[str, Any], words: Mapping[str, Any]) -> Message | None:
    """What to tell of a preset that lost words to others, if anything."""
    for lost, other in (ONE_SHARE, ONE_SHARE[::-1]):
        if lost in dropped and lost not in words:
            rule, instead = Option(lost, str(dropped[lost])), Option(other, str(words[other]))
            what = "no head is looked for" if lost == "head" else "the head is"
            told = " is not applied, as ", instead, f" is given: {what}"
            return Message(Option("preset", preset, given=True), ": its ", rule, *told)
    return None


def refuse_idle(rendering: Rendering, names: Collection[str]) -> None:
    """Raise UsageError where one of the options that were given by name does nothing."""
    laid_out = rendering.canvas is not None
    placed = Message(Option("canvas"), " or ", Option("aspect"))
    kinds = set(rendering.products)
    shaded = bool(kinds & {Product.CUTOUT, Product.COMPOSITE})
    needed: dict[str, tuple[bool, Option | Message]] = {
        "background": (Product.COMPOSITE in kinds, Option("write", "composite")),
        "margin": (rendering.crop, Option("crop")),
        "threshold": (Product.MASK in kinds, Option("write", "mask")),
        "trimap_width": (Product.TRIMAP in kinds, Option("write", "trimap")),
        "shadow": (shaded, Message(Option("write", "cutout"), " or composite")),
        "fill": (laid_out, placed),
        "head": (laid_out, placed),
        "align": (laid_out, placed),
    }
    for name, (there, other) in needed.items():
        if name in names and not there:
            raise IdleError(name, other)


def _products(words: Mapping[str, Any], default: Product) -> tuple[Product, ...]:
    if "write" not in words:
        return (default,)
    given = words["write"]
    return values.choices("write", [given] if isinstance(given, str) else given, Product)


def _choice(words: Mapping[str, Any], name: str, kind: type[Value], otherwise: Value) -> Value:
    """A word of an enumeration, or a member of it."""
    word = words.get(name, otherwise)
    if isinstance(word, kind):
        return word
    try:
        return kind(SPELT.get(word, str(word).replace(" ", "-")))
    except ValueError:
        raise no_choice(name, word, kind) from None


def _trimap_width(words: Mapping[str, Any]) -> Margin:
    if "trimap_width" not in words:
        return TRIMAP_WIDTH
    width = values.margin(words["trimap_width"], "trimap_width")
    if width.relative and width.amount > 1:
        wrong = "give pixels or a percentage up to 100%, like 10 or 2%"
        raise UsageError(wrong, option="trimap_width", value=words["trimap_width"])
    return width


def _canvas(words: Mapping[str, Any]) -> Canvas | None:
    if "canvas" in words and "aspect" in words:
        text = Message("says its proportions; leave ", Option("aspect"), " out")
        raise UsageError(text, option="canvas", value=words["canvas"])
    if "canvas" in words:
        plain = values.canvas_size(words["canvas"])
    elif "aspect" in words:
        plain = Canvas(aspect=values.aspect(words["aspect"]))
    else:
        _shares(words, None)  # a wrong word is wrong without a canvas too
        return None
    fill, head = _shares(words, plain)
    return replace(plain, fill=fill, head=head, align=_choice(words, "align", Align, Align.CENTRE))


def _shares(words: Mapping[str, Any], canvas: Canvas | None) -> tuple[float | None, float | None]:
    """Of the canvas: what the subject takes, and what its head."""
    fill = values.share("fill", words["fill"]) if "fill" in words else None
    return fill, values.head(words["head"], canvas) if "head" in words else None
