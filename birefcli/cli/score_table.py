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


def show(tally: ScoreSummary, *, each: bool) -> None:
    """Print one table a group of metrics: the means, below every photo's figures if wanted."""
    console = TableConsole(highlight=False)
    if not console.is_terminal:
        console = TableConsole(highlight=False, width=max(WIDTH, console.width))
    means = tally.means()
    groups: dict[Group, list[Metric]] = {}
    for column in tally.columns:
        groups.setdefault(column.group, []).append(column)
    for group, columns in groups.items():
        for part in _parts(columns, console.width - _name_width(tally)) if each else [columns]:
            console.print(_table(group, part, tally, means, each))
    console.print(_caption(tally), markup=False)
    console.print(_directions(tally), markup=False)


def _name_width(tally: ScoreSummary) -> int:
    least, most = NAME
    return min(max([least, *(len(printable(name)) for name in tally.photos)]), most)


def _parts(columns: list[Metric], width: int) -> list[list[Metric]]:
    """Columns that fit beside the names of photos, in as few tables as that takes."""
    parts: list[list[Metric]] = [[]]
    used = 0
    for column in columns:
        wide = max(len(column.heading), FIGURE) + 1
        if parts[-1] and used + wide > width:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += wide
    return parts


def _table(
    group: Group,
    columns: list[Metric],
    tally: ScoreSummary,
    means: dict[str, float | None],
    each: bool,
) -> Table:
    scaled = ", ×1000: MSE, MAD" if tally.permille and group is not Group.SEED else ""
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
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    if each:
        for name, values in tally.photos.items():
            shown = (c.text(values.get(c.name)) for c in columns)
            table.add_row(Text(printable(name)), *shown)
        table.add_section()
    row = [column.text(means[column.name]) for column in columns]
    table.add_row(*(["mean", *row] if each else row), style="bold" if each else None)
    return table


def _directions(tally: ScoreSummary) -> str:
    """Which metrics are better when higher; all others are when lower."""
    higher = [column.heading for column in tally.columns if column.higher]
    return textwrap.fill(f"higher is better: {', '.join(higher)}; lower: all others", 80)


def _caption(tally: ScoreSummary) -> str:
    total = len(tally.photos) + len(tally.failed)
    counted = str(total) if total == len(tally.photos) else f"{len(tally.photos)} of {total}"
    left = f"; {len(tally.unmatched)} without a partner left out" if tally.unmatched else ""
    return f"{counted} photo{'' if total == 1 else 's'}{left}"
