"""One request, from its head to its answer's end: what the log and the metrics say of it."""

import re
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from birefcli.serve.orders import MattedPhoto, Timings

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a client may call its request."""
_KEY = "birefcli.request"
REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being answered, for the log."""


@dataclass
class RequestRecord:
    """One request."""

    id: str
    dialect: str
    method: str
    path: str
    """Of a known endpoint; else ``-``."""
    key: str = "-"
    """The name of whoever asked."""
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    """0 where the client left before an answer."""
    code: str = ""
    """Of an error."""
    bytes_in: int = 0
    bytes_out: int = 0
    photos: int = 0
    megapixels: float = 0.0
    model: str = ""
    timings: Timings = field(default_factory=Timings)
    """Of all its photos together."""
    coverage: float | None = None
    flags: tuple[str, ...] = ()

    def matted(self, results: Sequence[MattedPhoto]) -> None:
        """Note what was done."""
        self.photos = len(results)
        for each in results:
            self.model = each.model
            self.megapixels += each.megapixels
            for stage, seconds in vars(each.timings).items():
                setattr(self.timings, stage, getattr(self.timings, stage) + seconds)
        if len(results) == 1:
            self.coverage = results[0].coverage
            self.flags = tuple(flag.value for flag in results[0].quality.flags)

    @property
    def seconds(self) -> float:
        """Since its head came."""
        return time.perf_counter() - self.started

    @property
    def headers(self) -> dict[str, str]:
        """What every answer says of itself."""
        said = {"x-request-id": self.id, "cache-control": "no-store"}
        if self.model:
            said["x-model"] = header_text(self.model)
            said["server-timing"] = ", ".join(
                f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in vars(self.timings).items()
            )
        if self.coverage is not None:
            said["x-coverage"] = f"{self.coverage:.5f}"
        if self.flags:
            said["x-flags"] = ", ".join(self.flags)
        return said


def record_of(request: Request) -> RequestRecord:
    """The record that a request is."""
    record: RequestRecord = request.scope[_KEY]
    return record


def keep(scope: Scope, record: RequestRecord) -> None:
    """Let a request's handler find its record."""
    scope[_KEY] = record


def request_id(given: str | None) -> str:
    """The client's own, or a new one."""
    return given if given is not None and ID.fullmatch(given) else uuid.uuid4().hex


def header_text(text: str) -> str:
    """Text as a header may hold it."""
    return re.sub(r"[^\x20-\x7e]", "?", text)
