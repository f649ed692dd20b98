"""A page about scores that stands alone: tables, histograms, best and worst photos."""

import heapq
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median
from typing import cast

from birefcli import __version__
from birefcli.errors import Spell
from birefcli.scoring.measure import Score
from birefcli.scoring.metrics.table import Group, Metric, measured
from birefcli.scoring.report.histogram import histogram
from birefcli.scoring.report.html import document, inline, shown
from birefcli.scoring.report.page_mark import PageMark
from birefcli.scoring.report.style import STYLE
from birefcli.scoring.summary import ScoreSummary
from birefcli.scoring.thumbnails import Thumbnails
from birefcli.system.regular_file import is_free

SHOWN = 6  # photos at either end
RANKED = "MAD"  # by what photos are called best and worst: mean alpha error, whatever their size

MARK = PageMark("scores")

_Entry = tuple[float, int, Score]


@dataclass
class Page:
    """Collects what a page shows; of thumbnails only those that may still be shown."""

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

    def render(self, summary: ScoreSummary, title: str, spell: Spell = str) -> bytes:
        """The page: HTML with everything in it. ``spell``: how its reader writes options."""
        worst = sorted(self._worst, reverse=True)
        named = {score.name for _, _, score in worst}
        # Of few photos, none is best and worst.
        best = [e for e in sorted(self._best, reverse=True) if e[2].name not in named]
        body = [
            f"<h1>Scores</h1><p class=sub>{shown(title)}<br>{_counted(summary)}</p>",
            _figures(summary),
            _histograms(summary),
            _gallery("Worst photos", worst),
            _gallery("Best photos", best),
            _left_out(summary, spell),
            _each(summary),
            f"<footer>birefcli {escape(__version__)}</footer>",
        ]
        main = f"<main>{''.join(body)}</main>"
        return MARK.sealed(document(f"Scores: {title}", STYLE, main, MARK.tag()))


def why_kept(path: Path) -> str | None:
    """Why a file is not to be replaced by a page; None for an earlier one, and where none is.

    Raises OSError.
    """
    if is_free(path) or MARK.is_on(path):
        return None
    if MARK.is_of_kind(path):
        return "exists and was edited since score made it"
    return "exists and was not made by score"


def _counted(summary: ScoreSummary) -> str:
    failed = f", {len(summary.failed)} could not be scored" if summary.failed else ""
    left = f", {len(summary.unmatched)} without a partner" if summary.unmatched else ""
    scale = "; MSE, MAD and colour errors ×1000" if summary.permille else ""
    number = len(summary.photos)
    return f"{number} photo{'' if number == 1 else 's'}{failed}{left}{scale}"


def _values(summary: ScoreSummary, metric: Metric) -> list[float]:
    """What photos have of a metric, worst first."""
    known = [v for values in summary.photos.values() if (v := values.get(metric.name)) is not None]
    return sorted(known, reverse=not metric.higher)


def _figures(summary: ScoreSummary) -> str:
    means = summary.means()
    cards = []
    for group, metrics in summary.groups.items():
        rows = []
        for metric in metrics:
            known = _values(summary, metric)
            ends = (known[0], median(known), known[-1]) if known else (None, None, None)
            cells = "".join(f"<td>{metric.text(value)}</td>" for value in ends)
            rows.append(
                f"<tr><th scope=row>{_arrow(metric)}</th>"
                f"<td class=mean>{metric.text(means[metric.name])}</td>{cells}</tr>"
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


def _arrow(metric: Metric) -> str:
    way, title = ("↑", "more is better") if metric.higher else ("↓", "less is better")
    return f"{escape(metric.heading)} <span class=way title='{title}'>{way}</span>"


def _histograms(summary: ScoreSummary) -> str:
    means = summary.means()
    cards = []
    for metric in summary.metrics:
        known = _values(summary, metric)
        if not known:
            continue
        region = " <small>unknown region</small>" if metric.group is Group.UNKNOWN else ""
        drawn = histogram(known, means[metric.name] or 0.0, metric)
        cards.append(f"<figure><figcaption>{_arrow(metric)}{region}</figcaption>{drawn}</figure>")
    return (
        "<section><h2>How photos are spread</h2><p class=sub>Photos by figure; the line is their"
        f" mean.</p><div class=histograms>{''.join(cards)}</div></section>"
    )


def _gallery(title: str, entries: list[_Entry]) -> str:
    photos = [_photo(score) for _, _, score in entries if score.thumbnails is not None]
    if not photos:
        return ""
    return (
        f"<section><h2>{title}</h2><p class=sub>By MAD. In the error map, <b class=extra>orange</b>"
        " is too much subject, <b class=missing>blue</b> too little.</p>"
        f"{''.join(photos)}</section>"
    )


def _photo(score: Score) -> str:
    thumbnails = cast(Thumbnails, score.thumbnails)
    kinds = [
        ("photo", thumbnails.photo, ""),
        ("truth", thumbnails.truth, ""),
        ("prediction", thumbnails.prediction, ""),
        ("error", thumbnails.error, "plain"),
        ("cutout", thumbnails.cutout, "board"),
    ]
    figures = "".join(
        f"<figure><img class='{look}' width={thumbnails.size.width} height={thumbnails.size.height}"
        f" alt='{kind} of {shown(score.name)}' src='{inline(data)}'>"
        f"<figcaption>{kind}</figcaption></figure>"
        for kind, data, look in kinds
        if data is not None
    )
    return (
        f"<article><h3>{shown(score.name)}</h3><p class=caption>{_caption(score)}</p>"
        f"<div class=row>{figures}</div></article>"
    )


def _caption(score: Score) -> str:
    names = {"MAD", "SAD", "MAE", "Smeasure", "wFmeasure", "Grad", "Conn", "HCE"}
    metrics = [metric for metric in measured(set(score.values)) if metric.name in names]
    parts = [f"{c.name} <b>{c.text(score.values[c.name])}</b>" for c in metrics]
    notes = [shown(note) for note in score.notes]
    return " · ".join(parts + notes)


def _left_out(summary: ScoreSummary, spell: Spell) -> str:
    reasons = [*(error.spelled(spell) for error in summary.failed.values()), *summary.unmatched]
    if not reasons:
        return ""
    items = "".join(f"<li>{shown(text)}</li>" for text in reasons)
    return f"<section><h2>Left out</h2><ul>{items}</ul></section>"


def _each(summary: ScoreSummary) -> str:
    metrics = summary.metrics
    head = "".join(f"<th>{escape(c.name)}</th>" for c in metrics)
    rows = "".join(
        f"<tr><th scope=row>{shown(name)}</th>"
        + "".join(f"<td>{c.text(values.get(c.name))}</td>" for c in metrics)
        + "</tr>"
        for name, values in summary.photos.items()
    )
    return (
        "<section><h2>Every photo</h2><details><summary>Show the table</summary><div class=scroll>"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        "</details></section>"
    )
