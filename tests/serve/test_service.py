"""The service as its clients see it: pictures, limits, errors, start and end."""

import base64
import hashlib
import io
import json
import re
import signal
import socket
import urllib.parse
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bodies import form
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from served import serving
from support import Encoded

import birefcli

PHOTO = "/v1/matte"


@pytest.fixture(scope="module")
def model():
    return birefcli.load("mini", device="cpu")


@pytest.fixture(scope="module")
def result(model, portrait):
    return model(Image.open(io.BytesIO(portrait)))


@pytest.fixture(scope="module")
def of_file(mini_service, model):
    """What Python makes of the file that ``portrait`` holds."""
    return model(mini_service.samples / "grace_hopper.jpg")


@pytest.fixture(scope="module")
def tiny_service(environment):
    with serving(environment, "--model", environment["BIREFCLI_MODEL"], "--threads", "1") as served:
        yield served


@pytest.fixture
def small():
    out = io.BytesIO()
    picture().save(out, "PNG")
    return out.getvalue()


def pixels(data: bytes):
    return np.asarray(Image.open(io.BytesIO(data)))


# Pictures


@pytest.mark.parametrize("product", ["cutout", "mask", "composite", "foreground", "trimap"])
@pytest.mark.parametrize("format_", ["png", "webp", "tiff", "jpg"])
def test_files_equal_those_of_the_python_face(mini_service, portrait, of_file, product, format_):
    answer = mini_service.post(f"{PHOTO}?write={product}&format={format_}", portrait)
    if format_ == "jpg" and product in ("cutout", "trimap"):
        assert (answer.status, answer.code) == (400, "invalid_value")
        return
    assert answer.status == 200, answer.body
    assert Encoded(answer.body) == Encoded(of_file.encode(product, format=format_))


LAID_OUT = [
    {"write": "composite", "preset": "square"},
    {"write": "composite", "preset": "id-us", "background": "#eeeeff", "format": "jpg"},
    {"write": "cutout", "canvas": "300x400@150dpi", "fill": "60%", "shadow": "soft"},
    {"write": "mask", "resize": "50%", "threshold": 0.5, "bits": 1},
    {"write": "trimap", "trimap_width": 3, "aspect": "4:5", "align": "bottom"},
    {"write": "composite", "background": "blur", "canvas": "700x300", "format": "jpg",
     "max_bytes": "20k"},
    {"write": "cutout", "format": "webp", "quality": 60, "resize": 200},
    {"write": "foreground", "format": "avif", "quality": 40, "crop": True, "margin": "5%"},
]  # fmt: skip


@pytest.mark.parametrize("words", LAID_OUT, ids=[str(n) for n in range(len(LAID_OUT))])
def test_laid_out_files_equal_those_of_the_python_face(mini_service, portrait, of_file, words):
    query = urllib.parse.urlencode({name: str(word).lower() for name, word in words.items()})
    answer = mini_service.post(f"{PHOTO}?{query}", portrait)
    assert answer.status == 200, answer.body
    given = {name: word for name, word in words.items() if name != "write"}
    assert Encoded(answer.body) == Encoded(of_file.encode(words["write"], **given))


def test_what_a_photos_making_noted_is_told(mini_service, portrait):
    path = f"{PHOTO}?preset=id-us&format=jpg&canvas=171x200&fill=80%25&max_bytes=6000"
    said = mini_service.post(path, portrait, Accept="application/json").json
    size = len(base64.b64decode(said["pictures"]["composite"]))
    assert size <= 6000
    assert re.fullmatch(r"lowered to quality \d+(, 4:2:0)?", said["notes"][-1]), said["notes"]
    assert said["notes"][-2].startswith("cut off by the photo's right and"), said["notes"]
    assert said["notes"][0].startswith("preset=id-us: its head=60% is not applied, as fill=80%")
    assert (said["width"], said["height"]) == (171, 200)


def test_photo_that_cannot_be_made_so_small_is_refused_with_its_size(mini_service, portrait):
    answer = mini_service.post(f"{PHOTO}?write=composite&format=jpg&max_bytes=1000", portrait)
    assert answer.status == 400
    error = answer.json["error"]
    assert "bytes at the lowest quality, of 512×600 pixels" in error["message"]
    assert error["message"].endswith("make it smaller with resize or a smaller canvas")
    assert (error["param"], error["code"]) == ("max_bytes", "invalid_value")


def test_photo_that_lost_bytes_on_its_way_has_the_next_step(mini_service, portrait):
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    stripped = portrait.translate(None, b"\r\n\0")  # as curl's --data sends a file
    for body, said in (
        (stripped, "send it with --data-binary @FILE"),
        (portrait[: len(portrait) // 2], "ends too early: copy, download or send it again"),
    ):
        answer = mini_service.post(PHOTO, body, **kind)
        assert answer.json["error"]["code"] == "invalid_image"
        assert answer.json["error"]["message"].endswith(said)
    assert mini_service.post(PHOTO, portrait, **kind).status == 200


def test_four_clients_at_once_get_their_own_pictures(mini_service, model):
    photos = []
    for seed in range(4):
        out = io.BytesIO()
        picture(200 + 40 * seed, 300, seed).save(out, "PNG")
        photos.append(out.getvalue())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda data: mini_service.post(PHOTO, data), photos * 2))
    for data, answer in zip(photos * 2, answers, strict=True):
        assert Encoded(answer.body) == Encoded(model(Image.open(io.BytesIO(data))).encode())


def test_several_products_come_as_a_zip(mini_service, portrait):
    answer = mini_service.post(f"{PHOTO}?write=mask,trimap&bits=16", portrait)
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.namelist() == ["mask.png", "trimap.png"]
    assert pixels(archive.read("mask.png")).dtype == np.uint16
    assert answer.headers["content-type"] == "application/zip"


def test_json_holds_all_pictures_and_what_is_known_of_them(mini_service, portrait, result):
    answer = mini_service.post(f"{PHOTO}?write=mask", portrait, Accept="application/json")
    said = answer.json
    assert Encoded(base64.b64decode(said["pictures"]["mask"])) == Encoded(result.encode("mask"))
    assert said["coverage"] == round(result.coverage, 5)
    assert (said["width"], said["height"]) == (512, 600)
    assert set(said["seconds"]) == {"fetch", "decode", "queue", "network", "finish"}


def test_a_photo_comes_as_body_form_json_or_urlencoded_text(mini_service, portrait, small):
    alone = mini_service.post(PHOTO, small, Content_Type="image/png").body
    curl = "application/x-www-form-urlencoded"  # what curl --data-binary says of any body
    assert mini_service.post(PHOTO, small, Content_Type=curl).body == alone
    body, kind = form(("photo", small))
    assert mini_service.post(PHOTO, body, Content_Type=kind).body == alone
    text = base64.encodebytes(small).decode()  # with line breaks
    for given in (text, f"data:text/plain;base64,{text}"):
        body = json.dumps({"photo": given, "write": "cutout"}).encode()
        assert mini_service.post(PHOTO, body, Content_Type="application/json").body == alone
    body = b"photo=" + base64.urlsafe_b64encode(small).rstrip(b"=")
    assert mini_service.post(PHOTO, body, Content_Type=curl).body == alone


def test_backgrounds_are_colours_blurs_and_pictures(mini_service, portrait, result):
    path = f"{PHOTO}?write=composite"
    plain = mini_service.post(f"{path}&background=%23204060", portrait).body
    assert Encoded(plain) == Encoded(result.encode("composite", background="#204060"))
    blur = mini_service.post(f"{path}&background=blur:9", portrait).body
    assert Encoded(blur) == Encoded(result.encode("composite", background="blur:9"))
    out = io.BytesIO()
    behind = picture(90, 90, 3)
    behind.save(out, "PNG")
    body, kind = form(("photo", portrait), ("background", out.getvalue()), ("write", "composite"))
    made = mini_service.post(PHOTO, body, Content_Type=kind)
    assert Encoded(made.body) == Encoded(result.encode("composite", background=behind))


def test_answers_say_what_was_done(mini_service, portrait, result):
    answer = mini_service.post(PHOTO, portrait, X_Request_Id="shop-17.a_b")
    said = answer.headers
    assert said["x-request-id"] == "shop-17.a_b"
    assert float(said["x-coverage"]) == round(result.coverage, 5)
    assert said["x-model"] == "mini"
    assert said["cache-control"] == "no-store"
    stages = [part.split(";")[0] for part in said["server-timing"].split(", ")]
    assert stages == ["fetch", "decode", "queue", "network", "finish"]
    other = mini_service.post(PHOTO, portrait, X_Request_Id="no such id!")
    assert other.headers["x-request-id"] != "no such id!"


# What is refused


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("", b"", 400, "missing_image", "photo"),
        ("", b"no picture", 400, "invalid_image", "photo"),
        ("?write=nothing", None, 400, "invalid_value", "write"),
        ("?bits=12", None, 400, "invalid_value", "bits"),
        ("?format=jpg", None, 400, "invalid_value", None),
        ("?format=gif", None, 400, "invalid_value", "format"),
        ("?crop=perhaps", None, 400, "invalid_value", "crop"),
        ("?margin=much", None, 400, "invalid_value", "margin"),
        ("?quality=0&format=jpg&write=mask", None, 400, "invalid_value", "quality"),
        ("?background=red", None, 400, "invalid_value", "background"),
        ("?write=composite&background=/etc/passwd", None, 400, "invalid_value", "background"),
        ("?write=composite&background=file:///etc/passwd", None, 400, "url_not_allowed",
         "background"),
        ("?colour=red", None, 400, "invalid_value", "colour"),
        ("?fill=85%25", None, 400, "invalid_value", "fill"),
        ("?canvas=20000x20000", None, 400, "invalid_value", "canvas"),
        ("?canvas=100x100&fill=85", None, 400, "invalid_value", "fill"),
        ("?canvas=100x100&fill=110%25", None, 400, "invalid_value", "fill"),
        ("?preset=round", None, 400, "invalid_value", "preset"),
        ("?quality=80", None, 400, "invalid_value", "quality"),
        ("?max_bytes=9000", None, 400, "invalid_value", "max_bytes"),
        ("?threshold=0.5", None, 400, "invalid_value", "threshold"),
        ("?write=mask&threshold=2", None, 400, "invalid_value", "threshold"),
        ("?resize=0", None, 400, "invalid_value", "resize"),
        ("?resize=40000", None, 400, "invalid_image", "photo"),
        ("?model=portrait", None, 404, "model_not_found", "model"),
        ("?photo=http://127.0.0.1/a.png", b"", 400, "url_not_allowed", "photo"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_line_and_a_name(mini_service, small, path, body, status, code, param):
    answer = mini_service.post(PHOTO + path, small if body is None else body)
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param), error
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]
    assert mini_service.post(PHOTO, small).status == 200


def test_unknown_paths_and_methods_name_what_there_is(mini_service):
    missing = mini_service.get("/v2/cutouts")
    assert (missing.status, missing.code) == (404, "not_found")
    assert "POST /v1/matte" in missing.json["error"]["message"]
    wrong = mini_service.get(PHOTO)
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_a_form_of_a_million_fields_is_refused(mini_service, small):
    body = b"a=1&" * 250_000
    kind = "application/x-www-form-urlencoded"
    assert mini_service.post(PHOTO, body, Content_Type=kind).status == 400
    body, kind = form(*((f"f{i}", "") for i in range(100)))
    assert mini_service.post(PHOTO, body, Content_Type=kind).status == 400
    deep = b'{"photo":' + b"[" * 200_000
    assert mini_service.post(PHOTO, deep, Content_Type="application/json").status == 400
    assert mini_service.post(PHOTO, small).status == 200


def png_of(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def test_limits_hold_before_anything_is_decoded(environment, small):
    words = ("--model", environment["BIREFCLI_MODEL"], "--max-body", "0.1", "--threads", "1")
    with serving(environment, *words, "--max-megapixels", "1", "--queue", "2") as served:
        bomb = served.post(PHOTO, png_of(20_000, 20_000)[:90_000])
        assert (bomb.status, bomb.code) == (400, "image_too_large")
        large = served.post(PHOTO, bytes(200_000))
        assert (large.status, large.code) == (413, "request_too_large")
        assert "send a smaller file, such as a JPEG; whoever" in large.json["error"]["message"]
        endless = served.connect()
        chunks = (bytes(1000) for _ in range(1000))
        chunked = {"Transfer-Encoding": "chunked"}
        endless.request("POST", PHOTO, chunks, chunked, encode_chunked=True)
        assert endless.getresponse().status == 413
        endless.close()
        assert served.post(PHOTO, small).status == 200


# Keys


def test_keys_are_asked_for_before_the_body(environment, tmp_path, small):
    keys = tmp_path / "keys.txt"
    digest = hashlib.sha256(b"password").hexdigest()
    keys.write_text(f"# who may\nshop s3cret\nother sha256:{digest}\n")
    words = ("--model", environment["BIREFCLI_MODEL"], "--keys", keys)
    with serving(environment, *words) as served:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X_Api_Key": "nix"}):
            answer = served.post(PHOTO, small, **headers)
            assert (answer.status, answer.code) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert served.post(PHOTO, small, Authorization="Bearer s3cret").status == 200
        assert served.post(PHOTO, small, X_Api_Key="password").status == 200
        assert served.get("/readyz").status == served.get("/healthz").status == 200
        assert served.get("/metrics").status == 401
        assert "key=shop" in served.said
        assert "s3cret" not in served.said
        keys.write_text("late comer\n")
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "1 key read" in served.said)
        assert served.post(PHOTO, small, Authorization="Bearer s3cret").status == 401
        assert served.post(PHOTO, small, Authorization="Bearer comer").status == 200
        keys.write_text("")
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the keys stay as they were" in served.said)
        assert served.post(PHOTO, small, Authorization="Bearer comer").status == 200


# Starting and ending


@pytest.mark.slow
def test_it_listens_at_once_and_answers_all_it_has_accepted(environment, small):
    words = ("--model", environment["BIREFCLI_MODEL"], "--grace", "200")
    with serving(environment, *words, ready=False) as served, ThreadPoolExecutor(20) as pool:
        first = served.post(PHOTO, small)
        if not served.is_ready:  # a machine may be that quick
            assert (first.status, first.code) == (503, "not_ready")
            assert int(first.headers["retry-after"]) >= 1
        assert served.get("/healthz").status == 200
        wait_for(lambda: served.is_ready)
        assert served.get("/readyz").status == 200
        out = io.BytesIO()
        picture(1000, 800).save(out, "PNG")
        waiting = [pool.submit(served.post, PHOTO, out.getvalue()) for _ in range(20)]
        wait_for(lambda: _done(waiting) + served.metric("birefcli_queue_photos ") >= 20)
        served.process.send_signal(signal.SIGTERM)
        assert [each.result().status for each in waiting] == [200] * 20
        assert served.ended() == 0


def _done(waiting) -> int:
    return sum(each.done() for each in waiting)


def test_a_port_that_is_taken_is_named(environment, mini_service, command):
    done = command("serve", "--model", "mini", "--port", mini_service.port)
    assert done.returncode == 5
    assert f"127.0.0.1:{mini_service.port}: cannot listen there" in done.stderr.decode()


def test_beyond_this_machine_keys_are_wanted(command):
    done = command("serve", "--model", "mini", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--keys FILE" in done.stderr.decode()
    assert "--open" in done.stderr.decode()


def test_models_that_are_not_there_end_it(environment, tmp_path, command):
    done = command("serve", "--model", tmp_path / "none.safetensors", "--port", "0")
    assert done.returncode == 4
    assert "none.safetensors" in done.stderr.decode()
    done = command("serve", "--model", "portait")
    assert done.returncode == 4
    assert "did you mean portrait" in done.stderr.decode()


def test_a_unix_socket_serves_and_is_checked_and_whoever_supervises_is_told(
    environment, tmp_path, command
):
    path, name = tmp_path / "s", str(tmp_path / "notify")
    words = ("--model", environment["BIREFCLI_MODEL"], "--socket", path)
    done = command("serve", "--check", "--socket", path)
    said = f"birefcli: unix:{path}: nothing answers: No such file or directory\n"
    assert (done.returncode, done.stderr.decode()) == (1, said)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(name)
        supervisor.settimeout(TIMEOUT)
        with serving(environment, *words, NOTIFY_SOCKET=name) as served:
            assert supervisor.recv(100) == b"READY=1"
            assert f"unix:{path}" in served.said
            assert path.stat().st_mode & 0o007 == 0
            assert command("serve", "--check", "--socket", path).returncode == 0
            assert served.stop() == 0
        assert supervisor.recv(100) == b"STOPPING=1"
    assert not path.exists()


# Clients that leave, and too many


def test_a_client_that_leaves_within_its_body_is_counted(tiny_service, small):
    before = tiny_service.metric("birefcli_cancelled_total")
    with socket.create_connection(("127.0.0.1", tiny_service.port)) as slow:
        slow.sendall(b"POST /v1/matte HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\nabc")
    wait_for(lambda: tiny_service.metric("birefcli_cancelled_total") == before + 1)
    assert tiny_service.post(PHOTO, small).status == 200
