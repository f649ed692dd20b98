"""Which stage a run waits for: counted by a clock of the test's own, and by real runs."""

import contextlib

import pytest
from conftest import picture, wait_for
from test_pipeline import Bright, a_run, decision, finished

from birefcli.batch import stages
from birefcli.batch.bottleneck import StageTimer
from birefcli.batch.outcome import Outcome, Status
from birefcli.batch.pace import Pace
from birefcli.cli.batch_reporter import TerminalReporter, Verbosity
from birefcli.matting.predictor import Predictor
from birefcli.options import Product


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("load", "save", "matte", "limit"),
    [
        (6, 1, 3, ("load", 0.6)),
        (1, 7, 2, ("save", 0.7)),
        (1, 1, 8, ("matte", 0.8)),
        (0, 0, 4, ("matte", 1.0)),
    ],
)
def test_the_stage_that_took_most_of_the_time_is_the_limit(load, save, matte, limit):
    clock = Clock()
    waits = StageTimer(clock)
    waits.start()
    with waits.waiting("load"):
        clock.now += load
    clock.now += matte
    with waits.waiting("save"):
        clock.now += save
    stage, share = waits.bottleneck()
    assert (stage, share) == (limit[0], pytest.approx(limit[1]))


def test_a_wait_that_ends_in_an_error_is_counted():
    clock = Clock()
    waits = StageTimer(clock)
    waits.start()
    with contextlib.suppress(KeyError), waits.waiting("save"):
        clock.now += 5
        raise KeyError
    assert waits.bottleneck() == ("save", 1.0)


def test_nothing_is_said_before_a_run_begins():
    clock = Clock()
    waits = StageTimer(clock)
    assert waits.bottleneck() is None
    waits.start()
    assert waits.bottleneck() is None


def test_each_run_has_its_own_times():
    clock = Clock()
    waits = StageTimer(clock)
    for load in (6, 1):
        waits.start()
        with waits.waiting("load"):
            clock.now += load
        clock.now += 3
    assert waits.shares() == pytest.approx({"load": 0.25, "save": 0, "matte": 0.75})


class Watched(StageTimer):
    """Says what is waited for."""

    at = ""

    @contextlib.contextmanager
    def waiting(self, stage):
        with super().waiting(stage):
            self.at = stage
            try:
                yield
            finally:
                self.at = ""


@pytest.mark.parametrize(
    ("owner", "stage", "limit"),
    [
        (Predictor, "prepare", "load"),
        (Predictor, "alphas", "matte"),
        (stages, "encode_product", "save"),
    ],
)
def test_a_run_names_the_stage_that_is_slow(tmp_path, monkeypatch, owner, stage, limit):
    plain, clock = getattr(owner, stage), Clock()
    waits = Watched(clock)

    def slow(*values, **options):
        """Take a second of the only clock there is, in which the run waits for this stage."""
        if limit != "matte":
            wait_for(lambda: waits.at == limit, f"a wait for {limit}")
        clock.now += 1
        return plain(*values, **options)

    monkeypatch.setattr(owner, stage, slow)
    todo = []
    for i in range(6):
        picture(seed=i).save(tmp_path / f"{i}.png")
        todo.append(decision(tmp_path / f"{i}.png", tmp_path / "o", (Product.MASK,)))
    run = a_run(Bright(), products=(Product.MASK,))
    run.timer = waits
    assert len(finished(run, todo)) == 6
    assert run.bottleneck()[0] == limit


def test_a_progress_line_names_the_limit(capsys):
    reporter = TerminalReporter(Verbosity(), str)
    pace = Pace(3)
    reporter.on_start(pace)
    for limit, words in ((None, "left\n"), (("save", 0.71), "left · save 71%\n")):
        reporter.on_running(lambda limit=limit: limit)
        reporter.last_line -= 60
        pace.end(written=True)
        reporter.on_outcome(Outcome("a.jpg", Status.WRITTEN))
        assert capsys.readouterr().err.endswith(words)
