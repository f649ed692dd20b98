"""``birefcli train``: a signature, options, one call, printing."""

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer

from birefcli import values
from birefcli.batch import interrupts
from birefcli.batch.interrupts import CODES, not_ignored
from birefcli.cli import rules, shared_options, train_options
from birefcli.cli.spelling import spelling
from birefcli.errors import ExitCode, Spell, UsageError, printable
from birefcli.options import LONGEST, STRIDE, PatchOrder, Precision
from birefcli.training.plan import Loss, Plan
from birefcli.training.schedule import Stage

if TYPE_CHECKING:
    from birefcli.cli.train_reporter import TrainReporter
    from birefcli.training.distributed import Rank

LISTED = 20
"""How many faulty files are named before they are only counted."""


def train(
    context: typer.Context,
    data: train_options.Folders = None,
    output: train_options.Output = "",
    hold_out: train_options.HoldOut = 10,
    validate: train_options.Validate = None,
    shares: train_options.Shares = None,
    backgrounds: train_options.Backgrounds = None,
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
    device: shared_options.PlainDevice = "auto",
    precision: train_options.Numbers = Precision.AUTO,
    threads: train_options.Threads = "auto",
    workers: train_options.Workers = "auto",
    every: train_options.Every = 180.0,
    restart: train_options.Restart = False,
    quiet: shared_options.PlainQuiet = False,
    progress: shared_options.PlainProgress = True,
    debug: shared_options.PlainDebug = False,
) -> None:
    """Train or fine-tune a network on photos with masks.

    birefcli train photos/ -o mine.safetensors --from mini

    Killed or stopped, the same command resumes from its last checkpoint.
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
        raise UsageError("--stage has steps and batch itself: leave out --epochs and --batch")
    if lr is not None and not 0 < lr < 1e3:
        raise UsageError("give a number above 0 and below 1000", option="lr", value=f"{lr:g}")
    plan = Plan(
        data=tuple(data),
        output=Path(output),
        shares=_shares(shares),
        backgrounds=tuple(backgrounds or ()),
        validate=tuple(validate or ()),
        model=start,
        backbone=backbone,
        patch_order=patch_order,
        epochs=epochs,
        size=None if size is None else _side("size", size, size),
        batch=batch,
        lr=lr,
        edges=edges,
        stages=tuple(_stage(text) for text in values.listed("stage", stage)),
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
    raise typer.Exit(_train(plan, spelling(context), quiet=quiet, progress=progress))


def _train(plan: Plan, spell: Spell, *, quiet: bool, progress: bool) -> ExitCode:
    from birefcli.cli.train_reporter import TrainReporter
    from birefcli.training.distributed import current_rank
    from birefcli.training.run import prepared

    rank = current_rank()
    with TrainReporter(quiet=quiet or not rank.first, bar=progress) as reporter:
        with (
            _faults_listed(rank, spell),
            prepared(plan, reporter, rank) as training,
            _stop_signals(reporter, rank),
        ):
            training()
            if reporter.code is not None:
                done = training.trainer.step
                reporter.say(f"stopped after step {done}; the same command resumes")
        if reporter.code is not None:
            return reporter.code
        if rank.first:  # the others do not wait for the file
            reporter.summary(training)
    return ExitCode.OK


@contextmanager
def _faults_listed(rank: "Rank", spell: Spell) -> Iterator[None]:
    """List what is wrong with the data, a line a file; one of several processes is enough."""
    from birefcli.training.dataset import DataError

    try:
        yield
    except DataError as error:
        if not rank.first:
            raise typer.Exit(error.exit_code) from None
        for fault in error.faults[:LISTED]:
            print(printable(fault.spelled(spell)), file=sys.stderr)
        if len(error.faults) > LISTED:
            print(f"and {len(error.faults) - LISTED} more", file=sys.stderr)
        raise


@contextmanager
def _stop_signals(reporter: "TrainReporter", rank: "Rank") -> Iterator[None]:
    """Ctrl-C, SIGTERM, SIGHUP: stop after the step, and save it; a second Ctrl-C ends at once.

    Where there are several processes torchrun ends them all: they resume from the last checkpoint.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if reporter.code is None:
            interrupts.remember(CODES[number])
            reporter.stop(CODES[number])
        elif interrupts.ends_at_once(number):
            _leave(reporter, reporter.code)

    if rank.world > 1:
        for number in not_ignored():  # also where one waits for the others, within a library
            signal.signal(number, signal.SIG_DFL)
        yield
        return
    before = {number: signal.signal(number, stop) for number in not_ignored()}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that was not installed by Python
                signal.signal(number, handler)


def _leave(reporter: "TrainReporter", code: ExitCode) -> NoReturn:
    """Tell the end, and end the process at once."""
    try:
        interrupts.later(interrupts.LAST_WORDS, lambda: interrupts.leave(code))
        reporter.__exit__(None, None, None)
        reporter.say("stopped at once; the same command resumes from its last checkpoint")
    finally:
        interrupts.leave(code)


def _shares(texts: list[str] | None) -> tuple[float, ...]:
    """Read ``3,1,1``: numbers above 0."""
    if texts is None:
        return ()
    text = ",".join(texts)
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share < math.inf for share in shares):
        raise UsageError("give numbers above 0, like 3,1,1", option="shares", value=text)
    return shares


def _side(option: str, pixels: int, value: object) -> int:
    if not STRIDE <= pixels <= LONGEST or pixels % STRIDE:
        wrong = f"give a multiple of {STRIDE}, from {STRIDE} to {LONGEST}"
        raise UsageError(wrong, option=option, value=value)
    return pixels


def _stage(text: str) -> Stage:
    """Read ``224x2000x16``: input size, steps, batch."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        wrong = "give SIZExSTEPSxBATCH, like 224x2000x16"
        raise UsageError(wrong, option="stage", value=text)
    size, steps, batch = (int(part) for part in parts)
    if steps < 1 or batch < 2:
        raise UsageError("give at least 1 step, and 2 photos a step", option="stage", value=text)
    return Stage(_side("stage", size, size), steps, batch)
