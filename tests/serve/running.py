"""A service in a thread of the tests' own process: its state can be set by a test."""

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from served import TIMEOUT, Answer

from birefcli.options import ModelOptions
from birefcli.serve.app import make_app
from birefcli.serve.connections import Protocol
from birefcli.serve.engines import load_engines
from birefcli.serve.keys import Keys
from birefcli.serve.metrics import Metrics
from birefcli.serve.service import Service
from birefcli.serve.settings import ServeOptions
from birefcli.system.watchdog import Activity

OPTIONS = ServeOptions(
    models=(),
    model=ModelOptions("", device="cpu", offline=True),
    batch=None,
    threads=2,
    max_pixels=4_000_000,
    max_memory=1 << 30,
    max_body=8_000_000,
    queue=64,
    timeout=TIMEOUT,
    grace=1.0,
    urls="none",
)


class Running:
    """A service that answers on the loopback."""

    def __init__(self, service: Service, keys: Keys | None) -> None:
        self.service = service
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config(
            make_app(service, keys),
            lifespan="off",
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="service")
        self._thread.start()

    def _run(self) -> None:
        async def answer() -> None:
            await self._server.serve(sockets=[self._listener])
            await self.service.close()

        with contextlib.closing(self._loop), self._listener:
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
        with contextlib.ExitStack() as until:
            until.callback(lambda: self.call(place.release))
            yield until.close

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "", **more: str) -> Answer:
        """One request on a connection of its own; ``kind``: its body's type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        headers = {"Content-Type": kind, **more} if kind else more
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lower, response.read())


@contextmanager
def running(
    weights: Path, *, loaded: bool = True, keys: Path | None = None, **options: Any
) -> Iterator[Running]:
    """A service of these weights; ``loaded=False``: it is starting still."""
    chosen = replace(OPTIONS, models=(str(weights),), **options)
    service = Service(chosen, Metrics(), Activity())
    if loaded:
        service.start(load_engines(chosen, Activity(), lambda _: None, lambda _: None))
    running = Running(service, None if keys is None else Keys(keys))
    try:
        yield running
    finally:
        running.close()
