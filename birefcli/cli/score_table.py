"""Scores as tables for a person, on stdout."""

import textwrap

from rich import box
from rich.table import Table
from rich.text import Text

from birefcli.cli.terminal import TableConsole
from birefcli.errors import printable
from birefcli.scoring.metrics.table import Group, Metric
from birefcli.scoring.summary import ScoreSummary

WIDTH = 80  # of tables that go to a file
NAME = (28, 44)  # columns that names of photos have at least and, where they need it, at most
FIGURE = 7  # columns of a figure, as a rule


def print_tables(summary: ScoreSummary, *, each: bool) -> None:
    """Print one table a group of metrics: the means, below every photo's figures if wanted."""
    console = TableConsole(highlight=False)
    if not console.is_terminal:
        console = TableConsole(highlight=False, width=max(WIDTH, console.width))
    means = summary.means()
    for group, metrics in summary.groups.items():
        for part in _parts(metrics, console.width - _name_width(summary)) if each else [metrics]:
            console.print(_table(group, part, summary, means, each))
    console.print(_caption(summary), markup=False)
    console.print(_directions(summary), markup=False)


def _name_width(summary: ScoreSummary) -> int:
    least, most = NAME
    return min(max([least, *(len(printable(name)) for name in summary.photos)]), most)


def _parts(metrics: list[Metric], width: int) -> list[list[Metric]]:
    """Metrics that fit beside the names of photos, in as few tables as that takes."""
    parts: list[list[Metric]] = [[]]
    used = 0
    for metric in metrics:
        wide = max(len(metric.heading), FIGURE) + 1
        if parts[-1] and used + wide > width:
            parts.append([])
            used = 0
        parts[-1].append(metric)
        used += wide
    return parts


def _table(
    group: Group,
    metrics: list[Metric],
    summary: ScoreSummary,
    means: dict[str, float | None],
    each: bool,
) -> Table:
    scaled = ", ×1000: MSE, MAD" if summary.permille and group is not Group.SALIENCY else ""
    table = Table(
        title=f"{group.value}{scaled}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    if each:
        table.add_column("photo", overflow="fold")
    for metric in metrics:
        table.add_column(metric.heading, justify="right", no_wrap=True)
    if each:
        for name, values in summary.photos.items():
            shown = (m.text(values.get(m.name)) for m in metrics)
            table.add_row(Text(printable(name)), *shown)
        table.add_section()
    row = [metric.text(means[metric.name]) for metric in metrics]
    table.add_row(*(["mean", *row] if each else row), style="bold" if each else None)
    return table


def _directions(summary: ScoreSummary) -> str:
    """Which metrics are better when higher; all others are when lower."""
    higher = [metric.heading for metric in summary.metrics if metric.higher]
    return textwrap.fill(f"higher is better: {', '.join(higher)}; lower: all others", 80)


def _caption(summary: ScoreSummary) -> str:
    total = len(summary.photos) + len(summary.failed)
    counted = str(total) if total == len(summary.photos) else f"{len(summary.photos)} of {total}"
    left = f"; {len(summary.unmatched)} without a partner left out" if summary.unmatched else ""
    return f"{counted} photo{'' if total == 1 else 's'}{left}"
