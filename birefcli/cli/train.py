"""``birefcli train``: from the words of the command line to one training."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from birefcli.batch.interrupts import CODES, not_ignored
from birefcli.batch.lock import hold_folder
from birefcli.cli import rules, train_options, values
from birefcli.errors import BusyError, ExitCode, UsageError, printable
from birefcli.options import LONGEST, STRIDE, Lock, PatchOrder, Precision
from birefcli.training.plan import Loss, Plan
from birefcli.training.schedule import Stage

if TYPE_CHECKING:
    from birefcli.cli.train_reporter import TrainReporter
    from birefcli.training.dataset import DataError
    from birefcli.training.distributed import Rank

LISTED = 20
"""How many faulty files are named before they are only counted."""


def train(
    context: typer.Context,
    data: train_options.Folders = None,
    output: train_options.Output = "",
    hold_out: train_options.HoldOut = 10,
    validate: train_options.Validate = None,
    soften: train_options.Soften = True,
    cache: train_options.Cache = "auto",
    start: train_options.From = None,
    backbone: train_options.Backbone = None,
    patch_order: train_options.Order = PatchOrder.AUTO,
    size: train_options.Size = None,
    epochs: train_options.Epochs = None,
    batch: train_options.Batch = None,
    lr: train_options.Rate = None,
    edges: train_options.Edges = None,
    loss: train_options.LossName = Loss.MATTING,
    stage: train_options.Stages = None,
    seed: train_options.Seed = 0,
    device: train_options.Device = "auto",
    precision: train_options.Numbers = Precision.AUTO,
    threads: train_options.Threads = "auto",
    workers: train_options.Workers = "auto",
    every: train_options.Every = 180.0,
    restart: train_options.Restart = False,
    quiet: train_options.Quiet = False,
    progress: train_options.Progress = True,
    debug: train_options.Debug = False,
) -> None:
    """Train or fine-tune a network on photos with masks.

    [bold]birefcli train photos/ -o mine.safetensors --from mini[/bold]

    Killed or stopped, the same command goes on from its last checkpoint.
    """
    if not data:
        raise UsageError("no data named; see birefcli train --help")
    if not output:
        raise UsageError("say where the weights go: --output FILE.safetensors")
    if start and backbone:
        raise UsageError("--from has weights for the whole network: leave out --backbone")
    if validate and rules.is_typed(context, "hold_out"):
        raise UsageError("--validate names what is held out: leave out --hold-out")
    if stage and (epochs or batch):
        raise UsageError("--stage says steps and batch itself: leave out --epochs and --batch")
    if lr is not None and not 0 < lr < 1e3:
        raise UsageError(f"--lr {lr:g}: give a number above 0 and below 1000")
    plan = Plan(
        data=tuple(data),
        output=Path(output),
        validation=tuple(validate or ()),
        start=start,
        backbone=backbone,
        patch_order=patch_order,
        epochs=epochs,
        size=None if size is None else _side("--size", size),
        batch=batch,
        lr=lr,
        edges=edges,
        stages=tuple(_stage(text) for text in stage or ()),
        loss=loss,
        soften=soften,
        seed=seed,
        hold_out=hold_out,
        device=device,
        precision=precision,
        threads=values.automatic("threads", threads),
        workers=values.automatic("workers", workers),
        cache=values.memory("cache", cache),
        every=every,
        restart=restart,
    )
    raise typer.Exit(_run(plan, quiet=quiet, bar=progress))


def _run(plan: Plan, *, quiet: bool, bar: bool) -> ExitCode:
    from birefcli.cli.train_reporter import TrainReporter
    from birefcli.training import distributed, run

    here = distributed.started()
    placement = run.placement_for(plan, here)
    run.use_threads(plan)
    with TrainReporter(quiet=quiet or not here.first, bar=bar) as display:
        with _told(here), distributed.joined(here, placement.device), _held(plan, here):
            found = run.divide(plan)
            if plan.restart and here.first:
                run.forget(plan)
            here.gathered([])  # nobody may find the checkpoint before it is gone
            training = run.TrainingRun(plan, found, placement, here, display)
            with _signals(display, here):
                finished = training()
        if display.code is not None:
            display.say(
                f"stopped after step {training.trainer.step}; the same command goes on from there"
            )
            return display.code
        assert finished
        if here.first:  # the others do not wait for the file
            display.summary(training)
    return ExitCode.OK


@contextmanager
def _told(here: "Rank") -> Iterator[None]:
    """List what is wrong with the data, a line a file; one of several processes is enough."""
    from birefcli.training.dataset import DataError

    try:
        yield
    except DataError as error:
        if not here.first:
            raise typer.Exit(error.exit_code) from None
        _list(error)
        raise


def _list(error: "DataError") -> None:
    for fault in error.faults[:LISTED]:
        print(printable(fault), file=sys.stderr)
    if len(error.faults) > LISTED:
        print(f"and {len(error.faults) - LISTED} more", file=sys.stderr)


@contextmanager
def _held(plan: Plan, here: "Rank") -> Iterator[None]:
    """Have the folder beside the weights to ourselves."""
    from birefcli.training import run

    if not here.first:
        yield
        return
    run.prepare(plan)
    try:
        with _alone(plan):
            yield
    finally:
        with suppress(OSError):  # what ended before it began leaves nothing
            plan.folder.rmdir()


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    hold = hold_folder(plan.folder, Lock.LEAVE)
    try:
        hold.__enter__()
    except BusyError:
        raise BusyError(f"{plan.output}: another training is writing it") from None
    try:
        yield
    finally:
        hold.__exit__(None, None, None)


@contextmanager
def _signals(display: "TrainReporter", here: "Rank") -> Iterator[None]:
    """Ctrl-C, SIGTERM, SIGHUP: the step is finished and kept; a second Ctrl-C leaves at once.

    Where there are several processes torchrun ends them all: what is kept is the last checkpoint.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if display.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        display.stop(CODES[number])

    if here.world > 1:
        yield
        return
    before = {number: signal.signal(number, stop) for number in not_ignored()}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that was not installed by Python
                signal.signal(number, handler)


def _side(option: str, pixels: int) -> int:
    if not STRIDE <= pixels <= LONGEST or pixels % STRIDE:
        raise UsageError(f"{option} {pixels}: must be a multiple of {STRIDE}, up to {LONGEST}")
    return pixels


def _stage(text: str) -> Stage:
    """Read ``224x2000x16``: input size, steps, batch."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise UsageError(f"--stage {text}: give SIZExSTEPSxBATCH, like 224x2000x16")
    size, steps, batch = (int(part) for part in parts)
    if steps < 1 or batch < 2:
        raise UsageError(f"--stage {text}: at least 1 step, and 2 photos a step")
    return Stage(_side("--stage", size), steps, batch)
