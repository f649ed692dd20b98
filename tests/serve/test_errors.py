"""Every way in which a request fails, in the shape of every dialect."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from bodies import as_json, data_url, file_of, form
from hypothesis import given
from hypothesis import strategies as st
from running import Running, running
from starlette.requests import Request

from birefcli.errors import DeviceMemoryError
from birefcli.products.limits import check_rendering
from birefcli.serve.dialects import own
from birefcli.serve.dialects.openai import chat, images
from birefcli.serve.errors import RequestError
from birefcli.serve.service import State

MOST = 16
WORDS = (
    *("photo", "image", "images", "image_url", "url", "input_references", "b64_json", "messages"),
    *("role", "user", "content", "type", "background", "transparent", "opaque", "red", "write"),
    *("mask", "composite", "output_format", "jpeg", "webp", "size", "10x10", "n", "bits", "crop"),
    *("margin", "5%", "stream", "response_format", "model", "output_compression", "refine"),
    *("format", "quality", "compress", "true", "\ud800", "a\nb", "data:,", data_url(bytes(40))),
)
PASSING = ("queue_full", "not_ready", "draining", "timeout", "out_of_memory")
"""Errors after which the same request may do."""
Body = tuple[bytes, str]


@dataclass(frozen=True)
class Dialect:
    """A way to ask, and to be told of errors."""

    path: str
    body: Callable[..., Body]
    """Of photos (files, or text of URLs), and of other fields."""
    field: str
    """Where photos are, as errors name it."""
    most: int = MOST
    """Photos of a request."""


def _own(*photos, **fields) -> Body:
    return form(*(("photo", photo) for photo in photos), *fields.items())


def _edit(*photos, **fields) -> Body:
    return form(*(("image[]", photo) for photo in photos), *fields.items())


def _json(*photos, **fields) -> Body:
    return as_json(images=[{"image_url": _text(photo)} for photo in photos], **fields)


def _chat(*photos, **fields) -> Body:
    parts = [{"type": "image_url", "image_url": {"url": _text(photo)}} for photo in photos]
    return as_json(messages=[{"role": "user", "content": parts}], **fields)


def _rembg(*photos, **fields) -> Body:
    named = [("file" if isinstance(photo, bytes) else "url", photo) for photo in photos]
    return form(*named, *fields.items())


def _text(photo: bytes | str) -> str:
    return data_url(photo) if isinstance(photo, bytes) else photo


DIALECTS = {
    "own": Dialect("/v1/matte", _own, "photo", most=1),
    "edits": Dialect("/v1/images/edits", _edit, "image"),
    "edits in JSON": Dialect("/v1/images/edits", _json, "images"),
    "generations": Dialect("/v1/images/generations", _json, "images"),
    "chat": Dialect("/v1/chat/completions", _chat, "messages"),
    "rembg": Dialect("/api/remove", _rembg, "file", most=1),
}


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return DIALECTS[request.param]


@pytest.fixture(scope="module")
def photo():
    return file_of(0)


@pytest.fixture(scope="module")
def closed() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def service(tiny_weights, closed) -> Iterator[Running]:
    limits = {"max_pixels": 20_000, "max_body": 500_000, "queue": 2}
    with running(tiny_weights, urls=closed, **limits) as started:
        yield started


def refused(
    service: Running, dialect: Dialect, body: Body, status: int, code: str, param: str | None
):
    """See that a request is answered so, and the next one as ever. Headers of the answer."""
    answer = service.ask("POST", dialect.path, *body)
    kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
    kind = kinds.get(status, "invalid_request_error")
    if dialect.path.startswith("/api/"):
        assert list(answer.json) == ["detail"]
        message = answer.json["detail"]
    else:
        assert list(answer.json) == ["error"]
        error = dict(answer.json["error"])
        message = error.pop("message")
        assert error == {"type": kind, "param": param, "code": code}, message
    assert answer.status == status, message
    assert message.strip()
    assert "\n" not in message
    assert answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    assert ("retry-after" in answer.headers) == (code in PASSING)
    metric = f'birefcli_refused_total{{reason="{code}"}}'
    assert metric in service.service.metrics.text().decode()
    return answer.headers


def test_no_photo(service, dialect):
    field = "image" if dialect.path.startswith("/v1/images") else dialect.field
    refused(service, dialect, dialect.body(), 400, "missing_image", field)


def test_too_many_photos(service, dialect, photo):
    body = dialect.body(*[photo[:400]] * (dialect.most + 1))
    # A form with too many files is refused before anything is read of it.
    param = None if dialect.body is _edit else dialect.field
    refused(service, dialect, body, 400, "too_many_images", param)


@pytest.mark.parametrize("data", [b"no picture at all, but long enough to be one", file_of(0)[:90]])
def test_what_is_no_picture_or_damaged(service, dialect, data):
    refused(service, dialect, dialect.body(data), 400, "invalid_image", dialect.field)


def test_too_many_megapixels(service, dialect):
    large = file_of(200)
    refused(service, dialect, dialect.body(large), 400, "image_too_large", dialect.field)


@pytest.mark.parametrize(
    ("fields", "param"), [({"bits": "12"}, "bits"), ({"crop": "perhaps"}, "crop")]
)
def test_a_bad_value(service, dialect, photo, fields, param):
    if dialect.body is _rembg:
        fields, param = {"om": "perhaps"}, "om"
    refused(service, dialect, dialect.body(photo, **fields), 400, "invalid_value", param)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"a":' + b"[" * 100_000], ids=["none", "cut", "list", "deep"]
)
def test_what_is_no_json(service, body):
    for name in ("edits in JSON", "generations", "chat"):
        dialect = DIALECTS[name]
        refused(service, dialect, (body, "application/json"), 400, "invalid_value", None)


@pytest.mark.parametrize("url", ["http://10.0.0.1/a.png", "http://a:b@127.0.0.1/", "ftp://a/b"])
def test_a_url_that_is_not_allowed(service, dialect, url):
    field = "url" if dialect.body is _rembg else dialect.field
    refused(service, dialect, dialect.body(url), 400, "url_not_allowed", field)


def test_a_url_that_is_not_fetched(service, dialect, closed):
    field = "url" if dialect.body is _rembg else dialect.field
    body = dialect.body(f"http://{closed}/a.png")
    refused(service, dialect, body, 400, "url_failed", field)


def test_no_key_or_a_wrong_one(tiny_weights, tmp_path, photo):
    keys = tmp_path / "keys.txt"
    keys.write_text("shop k-4711\n")
    with running(tiny_weights, keys=keys) as service:
        for dialect in DIALECTS.values():
            body = dialect.body(photo)
            said = refused(service, dialect, body, 401, "invalid_api_key", None)
            assert said["www-authenticate"] == "Bearer"
            wrong = service.ask("POST", dialect.path, *body, Authorization="Bearer other")
            assert wrong.status == 401
            right = service.ask("POST", dialect.path, *body, Authorization="Bearer k-4711")
            assert right.status == 200


def test_an_unknown_model(service, dialect, photo):
    body = dialect.body(photo, model="gpt-image-1")
    refused(service, dialect, body, 404, "model_not_found", "model")


def test_a_body_that_is_too_large(service, dialect):
    refused(service, dialect, dialect.body(bytes(600_000)), 413, "request_too_large", None)


def test_a_full_queue(service, dialect, photo):
    with service.full():
        said = refused(service, dialect, dialect.body(photo), 429, "queue_full", None)
    assert 1 <= int(said["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ZeroDivisionError("secret"), 500, "internal"),
     (DeviceMemoryError("out of memory on the device"), 503, "out_of_memory")],
)  # fmt: skip
def test_a_bug_and_a_device_that_is_too_small(
    service, dialect, photo, monkeypatch, error, status, code
):
    def fail(*given):
        raise error

    monkeypatch.setattr(service.service, "_load", fail)
    refused(service, dialect, dialect.body(photo), status, code, None)


def test_a_service_that_starts(tiny_weights, photo):
    with running(tiny_weights, loaded=False) as service:
        for dialect in DIALECTS.values():
            refused(service, dialect, dialect.body(photo), 503, "not_ready", None)


def test_a_service_that_stops(service, dialect, photo, monkeypatch):
    monkeypatch.setattr(service.service, "state", State.DRAINING)
    refused(service, dialect, dialect.body(photo), 503, "draining", None)


def test_a_wait_that_is_too_long(service, dialect, photo, monkeypatch):
    brief = replace(service.service.options, timeout=0.0)
    monkeypatch.setattr(service.service, "options", brief)
    refused(service, dialect, dialect.body(photo), 503, "timeout", None)


def test_paths_and_methods_that_do_not_exist(service):
    for path in ("/v1/images/variations", "/nothing", "/v1/matte/more"):
        error = service.ask("POST", path).json["error"]
        assert error["code"] == "not_found"
        assert "/v1/images/edits" in error["message"]
    assert "/api/remove" in service.ask("GET", "/api/nothing").json["detail"]
    for dialect in DIALECTS.values():
        answer = service.ask("DELETE", dialect.path)
        assert answer.status == 405
        assert list(answer.json) == ["detail" if dialect.body is _rembg else "error"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("read", [own.read_order, images.read_edit, chat.read_order])
@given(fields=st.dictionaries(st.sampled_from(WORDS) | st.text(), VALUES))
def test_whatever_comes_in_json_is_read_or_refused_in_words(read, fields):
    body = json.dumps(fields).encode()

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    head = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": head}
    refusal = None
    try:
        check_rendering(asyncio.run(read(Request(scope, receive), 10_000)).rendering)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code.status < 500
        assert json.loads(own.error(refusal).body)["error"]["message"].isprintable()
