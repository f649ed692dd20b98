"""How pictures are to look, in the words of OpenAI's API, and in some of ours."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from birefcli.options import Format, Product, Rendering, Resize, Size
from birefcli.products.background import Colour, parse_colour_or_blur
from birefcli.serve import fields
from birefcli.serve.content import Content
from birefcli.serve.dialects import own
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
OURS = ("bits", "crop", "margin", "refine")
"""Options that OpenAI's API does not have, as ``birefcli matte`` reads them."""
IMPOSSIBLE = {
    "mask": "the model finds the subject by itself; leave mask out",
    "markup": "the model takes no hints; leave markup out",
}
WHITE = Colour((255, 255, 255))


def read_rendering(content: Content) -> tuple[Rendering, Colour | None]:
    """What to make of each photo, and a composite's background. Raises RequestError.

    A form's field with nothing in it is as good as none.
    """
    given = {name: content.value(name) for name in content.values if content.value(name) != ""}
    for name, why in IMPOSSIBLE.items():
        if name in content.files or name in given:
            raise wrong_value(name, why)
    if "background" in content.files:
        raise wrong_value("background", "no picture here; POST /v1/matte takes one")
    if fields.number(given.get("n", 1), "n") != 1:
        raise wrong_value("n", "a photo has one result; leave n out, or send more photos")
    file_format = _format(given)
    product, background = _product(given)
    if file_format is Format.JPG and product.has_alpha:
        hint = "use background=opaque, a colour, png or webp"
        raise wrong_value("output_format", f"jpeg holds no transparency; {hint}")
    ours = {name: given[name] for name in OURS if name in given}
    rendering = own.read_rendering({**ours, "format": file_format.value}, product)
    quality = _quality(given, file_format)
    return replace(rendering, resize=_fit(given), quality=quality), background


def _format(given: Given) -> Format:
    word = _word(given, "output_format", "png").lower()
    if word not in FORMATS:
        raise wrong_value(f"output_format={word[:40]}", "choose png, webp or jpeg", "output_format")
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
    product = _written(given)
    if product is Product.CUTOUT and known not in (AUTO, TRANSPARENT):
        raise wrong_value("background", "a cutout has none; use write=composite")
    if product is not Product.CUTOUT and known == TRANSPARENT:
        raise wrong_value("background", f"a {product.value} is opaque; use write=cutout")
    if product is Product.COMPOSITE:
        return product, colour
    if not plain:
        raise wrong_value("background", f"a {product.value} has none; use write=composite")
    return product, None


def _written(given: Given) -> Product:
    word = _word(given, "write", Product.CUTOUT.value)
    try:
        return Product(word)
    except ValueError:
        known = ", ".join(kind.value for kind in Product)
        raise wrong_value(f"write={word[:40]}", f"choose one of {known}", "write") from None


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
