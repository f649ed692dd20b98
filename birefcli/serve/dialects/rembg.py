"""rembg's dialect: ``GET`` and ``POST /api/remove``.

Names and meanings are those of rembg's own server (its ``rembg/commands/s_command.py``). What it
does not know it ignores, and so does this, but for the options of ``birefcli matte``.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from birefcli.options import Product
from birefcli.products.background import Colour
from birefcli.products.words import NAMES
from birefcli.serve import fields
from birefcli.serve.content import Content, read_content
from birefcli.serve.dialects import own
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.fields import wrong_value
from birefcli.serve.orders import ImageInput, MattedPhoto, Order

MODELS = {
    "birefnet-portrait": "portrait",
    "birefnet-general": "general",
    "birefnet-general-lite": "lite",
}
"""Its names of networks that are ours too."""
FILE, URL = "file", "url"


def reader(loaded: Callable[[], Collection[str]]) -> Callable[[Request, int], Awaitable[Order]]:
    """What reads a request; ``loaded``: names of the models that are there."""

    async def read_order(request: Request, max_body: int) -> Order:
        post = request.method == "POST"
        content = await read_content(request, max_body) if post else Content()
        said = {name: content.value(name) for name in content.values}
        both = {**request.query_params, **said}
        given = {name: value for name, value in both.items() if value != ""}
        _refuse(given)
        (rendering, notes), colour = _rendering(given)
        source, field = _photo(given, content, max_body)
        return Order(
            photos=(source,),
            rendering=rendering,
            background=colour or own.read_background(given, content, rendering, max_body),
            model=_model(given, loaded()),
            field=field,
            notes=notes,
        )

    return read_order


def _refuse(given: dict[str, Any]) -> None:
    """What would make another picture. Raises RequestError.

    Options of how colours are estimated (a, af, ab, ae, dc, vm) are no such: they always are.
    """
    fields.refuse_misspelt(given, NAMES)
    if fields.switch(given.get("ppm", False), "ppm"):
        raise wrong_value("ppm", "masks are not smoothed here; leave ppm out")
    if fields.word(given.get("extras", ""), "extras").strip() not in ("", "{}"):
        raise wrong_value("extras", "no model here takes any; leave extras out")


def _rendering(given: dict[str, Any]) -> tuple[own.Look, Colour | None]:
    """How the picture looks, by rembg's words and by ours; and the colour that rembg's say."""
    ours = {name: given[name] for name in NAMES if name in given}
    product, colour = _product(given)
    for name in ("write", "background"):
        if name in ours and product is not Product.CUTOUT:
            raise wrong_value(name, "om or bgc says it; leave one out")
    if product is not Product.CUTOUT:
        ours["write"] = product.value
    elif "write" in ours:
        ours["write"] = own.one_product(ours["write"]).value
    return own.read_rendering(ours, product), colour


def _product(given: dict[str, Any]) -> tuple[Product, Colour | None]:
    colour, alpha = _background(given)
    if fields.switch(given.get("om", False), "om"):
        return Product.MASK, None
    if colour is None or alpha == 0:
        return Product.CUTOUT, None
    if alpha != 255:
        raise wrong_value(
            "bgc", "a background is opaque or transparent: the fourth number is 255 or 0"
        )
    return Product.COMPOSITE, colour


def _background(given: dict[str, Any]) -> tuple[Colour | None, int]:
    """A colour, and its opacity, 0..255."""
    text = fields.word(given.get("bgc", ""), "bgc")
    if not text.strip():
        return None, 0
    words = [word.strip() for word in text.split(",")]
    if len(words) not in (3, 4) or not all(_is_level(word) for word in words):
        raise wrong_value(f"bgc={text[:40]}", "give R,G,B,A, each from 0 to 255", "bgc")
    red, green, blue, alpha = *map(int, words), *([255] if len(words) == 3 else [])
    return Colour((red, green, blue)), alpha


def _is_level(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 255


def _photo(given: dict[str, Any], content: Content, max_body: int) -> tuple[ImageInput, str]:
    found: list[tuple[ImageInput, str]] = [(data, FILE) for data in content.files.get(FILE, ())]
    if given.get(URL):
        found.append((fields.image_input(given[URL], URL, max_body), URL))
    if not found:
        raise RequestError(
            Code.MISSING_IMAGE, "no photo: send it as a form's file, or name its url", FILE
        )
    if len(found) > 1:
        raise RequestError(Code.TOO_MANY_IMAGES, "one photo a request", FILE)
    return found[0]


def _model(given: dict[str, Any], loaded: Collection[str]) -> str | None:
    """As ours are called, where it is one of those, and no alias."""
    if "model" not in given:
        return None
    name = fields.word(given["model"], "model")
    ours = MODELS.get(name, name)
    return name if name in loaded or ours not in loaded else ours


def answer(request: Request, order: Order, results: list[MattedPhoto]) -> Response:
    """The picture, in PNG where no format is asked for."""
    ((picture,),) = [list(each.pictures.values()) for each in results]
    return Response(picture.data, media_type=own.MEDIA[order.rendering.format])


def error(failed: RequestError) -> Response:
    """As rembg's own server says it."""
    return JSONResponse({"detail": failed.message}, failed.code.status)
