"""What the service answers is what ``openapi.json`` says, for requests good and bad."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import picture
from hypothesis import reject, settings
from hypothesis import strategies as st
from running import OPTIONS, running
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection
from schemathesis.transport.serialization import Binary, contains_binary
from served import Served, serving
from starlette.routing import Route
from support import saved

import birefcli
from birefcli.serve import app
from birefcli.serve.dialects import own
from birefcli.serve.errors import Code
from birefcli.serve.metrics import Metrics
from birefcli.serve.service import Service, State
from birefcli.system.watchdog import Activity

CONTRACT = json.loads((Path(app.__file__).parent / "openapi.json").read_text(encoding="utf-8"))
PHOTO = saved(picture(24, 16), "PNG")
BASE64 = base64.b64encode(PHOTO).decode()
STORE = "http://store"
"""Stands for the server that photos are fetched from, whose port is known later."""
SOURCES = [BASE64, f"data:image/png;base64,{BASE64}", f"{STORE}/a.png", f"{STORE}/none", "%%%"]


class Store(BaseHTTPRequestHandler):
    """Has one photo."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/a.png" else 404)
        self.end_headers()
        self.wfile.write(PHOTO)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of a server that has a photo."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def service(environment, store, tiny_weights) -> Iterator[Served]:
    words = (
        "--model",
        tiny_weights,
        "--alias",
        "portrait=tiny.safetensors",
        "--max-megapixels",
        "1",
    )
    with serving(environment, *words, "--urls", f"127.0.0.1:{store}", "--max-body", "1") as served:
        yield served
        assert "Traceback" not in served.said


# The file itself


def test_it_has_the_version_of_the_package():
    assert CONTRACT["info"]["version"] == birefcli.__version__


def test_it_is_valid_and_uses_all_that_it_defines():
    schemathesis.openapi.from_dict(CONTRACT).validate()
    used = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                used.add(node["$ref"].removeprefix("#/components/"))
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(CONTRACT)
    parts = CONTRACT["components"].items()
    defined = {f"{kind}/{name}" for kind, items in parts for name in items}
    assert used == {name for name in defined if not name.startswith("securitySchemes/")}


def test_it_names_every_endpoint_and_method():
    routes = app._routes(Service(OPTIONS, Metrics(), Activity()))
    there = {
        (route.path.replace(":path", ""), method.lower())
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert {(path, method) for path, item in CONTRACT["paths"].items() for method in item} == there


def test_it_names_every_option_of_our_own_dialect():
    operation = CONTRACT["paths"]["/v1/matte"]["post"]
    query = {each["name"] for each in operation["parameters"] if "name" in each}
    content = operation["requestBody"]["content"]
    for kind in ("multipart/form-data", "application/json"):
        assert set(content[kind]["schema"]["properties"]) == {*own.OPTIONS, "photo"}
    assert query == {*own.OPTIONS, "photo"}


def test_it_names_every_code_of_an_error_under_its_status():
    schemas = CONTRACT["components"]["schemas"]
    all_codes = schemas["Error"]["properties"]["error"]["properties"]["code"]["enum"]
    assert all_codes == [code.word for code in Code]
    told: dict[str, set[str]] = {}
    for item in CONTRACT["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                name = response.get("$ref", "").rpartition("/")[2]
                body = CONTRACT["components"]["responses"].get(name, response)["content"]
                errors = body.get("application/json", {}).get("schema", {}).get("allOf")
                if errors and errors[0] == {"$ref": "#/components/schemas/Error"}:
                    inner = body["application/json"]["schema"]["properties"]["error"]
                    told.setdefault(status, set()).update(inner["properties"]["code"]["enum"])
    known: dict[str, set[str]] = {}
    for code in set(Code) - {Code.METHOD_NOT_ALLOWED}:  # of no operation
        known.setdefault(str(code.status.value), set()).add(code.word)
    assert told == known


# Answers


def with_store(port: int, value: Any) -> Any:
    """A value with the store's address wherever it is named."""
    if isinstance(value, Binary):  # a text without letters, to Python
        return value
    if isinstance(value, str):
        return value.replace(STORE, f"http://127.0.0.1:{port}")
    if isinstance(value, dict):
        return {key: with_store(port, inner) for key, inner in value.items()}
    return [with_store(port, inner) for inner in value] if isinstance(value, list) else value


def schema(*, thorough: bool) -> Any:
    """The contract, with photos where it says binary, picture or URI.

    Whether values that each are right go together (a jpg and a cutout), and whether bytes are a
    picture, no schema tells: so what a schema calls right may be refused.
    """
    schemathesis.openapi.format("binary", st.sampled_from([PHOTO, PHOTO, b"no picture", b""]))
    schemathesis.openapi.format("picture", st.sampled_from(SOURCES))
    schemathesis.openapi.format("uri", st.sampled_from(SOURCES[2:]))
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, st.just(PHOTO))
    config = {
        "generation": {"max-examples": 200 if thorough else 8, "deterministic": True},
        # A case for each border of each value: thousands, which are made before any test runs.
        "phases": {"coverage": {"enabled": thorough}},
        "checks": {"positive_data_acceptance": {"enabled": False}},
    }
    read = schemathesis.openapi.from_dict(CONTRACT, config=schemathesis.Config.from_dict(config))
    read.hook(before_generate_body)
    return read


def before_generate_body(_: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Leave out what schemathesis itself cannot judge: wrong lists of files."""

    @st.composite
    def bodies(draw: st.DrawFn) -> Any:
        try:
            return draw(strategy)
        except ValueError as error:
            if "'Binary'" in str(error):
                reject()
            raise

    return bodies()


SCHEMA = schema(thorough=settings.default.max_examples > 100)  # as conftest's profiles have it


@SCHEMA.parametrize()
def test_no_answer_is_outside_the_contract(case, service, store):
    for part in ("body", "query"):
        placed = with_store(store, getattr(case, part))
        if placed != getattr(case, part):  # what is set is judged anew
            setattr(case, part, placed)
    response = case.call(base_url=service.url)
    for part in ("body", "query"):
        if isinstance(sent := getattr(case, part), dict) and contains_binary(sent):
            setattr(case, part, without_files(sent))
    left_out = [] if says_what_it_means(case) else [negative_data_rejection]
    case.validate_response(response, excluded_checks=left_out)
    assert str(Path.home()).encode() not in response.content
    assert service.process.poll() is None


def without_files(value: Any) -> Any:
    """A value with a text for each file, as none of those that judge what was sent takes one.

    One file, and it is not known whether the text ``false`` is right for a switch beside it.
    """
    if isinstance(value, Binary):
        return "a file"
    if isinstance(value, dict):
        return {key: without_files(inner) for key, inner in value.items()}
    return [without_files(inner) for inner in value] if isinstance(value, list) else value


def says_what_it_means(case: Any) -> bool:
    """Whether a wrong value is one for the service too.

    Null is none, and nothing is none in some fields; of a field that comes twice the last counts,
    and one in the body more than one in the query. A list is a field for each value, an object one
    for each key.
    """
    body = case.body if isinstance(case.body, dict) else {}
    query = dict(case.query or {})
    once = query if case.media_type == "application/json" else {**query, **body}
    twice = any(isinstance(value, list | dict) for name, value in once.items() if name != "image")
    none = any(value is None or value == "" for value in (*body.values(), *query.values()))
    return not (none or twice or set(query) & set(body))


@pytest.mark.parametrize("field", ["stream", "response_format"])
@pytest.mark.parametrize("value", [[], {}])
def test_what_is_empty_but_no_text_is_no_value(service, field, value):
    body = json.dumps({"image": BASE64, field: value}).encode()
    answer = service.post("/v1/images/edits", body, Content_Type="application/json")
    assert (answer.status, answer.json["error"]["param"]) == (400, field)


URL = f"data:image/png;base64,{BASE64}"
PART = {"type": "image_url", "image_url": {"url": URL}}
GOOD = {
    "/v1/matte": {"media_type": "image/*", "body": PHOTO},
    "/v1/images/edits": {
        "media_type": "application/json",
        "body": {"images": [{"image_url": URL}]},
    },
    "/v1/images/generations": {"media_type": "application/json", "body": {"image": BASE64}},
    "/v1/chat/completions": {
        "media_type": "application/json",
        "body": {"messages": [{"role": "user", "content": [PART]}]},
    },
    "/api/remove": {"media_type": "multipart/form-data", "body": {"file": PHOTO}},
}
"""A request that is right, by its endpoint."""


@pytest.mark.parametrize(
    ("situation", "status"),
    [("ready", 200), ("starting", 503), ("draining", 503), ("full", 429), ("keyless", 401)],
)
def test_good_requests_are_answered_and_refused_by_the_contract(
    situation, status, tiny_weights, tmp_path
):
    (tmp_path / "keys").write_text("shop secret\n")
    keys = tmp_path / "keys" if situation == "keyless" else None
    with running(tiny_weights, loaded=situation != "starting", keys=keys) as running_service:
        if situation == "draining":
            running_service.service.state = State.DRAINING
        with running_service.full() if situation == "full" else nullcontext():
            for path, request in GOOD.items():
                case = SCHEMA[path]["POST"].Case(**request)
                meant = [] if status < 500 else [not_a_server_error]
                response = case.call_and_validate(
                    base_url=running_service.url, excluded_checks=meant
                )
                assert response.status_code == status, (path, response.text)
