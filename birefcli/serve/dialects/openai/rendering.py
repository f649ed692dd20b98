"""How pictures are to look, in the words of OpenAI's API, and in some of ours."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from birefcli.options import Format, Product, Rendering, Resize, Size
from birefcli.products.background import Colour, parse_colour_or_blur
from birefcli.products.words import NAMES, with_preset
from birefcli.serve import fields
from birefcli.serve.content import Content
from birefcli.serve.dialects import own
from birefcli.serve.errors import RequestError
from birefcli.serve.fields import wrong_value

Given: TypeAlias = Mapping[str, Any]
"""Fields that have a value."""
AUTO, TRANSPARENT, OPAQUE = "auto", "transparent", "opaque"
FORMATS = {
    "png": Format.PNG,
    "webp": Format.WEBP,
    "jpeg": Format.JPG,
    "jpg": Format.JPG,
}
THEIRS = ("write", "background", "format", "quality")
"""Our names of what their API says otherwise: ``quality`` is a word there, like ``high``."""
OURS = tuple(name for name in NAMES if name not in THEIRS)
"""Options that OpenAI's API does not have, as ``birefcli matte`` reads them."""
READ = ("output_format", "output_compression", "size")
"""Fields of their API that say how pictures look."""
IMPOSSIBLE = {
    "mask": "the model finds the subject by itself; leave mask out",
    "markup": "the model takes no hints; leave markup out",
}
WHITE = Colour((255, 255, 255))


def read_rendering(content: Content) -> tuple[own.Look, Colour | None]:
    """What to make of each photo, and a composite's background. Raises RequestError.

    A form's field with nothing in it is as good as none.
    """
    given = {name: content.value(name) for name in content.values if content.value(name) != ""}
    if isinstance(given.get("metadata"), dict):  # a client's own labels, as their API has it
        del given["metadata"]
    fields.refuse_misspelt(content.values, (*NAMES, *READ))
    for name, why in IMPOSSIBLE.items():
        if name in content.files or name in given:
            raise wrong_value(name, why)
    if "background" in content.files:
        raise wrong_value("background", "no picture here; POST /v1/matte takes one")
    if fields.number(given.get("n", 1), "n") != 1:
        raise wrong_value("n", "a photo has one result; leave n out, or send more photos")
    words = _with_preset(given)
    file_format = _format(words)
    product, background = _product(words)
    if file_format is Format.JPG and product.has_alpha:
        hint = "use background=opaque, a colour, png or webp"
        raise wrong_value("output_format", f"jpeg holds no transparency; {hint}")
    ours = {name: given[name] for name in OURS if name in given}
    said = {"write": product.value, "format": file_format.value}
    if (quality := _quality(given, file_format)) is not None:
        said["quality"] = str(quality)
    try:
        look = own.read_rendering({**ours, **said}, product)
    except RequestError as error:
        if error.param != "quality":
            raise
        text = error.message.removeprefix("quality=")
        raise fields.wrong(f"output_compression={text}", "output_compression") from None
    rendering = replace(look.rendering, resize=_resize(given, look.rendering))
    return look._replace(rendering=rendering), background


def _with_preset(given: Given) -> Given:
    """The same fields, and what a preset says of those that are not given."""
    if "preset" not in given:
        return given
    plain = {name: value for name, value in given.items() if (name, value) != ("background", AUTO)}
    with fields.usage_errors():
        words = with_preset({**plain, "preset": fields.word(given["preset"], "preset")}).words
    # Here each of the two says what is made: one of the client's beats the other of the preset's.
    if "background" in plain and "write" not in plain:
        words.pop("write", None)
    if "background" not in plain and words.get("write") != Product.COMPOSITE.value:
        words.pop("background", None)
    return words


def _format(given: Given) -> Format:
    name = "output_format" if "output_format" in given else "format"
    word = _word(given, name, "png").lower()
    if word not in FORMATS:
        raise wrong_value(f"{name}={word[:40]}", "choose png, webp or jpeg", name)
    return FORMATS[word]


def _quality(given: Given, file_format: Format) -> int | None:
    """Quality of JPEG and WebP; None where none is given, and for a PNG, which loses nothing.

    "The compression level (0-100%) for the generated images. This parameter is only supported [...]
    with the webp or jpeg output formats, and defaults to 100", OpenAI's reference of images/edits.
    As a WebP without a quality is lossless, one of 100 is too.
    """
    if "output_compression" not in given:
        return None
    value = fields.number(given["output_compression"], "output_compression")
    if value > 100:
        raise wrong_value("output_compression", "give a number from 0 to 100")
    lossless = file_format is Format.PNG or (file_format is Format.WEBP and value == 100)
    return None if lossless else max(1, value)


def _resize(given: Given, rendering: Rendering) -> Resize | None:
    """The size of results, by their word or by ours."""
    fit = _fit(given)
    if fit is None:
        return rendering.resize
    if rendering.resize is not None or (rendering.canvas and rendering.canvas.size):
        other = "resize" if rendering.resize is not None else "canvas"
        raise wrong_value("size", f"{other} says the size; leave one out")
    return fit


def _fit(given: Given) -> Resize | None:
    """The box that results are shrunk to fit, never enlarged; None: as large as their photos."""
    word = _word(given, "size", AUTO).lower()
    if word == AUTO:
        return None
    sides = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", word)
    if sides is None or not (int(sides[1]) and int(sides[2])):
        raise wrong_value(
            f"size={word[:40]}", "give auto, or WxH in pixels, like 1024x1024", "size"
        )
    return Resize(Size(int(sides[1]), int(sides[2])), enlarge=False)


def _product(given: Given) -> tuple[Product, Colour | None]:
    """The one product that is asked for, by its name or by its background."""
    word = _word(given, "background", AUTO)
    known = word.lower()
    plain = known in (AUTO, TRANSPARENT, OPAQUE)
    colour = WHITE if plain else _colour(word)
    if "write" not in given:
        cutout = known in (AUTO, TRANSPARENT)
        return (Product.CUTOUT, None) if cutout else (Product.COMPOSITE, colour)
    product = own.one_product(given["write"])
    if product is Product.CUTOUT and known not in (AUTO, TRANSPARENT):
        raise wrong_value("background", "a cutout has none; use write=composite")
    if product is not Product.CUTOUT and known == TRANSPARENT:
        raise wrong_value("background", f"a {product.value} is opaque; use write=cutout")
    if product is Product.COMPOSITE:
        return product, colour
    if not plain:
        raise wrong_value("background", f"a {product.value} has none; use write=composite")
    return product, None


def _colour(word: str) -> Colour:
    with fields.usage_errors():
        found = parse_colour_or_blur(word)
    if not isinstance(found, Colour):
        known = "give transparent, opaque, auto or a CSS colour"
        raise wrong_value(f"background={word[:40]}", known, "background")
    return found


def text_of(content: Content, name: str, otherwise: str) -> str:
    """A field's text; ``otherwise`` where there is none, or nothing in it. Raises RequestError."""
    given = content.value(name)
    return otherwise if given is None or given == "" else fields.word(given, name)


def _word(given: Given, name: str, otherwise: str) -> str:
    return fields.word(given.get(name, otherwise), name).strip()
