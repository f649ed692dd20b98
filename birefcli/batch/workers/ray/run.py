"""From a batch's options and photos to its workers on a cluster."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from birefcli.batch.freshness import Decision
from birefcli.batch.outcome import Summary
from birefcli.batch.places import LocalFile
from birefcli.errors import UsageError
from birefcli.models import weights
from birefcli.models.load import identify_weights
from birefcli.models.locate import locate
from birefcli.options import BatchOptions
from birefcli.system import process_settings
from birefcli.system.paths import exists, is_folder

if TYPE_CHECKING:
    from birefcli.batch.reporter import Reporter
    from birefcli.batch.workers.ray.source import RayWorkers
    from birefcli.matting.device import Placement


def ray_workers(
    options: BatchOptions, todo: Sequence[Decision], reporter: "Reporter", summary: Summary
) -> "RayWorkers":
    """The workers of a run over a cluster; ``summary`` learns what they run on.

    Raises ModelError, UsageError.
    """
    _import_ray()
    from birefcli.batch.workers.ray.candidate import Work
    from birefcli.batch.workers.ray.source import Callbacks, RayWorkers

    model = options.model
    # Where the run itself cannot read a file of the user's, this says why.
    sha256 = identify_weights(model) or weights.resolve(model.name, offline=True).sha256
    summary.model = Path(model.name).name if locate(model.name).model is None else model.name

    def on_placements(placements: "Sequence[Placement]") -> None:
        counted = Counter(placement.device.type for placement in placements)
        kinds = ", ".join(f"{count} {kind}" for kind, count in counted.items())
        summary.device = f"ray ({kinds})"
        summary.precision = ",".join(dict.fromkeys(p.precision.value for p in placements))

    callbacks = Callbacks(on_placements, reporter.on_notice, reporter.on_state)
    work = Work(options, sha256, working_folder(options, todo), output_folders(todo))
    return RayWorkers(work, callbacks)


def check_cluster() -> None:
    """See that there is a cluster to join, without joining it. Raises DeviceError, UsageError."""
    _import_ray()
    from birefcli.batch.workers.ray.cluster import find_address

    find_address()


def _import_ray() -> None:
    process_settings.silence_ray()
    try:
        import ray  # noqa: F401 - whether it is there
    except ModuleNotFoundError:
        raise UsageError(
            "needs the package ray: pip install 'birefcli[ray]'", option="on", value="ray"
        ) from None


def working_folder(options: BatchOptions, todo: Iterable[Decision]) -> str | None:
    """The folder of this process where a path of the run is relative; None where all are absolute.

    Workers enter it: so paths mean the same there, and photos are called what the user calls them.
    """
    files = {Path(options.model.name), Path(options.rendering.background)}
    relative = any(not path.is_absolute() and exists(path) for path in files)
    places = (p for d in todo for p in (d.job.source, *d.job.targets.values()))
    local = (place.path for place in places if isinstance(place, LocalFile))
    relative = relative or any(not path.is_absolute() for path in local)
    return str(Path.cwd()) if relative else None


def output_folders(todo: Sequence[Decision]) -> tuple[Path, ...]:
    """Folders of a disk that are there and that all products come into, or below.

    A store needs none: what this process may write there, others with its keys may.
    """
    tops: dict[Path, None] = {}
    for decision in todo[:1]:
        for target in decision.job.targets.values():
            if isinstance(target, LocalFile):
                tops[_there(target.path, len(decision.job.relative.parts))] = None
    return tuple(tops)


def _there(path: Path, depth: int) -> Path:
    """The nearest folder that exists, of those that hold all products, ``depth`` above this one."""
    above = path.parents[min(depth, len(path.parents)) - 1 :]
    return next((folder for folder in above if is_folder(folder)), path.parent)
