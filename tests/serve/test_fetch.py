"""Pictures by URL: over real connections on the loopback, and none to anywhere else."""

import asyncio
import gzip
import logging
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from birefcli.serve import fetch as fetching
from birefcli.serve import judged_network
from birefcli.serve.addresses import Reach
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.fetch import Fetcher, UrlPolicy

PICTURE = bytes(range(256)) * 2000
CERTIFICATE = Path(__file__).parents[1] / "data" / "serve" / "store.test.pem"
LONG = 60.0  # seconds: on a busy machine, of what takes none


def head(status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


PICTURE_ANSWER = head(Content_Length=len(PICTURE)) + PICTURE


def redirect(location, status="302 Found"):
    return head(status, Location=location, Content_Length=0, Set_Cookie="a=b; Path=/")


class Site:
    """A server of answers by path: bytes, or a coroutine function of the stream to write to.

    That without a path is given before any request is read.
    """

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        self.left = asyncio.Event()
        self.port = 0

    async def serve(self, reader, writer):
        try:
            answer = self.answers.get("")
            if answer is None:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(request)
                answer = self.answers[request.split()[1].partition("?")[0]]
            if callable(answer):
                await answer(writer)
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()


@asynccontextmanager
async def site(answers, **how):
    it = Site(answers)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0, **how)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def fetcher(urls, max_body=10**6, timeout=LONG, **how):
    it = Fetcher(UrlPolicy.parse(urls), max_body, timeout=timeout, **how)
    try:
        yield it
    finally:
        await it.aclose()


def loopback(host, port):
    return ["127.0.0.1"]


def get(answers, path="/a.jpg", scheme="http", max_body=10**6, timeout=LONG, count=None, **how):
    """What is fetched from a site of these answers, and its requests."""

    async def run():
        resolve = {"resolve": how.pop("resolve", loopback)}
        async with (
            site(answers, **how) as it,
            fetcher(f"store.test:{it.port}", max_body, timeout, **resolve) as client,
        ):
            it.answers = {
                path: value.replace(b"PORT", b"%d" % it.port) if isinstance(value, bytes) else value
                for path, value in it.answers.items()
            }
            url = f"{scheme}://store.test:{it.port}{path}"
            return await client.fetch(url, "photo", count or (lambda _: None)), it.requests

    return asyncio.run(run())


def failure(answers, *args, **how):
    with pytest.raises(RequestError) as error:
        get(answers, *args, **how)
    assert error.value.param == "photo"
    assert error.value.message.isprintable()
    return error.value


def test_a_picture_is_fetched_and_counted():
    pieces = []
    body, requests = get({"/a.jpg": PICTURE_ANSWER}, count=pieces.append)
    assert body == PICTURE
    assert sum(pieces) == len(PICTURE)
    (request,) = requests
    assert request.startswith("GET /a.jpg HTTP/1.1\r\nHost: store.test:")
    assert "\r\nAccept: image/*\r\nAccept-Encoding: identity\r\nConnection: close\r\n" in request


async def in_pieces(writer):
    writer.write(head(Transfer_Encoding="chunked"))
    for at in range(0, len(PICTURE), 1000):
        piece = PICTURE[at : at + 1000]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    writer.write(b"0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("answer", [in_pieces, head(Server="old") + PICTURE])
def test_a_body_may_have_no_length(answer):
    assert get({"/a.jpg": answer})[0] == PICTURE


def test_a_body_of_just_the_limit_is_fetched():
    assert get({"/a.jpg": PICTURE_ANSWER}, max_body=len(PICTURE))[0] == PICTURE


async def endless(writer):
    writer.write(head(Content_Type="image/jpeg"))
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def endless_pieces(writer):
    writer.write(head(Transfer_Encoding="chunked"))
    while True:
        writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    "answer",
    [
        *(endless, endless_pieces, in_pieces, head(Server="old") + PICTURE),
        *(PICTURE_ANSWER, head(Content_Length=10**12)),
    ],
)
def test_a_body_above_the_limit_is_refused(answer):
    error = failure({"/a.jpg": answer}, max_body=len(PICTURE) - 1)
    assert error.code is Code.REQUEST_TOO_LARGE
    assert error.message == "the body from store.test is larger than 0.511999 MB"


async def tiny_pieces(writer):
    writer.write(head(Transfer_Encoding="chunked"))
    while True:
        writer.write(b"1\r\nx\r\n" * 10000)
        await writer.drain()


def test_a_body_of_single_bytes_is_refused_long_before_the_limit():
    counted = []
    assert failure({"/a.jpg": tiny_pieces}, count=counted.append).code is Code.URL_FAILED
    assert sum(counted) <= fetching.FREE_PIECES


def test_what_counts_may_refuse():
    async def run():
        async with site({"/": endless}) as it, fetcher(f"127.0.0.1:{it.port}") as client:
            full = RequestError(Code.QUEUE_FULL, "full")

            def count(_):
                raise full

            with pytest.raises(RequestError) as error:
                await client.fetch(f"http://127.0.0.1:{it.port}/", None, count)
            assert error.value is full
            await asyncio.wait_for(it.left.wait(), LONG)  # and the connection is closed

    asyncio.run(run())


def test_a_fetch_that_is_cancelled_closes_its_connection():
    async def run():
        async with site({"/": endless}) as it, fetcher(f"127.0.0.1:{it.port}", 10**15) as client:
            begun = asyncio.Event()
            url = f"http://127.0.0.1:{it.port}/"
            task = asyncio.create_task(client.fetch(url, None, lambda _: begun.set()))
            await asyncio.wait_for(begun.wait(), LONG)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(it.left.wait(), LONG)

    asyncio.run(run())


async def says_nothing(writer):
    await asyncio.sleep(LONG)


async def stops_halfway(writer):
    writer.write(head(Content_Length=1000) + b"x")
    await asyncio.sleep(LONG)


async def closes(writer):
    """Without a word."""


async def never_begins(writer):
    while True:
        writer.write(head("100 Continue") * 1000)
        await writer.drain()


def forbidden(*addresses):
    return lambda host, port: [*addresses]


def unknown(host, port):
    raise socket.gaierror(socket.EAI_NONAME, "no such host")


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


COMPRESSED = gzip.compress(bytes(10**7))
FAILURES = {
    "closed at once": {"answers": {"/a.jpg": closes}},
    "timeout": {"answers": {"/a.jpg": says_nothing}, "timeout": 0.2},
    "slow body": {"answers": {"/a.jpg": stops_halfway}, "timeout": 0.2},
    "unknown name": {"answers": {}, "resolve": unknown},
    "no address": {"answers": {}, "resolve": forbidden()},
    "not permitted": {"answers": {}, "resolve": forbidden("169.254.169.254")},
    "one of two": {"answers": {}, "resolve": forbidden("127.0.0.1", "169.254.169.254")},
    "no TLS": {"answers": {"": PICTURE_ANSWER}, "scheme": "https"},
    "no HTTP": {"answers": {"/a.jpg": b"SSH-2.0-OpenSSH_9.6\r\n\r\n"}},
    "not found": {"answers": {"/a.jpg": head("404 Not Found", Content_Length=0)}},
    "no location": {"answers": {"/a.jpg": head("302 Found", Content_Length=0)}},
    "other protocol": {"answers": {"/a.jpg": head("101 Switching Protocols", Upgrade="x")}},
    "truncated": {"answers": {"/a.jpg": head(Content_Length=10**5) + b"x"}},
    "two lengths": {"answers": {"/a.jpg": b"HTTP/1.1 200 OK\r\n" + b"".join(
        b"Content-Length: %d\r\n" % n for n in (1, 2)) + b"\r\nxx"}},
    "no length": {"answers": {"/a.jpg": head(Content_Length="-1") + b"x"}},
    "bomb": {"answers": {"/a.jpg": head(Content_Encoding="gzip") + COMPRESSED}},
    "packed twice": {"answers": {"/a.jpg": head(Transfer_Encoding="gzip, chunked") + COMPRESSED}},
    "no end of beginnings": {"answers": {"/a.jpg": never_begins}},
    "large headers": {"answers": {"/a.jpg": b"HTTP/1.1 200 OK\r\nA: " + bytes(10**6)}},
    "forbidden redirect": {"answers": {"/a.jpg": redirect("http://169.254.169.254/")}},
    "redirects": {"answers": {"/a.jpg": redirect("/a.jpg")}},
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_one_text_for_all_that_a_host_inside_may_answer(case):
    error = failure(**FAILURES[case])
    assert error.code is Code.URL_FAILED
    assert error.message == (
        "nothing could be fetched from store.test: there is no such host, its address is not "
        "public, or it does not answer properly"
    )


def test_a_closed_port_is_told_with_the_same_text():
    async def run():
        port = free_port()
        async with fetcher(f"store.test:{port}", resolve=loopback) as client:
            await client.fetch(f"http://store.test:{port}/", None)

    with pytest.raises(RequestError, match=r"^nothing could be fetched from store\.test: there is"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("not found", "store.test answered 404"),
        ("no location", "store.test answered 302"),
        ("bomb", "store.test answered with a compressed body, which was not asked for"),
        ("forbidden redirect", "store.test redirects to a URL that is not fetched"),
        ("redirects", "store.test redirects more than 3 times"),
    ],
)
def test_what_a_public_host_answers_is_told(monkeypatch, case, said):
    monkeypatch.setattr(judged_network, "reach", lambda address: Reach.PUBLIC)
    assert failure(**FAILURES[case]).message == said


def chain(length, last=PICTURE_ANSWER):
    steps = {f"/{n}": redirect(f"/{n + 1}") for n in range(length)}
    return {**steps, f"/{length}": last}


def test_three_redirects_are_followed_without_cookies():
    body, requests = get(chain(3), path="/0")
    assert body == PICTURE
    assert len(requests) == 4
    assert not any("cookie" in request.lower() for request in requests)


def test_four_redirects_are_not():
    assert failure(chain(4), path="/0").code is Code.URL_FAILED


@pytest.mark.parametrize("status", ["301 a", "302 a", "303 a", "307 a", "308 a"])
def test_redirects_to_other_hosts_are_followed_where_they_are_allowed(status):
    answers = {"/a.jpg": redirect("http://STORE.test:PORT/b", status), "/b": PICTURE_ANSWER}
    assert get(answers)[0] == PICTURE


def test_a_host_whose_name_moves_is_judged_again_at_each_redirect():
    """The first answer to the name is a store; the second is where a cloud keeps its keys."""
    asked = []

    def moving(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    assert failure(chain(2), path="/0", resolve=moving).code is Code.URL_FAILED
    assert len(asked) == 2


def test_the_next_address_is_tried_where_one_does_not_answer():
    addresses = ["::1", "127.0.0.1"]  # the server listens on the second only
    assert get({"/a.jpg": PICTURE_ANSWER}, resolve=lambda *_: addresses)[0] == PICTURE


def test_many_at_once_each_have_a_connection_of_their_own():
    async def run():
        async with (
            site({"/": PICTURE_ANSWER}) as it,
            fetcher(f"store.test:{it.port}", resolve=loopback) as client,
            asyncio.TaskGroup() as group,
        ):
            url = f"http://store.test:{it.port}/"
            tasks = [group.create_task(client.fetch(url, None)) for _ in range(40)]
            await asyncio.wait(tasks)
        assert all(task.result() == PICTURE for task in tasks)
        assert len(it.requests) == 40

    asyncio.run(run())


def test_proxies_of_the_environment_are_not_used(monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / "netrc").write_text("machine store.test login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    body, requests = get({"/a.jpg": PICTURE_ANSWER})
    assert body == PICTURE
    assert "authorization" not in requests[0].lower()


def tls(monkeypatch, names):
    """A server's side of TLS, which a client trusts; ``names`` gets what clients ask for."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.sni_callback = lambda _, name, __: names.append(name)
    return context


def test_tls_verifies_the_name_and_not_the_address(monkeypatch):
    names = []
    context = tls(monkeypatch, names)
    body, _ = get({"/a.jpg": PICTURE_ANSWER}, scheme="https", ssl=context)
    assert body == PICTURE
    assert names == ["store.test"]


def test_a_certificate_of_another_name_is_refused(monkeypatch):
    async def run():
        async with (
            site({"/": PICTURE_ANSWER}, ssl=tls(monkeypatch, [])) as it,
            fetcher(f"other.test:{it.port}", resolve=loopback) as client,
        ):
            await client.fetch(f"https://other.test:{it.port}/", None)

    with pytest.raises(RequestError, match=r"^nothing could be fetched from other\.test"):
        asyncio.run(run())


@pytest.fixture
def dialled(monkeypatch):
    """Addresses the kernel is asked to connect to; none is reached."""
    asked = []

    def connect(_, address):
        asked.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return asked


def refused(url, resolve):
    async def run():
        async with fetcher("public", resolve=resolve) as client:
            await client.fetch(url, "photo")

    with pytest.raises(RequestError) as error:
        asyncio.run(run())
    return error.value


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7F000001", "127.0.0.1.", "0", "0.0.0.0"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]"),
        *("[64:ff9b::127.0.0.1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]"),
        *("[fe80::1%25eth0]", "169.254.169.254", "168.63.129.16", "100.100.100.200", "10.1"),
        *(
            "224.0.0.1",
            "255.255.255.255",
            "１２７.0.0.1",
            "127。0。0。1",
            "①27.0.0.1",
            "%31%32%37.1",
        ),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "public.test@127.0.0.1"),
        *("127.0.0.1\\.public.test", "public.test\\@127.0.0.1", "127.0.0.1\t", "[127.0.0.1]"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_literal_addresses_inside_are_never_connected_to(dialled, host, scheme):
    error = refused(f"{scheme}://{host}/latest/meta-data", unknown)
    assert error.code is Code.URL_NOT_ALLOWED
    assert dialled == []


@pytest.mark.parametrize(
    "addresses",
    [
        *(["10.0.0.1"], ["127.0.0.1"], ["::1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]),
        *(["93.184.216.34", "10.0.0.1"], ["2606:4700::1111", "fd00::1"], ["64:ff9b::a00:1"]),
        *(["fe80::1%eth0"], ["0.0.0.0"], []),
    ],
)
def test_names_that_resolve_inside_are_never_connected_to(dialled, addresses):
    error = refused("http://public.test/", lambda *_: addresses)
    assert error.code is Code.URL_FAILED
    assert error.message == refused("http://public.test/", unknown).message
    assert dialled == []


def test_a_name_is_resolved_once_and_its_answer_connected_to(dialled):
    """Rebinding: another answer after the check."""
    answers = [["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]]
    error = refused("http://public.test/", lambda *_: answers.pop(0))
    assert error.code is Code.URL_FAILED
    assert dialled == ["93.184.216.34"]
    assert len(answers) == 2


def test_no_more_than_a_few_addresses_of_a_name_are_tried_both_families_in_turn(dialled):
    addresses = [f"2606:4700::{n}" for n in range(9)] + [f"93.184.216.{n}" for n in range(9)]
    refused("http://public.test/", lambda *_: addresses)
    assert dialled == ["2606:4700::", "93.184.216.0", "2606:4700::1", "93.184.216.1"]


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_public_addresses_are_connected_to(dialled, address):
    refused("http://public.test/", lambda *_: [address])
    assert dialled == [address]


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "file:///etc/passwd", "a.jpg", ""])
def test_what_is_no_url_of_the_web_is_not_allowed(dialled, url):
    assert refused(url, unknown).code is Code.URL_NOT_ALLOWED


def test_the_log_has_hosts_and_no_secrets(caplog):
    secret = "/bucket/person.jpg"
    answers = {secret: redirect(f"{secret}2?X-Amz-Signature=1"), f"{secret}2": PICTURE_ANSWER}

    async def run(path):
        async with (
            site(answers) as it,
            fetcher(f"store.test:{it.port}", resolve=loopback) as client,
        ):
            await client.fetch(f"http://store.test:{it.port}{path}?X-Amz-Signature=2", None)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run(secret))
        answers[f"{secret}2"] = head("403 Forbidden", Content_Length=0)
        with pytest.raises(RequestError):
            asyncio.run(run(secret))
        answers[secret] = redirect("http://elsewhere.test/bucket?X-Amz-Signature=3")
        with pytest.raises(RequestError):
            asyncio.run(run(secret))
    assert "nothing fetched from store.test: answered 403" in caplog.messages
    for word in ("bucket", "person", "Amz", "Signature"):
        assert word not in caplog.text
