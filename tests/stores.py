"""Object stores on this machine for tests, and a proxy before them that fails, cuts and counts.

All of it listens on the loopback alone, and ends with the block or with the process of the test.
"""

import base64
import email.utils
import hashlib
import hmac
import html
import http.client
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 120.0  # seconds until a server must listen; a machine may be busy
REGION = "us-east-1"
LOOPBACK = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (  # of the emulator: every copy of it has this one
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
MOTO = """\
import logging, os, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()  # until the test has ended, however it ends
os._exit(0)
"""


class Request(NamedTuple):
    """What a store was asked for."""

    method: str
    key: str
    """Bucket and key, as ``bucket/a b.jpg``."""
    query: str
    range: str | None
    """Of bytes, as ``bytes=0-4095``."""

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and re.search("list-type=2|comp=list", self.query) is not None


@dataclass
class Fault:
    """What becomes of requests, of the first that fit on."""

    method: str = ".*"
    key: str = ".*"
    """Pattern of the whole ``bucket/key``."""
    times: float = 1
    """Requests that it befalls."""
    listing: bool | None = None
    """Whether only listings, or all but listings."""
    status: int | None = None
    """The proxy itself answers so."""
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    """The connection is reset, and the store never hears of the request."""
    lost: bool = False
    """The store does what it is asked, and its answer is lost."""
    cut_after: int | None = None
    """Bytes of the body that are sent before the connection ends."""
    stall_after: int | None = None
    """Bytes of the body that are sent before nothing comes any more."""
    delay: float = 0.0
    """Seconds before it is forwarded."""
    drop_headers: tuple[str, ...] = ()
    """Headers of the request that the store does not see, as one that does not know them."""

    def befalls(self, request: Request) -> bool:
        """Whether a request is one of those."""
        return (
            self.times > 0
            and re.fullmatch(self.method, request.method) is not None
            and re.fullmatch(self.key, request.key, re.S) is not None
            and self.listing in (None, request.is_listing)
        )


class Proxy:
    """Between a client and a store: forwards, fails as it is told, and keeps what was asked."""

    def __init__(self, port: int) -> None:
        """``port``: of the store."""
        self.store = port
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.before: Callable[[Request], object] = lambda _: None
        """Called before a request is forwarded: may wait."""
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Forget faults and requests."""
        with self.lock:
            self.faults, self.requests = [], []
            self.before = lambda _: None

    def fail(self, **fault: object) -> Fault:
        """Add a :class:`Fault`."""
        self.faults.append(Fault(**fault))  # type: ignore[arg-type]
        return self.faults[-1]

    def count(
        self,
        method: str = ".*",
        key: str = ".*",
        *,
        ranged: bool | None = None,
        listing: bool = False,
    ) -> int:
        """How many requests of a kind there were; listings are none of the others."""
        with self.lock:
            return sum(
                re.fullmatch(method, request.method) is not None
                and re.fullmatch(key, request.key, re.S) is not None
                and (ranged is None or ranged == (request.range is not None))
                and request.is_listing == listing
                for request in self.requests
            )

    def take(self, request: Request) -> Fault | None:
        """Note a request; what is to become of it."""
        with self.lock:
            self.requests.append(request)
            fault = next((f for f in self.faults if f.befalls(request)), None)
            if fault is not None:
                fault.times -= 1
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    upstream: http.client.HTTPConnection | None = None

    def _answer(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = self._request()
        fault = proxy.take(request) or Fault()
        proxy.before(request)
        proxy.closing.wait(fault.delay)
        if fault.reset:
            return self._reset()
        if fault.status is not None:
            return self._refuse(fault)
        response = self._forward(body, fault.drop_headers)
        content = response.read()
        if fault.lost:
            return self._reset()
        return self._pass_on(response, content, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    def _request(self) -> Request:
        path, _, query = self.path.partition("?")
        key = urllib.parse.unquote(path).lstrip("/").removeprefix(f"{AZURE_ACCOUNT}/")
        span = self.headers.get("Range") or self.headers.get("x-ms-range")
        return Request(self.command, key, query, span)

    def _forward(self, body: bytes, without: tuple[str, ...]) -> http.client.HTTPResponse:
        dropped = {name.lower() for name in without}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        for last in (False, True):  # a store may have closed a connection that it kept
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection("127.0.0.1", self.server.proxy.store)
            try:
                self.upstream.request(self.command, self.path, body or None, headers)
                return self.upstream.getresponse()
            except (http.client.HTTPException, OSError):
                self.upstream.close()
                self.upstream = None
                if last:
                    raise
        raise AssertionError("not reached")

    def _refuse(self, fault: Fault) -> None:
        assert fault.status is not None
        text = f"<Code>{fault.code}</Code><Message>{fault.message}</Message>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _pass_on(self, response: http.client.HTTPResponse, content: bytes, fault: Fault) -> None:
        self.send_response_only(response.status, response.reason)
        own = ("transfer-encoding", "connection", "content-length")
        for name, value in response.getheaders():
            if name.lower() not in own:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        if response.status != 204:
            self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        stop = fault.cut_after if fault.cut_after is not None else fault.stall_after
        self.wfile.write(content[:stop])
        if fault.stall_after is not None:
            self.server.proxy.closing.wait(TIMEOUT)
        if stop is not None:
            self.close_connection = True

    def _reset(self) -> None:
        # Closed with nothing to linger for: the client sees a reset and no orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        super().finish()


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A proxy before a store on this machine."""
    proxy = Proxy(port)
    serving = threading.Thread(target=proxy.server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        proxy.server.shutdown()
        proxy.server.server_close()
        serving.join(TIMEOUT)


@contextmanager
def moto_server(page: int = 1000) -> Iterator[int]:
    """A server that speaks S3, with as many objects in an answer; gives its port."""
    words = [sys.executable, "-c", MOTO]
    env = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(page)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=env, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def azurite_command() -> list[str] | None:
    """How Azure's emulator is started, where it is there: on PATH, or what AZURITE names."""
    named = os.environ.get("AZURITE") or shutil.which("azurite-blob")
    return None if named is None or shutil.which("node") is None else [named]


@contextmanager
def azurite_server(folder: Path) -> Iterator[int]:
    """Azure's emulator; gives its port. It keeps its objects in a folder."""
    command = azurite_command()
    assert command is not None
    port = _free_port()
    place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    words = [*command, *place, "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(port, process)
            yield port
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")


@dataclass
class Bucket:
    """A bucket of a server, behind a proxy; what is asked here goes past the proxy."""

    proxy: Proxy
    name: str
    scheme: str
    variables: dict[str, str]
    """By which a command finds the server, and nothing of the user's."""
    _headers: dict[str, str] = field(default_factory=dict)
    """Of the last answer."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.name}"

    def put(self, key: str, data: bytes) -> None:
        self._ask("PUT", key, body=data)

    def get(self, key: str) -> bytes:
        return self._ask("GET", key)

    def head(self, key: str) -> dict[str, str]:
        """Headers of an object, with names in lower case."""
        self._ask("HEAD", key)
        return self._headers

    def delete(self, key: str) -> None:
        self._ask("DELETE", key)

    def make(self) -> None:
        self._ask("PUT", "", "restype=container" if self.scheme == "az" else "")

    def names(self) -> list[str]:
        """All names, in order."""
        query = "restype=container&comp=list" if self.scheme == "az" else "list-type=2"
        tag = "Name" if self.scheme == "az" else "Key"
        found = self._ask("GET", "", f"{query}&{MAX_KEYS[self.scheme]}").decode()
        return [html.unescape(key) for key in re.findall(f"<{tag}>(.*?)</{tag}>", found, re.S)]

    def _ask(self, method: str, key: str, query: str = "", body: bytes = b"") -> bytes:
        # Written so that two slashes stay two.
        quoted = urllib.parse.quote(key).replace("//", "/%2F")
        path = f"/{self.name}/{quoted}" if key else f"/{self.name}"
        headers = {"Authorization": UNSIGNED}
        if self.scheme == "az":
            path = f"/{AZURE_ACCOUNT}{path}"
            headers = _azure_headers(method, path, query, body)
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.store, timeout=TIMEOUT)
        try:
            target = path + (f"?{query}" if query else "")
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, (response.status, content)
            self._headers = {name.lower(): value for name, value in response.getheaders()}
            return content
        finally:
            connection.close()


UNSIGNED = (  # moto looks for a key, and not at the signature
    "AWS4-HMAC-SHA256 Credential=test-key/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
MAX_KEYS = {"s3": "max-keys=100000", "az": "maxresults=5000"}


def _azure_headers(method: str, path: str, query: str, body: bytes) -> dict[str, str]:
    """Headers of a request of Azure's that is signed with the emulator's key."""
    own = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    if body or method == "PUT":
        own["x-ms-blob-type"] = "BlockBlob"
    resource = f"/{AZURE_ACCOUNT}{path}"
    for name, value in sorted(urllib.parse.parse_qsl(query)):
        resource += f"\n{name}:{value}"
    length = str(len(body)) if body else ""
    named = "".join(f"{name}:{own[name]}\n" for name in sorted(own))
    text = f"{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{named}{resource}"
    signed = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    own["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(signed).decode()}"
    return own


@contextmanager
def new_bucket(scheme: str, port: int) -> Iterator[Bucket]:
    """A new, empty bucket of the server at a port, with a proxy of its own before it."""
    with proxied(port) as proxy:
        made = {"s3": s3_variables, "az": azure_variables}[scheme](proxy.url)
        bucket = Bucket(proxy, f"shop-{secrets.token_hex(4)}", scheme, made)
        bucket.make()
        yield bucket


def s3_variables(url: str) -> dict[str, str]:
    """Variables by which commands find a server that speaks S3, and nothing of the user's."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PROFILE": "",
        **LOOPBACK,
    }


def azure_variables(url: str) -> dict[str, str]:
    """Variables by which commands find Azure's emulator."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_STORAGE_ENDPOINT": f"{url}/{AZURE_ACCOUNT}",
        **LOOPBACK,
    }
