"""What is to be done, and why: which products are missing, damaged, out of date or another's.

A product is current when its file is whole and its record names this model, these options, a
precision that will do, and the size and modification time the photo has now. Time and size, not
the content: a second run over 10,000 finished photos reads no photo at all.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from birefcli.batch.targets import Job
from birefcli.errors import OutputError
from birefcli.images import stamp
from birefcli.options import Existing, Options, Precision, Product

ALGORITHM = 2  # to be raised whenever the same options come to give other pixels

AUTOMATIC = frozenset({Precision.FP16.value, Precision.FP32.value})
"""What ``Precision.AUTO`` may have been, here or on another device: as good as each other."""


@dataclass(frozen=True)
class Decision:
    """About one photo: ``job`` holds the products to be made, none where nothing is to be done."""

    job: Job
    reason: str
    not_ours: bool = False
    """Whether a target is kept because it was not made here."""


Fingerprints = Callable[[Job], Mapping[Product, str]]


def fingerprints(
    options: Options, identity: str, background: Callable[[Path], str]
) -> Fingerprints:
    """Digests of everything that shows in each product of a photo.

    ``identity``: of the weights; ``background``: of what is behind the photo of this relative path.
    The device does not count: it changes nothing but rounding. Nor does the precision, which a
    record names beside this: what ``auto`` means is known on the device only.
    """
    rendering = options.rendering
    shared = [
        ALGORITHM, identity, options.size, options.patch_order.value,
        rendering.format.value, rendering.bits, rendering.compress.value, rendering.crop,
        dataclasses.astuple(rendering.margin) if rendering.crop else None, rendering.strip,
        rendering.has_colour,  # without, JPEGs are read smaller
    ]  # fmt: skip
    plain = {
        kind: _digest([*shared, kind.value, rendering.refine if kind.has_colour else None])
        for kind in rendering.products
    }

    def of(job: Job) -> Mapping[Product, str]:
        if Product.COMPOSITE not in plain:
            return plain
        behind = _digest([plain[Product.COMPOSITE], background(job.relative)])
        return {**plain, Product.COMPOSITE: behind}

    return of


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def decide(
    job: Job,
    existing: Existing,
    wanted: Mapping[Product, str],
    precision: Precision,
) -> Decision:
    """Decide what to do about one photo. Raises OutputError for ``Existing.ERROR``."""
    precisions = AUTOMATIC if precision is Precision.AUTO else frozenset({precision.value})
    todo: dict[Product, Path | None] = {}
    reasons: list[str] = []
    not_ours = False
    for kind, target in job.targets.items():
        verdict = _verdict(job, target, existing, wanted[kind], precisions)
        not_ours |= verdict == NOT_OURS
        if verdict not in KEPT:
            todo[kind] = target
        reasons.append(verdict)
    left = dataclasses.replace(job, targets=todo)
    telling = [r for r in dict.fromkeys(reasons) if not todo or r not in KEPT]
    return Decision(left, ", ".join(telling), not_ours and not todo)


MISSING = "missing"
EXISTS = "exists"
UP_TO_DATE = "up to date"
OVERWRITE = "to be overwritten"
DAMAGED = "damaged"
CHANGED = "the photo changed"
OPTIONS = "made with another model or other options"
NOT_OURS = "not made by birefcli; --existing overwrite replaces it"
KEPT = frozenset({EXISTS, UP_TO_DATE, NOT_OURS})


def _verdict(
    job: Job, target: Path | None, existing: Existing, fingerprint: str, precisions: frozenset[str]
) -> str:
    if target is None:
        return MISSING
    try:
        found = stamp.read(target)
    except FileNotFoundError:
        return MISSING
    except PermissionError:
        found = stamp.StampedFile(whole=True, stamp=None)  # somebody's
    except OSError:
        return DAMAGED  # or a name that cannot be: writing it will say so
    match existing:
        case Existing.ERROR:
            raise OutputError(f"{target}: exists; move it, or use --existing update")
        case Existing.SKIP:
            return EXISTS
        case Existing.OVERWRITE:
            return OVERWRITE
        case Existing.UPDATE:
            return _against_record(job, target, found, fingerprint, precisions)


def _against_record(
    job: Job, target: Path, found: stamp.StampedFile, fingerprint: str, precisions: frozenset[str]
) -> str:
    if found.stamp is None:
        return NOT_OURS if found.whole or _decodes(target) else DAMAGED
    if not found.whole:
        return DAMAGED
    if found.stamp.fingerprint != fingerprint or found.stamp.precision not in precisions:
        return OPTIONS
    if job.source is None:
        return OVERWRITE  # nothing is known of what comes through a pipe
    made_of = source_state(job.source)
    return UP_TO_DATE if made_of == (found.stamp.size, found.stamp.mtime_ns) else CHANGED


def _decodes(target: Path) -> bool:
    """Whether a file of unknown making is a picture all the same: some end in more than pixels."""
    from birefcli.errors import PhotoError
    from birefcli.images.decode import decode_photo  # rarely needed, and not quick to import

    try:
        decode_photo(target.read_bytes(), max_pixels=1 << 40)
    except (PhotoError, OSError):
        return False
    return True


def source_state(source: Path) -> tuple[int, int] | None:
    """Size in bytes and modification time in ns of a photo's file; None where it is not there."""
    try:
        status = source.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
