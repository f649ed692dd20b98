"""birefcli's own dialect: ``POST /v1/matte``, with the options of ``birefcli matte``."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from birefcli.options import Format, Product, Rendering
from birefcli.products.words import NAMES, SWITCHES, refuse_idle, with_preset
from birefcli.products.words import read_rendering as words_to_rendering
from birefcli.serve import fields
from birefcli.serve.content import Content, read_content
from birefcli.serve.dialects.json_files import JsonFiles
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.orders import ImageInput, MattedPhoto, Order

MEDIA = {
    Format.PNG: "image/png",
    Format.WEBP: "image/webp",
    Format.TIFF: "image/tiff",
    Format.JPG: "image/jpeg",
    Format.AVIF: "image/avif",
}
PHOTO = "photo"
OPTIONS = (*NAMES, "model")
NUMBERS = ("bits", "quality")


async def read_order(request: Request, max_body: int) -> Order:
    """What a request asks for. Raises RequestError."""
    content = await read_content(request, max_body)
    given = _options(request, content)
    rendering, notes = read_rendering(given, Product.CUTOUT)
    return Order(
        photos=(_photo(request, content, max_body),),
        rendering=rendering,
        background=read_background(given, content, rendering, max_body),
        model=fields.word(given["model"], "model") if "model" in given else None,
        notes=notes,
    )


def _options(request: Request, content: Content) -> dict[str, Any]:
    """Options of the query, and over them those of the body. Raises RequestError."""
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    given = {**query, **content.values}
    for name in given:
        if name not in OPTIONS and name != PHOTO:
            near = fields.meant(name, OPTIONS)
            known = f"did you mean {near}?" if near else f"known: {', '.join(OPTIONS)}"
            raise fields.wrong(f"unknown option {name[:40]!r}; {known}", name[:40])
    given.pop(PHOTO, None)
    return {name: _one(name, list(found)) for name, found in given.items()}


def _one(name: str, found: list[Any]) -> Any:  # noqa: ANN401 - whatever JSON has
    """An option's value; several products are a list. Raises RequestError."""
    if name == "write":
        every = [
            each for value in found for each in (value if isinstance(value, list) else [value])
        ]
        return ",".join(fields.word(each, name) for each in every)
    if len(found) > 1:
        raise fields.wrong(f"{name} is given {len(found)} times", name)
    return found[0]


def _photo(request: Request, content: Content, max_body: int) -> ImageInput:
    texts = (*request.query_params.getlist(PHOTO), *content.values.get(PHOTO, ()))
    found: list[Any] = [*content.files.get(PHOTO, ()), *texts]
    if content.raw:
        found.append(content.raw)
    if not found:
        other = next((name for name in content.files if name != "background"), None)
        hint = f", which the form calls {other[:40]!r}" if other else ""
        raise RequestError(
            Code.MISSING_IMAGE, f"no photo: send it as the body, or in the field photo{hint}", PHOTO
        )
    if len(found) > 1 or (isinstance(found[0], list)):
        raise RequestError(Code.TOO_MANY_IMAGES, "one photo a request", PHOTO)
    (photo,) = found
    return photo if isinstance(photo, bytes) else fields.image_input(photo, PHOTO, max_body)


class Look(NamedTuple):
    """How products are to look."""

    rendering: Rendering
    notes: tuple[str, ...]
    """As an order has them."""


def read_rendering(given: Mapping[str, Any], default: Product) -> Look:
    """Products, and how they look, by the options of ``birefcli matte``. Raises RequestError."""
    words = {name: _word(value, name) for name, value in given.items() if name in NAMES}
    with fields.usage_errors():
        filled = with_preset(words)
        rendering = words_to_rendering(filled.words, default)
        refuse_idle(rendering, words)
    return Look(rendering, () if filled.overruled is None else (str(filled.overruled),))


def _word(value: Any, name: str) -> Any:  # noqa: ANN401 - of JSON
    """An option's value as :mod:`.products.words` takes it. Raises RequestError."""
    if name in SWITCHES:
        return fields.switch(value, name)
    return fields.number(value, name) if name in NUMBERS else fields.word(value, name)


def one_product(value: Any) -> Product:  # noqa: ANN401 - of JSON
    """What ``write`` names where an answer has one picture a photo. Raises RequestError."""
    word = fields.word(value, "write").strip()
    try:
        return Product(word)
    except ValueError:
        known = ", ".join(kind.value for kind in Product)
        wrong = f"write={word[:40]}: choose one of {known}"
        raise RequestError(Code.INVALID_VALUE, wrong, "write") from None


def read_background(
    given: Mapping[str, Any], content: Content, rendering: Rendering, max_body: int
) -> Any:  # noqa: ANN401 - as an order has it
    """What composites are put over; None, and nothing read, without any. Raises RequestError."""
    if Product.COMPOSITE not in rendering.products:
        if "background" in content.files:
            wrong = "background does nothing without write=composite"
            raise RequestError(Code.INVALID_VALUE, wrong, "background")
        return None
    if uploaded := content.files.get("background"):
        return uploaded[-1]
    return fields.background(given.get("background", rendering.background), max_body)


def answer(request: Request, order: Order, results: list[MattedPhoto]) -> Response:
    """The picture; of several a zip; all of them in JSON where that is asked for."""
    (matted,) = results
    suffix = order.rendering.format.suffix
    if "application/json" in request.headers.get("accept", ""):
        files = JsonFiles()
        return files.response(_as_json(files, matted))
    if len(matted.pictures) == 1:
        ((kind, picture),) = matted.pictures.items()
        name, data, media = f"{kind.value}{suffix}", picture.data, MEDIA[order.rendering.format]
    else:
        name, data, media = "pictures.zip", _zip(matted, suffix), "application/zip"
    return Response(
        data, media_type=media, headers={"Content-Disposition": f'inline; filename="{name}"'}
    )


def _as_json(files: JsonFiles, matted: MattedPhoto) -> dict[str, Any]:
    size = next(iter(matted.pictures.values())).size
    return {
        "pictures": {
            kind.value: files.add(picture.data) for kind, picture in matted.pictures.items()
        },
        **matted.measures(),
        "width": size.width,
        "height": size.height,
        "model": matted.model,
        "notes": list(matted.notes),
        "seconds": {stage: round(value, 4) for stage, value in vars(matted.timings).items()},
    }


def _zip(matted: MattedPhoto, suffix: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # pictures are packed already
        for kind, picture in matted.pictures.items():
            archive.writestr(f"{kind.value}{suffix}", picture.data)
    return out.getvalue()


def error(failed: RequestError) -> Response:
    """OpenAI's form, which is ours too."""
    return JSONResponse(
        {
            "error": {
                "message": failed.message,
                "type": failed.code.type,
                "param": failed.param,
                "code": failed.code.word,
            }
        },
        failed.code.status,
    )
