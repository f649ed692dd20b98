"""OpenAI's dialect, as the ``openai`` package speaks it, unchanged."""

import asyncio
import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from bodies import as_json, data_url, file_of, form
from openai import AsyncOpenAI, OpenAI
from openai.types import (
    Image as ImageEntry,
)
from openai.types import (
    ImageEditCompletedEvent,
    ImageGenCompletedEvent,
    ImagesResponse,
    Model,
    image_edit_params,
    image_generate_params,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from PIL import Image
from running import running
from served import Served
from support import Encoded

import birefcli
from birefcli.options import Canvas, Format, Margin, Product, Rendering, Resize, Shadow, Size
from birefcli.products.background import Colour
from birefcli.products.words import NAMES
from birefcli.serve.content import Content
from birefcli.serve.dialects.openai.photos import read_photos
from birefcli.serve.dialects.openai.rendering import READ, read_rendering
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.fields import refuse_misspelt
from birefcli.serve.orders import Url

ALIAS = "gpt-image-2.5-flare"
PROMPT = "remove the background"
EDITS, CHAT = "/v1/images/edits", "/v1/chat/completions"


@pytest.fixture
def client(mini_service: Served) -> Iterator[OpenAI]:
    with client_of(mini_service) as made:
        yield made


def client_of(service, **options):
    plain = {"api_key": "any", "max_retries": 0}
    return OpenAI(base_url=f"{service.url}/v1", **{**plain, **options})


@pytest.fixture(scope="module")
def model():
    return birefcli.load("mini", device="cpu", offline=True)


@pytest.fixture(scope="module")
def photo():
    return file_of(0)


@pytest.fixture(scope="module")
def result(model, photo):
    return model(Image.open(io.BytesIO(photo)))


def file_in(entry: ImageEntry) -> bytes:
    assert entry.b64_json is not None
    assert entry.url is None
    return base64.b64decode(entry.b64_json)


def file_at(image: dict) -> bytes:
    """Of a chat's picture in PNG."""
    assert image["type"] == "image_url"
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data)


def messages(*urls: str):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": PROMPT}, *parts]}]


def as_declared(kind, answer):
    """An answer whose fields are all as the package declares them: its client checks none."""
    return kind.model_validate_json(answer.model_dump_json(), strict=True)


# Edits


def test_a_photo_is_edited(client, photo, result):
    made = client.images.edit(image=photo, prompt=PROMPT, model="mini")
    as_declared(ImagesResponse, made)
    (entry,) = made.data
    assert Encoded(file_in(entry)) == Encoded(result.encode())
    assert (made.background, made.output_format, made.size) == ("transparent", "png", "120x140")
    assert made.usage.total_tokens == 0
    assert entry.coverage == round(result.coverage, 5)
    assert (entry.width, entry.height, entry.notes) == (120, 140, [])


def test_photos_are_edited_in_their_order(client, model):
    photos = [file_of(seed) for seed in range(3)]
    made = client.images.edit(image=photos, prompt=PROMPT)
    assert [entry.width for entry in made.data] == [120, 121, 122]
    for data, entry in zip(photos, made.data, strict=True):
        assert Encoded(file_in(entry)) == Encoded(model(Image.open(io.BytesIO(data))).encode())
    assert made.size is None  # they have none in common


def test_names_and_types_of_uploads_are_not_believed(client, photo, result):
    made = client.images.edit(image=("../../x.txt", photo, "text/html"), prompt=PROMPT)
    assert Encoded(file_in(made.data[0])) == Encoded(result.encode())


def test_edits_are_streamed(client, photo, result):
    events = list(
        client.images.edit(image=[photo, photo], prompt=PROMPT, stream=True, partial_images=2)
    )
    assert [type(event) for event in events] == [ImageEditCompletedEvent] * 2
    for event in events:
        as_declared(ImageEditCompletedEvent, event)
        assert Encoded(base64.b64decode(event.b64_json)) == Encoded(result.encode())
        assert (event.background, event.output_format, event.size) == (
            "transparent",
            "png",
            "120x140",
        )


def test_clients_may_be_asynchronous(mini_service, photo, result):
    async def ask():
        async with AsyncOpenAI(base_url=f"{mini_service.url}/v1", api_key="any") as client:
            made = await client.images.edit(image=photo, prompt=PROMPT)
            stream = await client.images.edit(image=photo, prompt=PROMPT, stream=True)
            streamed = [event async for event in stream]
            said = await client.chat.completions.create(
                model="mini", messages=messages(data_url(photo))
            )
            return made, streamed, said, [each.id async for each in client.models.list()]

    made, (event,), said, names = asyncio.run(ask())
    expected = Encoded(result.encode())
    assert Encoded(file_in(made.data[0])) == Encoded(base64.b64decode(event.b64_json)) == expected
    assert (
        said.choices[0].message.images[0]["image_url"]["url"].startswith("data:image/png;base64,")
    )
    assert names == ["mini", ALIAS]


@pytest.mark.parametrize(
    ("product", "format_"),
    [
        (product, format_)
        for product in ("cutout", "composite", "mask", "foreground", "trimap")
        for format_ in ("png", "webp", "jpeg")
        if format_ != "jpeg" or product not in ("cutout", "trimap")  # it holds neither
    ],
)
def test_files_equal_those_of_the_python_face(client, photo, result, product, format_):
    made = client.images.edit(
        image=photo, prompt=PROMPT, output_format=format_, extra_body={"write": product}
    )
    assert Encoded(file_in(made.data[0])) == Encoded(
        result.encode(product, format=format_.replace("jpeg", "jpg"))
    )
    assert made.output_format == format_
    assert made.background == ("transparent" if product == "cutout" else "opaque")


def test_clients_at_once_get_their_own_pictures(client, model):
    photos = [file_of(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda data: client.images.edit(image=data, prompt=""), photos * 2))
    for data, each in zip(photos * 2, made, strict=True):
        assert Encoded(file_in(each.data[0])) == Encoded(
            model(Image.open(io.BytesIO(data))).encode()
        )


@pytest.mark.parametrize(
    ("background", "colour"),
    [("opaque", "white"), ("#204060", "#204060"), ("rebeccapurple", "rebeccapurple")],
)
def test_a_background_makes_a_composite(client, photo, result, background, colour):
    made = client.images.edit(image=photo, prompt=PROMPT, background=background)
    assert Encoded(file_in(made.data[0])) == Encoded(result.encode("composite", background=colour))
    assert made.background == "opaque"


def test_our_options_come_as_extra_fields(client, photo, model):
    deep = client.images.edit(image=photo, prompt=PROMPT, extra_body={"write": "mask", "bits": 16})
    smooth = model(Image.open(io.BytesIO(photo)))
    assert Encoded(file_in(deep.data[0])) == Encoded(smooth.encode("mask", bits=16))
    plain = client.images.edit(image=photo, prompt=PROMPT, extra_body={"refine": False})
    rough = model(Image.open(io.BytesIO(photo)), refine=False)
    assert Encoded(file_in(plain.data[0])) == Encoded(rough.encode())
    laid_out = client.images.edit(
        image=photo, prompt=PROMPT, extra_body={"canvas": "60x60", "fill": "85%"}
    )
    assert Encoded(file_in(laid_out.data[0])) == Encoded(smooth.encode(canvas="60x60", fill=0.85))


def test_results_are_shrunk_to_fit_a_size_and_never_enlarged(client, photo, result):
    made = client.images.edit(image=photo, prompt=PROMPT, size="30x1024")
    assert made.size == "30x35"
    assert Image.open(io.BytesIO(file_in(made.data[0]))).size == (30, 35)
    large = client.images.edit(image=photo, prompt=PROMPT, size="1024x1024")
    assert Encoded(file_in(large.data[0])) == Encoded(result.encode())


@pytest.mark.parametrize(("format_", "background"), [("jpeg", "opaque"), ("webp", "transparent")])
def test_output_compression_is_the_quality_of_jpegs_and_webps(client, photo, format_, background):
    sizes = [
        len(
            file_in(
                client.images.edit(
                    image=photo, prompt=PROMPT, output_format=format_, background=background,
                    output_compression=quality,
                ).data[0]
            )
        )
        for quality in (0, 50, 100)
    ]  # fmt: skip
    assert sizes == sorted(set(sizes))


def test_urls_of_results_hold_them(client, photo, result):
    made = client.images.edit(image=photo, prompt=PROMPT, response_format="url")
    head, _, data = made.data[0].url.partition(",")
    assert head == "data:image/png;base64"
    assert Encoded(base64.b64decode(data)) == Encoded(result.encode())
    assert made.data[0].b64_json is None


def test_fields_that_change_nothing_are_accepted(client, photo, result):
    made = client.images.edit(
        image=photo, prompt=PROMPT, n=1, size="auto", background="auto", quality="high",
        user="u", input_fidelity="high", safety_identifier="s", complexity="low",
        response_format="b64_json", output_compression=90, extra_body={"of_next_year": [1, 2]},
    )  # fmt: skip
    assert Encoded(file_in(made.data[0])) == Encoded(result.encode())


# Shapes of JSON


def test_photos_come_in_json(client, photo, result):
    for body in ({"images": [{"image_url": data_url(photo)}]}, {"image": data_url(photo)}):
        made = client.post("/images/edits", body={"prompt": "", **body}, cast_to=ImagesResponse)
        assert Encoded(file_in(made.data[0])) == Encoded(result.encode())


FILE, URL = b"A picture's file, for all that is asked here", "https://a.example/b.png"
TEXT = data_url(FILE)
BARE = TEXT.partition(",")[2]


@pytest.mark.parametrize(
    ("body", "sources"),
    [
        ({"images": [{"image_url": TEXT}]}, [FILE]),
        ({"images": [{"image_url": URL}, {"image_url": {"url": TEXT}}]}, [Url(URL), FILE]),
        ({"images": [TEXT, URL]}, [FILE, Url(URL)]),
        ({"images": TEXT}, [FILE]),
        ({"image": BARE}, [FILE]),
        ({"image": [TEXT, TEXT]}, [FILE, FILE]),
        ({"image": {"url": TEXT}}, [FILE]),
        ({"image": {"b64_json": BARE}}, [FILE]),
        ({"image_url": URL}, [Url(URL)]),
        ({"image_url": {"url": TEXT}}, [FILE]),
        ({"url": URL}, [Url(URL)]),
        ({"input_references": [{"type": "image_url", "image_url": {"url": TEXT}}]}, [FILE]),
    ],
    ids=str,
)
def test_photos_in_json_have_many_shapes(body, sources):
    content = Content(values={name: (value,) for name, value in body.items()})
    assert read_photos(content, 100) == (tuple(sources), next(iter(body)))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, Code.MISSING_IMAGE),
        ({"images": []}, Code.MISSING_IMAGE),
        ({"images": [TEXT] * 17}, Code.TOO_MANY_IMAGES),
        ({"images": [{"file_id": "file-1"}]}, Code.INVALID_VALUE),
        ({"images": [{"text": "a"}]}, Code.INVALID_VALUE),
        ({"images": [7]}, Code.INVALID_VALUE),
        ({"images": [[TEXT]]}, Code.INVALID_VALUE),
        ({"image": "no base64!"}, Code.INVALID_IMAGE),
        ({"image": "A" * 400}, Code.REQUEST_TOO_LARGE),
        ({"image_url": "file:///etc/passwd"}, Code.URL_NOT_ALLOWED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_photo_in_json_is_named(body, code):
    content = Content(values={name: (value,) for name, value in body.items()})
    with pytest.raises(RequestError) as failed:
        read_photos(content, 100)
    assert failed.value.code is code
    named = "image" if code is Code.MISSING_IMAGE else next(iter(body))
    assert failed.value.param == named


# How pictures look


def rendering_of(**fields: object):
    look, background = read_rendering(
        Content(values={name: (value,) for name, value in fields.items()})
    )
    return look.rendering, background


@pytest.mark.parametrize(
    ("fields", "expected", "background"),
    [
        ({}, Rendering(), None),
        ({"background": "transparent"}, Rendering(), None),
        ({"background": "opaque"}, Rendering((Product.COMPOSITE,)), Colour((255, 255, 255))),
        ({"background": "RED"}, Rendering((Product.COMPOSITE,)), Colour((255, 0, 0))),
        ({"write": "composite"}, Rendering((Product.COMPOSITE,)), Colour((255, 255, 255))),
        ({"write": "mask", "background": "opaque"}, Rendering((Product.MASK,)), None),
        ({"n": "1", "size": "auto", "output_format": "WEBP"}, Rendering(format=Format.WEBP), None),
        ({"size": "640x480"}, Rendering(resize=Resize(Size(640, 480), enlarge=False)), None),
        (
            {"write": "mask", "output_format": "jpg", "output_compression": "0"},
            Rendering((Product.MASK,), Format.JPG, quality=1),
            None,
        ),
        ({"output_compression": 40}, Rendering(), None),  # a PNG loses nothing
        (
            {"output_format": "webp", "output_compression": 40},
            Rendering(format=Format.WEBP, quality=40),
            None,
        ),
        (
            {"output_format": "webp", "output_compression": 100},
            Rendering(format=Format.WEBP),
            None,
        ),
        (
            {"bits": "16", "crop": "true", "margin": "5%", "refine": False},
            Rendering(bits=16, crop=True, margin=Margin(0.05, relative=True), refine=False),
            None,
        ),
        (
            {"canvas": "600x600", "fill": "85%", "shadow": "soft", "strip": "true"},
            Rendering(canvas=Canvas(Size(600, 600), fill=0.85), shadow=Shadow.SOFT, strip=True),
            None,
        ),
        (
            {"max_bytes": "20k", "format": "webp"},
            Rendering(format=Format.WEBP, max_bytes=20_000),
            None,
        ),
        ({"resize": "50%", "size": "auto"}, Rendering(resize=Resize(share=0.5)), None),
        ({"quality": "high", "max_tokens": "3", "style": "vivid"}, Rendering(), None),  # not ours
        ({"metadata": {"order": "7"}, "metadata[o]": "7"}, Rendering(), None),
        ({"metadata": False}, Rendering(metadata=False), None),
        (
            dict.fromkeys(("n", "background", "size", "write", "crop", "bits", "mask"), ""),
            Rendering(),
            None,
        ),
    ],
    ids=str,
)
def test_how_pictures_look_is_said_in_fields(fields, expected, background):
    assert rendering_of(**fields) == (expected, background)


def test_a_preset_says_what_no_field_does():
    square = Canvas(aspect=1.0, fill=0.85)
    white = Colour((255, 255, 255))
    for fields in ({"preset": "square"}, {"preset": "square", "background": "auto"}):
        made, background = rendering_of(**fields)
        assert (made.products, made.canvas) == ((Product.COMPOSITE,), square)
        assert background == white
    made, background = rendering_of(preset="square", background="red", fill="50%")
    assert (made.canvas, background) == (Canvas(aspect=1.0, fill=0.5), Colour((255, 0, 0)))
    for fields in ({"write": "cutout"}, {"background": "transparent"}):
        made, background = rendering_of(preset="square", **fields)
        assert (made.products, made.canvas, background) == ((Product.CUTOUT,), square, None)
    made, background = rendering_of(preset="id-us", write="composite")
    assert (made.products, background) == ((Product.COMPOSITE,), white)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": "two"}, "n"),
        ({"mask": TEXT}, "mask"),
        ({"markup": TEXT}, "markup"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"output_format": "tiff"}, "output_format"),
        ({"output_format": "jpeg"}, "output_format"),
        ({"output_format": "jpeg", "background": "transparent"}, "output_format"),
        ({"output_compression": 101}, "output_compression"),
        ({"output_compression": -1}, "output_compression"),
        ({"size": "large"}, "size"),
        ({"size": "0x100"}, "size"),
        ({"background": "no colour"}, "background"),
        ({"background": "blur"}, "background"),
        ({"background": "#ff000080"}, "background"),
        ({"background": "opaque", "write": "cutout"}, "background"),
        ({"background": "red", "write": "mask"}, "background"),
        ({"background": "transparent", "write": "composite"}, "background"),
        ({"write": "cutout,mask"}, "write"),
        ({"bits": 12}, "bits"),
        ({"bits": 16, "output_format": "webp"}, "bits"),
        ({"crop": "perhaps"}, "crop"),
        ({"margin": "wide"}, "margin"),
        ({"refine": [True]}, "refine"),
        ({"preset": "squre"}, "preset"),
        ({"canvas": "600"}, "canvas"),
        ({"fill": "85%"}, "fill"),
        ({"fil": 1}, "fil"),
        ({"max_bytes": "20k"}, "max_bytes"),
        ({"format": "gif"}, "format"),
        ({"canvas": "600x600", "size": "512x512"}, "size"),
        ({"resize": "600", "size": "512x512"}, "size"),
        (
            {"write": "trimap", "output_format": "webp", "output_compression": 80},
            "output_compression",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_named(fields, param):
    with pytest.raises(RequestError) as failed:
        rendering_of(**fields)
    assert (failed.value.code, failed.value.param) == (Code.INVALID_VALUE, param)
    assert param in failed.value.message


def test_no_field_of_openais_own_clients_is_taken_for_one_of_ours_misspelled():
    kinds = (image_edit_params, image_generate_params, completion_create_params)
    fields = {
        name
        for module in kinds
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, dict)
        for name in kind.__annotations__
    }
    assert {"max_tokens", "size", "input_fidelity"} <= fields
    theirs = {"background", "quality", "format", "metadata"}  # which mean something else there
    assert fields & set(NAMES) == theirs
    refuse_misspelt(sorted(fields), (*NAMES, *READ))


def test_generations_take_photos_too(client, photo, result):
    body = {"images": [{"image_url": data_url(photo)}]}
    made = client.images.generate(prompt=PROMPT, extra_body=body)
    assert Encoded(file_in(as_declared(ImagesResponse, made).data[0])) == Encoded(result.encode())
    (event,) = client.images.generate(prompt=PROMPT, stream=True, extra_body=body)
    as_declared(ImageGenCompletedEvent, event)
    with pytest.raises(openai.BadRequestError, match="no photo") as failed:
        client.images.generate(prompt="a cat")
    assert failed.value.code == "missing_image"


def test_forms_may_have_photos_as_text(mini_service, photo, result):
    body, kind = form(("image", data_url(photo)), ("prompt", ""))
    answer = mini_service.post(EDITS, body, Content_Type=kind)
    assert Encoded(base64.b64decode(answer.json["data"][0]["b64_json"])) == Encoded(result.encode())


# Chat


def test_a_chat_answers_with_pictures(client, photo, result):
    said = client.chat.completions.create(
        model=ALIAS, messages=messages(data_url(photo), data_url(photo))
    )
    as_declared(ChatCompletion, said)
    (choice,) = said.choices
    assert (said.model, choice.finish_reason) == ("mini", "stop")
    assert "\n" not in choice.message.content
    assert "120x140" in choice.message.content
    made = [Encoded(file_at(image)) for image in choice.message.images]
    assert made == [Encoded(result.encode())] * 2


def test_a_chat_is_streamed_in_one_chunk(client, mini_service, photo, result):
    asked = {"model": "mini", "messages": messages(data_url(photo)), "stream": True}
    (chunk,) = client.chat.completions.create(**asked)
    as_declared(ChatCompletionChunk, chunk)
    (choice,) = chunk.choices
    (image,) = choice.delta.images
    assert Encoded(file_at(image)) == Encoded(result.encode())
    body, kind = as_json(**asked)
    raw = mini_service.post(CHAT, body, Content_Type=kind)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.body.endswith(b"\n\ndata: [DONE]\n\n")


def test_the_last_message_of_the_user_that_has_photos_counts(client, photo, result):
    history = [
        *messages(data_url(file_of(1)), data_url(file_of(2))),
        {"role": "assistant", "content": "done"},
        *messages(data_url(photo)),
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "again, please"},
    ]
    said = client.chat.completions.create(
        model="mini", messages=history, extra_body={"write": "mask"}
    )
    (image,) = said.choices[0].message.images
    assert Encoded(base64.b64decode(image["image_url"]["url"].partition(",")[2])) == Encoded(
        result.encode("mask")
    )


# Models


def test_models_are_those_that_are_loaded_and_their_aliases(client):
    found = client.models.list().data
    assert [(each.id, each.owned_by) for each in found] == [
        ("mini", "birefcli"),
        (ALIAS, "birefcli"),
    ]
    for each in found:
        as_declared(Model, each)
        assert client.models.retrieve(each.id) == each
    with pytest.raises(openai.NotFoundError, match="loaded: mini"):
        client.models.retrieve("ZhengPeng7/BiRefNet-portrait")


# Errors, by the classes of the package


def test_wrong_values_are_bad_requests(client, photo):
    with pytest.raises(openai.BadRequestError, match="one result") as failed:
        client.images.edit(image=photo, prompt=PROMPT, n=2)
    error = failed.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "n", "invalid_value")
    assert error.request_id == error.response.headers["x-request-id"]


def test_uploads_that_would_change_nothing_are_bad_requests(client, photo):
    for name in ("mask", "markup"):
        with pytest.raises(openai.BadRequestError) as failed:
            client.images.edit(image=photo, prompt=PROMPT, **{name: photo})
        assert failed.value.param == name


def test_keys_are_the_clients_api_key(tiny_weights, tmp_path, photo):
    keys = tmp_path / "keys.txt"
    keys.write_text("shop k-4711\n")
    with running(tiny_weights, keys=keys) as service:
        with client_of(service) as client, pytest.raises(openai.AuthenticationError, match="wrong"):
            client.images.edit(image=photo, prompt=PROMPT)
        with client_of(service, api_key="k-4711") as client:
            assert client.images.edit(image=photo, prompt=PROMPT).data


def test_unknown_models_are_not_found(client, photo):
    with pytest.raises(openai.NotFoundError, match=f"loaded: mini, {ALIAS}"):
        client.images.edit(image=photo, prompt=PROMPT, model="gpt-image-1")


def test_a_full_queue_is_a_rate_limit(tiny_weights, photo):
    with (
        running(tiny_weights, queue=1) as service,
        service.full(),
        client_of(service) as client,
        pytest.raises(openai.RateLimitError) as failed,
    ):
        client.images.edit(image=photo, prompt=PROMPT)
    assert (failed.value.type, failed.value.code) == ("rate_limit_error", "queue_full")


def test_clients_wait_and_try_again_by_themselves(tiny_weights, photo):
    statuses = []
    with running(tiny_weights, queue=1) as service, service.full() as make_room:

        def seen(response):
            statuses.append(response.status_code)
            make_room()

        http = openai.DefaultHttpxClient(event_hooks={"response": [seen]})
        with client_of(service, max_retries=2, http_client=http) as client:
            assert client.images.edit(image=photo, prompt=PROMPT).data
    assert statuses == [429, 200]


def test_large_bodies_are_refused(tiny_weights, photo):
    with (
        running(tiny_weights, max_body=1000) as service,
        client_of(service) as client,
        pytest.raises(openai.APIStatusError) as failed,
    ):
        client.images.edit(image=photo, prompt=PROMPT)
    assert (failed.value.status_code, failed.value.code) == (413, "request_too_large")


def test_a_service_that_starts_is_unavailable(tiny_weights, photo):
    with running(tiny_weights, loaded=False) as service, client_of(service) as client:
        for call in (
            lambda: client.images.edit(image=photo, prompt=PROMPT),
            lambda: client.models.list(),
        ):
            with pytest.raises(openai.InternalServerError) as failed:
                call()
            assert (failed.value.status_code, failed.value.code) == (503, "not_ready")
