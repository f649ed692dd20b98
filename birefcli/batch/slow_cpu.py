"""What is said of a long batch on a CPU, once its first photo is done: how long it takes there."""

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.errors import Message, Option
from birefcli.models import zoo
from birefcli.models.cpu_time import QuickerModel, quicker_models
from birefcli.options import ModelOptions

LONG = 600.0  # seconds of a batch from which on they are said
SLOW = 1.0  # seconds of the network from which on the other stages hide behind it


class SlowCpuNotice:
    """Says it once, however many runs follow each other."""

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._said = False

    def of(self, first: Outcome, left: int, summary: Summary) -> Message | None:
        """How long ``left`` photos more take, and what is quicker; None for a short batch.

        ``first``: a photo that has ended, whose time in the network is that of each. None as well
        where it was not done on this CPU, of the quickest model, and where it was said before.
        """
        devices = (summary.device or "").split(",")
        if self._said or first.status is not Status.WRITTEN or set(devices) != {"cpu"}:
            return None
        each = first.seconds.matte / len(devices)
        short = first.seconds.matte < SLOW or each * left < LONG
        if short or _is_bundled(self._options.name):
            return None
        self._said = True
        said = f"{summary.model} takes about {_seconds(each)} a photo on this CPU: "
        return Message(said, f"{left} more take about {_span(each * left)}", *self._ways_out())

    def _ways_out(self) -> list[str | Option | Message]:
        ways = quicker_models(self._options.name, self._options.size)
        if not ways:  # of somebody's own weights nobody knows what would do instead
            return ["; a smaller ", Option("size"), " takes less, with fewer details"]
        return [part for way in ways for part in ("; ", _described(way))]


def _is_bundled(name: str) -> bool:
    model = zoo.ZOO.get(name)
    return model is not None and model.bundled


def _described(way: QuickerModel) -> Message:
    by = "quicker" if way.times is None else f"about {_times(way.times)} times as fast"
    lesser = ", of lesser quality" if _is_bundled(way.name) else ""
    return Message(Option("model", way.name), f" is {by}{lesser}")


def _times(times: float) -> str:
    return f"{times:.1f}" if times < 10 else f"{float(f'{times:.1g}'):.0f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if hours < 48 else f"{round(hours / 24)} days"
