"""How long published models take on a CPU beside each other, as far as that was measured."""

from dataclasses import dataclass

from birefcli.models import zoo
from birefcli.options import Size

RELATIVE_CPU_TIME = {
    ("swin_large", zoo.USUAL): 223.0,
    ("swin_tiny", zoo.USUAL): 60.0,
}
"""Processor time of one pass, by backbone and input, as a multiple of that of ``mini``: medians of
seven, in turns, by ``python tests/benchmarks/model_times.py``."""


@dataclass(frozen=True)
class QuickerModel:
    """A model that takes less time for a photo than another."""

    name: str
    times: float | None
    """How many times as fast it is; None where that was not measured."""


def quicker_models(name: str, size: Size | None = None) -> list[QuickerModel]:
    """Of ``lite`` and the bundled ``mini`` those that are quicker on a CPU; slowest first.

    ``size``: its input, None for its own. None are known to be quicker than somebody's own file.
    """
    model = zoo.ZOO.get(name)
    if model is None or model.bundled:
        return []
    size = size or model.size
    taken = RELATIVE_CPU_TIME.get((model.backbone, size))
    lite = RELATIVE_CPU_TIME[zoo.ZOO["lite"].backbone, zoo.USUAL]
    if taken is None:
        known = _pixels(size) > _pixels(zoo.USUAL)  # more of them never take less time
        return [QuickerModel(other, None) for other in (("lite",) if known else ()) + ("mini",)]
    found = [QuickerModel("lite", taken / lite)] if taken > lite else []
    return [*found, QuickerModel("mini", taken)]


def _pixels(size: Size) -> int:
    return size.width * size.height
