"""A batch as a program that embeds it runs it: without a terminal, again and again."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import picture

from birefcli.batch import slow_cpu
from birefcli.batch.executor import Executor, Executors
from birefcli.batch.inputs import FoundPhoto, Search, Unread
from birefcli.batch.outcome import Status
from birefcli.batch.pipeline import Pipeline
from birefcli.batch.places import LocalFile
from birefcli.batch.reporter import NullReporter, Reporter
from birefcli.batch.run import run
from birefcli.batch.workers.pool import WorkerPool
from birefcli.cli.batch_reporter import TerminalReporter, Verbosity
from birefcli.errors import ExitCode
from birefcli.models import load
from birefcli.options import (
    BatchOptions,
    BatchTask,
    Existing,
    ModelOptions,
    Product,
    Rendering,
    Selection,
)


@pytest.fixture
def task(tmp_path: Path, tiny_weights: Path) -> BatchTask:
    (tmp_path / "in").mkdir()
    model = ModelOptions(str(tiny_weights), device="cpu")
    rendering = Rendering((Product.MASK,))
    options = BatchOptions(rendering, model, None, 2, max_pixels=10**8, max_memory=10**9)
    return BatchTask(Selection((str(tmp_path / "in"),), str(tmp_path / "out")), options)


def test_finding_no_photo_is_an_outcome_and_no_error(task):
    summary = run(task)
    assert summary.exit_code is ExitCode.NO_INPUT
    assert "no photo found" in str(summary.nothing_found)
    assert not Path(task.selection.output).exists()


def test_a_run_without_photos_leaves_no_failures_of_an_earlier_one_in_its_list(
    task, tmp_path, monkeypatch
):
    names = tmp_path / "failed"
    names.write_text("in/./old.jpg\n")
    run(dataclasses.replace(task, failed_to=names, dry_run=True))
    assert names.read_text() == "in/./old.jpg\n"
    assert run(dataclasses.replace(task, failed_to=names)).exit_code is ExitCode.NO_INPUT
    assert names.read_text() == ""
    gone = dataclasses.replace(task.selection, inputs=(str(tmp_path / "gone.jpg"),))
    assert (
        run(dataclasses.replace(task, selection=gone, failed_to=names)).exit_code
        is ExitCode.NO_INPUT
    )
    assert names.read_text() == f"{tmp_path}/./gone.jpg\n"
    locked = Search(failed=[Unread(tmp_path / "in" / "x", "Permission denied", "in/././x/")])
    monkeypatch.setattr("birefcli.batch.run.search_photos", lambda _: locked)
    assert run(dataclasses.replace(task, failed_to=names)).exit_code is ExitCode.NO_INPUT
    assert names.read_text() == "in/././x/\n"
    locked.found.append(FoundPhoto(LocalFile(tmp_path / "gone.jpg"), Path("gone.jpg")))
    summary = run(dataclasses.replace(task, failed_to=names))
    assert str(summary.nothing_found).endswith("No such file or directory, and 1 more")
    assert names.read_text() == f"{tmp_path}/./gone.jpg\nin/././x/\n"


def test_the_model_stays_loaded_from_one_run_to_the_next(task, tmp_path, monkeypatch):
    loads = []
    plain = load.load_predictor
    monkeypatch.setattr(load, "load_predictor", lambda *a: (loads.append(a), plain(*a))[1])
    executors = Executors(task.options)
    for number in range(3):
        picture(seed=number).save(tmp_path / "in" / f"{number}.png")
        summary = run(task, executors=executors)
        assert summary.counts[Status.WRITTEN] == 1
        assert summary.counts[Status.CURRENT] == number
    assert len(loads) == 1


def test_a_reporter_hears_of_the_model_and_of_each_photo_once(task, tmp_path):
    class Listing(NullReporter):
        def __init__(self):
            self.inputs, self.begun = [], []

        def on_start(self, pace):
            self.pace = pace

        def on_running(self, bottleneck):
            self.begun.append(len(self.inputs))

        def on_outcome(self, outcome):
            self.inputs.append((Path(outcome.input).name, outcome.status))

    for number in range(3):
        picture(seed=number).save(tmp_path / "in" / f"{number}.png")
    reporter = Listing()
    summary = run(task, reporter)
    assert reporter.begun == [0], "the model is loaded once, before the first photo"
    assert 0 < summary.loading < summary.seconds
    assert 0 < summary.working < summary.seconds - summary.loading
    assert reporter.pace.rate == pytest.approx(summary.rate), "one rate, shown and summed up"
    assert reporter.inputs == [(f"{number}.png", Status.WRITTEN) for number in range(3)]


def test_a_long_run_on_a_cpu_says_once_how_long_it_takes(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slow_cpu, "LONG", 0.0)
    monkeypatch.setattr(slow_cpu, "SLOW", 0.0)
    for quiet in (True, False):
        for number in range(3):
            picture(seed=number).save(tmp_path / "in" / f"{number}.png")
        said = dataclasses.replace(task, existing=Existing.OVERWRITE)
        run(said, TerminalReporter(Verbosity(progress=False, quiet=quiet), str))
        lines = [line for line in capsys.readouterr().err.splitlines() if "on this CPU" in line]
        assert len(lines) == (0 if quiet else 1)
    assert "a photo on this CPU: 2 more take about 0 min" in lines[0]


def test_both_executors_and_both_reporters_have_all_that_a_run_asks_of_them():
    def members(protocol: type) -> set[str]:
        return {n for n in (*vars(protocol), *protocol.__annotations__) if not n.startswith("_")}

    for kind in (Pipeline, WorkerPool):
        assert {name for name in members(Executor) if not hasattr(kind, name)} == set()
    for reporter in (NullReporter(), TerminalReporter(Verbosity(), str)):
        assert {name for name in members(Reporter) if not hasattr(reporter, name)} == set()


def test_a_thread_of_another_program_can_run_a_batch(task, tmp_path):
    picture().save(tmp_path / "in" / "a.png")
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(run, task).result()
    assert summary.counts[Status.WRITTEN] == 1


def test_executors_of_other_options_are_refused(task, tmp_path):
    picture().save(tmp_path / "in" / "a.png")
    other = dataclasses.replace(task.options, threads=7)
    with pytest.raises(ValueError, match="other options"):
        run(task, executors=Executors(other))
