"""Means over photos: what is printed."""

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

from birefcli.scoring.measure import Score, curve_values
from birefcli.scoring.metrics.saliency import Floats
from birefcli.scoring.metrics.table import CURVES, Metric, measured


@dataclass
class ScoreSummary:
    """Scores of photos, in order, without curves and pictures; and what became of the rest."""

    photos: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why a photo could not be scored."""
    unmatched: list[str] = field(default_factory=list)
    """What has no partner and was left out, as asked."""
    permille: bool = False
    _curves: dict[str, Floats] = field(default_factory=dict)

    def add(self, score: Score) -> None:
        """Count one photo."""
        self.photos[score.name] = score.values
        if score.notes:
            self.notes[score.name] = score.notes
        for name, curve in score.curves.items():
            self._curves[name] = self._curves[name] + curve if name in self._curves else curve

    @property
    def columns(self) -> list[Metric]:
        """What was measured, in the order of tables."""
        return measured({name for values in self.photos.values() for name in values})

    def means(self) -> dict[str, float | None]:
        """Each column over all photos that have it.

        As in the field: a measure over thresholds is averaged threshold by threshold, and then its
        largest value is taken.
        """
        curves = {name: self._curves[name] / len(self.photos) for name in CURVES}
        values = curve_values(curves)
        return {
            column.name: values[column.name] if column.name in values else self._mean(column.name)
            for column in self.columns
        }

    def _mean(self, name: str) -> float | None:
        known = [v for values in self.photos.values() if (v := values.get(name)) is not None]
        return sum(known) / len(known) if known else None

    def as_json(self, *, each: bool) -> str:
        """One object: means, and with ``each`` every photo's values; full precision."""
        record: dict[str, Any] = {
            "photos": len(self.photos),
            "all": self.means() if self.photos else {},
        }
        if each:
            record["each"] = self.photos
        record |= {
            "permille": self.permille,
            "notes": {name: list(notes) for name, notes in self.notes.items()},
            "failed": self.failed,
            "unmatched": self.unmatched,
        }
        return json.dumps(record)

    def as_csv(self, *, each: bool) -> str:
        """A header and a row of means, or with ``each`` a row per photo; full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [column.name for column in self.columns]
        writer.writerow(["photo", *columns])
        rows = self.photos if each else {"all": self.means()} if self.photos else {}
        for name, values in rows.items():
            writer.writerow([name, *(_cell(values.get(column)) for column in columns)])
        return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
