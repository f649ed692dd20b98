"""A line a request, and what else there is to log, for people or programs.

No pictures, no keys, no paths of URLs.
"""

import datetime
import json
import logging
from typing import Any

from birefcli.errors import printable
from birefcli.serve.visit import REQUEST, Visit

LOGGER = logging.getLogger("birefcli.requests")


def log(visit: Visit) -> None:
    """Say what became of a request."""
    LOGGER.info(_line(visit), extra={"record": _record(visit)})


class TextFormatter(logging.Formatter):
    """A line for people: the time, and what is said; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = record.getMessage()
        if not hasattr(record, "record"):
            request = REQUEST.get()
            said = f"{record.levelname.lower()} {said}" + (f" id={request}" if request else "")
        line = f"{_time(record)} {printable(said)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps({"time": _time(record), **self._said(record)})

    def _said(self, record: logging.LogRecord) -> dict[str, Any]:
        said = getattr(record, "record", None)
        if isinstance(said, dict):
            return said
        plain: dict[str, Any] = {
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "id": REQUEST.get() or None,
        }
        if record.exc_info:
            plain["traceback"] = self.formatException(record.exc_info)
        return plain


def _record(visit: Visit) -> dict[str, Any]:
    return {
        "id": visit.id,
        "dialect": visit.dialect,
        "method": visit.method,
        "path": visit.path,
        "key": visit.key,
        "status": visit.status,
        "code": visit.code or None,
        "seconds": round(visit.seconds, 4),
        "stages": {stage: round(value, 4) for stage, value in vars(visit.timings).items()},
        "photos": visit.photos,
        "megapixels": round(visit.megapixels, 2),
        "model": visit.model or None,
        "bytes_in": visit.bytes_in,
        "bytes_out": visit.bytes_out,
    }


def _line(visit: Visit) -> str:
    status = str(visit.status) if visit.status else "left"
    said = [
        status, visit.method, visit.path, f"{visit.seconds:.3f}s", f"id={visit.id}",
        f"key={visit.key}", f"in={visit.bytes_in}", f"out={visit.bytes_out}",
    ]  # fmt: skip
    if visit.photos:
        stages = ",".join(f"{s}:{seconds:.3f}" for s, seconds in vars(visit.timings).items())
        said += [f"model={visit.model}", f"megapixels={visit.megapixels:.1f}", f"stages={stages}"]
    if visit.code:
        said.append(f"error={visit.code}")
    return " ".join(said)


def _time(record: logging.LogRecord) -> str:
    made = datetime.datetime.fromtimestamp(record.created).astimezone()
    return made.isoformat(timespec="milliseconds")
