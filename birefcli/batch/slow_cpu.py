"""What is said of a long batch on a CPU, once its first photo is done: how long it takes there."""

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.errors import Message, Option
from birefcli.models.cpu_time import QuickerModel, quicker_models
from birefcli.options import ModelOptions

LONG = 600.0  # seconds of a batch from which on they are said
SLOW = 1.0  # seconds of the network from which on the other stages hide behind it


def slow_cpu_notice(
    first: Outcome, left: int, options: ModelOptions, summary: Summary
) -> Message | None:
    """How long ``left`` photos more take, and which models are quicker; None for a short batch.

    ``first``: a photo that has ended, whose time in the network is that of each. None as well where
    it was not done on this CPU, and where no model is quicker.
    """
    devices = (summary.device or "").split(",")
    if first.status is not Status.WRITTEN or set(devices) != {"cpu"}:
        return None
    each = first.seconds.matte / len(devices)
    if first.seconds.matte < SLOW or each * left < LONG or options.name == "mini":
        return None
    said = f"{summary.model} takes about {_seconds(each)} a photo on this CPU: "
    ways = quicker_models(options.name, options.size)
    quicker: list[str | Option | Message] = [part for way in ways for part in ("; ", _told(way))]
    return Message(said, f"{left} more take about {_span(each * left)}", *quicker)


def _told(way: QuickerModel) -> Message:
    by = "quicker" if way.times is None else f"about {_times(way.times)} times as fast"
    lesser = ", of lesser quality" if way.name == "mini" else ""
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
