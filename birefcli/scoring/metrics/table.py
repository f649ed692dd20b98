"""The metrics by name: what they are called, which way is better, how they are written."""

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """Tables of metrics."""

    SALIENCY = "saliency"
    EDGES = "edges"
    WHOLE = "matting, whole image"
    UNKNOWN = "matting, unknown region"
    COLOUR = "colour of cutouts"


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    group: Group
    higher: bool = False
    """Whether more is better."""
    digits: int = 3
    thousandths: bool = False
    """Whether ``permille`` multiplies it by 1000."""

    @property
    def heading(self) -> str:
        """The name in a table whose title names the region."""
        return self.name.removeprefix(UNKNOWN)

    def text(self, value: float | None) -> str:
        """The value as tables show it."""
        return "–" if value is None else f"{value:.{self.digits}f}"


UNKNOWN = "unknown"
"""Prefix of a metric over the unknown region."""


def _matting(group: Group, prefix: str) -> list[Metric]:
    return [
        Metric(f"{prefix}SAD", group),
        Metric(f"{prefix}MSE", group, digits=4, thousandths=True),
        Metric(f"{prefix}MAD", group, digits=4, thousandths=True),
        Metric(f"{prefix}Grad", group),
        Metric(f"{prefix}Conn", group),
    ]


METRICS = [
    Metric("Smeasure", Group.SALIENCY, higher=True),
    Metric("maxFm", Group.SALIENCY, higher=True),
    Metric("meanEm", Group.SALIENCY, higher=True),
    Metric("MAE", Group.SALIENCY),
    Metric("maxEm", Group.SALIENCY, higher=True),
    Metric("meanFm", Group.SALIENCY, higher=True),
    Metric("wFmeasure", Group.SALIENCY, higher=True),
    Metric("adpEm", Group.SALIENCY, higher=True),
    Metric("adpFm", Group.SALIENCY, higher=True),
    Metric("HCE", Group.SALIENCY, digits=0),
    Metric("meanMSE", Group.EDGES, digits=4),
    Metric("mBA", Group.EDGES, higher=True),
    Metric("maxBIoU", Group.EDGES, higher=True),
    Metric("meanBIoU", Group.EDGES, higher=True),
    *_matting(Group.WHOLE, ""),
    Metric("IoU", Group.WHOLE, higher=True, digits=4),
    *_matting(Group.UNKNOWN, UNKNOWN),
    Metric("FgMSE", Group.COLOUR, digits=4, thousandths=True),
    Metric("FgMAD", Group.COLOUR, digits=4, thousandths=True),
]
"""In the order of tables: first that of BiRefNet's table for salient objects."""

CURVES = {"Fm": ("maxFm", "meanFm"), "Em": ("maxEm", "meanEm"), "BIoU": ("maxBIoU", "meanBIoU")}
"""Curves over all thresholds, and which metrics are their largest value and their mean."""


def measured(names: set[str]) -> list[Metric]:
    """Those of these names, in the order of tables."""
    return [metric for metric in METRICS if metric.name in names]
