"""What is to be done, and why: which products are missing, damaged, out of date or another's.

A product is up to date when its file is whole and its stamp names this model, these options, a
precision that will do, and the size and modification time the photo has now. Time and size, not
the content: a second run over 10,000 finished photos reads no photo at all.

A product that somebody edited is theirs, up to date or not. Most are known by their length; all of
a product's pixels are read only where it would be replaced.
"""

import dataclasses
import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from birefcli.batch.output import ANOTHER
from birefcli.batch.places import PIPE, Look, Target
from birefcli.batch.targets import Job
from birefcli.errors import Message, Option, OutputError, PhotoError
from birefcli.images.findings import Findings, merged
from birefcli.images.image_data import is_cut_short
from birefcli.images.stamp import SHEET, Stamp, findings_of, has_own_length, has_own_pixels
from birefcli.options import Existing, Precision, Product
from birefcli.system.regular_file import NotRegularError

AUTOMATIC = frozenset({Precision.FP16.value, Precision.FP32.value})
"""What ``Precision.AUTO`` may have been, here or on another device: as good as each other."""

TRIES = 3  # looks at a product that others write at the same time
MOVED = (errno.ENOENT, errno.ESTALE)
"""What is said of a file that is gone, or is another one, since it was found."""


OVERWRITING = Option("existing", "overwrite")
REPLACES = Message(OVERWRITING, " replaces it")
ELSEWHERE = Message(ANOTHER, ", or use ", OVERWRITING)


class Verdict(Enum):
    """What is found at a target, and so what is done about it; its value is for people."""

    MISSING = Message("missing")
    OVERWRITE = Message("replaces an earlier one")
    OVERWRITE_EDITED = Message("replaces one that was edited since it was made")
    OVERWRITE_FOREIGN = Message("replaces a file that birefcli did not make")
    OVERWRITE_UNKNOWN = Message("replaces one of another version, which may be edited")
    OVERWRITE_KIND = Message("replaces a product of another kind")
    DAMAGED = Message("damaged")
    CHANGED = Message("the photo changed")
    OPTIONS = Message("made with another model or other options")
    EXISTS = Message("exists")
    UP_TO_DATE = Message("up to date")
    NOT_OURS = Message("not made by birefcli; ", REPLACES)
    EDITED = Message("edited since it was made; ", REPLACES)
    UNKNOWN = Message(
        "made by a version that does not tell whether it was edited since; ", REPLACES
    )

    @property
    def message(self) -> Message:
        """As a person is told."""
        return self.value

    @property
    def is_theirs(self) -> bool:
        """Whether somebody's work lies there, or may: it is kept and named."""
        return self in (Verdict.NOT_OURS, Verdict.EDITED, Verdict.UNKNOWN)

    @property
    def replaces_edited(self) -> bool:
        """Whether a product goes that somebody edited, or may have."""
        return self in (Verdict.OVERWRITE_EDITED, Verdict.OVERWRITE_UNKNOWN)

    @property
    def replaces_theirs(self) -> bool:
        """Whether somebody's work goes, or may: that was asked for, and is named."""
        return self.replaces_edited or self is Verdict.OVERWRITE_FOREIGN

    @property
    def is_kept(self) -> bool:
        """Whether nothing is written there."""
        return self.is_theirs or self in (Verdict.EXISTS, Verdict.UP_TO_DATE)


OVERWRITTEN: Mapping[Verdict, Verdict] = {
    Verdict.EDITED: Verdict.OVERWRITE_EDITED,
    Verdict.NOT_OURS: Verdict.OVERWRITE_FOREIGN,
    Verdict.UNKNOWN: Verdict.OVERWRITE_UNKNOWN,
}
"""What is found at a target where whatever is there is to be replaced."""


@dataclass(frozen=True)
class Decision:
    """About one photo: ``job`` holds the products to be made, none where nothing is to be done."""

    job: Job
    verdicts: Mapping[str, Verdict] = dataclasses.field(default_factory=dict)
    """On all its targets, by their names."""
    fingerprints: Mapping[Product, str] = dataclasses.field(default_factory=dict)
    """Of all products, for their stamps."""
    trouble: Message | None = None
    """Why the photo fails before any work: it cannot be told what is at one of its targets, or
    that is another kind of product."""
    conflict: "Conflict | None" = None
    """The product of another kind, if that is why."""
    retried: bool = False
    """Whether a worker that is gone may have written some of its products."""
    found: Findings | None = None
    """What the run that made its products, which are as it made them, found out about it."""

    @property
    def is_new(self) -> bool:
        """Whether there was none of its products."""
        return bool(self.verdicts) and set(self.verdicts.values()) == {Verdict.MISSING}

    @property
    def of_several(self) -> bool:
        """Whether the photo has several products, to be made now or not."""
        return len(self.fingerprints) > 1

    @property
    def kept(self) -> Mapping[str, Message]:
        """Targets that hold somebody's work, or may, and why it is taken for that."""
        return {name: each.message for name, each in self.verdicts.items() if each.is_theirs}

    @property
    def reason(self) -> Message:
        """Why the photo is done, or not, by what is found at its targets."""
        return _shown(self.verdicts) if self.trouble is None else self.trouble


class Conflict(NamedTuple):
    """A product lies where one of another kind is to be written."""

    target: Target
    there: str
    """What it is, like ``cutout``; or :data:`.stamp.SHEET`."""
    wanted: Product

    @property
    def text(self) -> str:
        """In a line, without what is to be done about it."""
        there = "a contact sheet" if self.there == SHEET else f"a {self.there}"
        return f"{self.target}: is {there}, and a {self.wanted.value} is to be written there"

    @property
    def message(self) -> Message:
        """With what is to be done about it."""
        return Message(f"{self.text}; ", ELSEWHERE)


def decide(
    job: Job,
    existing: Existing,
    wanted: Mapping[Product, str],
    precision: Precision,
) -> Decision:
    """Decide what to do about one photo; ``wanted``: the fingerprints its products should have.

    What cannot be looked at is never replaced, nor is a product of another kind: the photo fails.
    Raises OutputError for ``Existing.ERROR``.
    """
    try:
        return _decided(job, existing, wanted, precision)
    except PhotoError as error:
        return Decision(dataclasses.replace(job, targets={}), trouble=error.message)


def _decided(
    job: Job, existing: Existing, wanted: Mapping[Product, str], precision: Precision
) -> Decision:
    precisions = AUTOMATIC if precision is Precision.AUTO else frozenset({precision.value})
    todo: dict[Product, Target] = {}
    verdicts: dict[str, Verdict] = {}
    told: list[Findings] = []
    for kind, target in job.targets.items():
        found, there, made = _verdict(job, kind, existing, wanted[kind], precisions)
        if isinstance(found, Conflict):
            nothing = dataclasses.replace(job, targets={})
            return Decision(nothing, trouble=found.message, conflict=found)
        verdicts[str(target)] = found
        if not found.is_kept:
            todo[kind] = there
        elif made is not None and not found.is_theirs:
            told.append(made)
    job = dataclasses.replace(job, targets=todo)
    return Decision(job, verdicts, wanted, found=merged(told))


def _shown(verdicts: Mapping[str, Verdict]) -> Message:
    """Verdicts in a sentence: each once, somebody's work by its name."""
    found = set(verdicts.values())
    if len(found) == 1:
        return found.pop().message
    is_done = not all(verdict.is_kept for verdict in found)
    shown = [
        Message(f"{target}: ", verdict.message)
        if verdict.is_theirs or verdict.replaces_theirs
        else verdict.message
        for target, verdict in verdicts.items()
        if verdict.is_theirs or not verdict.is_kept or not is_done
    ]
    return Message(*[part for each in dict.fromkeys(shown) for part in (", ", each)][1:])


class _Judged(NamedTuple):
    """What is to be done at a target."""

    verdict: Verdict | Conflict
    target: Target
    """As it is to be written: see :attr:`Target.seen`."""
    made: Findings | None = None
    """What the run found out that made the product which is there, where that was looked at;
    None also of one that is known to be edited: :func:`.stamp.findings_of`."""


def _verdict(
    job: Job, kind: Product, existing: Existing, fingerprint: str, precisions: frozenset[str]
) -> _Judged:
    """What is to be done at a target.

    Raises PhotoError where it cannot be told what is there.
    """
    target = job.targets[kind]
    there = _there(target)
    if there is None:
        missing = target if existing is Existing.OVERWRITE else target.if_absent()
        return _Judged(Verdict.MISSING, missing)
    match existing:
        case Existing.ERROR:
            way = Option("existing", "update")
            raise OutputError(Message(f"{target}: exists; move it, or use ", way))
        case Existing.SKIP:
            return _skipped(job, kind, there)
        case Existing.OVERWRITE:
            verdict = _overwritten(job, kind, there, fingerprint, precisions)
            return _Judged(verdict, target)
        case Existing.UPDATE:
            return _looked_at(
                there, lambda look: _against_stamp(job, kind, look, fingerprint, precisions)
            )


def _there(target: Target, *, again: bool = False) -> Target | None:
    """A target where something is that may be replaced. Raises PhotoError for the rest."""
    try:
        return target.find(again=again)
    except OSError as error:
        raise PhotoError(f"{target}: {error.strerror or error}", hint=_way_round(error)) from None


def _way_round(error: OSError) -> Message | None:
    if not isinstance(error, NotRegularError):
        return None
    if error.is_pipe:
        return Message("use ", Option("output", PIPE), " to write to a pipe")
    return Message("move it, or choose another ", Option("output"))


def found_since(decision: Decision) -> Findings | None:
    """What was found of a photo whose products have all been made since it was decided about.

    None where one has not: a product appears whole or not at all. Raises OSError, MemoryError.
    """
    every = []
    for kind in decision.job.targets:
        made = _found_since(decision, kind)
        if made is None:
            return None
        every.append(made)
    return merged(every)


def _found_since(decision: Decision, kind: Product) -> Findings | None:
    target = decision.job.targets[kind]
    there = target.find(again=True)
    if target.seen is None or there is None:
        return None
    with there.look() as look:
        made, found = look.found.stamp, findings_of(look.file, look.found)
    if look.target.seen == target.seen or made is None:
        return None
    is_as_asked = (made.product, made.fingerprint) == (kind.value, decision.fingerprints[kind])
    is_of_photo = decision.job.source.state() in (None, (made.size, made.mtime_ns))
    return found if is_as_asked and is_of_photo else None


def _looked_at(there: Target, judge: Callable[[Look], Verdict | Conflict]) -> _Judged:
    """As :func:`_verdict`, by what lies at a target, which others may write at the same time."""
    target, tries = there, 0
    while True:
        try:
            with target.look() as look:
                return _Judged(judge(look), look.target, findings_of(look.file, look.found))
        except (OSError, MemoryError) as error:
            tries += 1
            if getattr(error, "errno", None) not in MOVED or tries == TRIES:
                cause = getattr(error, "strerror", None) or str(error) or "out of memory"
                text = f"{target}: cannot be read, and stays: {cause}"
                raise PhotoError(text, hint=REPLACES) from None
        found = _there(target, again=True)
        if found is None:
            return _Judged(Verdict.MISSING, target.if_absent())  # it has just gone
        target = found


def _skipped(job: Job, kind: Product, there: Target) -> _Judged:
    """What is there stays, also where it cannot be read."""
    with suppress(OSError, MemoryError), there.look() as look:
        if (another := _conflict(job, kind, look)) is not None:
            return _Judged(another, there)
        return _Judged(Verdict.EXISTS, there, findings_of(look.file, look.found))
    return _Judged(Verdict.EXISTS, there)


def _overwritten(
    job: Job, kind: Product, there: Target, fingerprint: str, precisions: frozenset[str]
) -> Verdict:
    """What is replaced, also where it cannot be read.

    Of an object its length alone is compared: all of each product would be fetched.
    """
    with suppress(OSError, MemoryError), there.look() as look:
        quick = there.is_remote
        found = _against_stamp(job, kind, look, fingerprint, precisions, quick=quick)
        if not isinstance(found, Conflict):
            return OVERWRITTEN.get(found, Verdict.OVERWRITE)
        made = look.found.stamp
        assert made is not None, "by which it is of another kind"
        other = _unless_edited(look, made, Verdict.OVERWRITE_KIND, quick=quick)
        return OVERWRITTEN.get(other, Verdict.OVERWRITE_KIND)
    return Verdict.OVERWRITE


def _conflict(job: Job, kind: Product, look: Look) -> Conflict | None:
    made = look.found.stamp
    if made is None or made.product in (kind.value, ""):
        return None
    return Conflict(look.target, made.product, kind)


def _against_stamp(
    job: Job,
    kind: Product,
    look: Look,
    fingerprint: str,
    precisions: frozenset[str],
    *,
    quick: bool | None = None,
) -> Verdict | Conflict:
    """What a look at a target says. Raises OSError, MemoryError.

    ``quick``: whether a file of its length is taken for unedited; None where the product stays.
    """
    found = look.found
    made = found.stamp
    if made is None:
        return Verdict.DAMAGED if found.blank else Verdict.NOT_OURS
    if (another := _conflict(job, kind, look)) is not None:
        return another
    verdict = _by_stamp(job, made, fingerprint, precisions)
    return _unless_edited(look, made, verdict, quick=quick)


def _unless_edited(look: Look, made: Stamp, verdict: Verdict, *, quick: bool | None) -> Verdict:
    """The verdict on a product that is as it was made; else what has become of it."""
    found = look.found
    if made.checksum is None:
        return Verdict.UNKNOWN
    if not found.whole and found.length <= made.checksum.file_length and is_cut_short(look.file):
        return Verdict.DAMAGED
    if verdict is Verdict.UP_TO_DATE if quick is None else quick:
        own = has_own_length(look.file, found.length, made.checksum)
    else:
        own = has_own_pixels(look.file, made.checksum)
    return verdict if own else Verdict.EDITED


def _by_stamp(job: Job, made: Stamp, fingerprint: str, precisions: frozenset[str]) -> Verdict:
    """Whether a product that is as it was made is up to date."""
    if made.fingerprint != fingerprint or made.precision not in precisions:
        return Verdict.OPTIONS
    if job.source.comes_by_pipe:
        return Verdict.OVERWRITE  # nothing is known of what comes through a pipe
    is_the_same = job.source.state() == (made.size, made.mtime_ns)
    return Verdict.UP_TO_DATE if is_the_same else Verdict.CHANGED
