"""Requests that are made to take others' time or memory."""

import base64
import io
import json
import signal
import socket
import threading
from dataclasses import replace
from tempfile import SpooledTemporaryFile

import numpy as np
import pytest
from bodies import form
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from running import OPTIONS, running
from served import serving

from birefcli.batch import interrupts
from birefcli.cli import serve as serve_command
from birefcli.errors import UsageError
from birefcli.serve import body, connections, server
from birefcli.serve.engines import check_names
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.listening import ListenAddress, listening
from birefcli.serve.origin import check_origin

PHOTO = "/v1/matte"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def service(tiny_weights):
    with running(tiny_weights) as served:
        yield served


@pytest.fixture(scope="module")
def small():
    out = io.BytesIO()
    picture().save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "utf-16", "rot13"])
def test_no_charset_of_a_form_chooses_how_it_is_read(service, small, charset):
    data, kind = form(("photo", small), ("write", "mask"))
    answer = service.ask("POST", PHOTO, data, f"{kind}; charset={charset}")
    assert answer.status == 200
    data, kind = form(("photo", small), ("write", "é" * 300))
    answer = service.ask("POST", PHOTO, data, f"{kind}; charset={charset}")
    assert (answer.status, answer.code) == (400, "invalid_value")


@pytest.mark.parametrize("kind", ["multipart/form-data", 'multipart/form-data; boundary="'])
def test_a_form_without_a_boundary_is_none(service, kind):
    assert service.ask("POST", PHOTO, b"--x\r\n", kind).status == 400


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"images":[' + b"{}," * 200_000 + b"{}]}", "application/json"),
        (b'{"photo":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "application/json"),
        (b"photo=" + b"%41" * 400_000, URLENCODED),
        (b"photo=a" + b"&" * 400_000, URLENCODED),
        (json.dumps({"photo": "a", "write": "A" * 3_000_000}).encode(), "application/json"),
        (json.dumps({"photo": "a", "write": "," * 3_000_000}).encode(), "application/json"),
        (json.dumps({"photo": "a", "model": "A" * 3_000_000}).encode(), "application/json"),
        (json.dumps({"photo": "a", "A" * 3_000_000: 1}).encode(), "application/json"),
    ],
)
def test_what_is_long_is_refused_shortly(service, data, kind):
    answer = service.ask("POST", PHOTO, data, kind)
    assert answer.status == 400
    assert answer.code in ("invalid_value", "invalid_image")  # whichever is read first
    assert len(answer.body) < 4000


def test_a_body_in_single_bytes_is_given_up(service, monkeypatch):
    monkeypatch.setattr(body, "FREE_PIECES", 20)
    with socket.create_connection(("127.0.0.1", service.port), TIMEOUT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"POST /v1/matte HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            client.sendall(b"1\r\na\r\n")
        client.sendall(b"0\r\n\r\n")
        assert b" 400 " in client.recv(1 << 16).split(b"\r\n")[0]


def test_photos_of_forms_stay_in_memory(service, small, monkeypatch):
    def rollover(_):
        raise AssertionError("on a disk")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", rollover)
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1300, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    data, kind = form(("photo", out.getvalue()))
    assert len(data) > 3e6
    assert service.ask("POST", PHOTO, data, kind).status == 200


def test_pages_of_other_sites_may_not_ask_where_there_are_no_keys(service, small):
    for path in (PHOTO, "/api/remove?url=http://192.0.2.1/a.png", "/v1/images/edits"):
        answer = service.ask("POST", path, small, **{"Sec-Fetch-Site": "cross-site"})
        assert answer.status == 403
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": service.url}):
        assert service.ask("POST", PHOTO, small, **headers).status == 200
    assert service.ask("GET", "/", **{"Sec-Fetch-Site": "cross-site"}).status == 200  # a link


LOCAL = {"host": "localhost:8000"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.2"},
        {"host": "[::1]:8000"},
        {"host": "birefcli"},
        {"host": "Shop.localhost.:8000"},
        {"host": "host.docker.internal:8000"},
        {"host": "here.example.com:8000"},
        {"host": "shop.example.com"},
        {**LOCAL, "origin": "http://LOCALHOST:8000"},
        {"host": "here.example.com:443", "origin": "https://here.example.com"},
        {**LOCAL, "origin": "https://shop.example.com"},
        {**LOCAL, "origin": "https://proxied.example.com", "sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
def test_programs_and_pages_of_its_own_may_ask_without_keys(headers):
    cors = ("https://shop.example.com",)
    check_origin(headers, replace(OPTIONS, host_names=("here.example.com",), cors=cors))


@pytest.mark.parametrize(
    "headers",
    [
        {**LOCAL, "origin": "http://evil.example"},
        {**LOCAL, "origin": "null"},
        {**LOCAL, "origin": "http://localhost:3000"},
        {"host": "evil.example"},
        {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
        {"host": "evil.example", "sec-fetch-site": "same-origin"},
        {"host": "127.0.0.1.evil.example"},
    ],
    ids=str,
)
def test_pages_by_their_origin_and_public_names_are_refused_without_keys(headers):
    with pytest.raises(RequestError) as refused:
        check_origin(headers, replace(OPTIONS, host_names=("127.0.0.1",)))
    assert refused.value.code is Code.ORIGIN_NOT_ALLOWED
    if "origin" not in headers and "sec-fetch-site" not in headers:
        check_origin(headers, OPTIONS)  # it listens elsewhere, or with --open


def test_an_answer_counts_as_long_as_its_client_does_not_take_it(service):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=1)
    head = f"POST {PHOTO}?write=foreground&bits=16&format=tiff HTTP/1.1\r\nHost: a\r\n"
    data = head.encode() + b"Content-Length: %d\r\n\r\n" % len(out.getvalue()) + out.getvalue()
    clients = []
    # Else a system's buffers may take all of it; connections have theirs from their listener.
    service._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    try:
        for _ in range(4):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", service.port))
            client.sendall(data)
            clients.append(client)
        admission = service.service.admission
        wait_for(lambda: admission.photos == 0 and admission.used > 2_000_000)
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: admission.used == 0)


def test_a_connection_without_a_request_is_closed(service, small, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    silent = socket.create_connection(("127.0.0.1", service.port), TIMEOUT)
    half = socket.create_connection(("127.0.0.1", service.port), TIMEOUT)
    half.sendall(b"POST /v1/matte HTTP/1.1\r\nHost: ")
    with silent, half:
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
    assert service.ask("POST", PHOTO, small).status == 200


def test_no_more_connections_than_files_are_taken(service, small, monkeypatch):
    monkeypatch.setattr(connections, "most_connections", lambda: 3)
    clients = [socket.create_connection(("127.0.0.1", service.port), TIMEOUT) for _ in range(5)]
    try:
        assert _is_closed(clients[-1])
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: _answers(service, small))


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def _answers(service, small) -> bool:
    try:
        return service.ask("POST", PHOTO, small).status == 200
    except OSError:
        return False


def test_who_gives_up_leaves_nothing_in_a_queue(service, monkeypatch):
    """Photos of clients that left are held by nobody, though a thread is busy still."""
    held = threading.Event()

    def slow(*_, **__):
        assert held.wait(TIMEOUT)
        raise AssertionError

    monkeypatch.setattr("birefcli.serve.photo_stages.decode_photo", slow)
    out = io.BytesIO()
    picture(300, 200).save(out, "PNG")
    request = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
        PHOTO.encode(),
        len(out.getvalue()),
    )
    clients = [socket.create_connection(("127.0.0.1", service.port), TIMEOUT) for _ in range(6)]
    for client in clients:
        client.sendall(request + out.getvalue())
    admission = service.service.admission
    wait_for(lambda: admission.photos == 6)
    for client in clients:
        client.close()
    # Two are being decoded; the other four had not begun.
    wait_for(lambda: admission.photos == 2)
    held.set()
    wait_for(lambda: admission.photos == 0)


# The end


def test_what_is_not_done_within_the_grace_is_told_so(environment):
    words = ("--model", environment["BIREFCLI_MODEL"], "--grace", "0.2")
    with serving(environment, *words) as served:
        with socket.create_connection(("127.0.0.1", served.port), TIMEOUT) as client:
            client.sendall(
                b"POST /v1/matte HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nabc"
            )
            wait_for(lambda: served.metric("birefcli_requests_total") > 0)
            served.process.send_signal(signal.SIGTERM)
            answer = b""
            while part := client.recv(1 << 16):
                answer += part
        assert b" 503 " in answer.split(b"\r\n")[0], answer
        assert b"draining" in answer
        assert served.ended() == 0
        assert "Traceback" not in served.said
        assert "503 POST /v1/matte" in served.said
        assert "birefcli: stopping, 1 request to be answered within 0.2 s" in served.said
        assert served.said.endswith("birefcli: stopped")


def test_a_second_ctrl_c_ends_the_service_at_once_and_a_second_sigterm_does_not(monkeypatch):
    handlers, codes, said = {}, [], []

    def load(*_):
        handlers[signal.SIGTERM]()
        handlers[signal.SIGTERM]()
        assert not codes
        handlers[signal.SIGINT]()

    monkeypatch.setattr(server, "_handle", handlers.__setitem__)
    monkeypatch.setattr(server, "load_engines", load)
    monkeypatch.setattr(server, "leave", codes.append)
    server.serve(OPTIONS, ListenAddress(port=0), said.append)
    assert codes == [130, 0]  # it goes on here, where nothing ends the process
    stops = [line for line in said if "stop" in line]
    assert stops == [
        "birefcli: stopping, 0 requests to be answered within 1 s",
        "birefcli: stopped at once, 0 requests not answered",
        "birefcli: stopped",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_it_listens_ends_with_0_too(monkeypatch, number):
    handlers, codes = {}, []
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(interrupts, "leave", codes.append)
    serve_command._leave_if_stopped()
    handlers[number](number, None)
    assert codes == [0]


def test_a_socket_that_another_server_has_taken_over_is_left(tmp_path):
    place = ListenAddress(path=tmp_path / "s")
    with listening(place) as second_to_end:
        with listening(ListenAddress(path=tmp_path / "t")) as first:
            first.close()
            (tmp_path / "t").unlink()
            (tmp_path / "s").rename(tmp_path / "t")  # a server that came meanwhile
        assert (tmp_path / "t").exists()
        assert second_to_end.fileno() >= 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError("no")])
def test_whatever_keeps_models_from_loading_ends_the_service(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(server, "load_engines", fail)
    monkeypatch.setattr(server, "_handle", lambda *_: None)
    said: list[str] = []
    with pytest.raises(type(error)):
        server.serve(OPTIONS, ListenAddress(port=0), said.append)
    assert any("listening" in line for line in said)


def test_aliases_are_judged_before_anything_is_loaded(tiny_weights):
    models = (str(tiny_weights),)
    check_names(replace(OPTIONS, models=models, aliases={"gpt": tiny_weights.name}))
    wrong = ({tiny_weights.name: tiny_weights.name}, {"gpt": "other"}, {"gpt": str(tiny_weights)})
    for aliases in wrong:
        with pytest.raises(UsageError):
            check_names(replace(OPTIONS, models=models, aliases=aliases))


def test_base64_counts_as_one_value(service, small):
    text = base64.b64encode(small).decode()
    data = json.dumps({"photo": text}).encode()
    assert service.ask("POST", PHOTO, data, "application/json").status == 200
