"""Which photos of an input are to be done now: whole ones that are new, or have changed.

A state machine without clock, files or network. Seconds are those of whoever calls, never those of
the files: a copy may keep old times, and another machine's clock may be wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from birefcli.batch.watch.folder_look import Version

GRACE = 60.0
"""Seconds that a photo which cannot be read must have been still for, to fail."""
FIRST_PAUSE = 2.0  # seconds to the second try of a photo that cannot be read; it doubles


@dataclass
class _Waiting:
    """A photo that is to be done once it is whole."""

    version: Version
    since: float
    """When it was first seen like this."""
    due: float
    """When it may be tried."""
    tried: float = 0.0
    """When it was last seen before it was tried."""
    tries: int = 0


class Settling:
    """What is known of each photo of an input, from one look to the next."""

    def __init__(self, settle: float, grace: float = GRACE) -> None:
        """``settle``: seconds that a photo must have been still for, to be tried."""
        self._settle, self._grace = settle, grace
        self._ended: dict[str, Version] = {}
        """Photos to which nothing is to be done until they change."""
        self._waiting: dict[str, _Waiting] = {}

    def look(self, now: float, seen: Iterable[tuple[str, Version]]) -> set[str]:
        """Take in what there is; returns what has vanished since, which is forgotten."""
        unseen, unsettled = dict(self._ended), set()
        for label, version in seen:
            if unseen.pop(label, None) == version:  # of nearly all photos nothing more is asked
                continue
            unsettled.add(label)
            known = self._waiting.get(label)
            if known is None or known.version != version:
                self._ended.pop(label, None)
                self._waiting[label] = _Waiting(version, since=now, due=now + self._settle)
        gone = unseen.keys() | (self._waiting.keys() - unsettled)
        for label in gone:
            self._ended.pop(label, None)
            self._waiting.pop(label, None)
        return gone

    def due(self, now: float) -> list[str]:
        """Photos to be tried, in the order in which they came."""
        labels = [label for label, photo in self._waiting.items() if photo.due <= now]
        for label in labels:
            self._waiting[label].tried = now
        return labels

    @property
    def next_due(self) -> float | None:
        """When the first photo may be tried."""
        return min((photo.due for photo in self._waiting.values()), default=None)

    @property
    def waiting(self) -> int:
        """How many photos are to be done."""
        return len(self._waiting)

    def end(self, label: str) -> None:
        """A photo has ended, in whatever way, as it was at the last look."""
        photo = self._waiting.pop(label, None)
        if photo is not None:
            self._ended[label] = photo.version

    def unread(self, label: str) -> bool:
        """A photo could not be read: whether that is the end of it, and no matter of waiting.

        Otherwise it is tried again, after pauses that double.
        """
        photo = self._waiting[label]
        still = photo.tried - photo.since
        if still >= self._grace:
            self.end(label)
            return True
        pause = min(FIRST_PAUSE * 2**photo.tries, max(self._grace - still, self._settle))
        photo.due = photo.tried + pause
        photo.tries += 1
        return False

    def put_off(self, label: str, until: float) -> None:
        """A photo that is waiting is not tried before that time."""
        if label in self._waiting:
            self._waiting[label].due = max(self._waiting[label].due, until)

    def again(self, label: str, now: float) -> None:
        """A photo that has ended may be tried again: what was in its way is gone."""
        version = self._ended.pop(label, None)
        if version is not None:
            self._waiting[label] = _Waiting(version, since=now, due=now)
