"""The metrics by name: what they are called, which way is better, how they are written."""

from dataclasses import dataclass
from enum import Enum


class Group(str, Enum):
    """Tables of metrics."""

    SEED = "saliency"
    EDGES = "edges"
    WHOLE = "matting, whole image"
    UNKNOWN = "matting, unknown region"
    COLOUR = "colour of cutouts"


@dataclass(frozen=True)
class Column:
    """One metric."""

    name: str
    group: Group
    higher: bool = False
    """Whether more is better."""
    digits: int = 3
    thousandths: bool = False
    """Whether --permille multiplies it by 1000."""

    @property
    def heading(self) -> str:
        """The name in a table that says which region it is about."""
        return self.name.removeprefix(UNKNOWN)

    def text(self, value: float | None) -> str:
        """The value as tables show it."""
        return "–" if value is None else f"{value:.{self.digits}f}"


UNKNOWN = "unknown"
"""Prefix of a metric over the unknown region."""


def _matting(group: Group, prefix: str) -> list[Column]:
    return [
        Column(f"{prefix}SAD", group),
        Column(f"{prefix}MSE", group, digits=4, thousandths=True),
        Column(f"{prefix}MAD", group, digits=4, thousandths=True),
        Column(f"{prefix}Grad", group),
        Column(f"{prefix}Conn", group),
    ]


COLUMNS = [
    Column("Smeasure", Group.SEED, higher=True),
    Column("maxFm", Group.SEED, higher=True),
    Column("meanEm", Group.SEED, higher=True),
    Column("MAE", Group.SEED),
    Column("maxEm", Group.SEED, higher=True),
    Column("meanFm", Group.SEED, higher=True),
    Column("wFmeasure", Group.SEED, higher=True),
    Column("adpEm", Group.SEED, higher=True),
    Column("adpFm", Group.SEED, higher=True),
    Column("HCE", Group.SEED, digits=0),
    Column("meanMSE", Group.EDGES, digits=4),
    Column("mBA", Group.EDGES, higher=True),
    Column("maxBIoU", Group.EDGES, higher=True),
    Column("meanBIoU", Group.EDGES, higher=True),
    *_matting(Group.WHOLE, ""),
    *_matting(Group.UNKNOWN, UNKNOWN),
    Column("FgMSE", Group.COLOUR, digits=4, thousandths=True),
    Column("FgMAD", Group.COLOUR, digits=4, thousandths=True),
]
"""In the order of tables: first that of BiRefNet's table for salient objects."""

CURVES = {"Fm": ("maxFm", "meanFm"), "Em": ("maxEm", "meanEm"), "BIoU": ("maxBIoU", "meanBIoU")}
"""Metrics over all thresholds, and which columns are their largest value and their mean."""


def in_use(names: set[str]) -> list[Column]:
    """Columns that were measured."""
    return [column for column in COLUMNS if column.name in names]
