"""Means over photos: what is printed."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from birefcli.errors import Message, Spell, printable
from birefcli.scoring.batch import Failure
from birefcli.scoring.measure import Score, curve_values
from birefcli.scoring.metrics.saliency import Floats
from birefcli.scoring.metrics.table import CURVES, Group, Metric, measured
from birefcli.system.text import encodable, json_line

FORMULAE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of what a spreadsheet takes for a formula, by OWASP: also of double width."""


@dataclass
class ScoreSummary:
    """Scores of photos, in order, without curves and thumbnails; and why others have none."""

    photos: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Values by metric, by photo."""
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, Message] = field(default_factory=dict)
    """Why a photo could not be scored."""
    bugs: int = 0
    """How many of the failures are birefcli's own."""
    unmatched: list[str] = field(default_factory=list)
    """What has no partner and was left out."""
    permille: bool = False
    _curves: dict[str, Floats] = field(default_factory=dict)

    def add(self, result: Score | Failure) -> None:
        """Count one photo."""
        if isinstance(result, Failure):
            self.failed[result.name] = result.error
            self.bugs += result.bug
            return
        self.photos[result.name] = result.values
        if result.notes:
            self.notes[result.name] = result.notes
        for name, curve in result.curves.items():
            self._curves[name] = self._curves[name] + curve if name in self._curves else curve

    @property
    def metrics(self) -> list[Metric]:
        """What was measured, in the order of tables."""
        return measured({name for values in self.photos.values() for name in values})

    @property
    def groups(self) -> dict[Group, list[Metric]]:
        """What was measured, table by table."""
        groups: dict[Group, list[Metric]] = {}
        for metric in self.metrics:
            groups.setdefault(metric.group, []).append(metric)
        return groups

    def means(self) -> dict[str, float | None]:
        """Each metric over all photos that have it.

        As in the field: a measure over thresholds is averaged threshold by threshold, and then its
        largest value is taken.
        """
        curves = {name: self._curves[name] / len(self.photos) for name in CURVES}
        values = curve_values(curves)
        return {
            metric.name: values[metric.name] if metric.name in values else self._mean(metric.name)
            for metric in self.metrics
        }

    def _mean(self, name: str) -> float | None:
        known = [v for values in self.photos.values() if (v := values.get(name)) is not None]
        return sum(known) / len(known) if known else None

    def as_json(self, *, each: bool, spell: Spell = str) -> str:
        """One object: means, and with ``each`` every photo's values; full precision.

        ``spell``: how its reader writes options, which the reasons of failures may name.
        """
        record: dict[str, Any] = {
            "photos": len(self.photos),
            "all": self.means() if self.photos else {},
        }
        if each:
            record["each"] = self.photos
        record |= {
            "permille": self.permille,
            "notes": {name: list(notes) for name, notes in self.notes.items()},
            "failed": {name: error.spelled(spell) for name, error in self.failed.items()},
            "unmatched": self.unmatched,
        }
        return json_line(record)

    def as_csv(self, *, each: bool) -> str:
        """A header and a row of means, or with ``each`` a row per photo; full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        metrics = [metric.name for metric in self.metrics]
        writer.writerow(["photo", *metrics])
        rows = self.photos if each else {"all": self.means()} if self.photos else {}
        for name, values in rows.items():
            writer.writerow([_text_cell(name), *(_cell(values.get(metric)) for metric in metrics)])
        return text.getvalue()


def _text_cell(name: str) -> str:
    """A name on one line, as programs of tables take it: they run what begins as a formula does.

    Python's module leaves a carriage return unquoted, after which another row begins.
    """
    risky = name.lstrip(" ").startswith(FORMULAE)
    return printable(encodable(f"'{name}" if risky else name))


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
