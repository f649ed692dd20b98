"""A line a request, for people or programs. No pictures, no keys, no paths of URLs."""

import datetime
import json
import logging

from birefcli.errors import printable
from birefcli.serve.visit import Visit

LOGGER = logging.getLogger("birefcli.requests")


def log(visit: Visit, *, as_json: bool) -> None:
    """Say what became of a request."""
    LOGGER.info(json.dumps(_record(visit)) if as_json else _line(visit))


def _record(visit: Visit) -> dict[str, object]:
    return {
        "time": _now(),
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
        _now(), status, visit.method, visit.path, f"{visit.seconds:.3f}s", f"id={visit.id}",
        f"key={visit.key}", f"in={visit.bytes_in}", f"out={visit.bytes_out}",
    ]  # fmt: skip
    if visit.photos:
        stages = ",".join(f"{s}:{seconds:.3f}" for s, seconds in vars(visit.timings).items())
        said += [f"model={visit.model}", f"megapixels={visit.megapixels:.1f}", f"stages={stages}"]
    if visit.code:
        said.append(f"error={visit.code}")
    return printable(" ".join(said))


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
