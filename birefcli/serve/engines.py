"""The networks that are loaded, and the names by which requests call them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from birefcli.batch.patience import LOADING
from birefcli.errors import ModelError, UsageError
from birefcli.matting.batch_size import MANY, choose_batch_size
from birefcli.matting.device import parse_device
from birefcli.matting.predictor import Predictor
from birefcli.models import weights, zoo
from birefcli.models.load import load_predictor
from birefcli.models.locate import locate
from birefcli.serve.batcher import Batcher
from birefcli.serve.errors import Code, RequestError
from birefcli.serve.photo_stages import warm_up
from birefcli.serve.settings import ServeOptions
from birefcli.system.watchdog import Activity


@dataclass(frozen=True)
class Engine:
    """A network, and the thread that drives it."""

    name: str
    """``portrait``, or the name of a weights file."""
    owner: str
    """Who published it."""
    predictor: Predictor
    batcher: Batcher


class Engines:
    """All networks of a service. The first is the default."""

    def __init__(self, engines: Sequence[Engine], aliases: Mapping[str, str]) -> None:
        """``aliases``: other names, each with that of a network. Raises UsageError."""
        self._engines = list(engines)
        self._names = {engine.name: engine for engine in engines}
        for alias, name in aliases.items():
            target = self._names.get(name)
            if target is None:
                known = ", ".join(engine.name for engine in engines)
                wrong = f"no model called {name!r} is loaded, but {known}"
                raise UsageError(wrong, option="alias", value=f"{alias}={name}")
            self._names[alias] = target

    @property
    def names(self) -> list[str]:
        """By which networks can be asked for: their own, then aliases."""
        return list(self._names)

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._engines)

    def named(self, name: str | None) -> Engine:
        """The network of this name, or of this name on the Hub. Raises RequestError."""
        if not name:
            return self._engines[0]
        if name in self._names:
            return self._names[name]
        published = zoo.by_repo(name)
        if published is not None and published.name in self._names:
            return self._names[published.name]
        known = ", ".join(self._names)
        raise RequestError(
            Code.MODEL_NOT_FOUND, f"no model is called {name!r} here; loaded: {known}", "model"
        )

    def close(self) -> None:
        """End all threads, once what waits is done; nobody is kept waiting for that."""
        for engine in self._engines:
            engine.batcher.close()


def check_names(options: ServeOptions) -> None:
    """See that models may be there, before anything is loaded. Raises ModelError, UsageError."""
    known: set[str] = set()
    for name in options.models:
        path = locate(name).path
        # As they are called once they are loaded: a file by its name, wherever it lies.
        known |= {Path(name).name, *(() if path is None else (path.name,))}
    for alias, name in options.aliases.items():
        given = f"{alias}={name}"
        if alias in known:
            raise UsageError(f"{alias} is a model's own name", option="alias", value=given)
        if name not in known:
            loaded = ", ".join(options.models)
            wrong = f"no model called {name!r} is loaded, but {loaded}"
            raise UsageError(wrong, option="alias", value=given)
    if len(set(options.models)) < len(options.models):
        raise UsageError("names a model twice", option="model", value=",".join(options.models))


def load_engines(
    options: ServeOptions,
    activity: Activity,
    on_batch: Callable[[int], object],
    on_device_lost: Callable[[str], object],
) -> Engines:
    """Load all models, and put a photo through each. Raises BirefcliError."""
    engines = []
    model = options.model
    placement = parse_device(model.device, model.precision)
    for name in options.models:
        # A download takes as long as it takes; what comes then must go on.
        checkpoint = weights.resolve(name, offline=model.offline, progress=False)
        with activity.on([LOADING]):
            predictor = load_predictor(replace(model, name=name), checkpoint, placement)
            warm_up(predictor)
        batch = options.batch or choose_batch_size(predictor, MANY)
        batcher = Batcher(
            predictor, batch, activity, on_batch=on_batch, on_device_lost=on_device_lost
        )
        engines.append(Engine(checkpoint.name, _owner(name), predictor, batcher))
    twice = len({engine.name for engine in engines}) < len(engines)
    if twice:
        raise ModelError("two weights files have the same name; rename one of them")
    return Engines(engines, options.aliases)


def _owner(name: str) -> str:
    found = locate(name).model
    if found is None:
        return "local"
    return "birefcli" if found.repo is None else found.repo.partition("/")[0]
