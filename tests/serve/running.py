"""A service in a thread of the tests' process: real connections, and a hand on what is inside."""

import asyncio
import contextlib
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

from birefcli.options import ModelOptions, ServeOptions
from birefcli.serve.app import make_app
from birefcli.serve.engines import Engines, load_engines
from birefcli.serve.keys import Keys
from birefcli.serve.metrics import Metrics
from birefcli.serve.service import Service
from birefcli.system.watchdog import Activity

SAMPLES = Path(__file__).parents[2] / "samples"
KEY = "k-4711"
ALIAS = "gpt-image-2.5-flare"
OPTIONS = ServeOptions(
    models=("mini",),
    model=ModelOptions("", device="cpu", offline=True),
    batch=None,
    threads=2,
    max_pixels=4_000_000,
    max_memory=1 << 30,
    max_body=8_000_000,
    queue=64,
    timeout=300.0,
    grace=1.0,
    urls="none",
    aliases={ALIAS: "mini"},
)


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A service that answers at ``url``."""

    def __init__(self, service: Service, keys: Keys | None) -> None:
        self.service = service
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config(
            make_app(service, keys), lifespan="off", ws="none", log_config=None, access_log=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, args=(listener,), name="service")
        self._thread.start()

    def _run(self, listener: socket.socket) -> None:
        async def answer() -> None:
            await self._server.serve(sockets=[listener])
            await self.service.close()

        with contextlib.closing(self._loop), contextlib.closing(listener):
            self._loop.run_until_complete(answer())

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function gives in the service's own thread."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    @contextmanager
    def full(self) -> Iterator[Callable[[], None]]:
        """While the queue has no room; what is given makes room before that."""
        queue = self.service.options.queue
        place = self.call(lambda: self.service.admission.admit(queue, 1))
        release = contextlib.ExitStack()
        release.callback(lambda: self.call(place.release))
        with release:
            yield release.close

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "", method: str | None = None
    ) -> Answered:
        """An answer, whatever its status."""
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return Answered(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answered(error.code, _lower(error.headers), error.read())


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def load(options: ServeOptions = OPTIONS) -> Engines:
    """Networks that several services may share."""
    return load_engines(options, Activity(), lambda _: None, lambda _: None)


def run(
    engines: Engines | None, keys: Keys | None = None, options: ServeOptions = OPTIONS
) -> Running:
    """A service of these networks; None: it is still starting."""
    service = Service(options, Metrics())
    if engines is not None:
        service.start(engines)
    return Running(service, keys)


def form(*parts: tuple[str, str | bytes]) -> tuple[bytes, str]:
    """A form's body and type: bytes are files."""
    boundary = "0123456789abcdef"
    out = []
    for name, value in parts:
        file = f'; filename="{name}.bin"' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        out += [head.encode(), value if isinstance(value, bytes) else value.encode(), b"\r\n"]
    return b"".join(
        [*out, f"--{boundary}--\r\n".encode()]
    ), f"multipart/form-data; boundary={boundary}"


def as_json(**fields: object) -> tuple[bytes, str]:
    """A body of JSON, and its type."""
    return json.dumps(fields).encode(), "application/json"


def file_of(seed: int) -> bytes:
    """A small portrait's file, 120×140 for seed 0, another for each."""
    out = io.BytesIO()
    with Image.open(SAMPLES / "grace_hopper.jpg") as opened:
        opened.resize((120 + seed, 140), box=(0, 0, 512, 600 - seed)).save(out, "PNG")
    return out.getvalue()
