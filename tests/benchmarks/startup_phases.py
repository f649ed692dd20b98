"""One run of ``birefcli matte`` that says where its time goes; ``startup.py --phases`` starts it.

Arguments: the clock (``time.monotonic``) when it was started, then the words of the command.
"""

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

LIBRARIES = ("birefcli.batch.run", "_import_libraries")
FUNCTIONS = {
    "network of its weights": [
        ("birefcli.models.weights", "resolve"),
        ("birefcli.models.load", "load_predictor"),
    ],
    "read, decode and shrink the photo": [
        ("birefcli.batch.stages", "read_source"),
        ("birefcli.batch.stages", "decode"),
        ("birefcli.matting.predictor", "Predictor.upload"),
    ],
    "network, its first pass": [("birefcli.matting.predictor", "Predictor.alphas")],
    "matte and colours": [("birefcli.batch.stages", "matte_async")],
    "compose, encode and write": [
        ("birefcli.batch.stages", "encode_all"),
        ("birefcli.batch.stages", "write"),
    ],
}
"""By phase: functions that are called one after the other, none within another."""


class Phases:
    """Seconds of each phase: of the clock, and of all processors."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.seconds: dict[str, list[float]] = {}

    def add(self, phase: str, wall: float, cpu: float) -> None:
        """A phase has taken so long, once more."""
        sums = self.seconds.setdefault(phase, [0.0, 0.0])
        sums[0] += wall
        sums[1] += cpu

    def until_now(self, phase: str) -> None:
        """What has not been counted so far belongs to this phase."""
        counted = [sum(column) for column in zip(*self.seconds.values(), strict=True)] or [0.0, 0.0]
        wall = time.monotonic() - self.started
        self.add(phase, wall - counted[0], time.process_time() - counted[1])

    def timed(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose time counts for a phase."""

        @functools.wraps(call)
        def measured(*given: Any, **named: Any) -> Any:
            wall, cpu = time.monotonic(), time.process_time()
            try:
                return call(*given, **named)
            finally:
                self.add(phase, time.monotonic() - wall, time.process_time() - cpu)

        return measured


def _replace(module: str, name: str, made: Callable[[Callable[..., Any]], object]) -> None:
    owner: Any = importlib.import_module(module)
    *inner, last = name.split(".")
    for part in inner:
        owner = getattr(owner, part)
    setattr(owner, last, made(getattr(owner, last)))


def main() -> None:
    """Run the command; phases go to stdout as JSON."""
    phases = Phases(float(sys.argv[1]))
    sys.argv = ["birefcli", *sys.argv[2:]]
    from birefcli.cli import process

    def imported(call: Callable[..., Any]) -> Callable[..., Any]:
        def libraries(*given: Any) -> None:
            from birefcli.system import process_settings

            phases.until_now("Python, options, plan")
            with process_settings.importing():
                phases.timed("import torch", importlib.import_module)("torch")
            call(*given)
            phases.until_now("other libraries")
            for phase, functions in FUNCTIONS.items():
                for module, name in functions:
                    _replace(module, name, functools.partial(phases.timed, phase))

        return libraries

    importlib.import_module(LIBRARIES[0])
    _replace(*LIBRARIES, imported)
    code = process.run()
    phases.until_now("between them")
    print(json.dumps(phases.seconds))
    sys.exit(code)


if __name__ == "__main__":
    main()
