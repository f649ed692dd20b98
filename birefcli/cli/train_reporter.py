"""What a person sees while a network is trained. Everything here goes to stderr."""

import time
from collections import deque
from statistics import fmean

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from birefcli.cli.batch_reporter import span
from birefcli.cli.terminal import INTERVAL, Terminal
from birefcli.errors import ExitCode
from birefcli.options import Size
from birefcli.training.run import TrainCallbacks, TrainingRun
from birefcli.training.setup import LAST
from birefcli.training.trainer import Step
from birefcli.training.validate import ValidationScore

RECENT = 50  # steps whose mean loss and time are shown


class TrainReporter(Terminal, TrainCallbacks):
    """A bar on a terminal, now and then a line elsewhere, and a line an epoch."""

    def __init__(self, *, quiet: bool, bar: bool) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("left"),
            wanted=bar and not quiet,
        )
        self.quiet = quiet
        self.code: ExitCode | None = None
        """Set when a signal asked the training to stop."""
        self.task: TaskID | None = None
        self._losses: deque[float] = deque(maxlen=RECENT)
        self._times: deque[float] = deque(maxlen=RECENT)
        self._since = self.last_line = 0.0

    def __enter__(self) -> "TrainReporter":
        if self.progress is not None:
            self.progress.start()
        return self

    def stop(self, code: ExitCode) -> None:
        """End after the step that is running."""
        self.stopping, self.code = True, code
        again = " (Ctrl-C again to leave at once)" if code is ExitCode.INTERRUPTED else ""
        self.say(f"stopping after this step{again}")

    def say(self, text: str) -> None:
        """Print a line, unless only failures are wanted."""
        if not self.quiet:
            super().say(text)

    def on_check(self, total: int) -> None:
        """Show how many photos are read for the first time."""
        self._show("checking photos", total)

    def on_photo_checked(self) -> None:
        """Count one more."""
        self._advance()

    def on_notice(self, text: str) -> None:
        """Print it."""
        self.say(text)

    def on_start(self, run: TrainingRun) -> None:
        """Print what is trained on what."""
        for line in _headlines(run):
            self.say(line)
        self._show(self._epoch(run), run.hyperparameters.steps, run.trainer.step)
        self._since = self.last_line = time.monotonic()

    def on_step(self, run: TrainingRun, step: Step) -> None:
        """Count one step; on a terminal in the bar, elsewhere in a line now and then."""
        self._losses.append(step.loss)
        now = time.monotonic()
        self._times.append(now - self._since)
        self._since = now
        loss = f"loss {fmean(self._losses):.1f}"
        if self.progress is not None and self.task is not None:
            self.progress.update(
                self.task, advance=1, description=self._epoch(run), loss=loss, refresh=False
            )
        elif not self.quiet and now - self.last_line > INTERVAL:
            self.last_line = now
            each = fmean(self._times)
            left = span(each * (run.hyperparameters.steps - run.trainer.step))
            done = f"step {run.trainer.step} of {run.hyperparameters.steps}"
            self.say(f"{self._epoch(run)}, {done}, {loss}, {each:.2f} s a step, {left} left")

    def on_validation(self, done: int, total: int) -> None:
        """Show how many held-out photos are scored."""
        self._since = time.monotonic()  # the next step takes none of this time
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, description=f"scoring {done}/{total}")

    def on_epoch(self, run: TrainingRun, epoch: int, score: ValidationScore, *, best: bool) -> None:
        """Print a line an epoch."""
        name = f"epoch {epoch:>3}" if epoch else "before   "
        loss = f"loss {mean:7.2f}  " if (mean := _epoch_loss(run, epoch)) else " " * 14
        values = (
            f"IoU {score.iou:.4f}  MAD {score.mad:.4f}  MSE {score.mse:.4f}  SAD {score.sad:.2f}"
        )
        edges = run.trainer.step > run.hyperparameters.steps - run.hyperparameters.edges
        marks = ["edges"] * edges + ["best"] * (best and epoch > 0)
        self.say("  ".join([f"{name}  {loss}{values}", *marks]))

    def summary(self, run: TrainingRun) -> None:
        """Print the last lines."""
        if not run.is_written:
            size = run.plan.output.stat().st_size / 1e6
            self.say(f"{run.plan.output}: written, {size:.1f} MB")
        if not run.held_out:
            self.say("the result is the last epoch's: no photo is held out to tell which is best")
        elif run.first and run.best:
            self._say_which(run)

    def _say_which(self, run: TrainingRun) -> None:
        """Which epoch the result is of, and how much better it is than the start."""
        chosen, last = run.result, run.last
        change = f"MAD {run.first['MAD']:.4f} before, {chosen['MAD']:.4f} after"
        self.say(f"held-out photos, at {_square(run.size)}: {change}")
        said = f"the result is epoch {chosen['epoch']:.0f}'s"
        if chosen["step"] != last["step"]:
            path = run.plan.folder / LAST
            where = f"the last epoch's, MAD {last['MAD']:.4f}, is in {path}"
            self.say(f"{said}, the best by validation; {where}")
        else:
            best = " and the best by validation" if chosen["step"] == run.best["step"] else ""
            self.say(f"{said}, the last{best}")
        if run.first["MAD"] <= run.best["MAD"]:
            self.say("no epoch was better than its start: try a lower --lr, more photos")

    def _epoch(self, run: TrainingRun) -> str:
        return f"epoch {run.epoch}/{len(run.epoch_ends)}"

    def _show(self, description: str, total: int, done: int = 0) -> None:
        if self.progress is not None:
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(description, total=total, completed=done, loss="")

    def _advance(self) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, advance=1)


def _headlines(run: TrainingRun) -> list[str]:
    hyperparameters, trainer = run.hyperparameters, run.trainer
    photos = f"{_count(len(run.training), 'photo')} to learn from, {len(run.held_out)} held out"
    if run.backgrounds:
        photos += f", {_count(len(run.backgrounds), 'background')}"
    cached = run.training.cached
    if cached < len(run.training) // run.rank.world:  # each process has read its share
        photos += f"; {cached} stay in memory (--cache)"
    numbers = sum(p.numel() for p in trainer.network.parameters())
    origin = "fine-tuned from " + run.plan.model if run.plan.model else "from scratch"
    stages = ", ".join(
        f"{_count(s.steps, 'step')} of {s.batch} at {s.size}×{s.size}"
        for s in hyperparameters.stages
    )
    where = f"{trainer.placement.device}, {trainer.placement.precision.value}"
    if run.rank.world > 1:
        where += f", {run.rank.world} processes"
    lines = [
        photos,
        f"{trainer.network.config.title}, {numbers / 1e6:.1f} M parameters, {origin}; {where}",
        f"{_count(len(run.epoch_ends), 'epoch')}: {stages}; learning rate {hyperparameters.lr:.2g}",
    ]
    lines += _other_size(run)
    if trainer.step == hyperparameters.steps:
        lines.append(f"trained to the end already; {_what_is_left(run)}")
    elif trainer.step:
        lines.append(f"resumes after step {trainer.step} of {hyperparameters.steps}")
    return lines


def _other_size(run: TrainingRun) -> list[str]:
    """That scores are not those of the model as it is, where it sees photos at another size."""
    if run.own_size in (None, run.size) or not run.held_out:
        return []
    return [
        f"{run.plan.model} is for {_square(run.own_size)}, and all scores here, before too, are at"
        f" {_square(run.size)}: compare the two as they are used by birefcli score --model"
    ]


def _square(size: Size) -> str:
    return f"{size.width}×{size.height}"


def _what_is_left(run: TrainingRun) -> str:
    if run.is_written:
        return f"{run.plan.output} stays as it is, and --restart starts anew"
    unscored = run.held_out and run.validated != run.trainer.step
    return "what is left is its last score" if unscored else "what is left is to write its weights"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _epoch_loss(run: TrainingRun, epoch: int) -> float | None:
    """Mean loss of an epoch's steps, also of those before it resumed."""
    first, last = (0, *run.epoch_ends)[epoch - 1], run.epoch_ends[epoch - 1]
    losses = [e["loss"] for e in run.log if "loss" in e and first < e["step"] <= last]
    return fmean(losses) if epoch and losses else None
