"""What a batch says of a slow CPU, and how quickly it says that it goes."""

import pytest

from birefcli.batch.outcome import Outcome, Seconds, Status, Summary
from birefcli.batch.pace import Pace
from birefcli.batch.slow_cpu import SlowCpuNotice
from birefcli.cli.batch_reporter import TerminalReporter, Verbosity
from birefcli.models.cpu_time import RELATIVE_CPU_TIME, quicker_models
from birefcli.models.zoo import USUAL
from birefcli.options import ModelOptions, Size


def notice(model, seconds, left, *, device="cpu", status=Status.WRITTEN, size=None):
    first = Outcome("a.jpg", status, seconds=Seconds(matte=seconds))
    summary = Summary(device=device, model=model)
    said = SlowCpuNotice(ModelOptions(model, size=size)).of(first, left, summary)
    return None if said is None else said.spelled(lambda o: f"--{o.name} {o.value or ''}".strip())


def test_a_long_batch_names_what_it_takes_and_the_models_that_are_quicker():
    said = notice("portrait", 21.2, 299)
    assert said == (
        "portrait takes about 21 s a photo on this CPU: 299 more take about 1 h 46 min;"
        " --model lite is about 3.7 times as fast;"
        " --model mini is about 200 times as fast, of lesser quality"
    )


def test_of_somebodys_own_weights_no_other_model_is_named():
    assert notice("mine.safetensors", 20.0, 300) == (
        "mine.safetensors takes about 20 s a photo on this CPU: 300 more take about 1 h 40 min;"
        " a smaller --size takes less, with fewer details"
    )


def test_runs_that_follow_each_other_say_it_once():
    said = SlowCpuNotice(ModelOptions("portrait"))
    first = Outcome("a.jpg", Status.WRITTEN, seconds=Seconds(matte=20.0))
    summary = Summary(device="cpu", model="portrait")
    told = [said.of(first, left, summary) is not None for left in (1, 300, 300)]
    assert told == [False, True, False]


@pytest.mark.parametrize(
    "changed",
    [
        {"left": 20},
        {"device": "cuda:0"},
        {"device": "cpu,cuda:0"},
        {"model": "mini"},
        {"seconds": 0.2, "left": 10**5},
        {"status": Status.FAILED},
    ],
)
def test_nothing_is_said_of_a_short_batch_a_gpu_and_the_quickest_model(changed):
    given = {"model": "portrait", "seconds": 20.0, "left": 300} | changed
    assert notice(given.pop("model"), given.pop("seconds"), given.pop("left"), **given) is None


def test_devices_beside_each_other_share_the_photos():
    assert "about 10 s a photo" in notice("portrait", 20.0, 300, device="cpu,cpu")


def test_only_what_was_measured_has_a_ratio():
    assert quicker_models("mine.safetensors") == quicker_models("mini") == []
    assert [way.name for way in quicker_models("lite")] == ["mini"]
    portrait = {way.name: way.times for way in quicker_models("portrait")}
    assert portrait["mini"] == RELATIVE_CPU_TIME["swin_large", USUAL]
    assert portrait["mini"] / portrait["lite"] == pytest.approx(
        RELATIVE_CPU_TIME["swin_tiny", USUAL]
    )
    for name, size in (("hr", None), ("portrait", Size(2048, 1024))):
        assert [(w.name, w.times) for w in quicker_models(name, size)] == [
            ("lite", None),
            ("mini", None),
        ]
    assert [(way.name, way.times) for way in quicker_models("512")] == [("mini", None)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_pace_counts_from_when_the_model_is_loaded():
    clock = Clock()
    pace = Pace(5, clock)
    clock.now = 30.0  # loading
    pace.begin()
    assert (pace.rate, pace.left) == (None, None)
    clock.now = 32.0
    pace.end(written=True)
    clock.now = 34.0
    pace.end(written=False)
    assert (pace.rate, pace.left, pace.seconds) == (0.25, 6.0, 4.0)
    clock.now = 35.0
    assert (pace.rate, pace.left) == (0.25, 5.0), "a rate changes with photos, what is left sooner"


def test_a_summary_has_the_rate_of_the_work_and_says_what_loading_took():
    summary = Summary(seconds=12.5, loading=10.0, working=2.0)
    summary.counts[Status.WRITTEN] = 4
    assert summary.line() == "4 written in 12.5 s, 10.0 s of it loading (2.00 photos/s)"
    assert '"images_per_second": 2.0' in summary.as_json()


def test_a_bar_says_that_the_model_is_loaded_before_photos_are_matted(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with TerminalReporter(Verbosity(), str) as reporter:
        reporter.on_start(Pace(2))
        (task,) = reporter.progress.tasks
        said = [task.description]
        reporter.on_state("waiting for workers")
        reporter.on_state("")
        said.append(task.description)
        reporter.on_running(lambda: None)
        said.append(task.description)
        for text in ("warming up", ""):
            reporter.on_state(text)
            said.append(task.description)
    assert said == ["loading the model"] * 2 + ["matting", "warming up", "matting"]
