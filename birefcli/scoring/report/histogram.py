"""Histograms as SVG that takes its colours from the page."""

import math

from birefcli.scoring.metrics.table import Metric

BINS = 20
WIDTH, HEIGHT = 220, 84  # units of the picture's own
BASE = 66  # where bars stand


def histogram(values: list[float], mean: float, metric: Metric) -> str:
    """How many of ``values`` lie where: bars, a line at their mean, both ends in figures."""
    low, high = min(values), max(values)
    counts = counted(values, low, high)
    tallest = max(counts)
    step = WIDTH / len(counts)
    bars = []
    for number, count in enumerate(counts):
        if count:
            height = max(1.5, (BASE - 6) * count / tallest)
            left, right = (low + (high - low) * (number + n) / len(counts) for n in (0, 1))
            title = f"{metric.text(left)} to {metric.text(right)}: {count}"
            bars.append(
                f"<rect x='{number * step + 0.5:.1f}' y='{BASE - height:.1f}'"
                f" width='{step - 1:.1f}' height='{height:.1f}' rx='1'>"
                f"<title>{title}</title></rect>"
            )
    place = WIDTH / 2 if high == low else (mean - low) / (high - low) * WIDTH
    place = min(max(place, 1), WIDTH - 1)  # a mean over thresholds may lie outside
    ends = (
        f"<text x='0' y='{HEIGHT - 3}'>{metric.text(low)}</text>"
        f"<text x='{WIDTH}' y='{HEIGHT - 3}' text-anchor='end'>{metric.text(high)}</text>"
        if high > low
        else f"<text x='{WIDTH / 2}' y='{HEIGHT - 3}' text-anchor='middle'>"
        f"{metric.text(low)}</text>"
    )
    label = f"{metric.name}: mean {metric.text(mean)}, {metric.text(low)} to {metric.text(high)}"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}'>{''.join(bars)}"
        f"<line class=base x1='0' x2='{WIDTH}' y1='{BASE}' y2='{BASE}'/>"
        f"<line class=mean x1='{place:.1f}' x2='{place:.1f}' y1='2' y2='{BASE + 3}'>"
        f"<title>mean {metric.text(mean)}</title></line>{ends}</svg>"
    )


def counted(values: list[float], low: float, high: float) -> list[int]:
    """Values by bin, the ends included; equal values share the middle one."""
    bins = min(BINS, max(5, math.isqrt(len(values)) * 2))
    counts = [0] * bins
    for value in values:
        share = (value - low) / (high - low) if high > low else 0.5
        counts[min(bins - 1, int(share * bins))] += 1
    return counts
