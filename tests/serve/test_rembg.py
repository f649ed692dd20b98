"""rembg's dialect: the calls that its own server documents."""

import asyncio
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from bodies import file_of, form
from PIL import Image
from running import running
from starlette.requests import Request
from support import Encoded

import birefcli
from birefcli.serve.dialects import rembg

REMOVE = "/api/remove"


@pytest.fixture(scope="module")
def photo():
    return file_of(0)


@pytest.fixture(scope="module")
def result(photo):
    return birefcli.load("mini", device="cpu", offline=True)(Image.open(io.BytesIO(photo)))


def ask(service, photo, query="", **fields):
    body, kind = form(("file", photo), *fields.items())
    return service.post(REMOVE + query, body, Content_Type=kind)


def test_a_file_becomes_a_cutout(mini_service, photo, result):
    answer = ask(mini_service, photo)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert Encoded(answer.body) == Encoded(result.encode())
    assert answer.headers["x-model"] == "mini"


@pytest.mark.parametrize("where", ["form", "query"])
@pytest.mark.parametrize(
    ("options", "product", "background"),
    [
        ({"om": "true"}, "mask", "white"),
        ({"om": "True", "bgc": "1,2,3,4"}, "mask", "white"),
        ({"om": "false"}, "cutout", "white"),
        ({"bgc": "32,64,96,255"}, "composite", "#204060"),
        ({"bgc": "32, 64, 96"}, "composite", "#204060"),
        ({"bgc": "32,64,96,0"}, "cutout", "white"),
        (
            {"a": "true", "af": "240", "ab": "10", "ae": "10", "dc": "1", "vm": "1", "ppm": "0"},
            "cutout",
            "white",
        ),
        (
            {"extras": "{}", "of_next_year": "1", "bgc": "", "om": "", "model": ""},
            "cutout",
            "white",
        ),
    ],
    ids=str,
)
def test_options_come_in_the_form_and_in_the_query(
    mini_service, photo, result, where, options, product, background
):
    if where == "form":
        answer = ask(mini_service, photo, **options)
    else:
        query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        answer = ask(mini_service, photo, f"?{query}")
    assert Encoded(answer.body) == Encoded(result.encode(product, background=background))


def test_our_options_come_in_the_form_and_in_the_query(mini_service, photo, result):
    made = ask(mini_service, photo, preset="square", background="#204060", format="jpg")
    look = {"background": "#204060", "aspect": "1:1", "fill": 0.85}
    assert Encoded(made.body) == Encoded(result.encode("composite", format="jpg", **look))
    assert made.headers["content-type"] == "image/jpeg"
    made = ask(mini_service, photo, "?canvas=60x60&quality=5", bgc="32,64,96", format="webp")
    look = {"background": "#204060", "canvas": "60x60", "quality": 5}
    assert Encoded(made.body) == Encoded(result.encode("composite", format="webp", **look))


def test_the_form_comes_before_the_query(mini_service, photo, result):
    answer = ask(mini_service, photo, "?om=true&bgc=32,64,96,255", om="false")
    assert Encoded(answer.body) == Encoded(result.encode("composite", background="#204060"))


class _Site(BaseHTTPRequestHandler):
    """Has one picture."""

    picture = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.picture)))
        self.end_headers()
        self.wfile.write(self.picture)

    def log_message(self, *said):
        pass


@pytest.fixture
def site(photo) -> Iterator[str]:
    """An address whose every path has the photo."""
    handler = type("Site", (_Site,), {"picture": photo})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_in_the_query_is_fetched(tiny_weights, site, photo):
    model = birefcli.load(tiny_weights, device="cpu")
    made = model(Image.open(io.BytesIO(photo)))
    url = quote(f"http://{site}/a.png?signature=a&b", safe="")
    with running(tiny_weights, urls=site) as service:
        answer = service.ask("GET", f"{REMOVE}?url={url}&om=true")
        assert (answer.status, Encoded(answer.body)) == (200, Encoded(made.encode("mask")))
        assert Encoded(service.ask("POST", f"{REMOVE}?url={url}").body) == Encoded(made.encode())


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"ppm": "true"}, 400, "ppm"),
        ({"ppm": "perhaps"}, 400, "ppm"),
        ({"extras": '{"sam_prompt": []}'}, 400, "extras"),
        ({"bgc": "1,2,3,128"}, 400, "opaque or transparent"),
        ({"bgc": "1,2"}, 400, "R,G,B,A"),
        ({"bgc": "1,2,3,256"}, 400, "R,G,B,A"),
        ({"bgc": "red"}, 400, "R,G,B,A"),
        ({"om": "maybe"}, 400, "om"),
        ({"om": "true", "write": "cutout"}, 400, "write: om or bgc says it"),
        ({"write": "cutout,mask"}, 400, "choose one of cutout"),
        ({"canvas": "wide"}, 400, "canvas=wide: give WxH"),
        ({"fil": "1"}, 400, "'fil'; did you mean fill?"),
        ({"model": "u2net"}, 404, "'u2net'"),
        ({"model": "birefnet-portrait"}, 404, "'birefnet-portrait' here; loaded: mini"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said(mini_service, photo, options, status, said):
    answer = ask(mini_service, photo, **options)
    assert answer.status == status
    assert list(answer.json) == ["detail"]
    assert said in answer.json["detail"]


def test_a_photo_is_wanted(mini_service, photo):
    body, kind = form(("file", photo), ("file", photo))
    for answer in (
        mini_service.get(REMOVE),
        mini_service.post(REMOVE, b""),
        mini_service.post(REMOVE, body, Content_Type=kind),
    ):
        assert answer.status == 400
        assert "photo" in answer.json["detail"]


@pytest.mark.parametrize(
    ("asked", "loaded", "model"),
    [
        ("", ["portrait"], None),
        ("birefnet-portrait", ["mini", "portrait"], "portrait"),
        ("birefnet-general", ["general"], "general"),
        ("birefnet-general-lite", ["lite"], "lite"),
        ("birefnet-general-lite", ["general"], "birefnet-general-lite"),
        ("birefnet-portrait", ["portrait", "birefnet-portrait"], "birefnet-portrait"),
        ("mini", ["mini"], "mini"),
    ],
)
def test_its_names_of_models_are_known_and_aliases_come_first(asked, loaded, model):
    query = f"url=https://a.example/b.png&model={asked}".encode()
    request = Request({"type": "http", "method": "GET", "query_string": query, "headers": []})
    order = asyncio.run(rembg.reader(lambda: loaded)(request, 100))
    assert order.model == model
