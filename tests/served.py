"""The real service, in a process of its own on the loopback, which ends with the block."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forks import Forked, shared

TIMEOUT = 300.0  # seconds; a machine may be busy
READY = re.compile(r"ready on (http://127\.0\.0\.1:(\d+)|unix:\S+)")


@dataclass
class Answer:
    """Of a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error in OpenAI's form."""
        code: str = self.json["error"]["code"]
        return code


@dataclass
class Served:
    """A running service."""

    process: "subprocess.Popen[bytes] | Forked"
    lines: list[str] = field(default_factory=list)
    """What it said on stderr so far."""
    _reader: threading.Thread | None = None

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in iter(self.process.stderr.readline, b""):
            self.lines.append(line.decode().rstrip("\n"))

    @property
    def samples(self) -> Path:
        return Path(__file__).parents[1] / "samples"

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_ready(self) -> bool:
        return READY.search(self.said) is not None

    @property
    def port(self) -> int:
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said
        return int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; ``_`` in a header's name is ``-``."""
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            lower = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lower, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def metric(self, name: str) -> float:
        """Sum of a metric's samples that begin so."""
        text = self.get("/metrics").body.decode()
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
        return sum(map(float, found))

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(TIMEOUT)
        if self._reader is not None:
            self._reader.join(TIMEOUT)
        return code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


@contextmanager
def serving(
    environment: Mapping[str, str], *words: object, ready: bool = True, **variables: str
) -> Iterator[Served]:
    """``birefcli serve`` with these words, once it is ready, or listens."""
    env = {**environment, **variables}
    process = _start(["serve", "--port", "0", *map(str, words)], env, forked=ready)
    served = Served(process)
    served._reader = threading.Thread(target=served.read, daemon=True)
    served._reader.start()
    try:
        what = "ready" if ready else "listening"
        end = time.monotonic() + TIMEOUT
        while what not in served.said:
            assert process.poll() is None, served.said
            assert time.monotonic() < end, f"it does not say {what}: {served.said}"
            time.sleep(0.02)
        yield served
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        served._reader.join(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _start(
    words: list[str], env: Mapping[str, str], *, forked: bool
) -> "subprocess.Popen[bytes] | Forked":
    """A command; where its start is not looked at, of a process that has imported torch."""
    forks = shared() if forked else None
    if forks is not None and forks.can_set(env):
        return forks.start(words, env, Path.cwd())
    return subprocess.Popen(
        [sys.executable, "-m", "birefcli", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
