"""A page about scores that stands alone: tables, histograms, best and worst photos."""

import base64
import heapq
from dataclasses import dataclass, field
from html import escape
from statistics import median
from typing import cast

from birefcli import __version__
from birefcli.scoring.measure import Score
from birefcli.scoring.metrics.table import Group, Metric
from birefcli.scoring.report.histogram import histogram
from birefcli.scoring.report.style import STYLE
from birefcli.scoring.summary import ScoreSummary
from birefcli.scoring.thumbnails import Thumbnails

SHOWN = 6  # photos at either end
RANKED = "MAD"  # by what photos are called best and worst: mean alpha error, whatever their size

_Entry = tuple[float, int, Score]


@dataclass
class Page:
    """Collects what a page shows; of pictures only those that may still be shown."""

    _best: list[_Entry] = field(default_factory=list)
    _worst: list[_Entry] = field(default_factory=list)
    _count: int = 0

    def add(self, score: Score) -> None:
        """Count one photo."""
        error = cast(float, score.values[RANKED])
        self._count += 1
        for heap, key in ((self._worst, error), (self._best, -error)):
            heapq.heappush(heap, (key, -self._count, score))
            if len(heap) > SHOWN:
                heapq.heappop(heap)

    def render(self, tally: ScoreSummary, title: str) -> str:
        """The page: HTML with everything in it."""
        worst = sorted(self._worst, reverse=True)
        shown = {score.name for _, _, score in worst}
        # Of few photos, none is best and worst.
        best = [e for e in sorted(self._best, reverse=True) if e[2].name not in shown]
        body = [
            f"<h1>Scores</h1><p class=sub>{escape(title)}<br>{_counted(tally)}</p>",
            _summary(tally),
            _histograms(tally),
            _gallery("Worst photos", worst),
            _gallery("Best photos", best),
            _faults(tally),
            _each(tally),
            f"<footer>birefcli {escape(__version__)}</footer>",
        ]
        head = (
            "<!doctype html><html lang=en><head><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width, initial-scale=1'>"
            "<meta name=color-scheme content='light dark'>"
            f"<title>Scores: {escape(title)}</title><style>{STYLE}</style></head>"
        )
        return f"{head}<body><main>{''.join(body)}</main></body></html>\n"


def _counted(tally: ScoreSummary) -> str:
    failed = f", {len(tally.failed)} could not be scored" if tally.failed else ""
    left = f", {len(tally.unmatched)} without a partner" if tally.unmatched else ""
    scale = "; MSE, MAD and colour errors ×1000" if tally.permille else ""
    number = len(tally.photos)
    return f"{number} photo{'' if number == 1 else 's'}{failed}{left}{scale}"


def _grouped(tally: ScoreSummary) -> dict[Group, list[Metric]]:
    groups: dict[Group, list[Metric]] = {}
    for column in tally.columns:
        groups.setdefault(column.group, []).append(column)
    return groups


def _values(tally: ScoreSummary, column: Metric) -> list[float]:
    """What photos have of a column, worst first."""
    known = [v for values in tally.photos.values() if (v := values.get(column.name)) is not None]
    return sorted(known, reverse=not column.higher)


def _summary(tally: ScoreSummary) -> str:
    means = tally.means()
    cards = []
    for group, columns in _grouped(tally).items():
        rows = []
        for column in columns:
            known = _values(tally, column)
            ends = (known[0], median(known), known[-1]) if known else (None, None, None)
            cells = "".join(f"<td>{column.text(value)}</td>" for value in ends)
            rows.append(
                f"<tr><th scope=row>{_arrow(column)}</th>"
                f"<td class=mean>{column.text(means[column.name])}</td>{cells}</tr>"
            )
        cards.append(
            f"<div class=scroll><table><thead><tr><th>{escape(group.value)}</th><th>mean</th>"
            "<th>worst</th><th>median</th><th>best</th></tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
    return (
        "<section><h2>Figures</h2><p class=sub>↑ more is better, ↓ less is better.</p>"
        f"<div class=figures>{''.join(cards)}</div></section>"
    )


def _arrow(column: Metric) -> str:
    way, told = ("↑", "more is better") if column.higher else ("↓", "less is better")
    return f"{escape(column.heading)} <span class=way title='{told}'>{way}</span>"


def _histograms(tally: ScoreSummary) -> str:
    means = tally.means()
    cards = []
    for column in tally.columns:
        known = _values(tally, column)
        if not known:
            continue
        region = " <small>unknown region</small>" if column.group is Group.UNKNOWN else ""
        drawn = histogram(known, means[column.name] or 0.0, column)
        cards.append(f"<figure><figcaption>{_arrow(column)}{region}</figcaption>{drawn}</figure>")
    return (
        "<section><h2>How photos are spread</h2><p class=sub>Photos by figure; the line is their"
        f" mean.</p><div class=histograms>{''.join(cards)}</div></section>"
    )


def _gallery(title: str, entries: list[_Entry]) -> str:
    shown = [_photo(score) for _, _, score in entries if score.pictures is not None]
    if not shown:
        return ""
    return (
        f"<section><h2>{title}</h2><p class=sub>By MAD. In the error map, <b class=extra>orange</b>"
        " is too much subject, <b class=missing>blue</b> too little.</p>"
        f"{''.join(shown)}</section>"
    )


def _photo(score: Score) -> str:
    pictures = cast(Thumbnails, score.pictures)
    kinds = [
        ("photo", pictures.photo, ""),
        ("truth", pictures.truth, ""),
        ("prediction", pictures.prediction, ""),
        ("error", pictures.error, "plain"),
        ("cutout", pictures.cutout, "board"),
    ]
    figures = "".join(
        f"<figure><img class='{look}' width={pictures.size[0]} height={pictures.size[1]}"
        f" alt='{kind} of {escape(score.name, quote=True)}' src='{_inline(data)}'>"
        f"<figcaption>{kind}</figcaption></figure>"
        for kind, data, look in kinds
        if data is not None
    )
    told = _told(score)
    return (
        f"<article><h3>{escape(score.name)}</h3><p class=told>{told}</p>"
        f"<div class=row>{figures}</div></article>"
    )


def _told(score: Score) -> str:
    from birefcli.scoring.metrics.table import measured

    names = {"MAD", "SAD", "MAE", "Smeasure", "wFmeasure", "Grad", "Conn", "HCE"}
    columns = [column for column in measured(set(score.values)) if column.name in names]
    parts = [f"{c.name} <b>{c.text(score.values[c.name])}</b>" for c in columns]
    notes = [escape(note) for note in score.notes]
    return " · ".join(parts + notes)


def _inline(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")


def _faults(tally: ScoreSummary) -> str:
    told = [*tally.failed.values(), *tally.unmatched]
    if not told:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in told)
    return f"<section><h2>Left out</h2><ul>{items}</ul></section>"


def _each(tally: ScoreSummary) -> str:
    columns = tally.columns
    head = "".join(f"<th>{escape(c.name)}</th>" for c in columns)
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        + "".join(f"<td>{c.text(values.get(c.name))}</td>" for c in columns)
        + "</tr>"
        for name, values in tally.photos.items()
    )
    return (
        "<section><h2>Every photo</h2><details><summary>Show the table</summary><div class=scroll>"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        "</details></section>"
    )
