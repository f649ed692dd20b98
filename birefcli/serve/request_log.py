"""A line a request, and what else there is to log, for people or programs.

No pictures, no keys, no paths of URLs.
"""

import datetime
import json
import logging
from typing import Any

from birefcli.errors import printable
from birefcli.serve.request_record import REQUEST, RequestRecord

LOGGER = logging.getLogger("birefcli.requests")


def log(record: RequestRecord) -> None:
    """Say what became of a request."""
    LOGGER.info(_line(record), extra={"record": _record(record)})


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


def _record(record: RequestRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "dialect": record.dialect,
        "method": record.method,
        "path": record.path,
        "key": record.key,
        "status": record.status,
        "code": record.code or None,
        "seconds": round(record.seconds, 4),
        "stages": {stage: round(value, 4) for stage, value in vars(record.timings).items()},
        "photos": record.photos,
        "megapixels": round(record.megapixels, 2),
        "model": record.model or None,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
    }


def _line(record: RequestRecord) -> str:
    status = str(record.status) if record.status else "left"
    said = [
        status, record.method, record.path, f"{record.seconds:.3f}s", f"id={record.id}",
        f"key={record.key}", f"in={record.bytes_in}", f"out={record.bytes_out}",
    ]  # fmt: skip
    if record.photos:
        stages = ",".join(f"{s}:{seconds:.3f}" for s, seconds in vars(record.timings).items())
        said += [f"model={record.model}", f"megapixels={record.megapixels:.1f}", f"stages={stages}"]
    if record.code:
        said.append(f"error={record.code}")
    return " ".join(said)


def _time(record: logging.LogRecord) -> str:
    made = datetime.datetime.fromtimestamp(record.created).astimezone()
    return made.isoformat(timespec="milliseconds")
