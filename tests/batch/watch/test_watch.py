"""A watch, with a clock of its own and without a network: what is run when, and what is said."""

import os
import shutil
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from birefcli.batch.executor import Executors
from birefcli.batch.freshness import Decision
from birefcli.batch.inputs import FoundPhoto, search_photos
from birefcli.batch.interrupts import StoppedError
from birefcli.batch.lock import hold_folder
from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.batch.places import LocalFile
from birefcli.batch.reporter import NullReporter
from birefcli.batch.targets import plan_job
from birefcli.batch.watch import run as watch_module
from birefcli.batch.watch.run import WatchTask, watch
from birefcli.errors import (
    BusyError,
    ExitCode,
    Message,
    ModelError,
    NoInputError,
    OutputError,
    UsageError,
)
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.models.weights import load_network, resolve
from birefcli.options import (
    BatchOptions,
    BatchTask,
    Format,
    Lock,
    ModelOptions,
    Product,
    Rendering,
    Selection,
)
from birefcli.system import file_events
from birefcli.system.clock import Clock
from birefcli.system.mounts import MountedFolder


class Story(Clock):
    """A clock that stands still while photos are done, and does something at its times."""

    def __init__(self, acts, end):
        super().__init__()
        self.time, self.end = 0.0, end
        self.acts = sorted(acts.items())

    def now(self):
        return self.time

    def wait(self, seconds, at_least=0.0):
        assert seconds > 0, "it would never rest"
        until = self.time + max(seconds, at_least)
        while self.acts and self.acts[0][0] <= until:
            at, act = self.acts.pop(0)
            self.time = max(self.time, at)
            act()
        self.time = until
        if self.time >= self.end:
            raise StoppedError


class Told(NullReporter):
    """Keeps what is said."""

    def __init__(self):
        self.outcomes, self.troubles, self.notices, self.details = [], [], [], []
        self.summary = None

    def on_outcome(self, outcome):
        self.outcomes.append((Path(outcome.input).name, outcome.status.value))

    def on_trouble(self, text):
        self.troubles.append(str(text))

    def on_notice(self, message):
        self.notices.append(str(message))

    def on_detail(self, text):
        self.details.append(str(text))

    def on_end(self, summary):
        assert self.summary is None, "the end is told twice"
        self.summary = summary


class Runs:
    """Does photos in no time: writes a file for each, or what a test says becomes of it."""

    def __init__(self, clock):
        self.clock, self.done, self.becomes = clock, [], {}
        self.raises = None

    def __call__(self, task, listener, executors):
        if self.raises is not None:
            raise self.raises
        assert task.lock is Lock.NONE
        assert task.photo_by_photo
        executors._predictor = executors._predictor or Loaded()
        summary = Summary(seconds=1.0)
        for photo in search_photos(task.selection).found:
            label, path = photo.source.label, photo.source.path
            self.done.append((self.clock.time, path.name))
            try:
                data = path.read_bytes()
            except OSError as error:
                data = None
                outcome = Outcome(label, Status.FAILED, error=Message(str(error)), unread=True)
            if data is not None:
                outcome = self.outcome(label, path, data)
            summary.add(outcome)
            listener.on_outcome(outcome)
            if outcome.fatal:
                summary.stopped = ExitCode.OUTPUT
                break
        listener.on_trouble("nothing more can be written here")
        listener.on_end(summary)
        return summary

    def outcome(self, label, path, data):
        if path.name in self.becomes:
            return replace(self.becomes[path.name], input=label)
        if not data.endswith(b"end"):
            error = Message("the file ends too early")
            return Outcome(label, Status.FAILED, error=error, unread=True)
        return Outcome(label, Status.WRITTEN)


class Loaded:
    """In the place of a network on its device."""

    class placement:  # noqa: N801
        class device:  # noqa: N801
            type = "cpu"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_events, "available", lambda: False)
    (tmp_path / "in").mkdir()
    return tmp_path


def put(name, data=b"end"):
    path = Path("in", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def append(name, data):
    with Path("in", name).open("ab") as file:
        file.write(data)


def task(*, inputs=("in",), output="out", lock=Lock.LEAVE, model="mini", background=None, **more):
    rendering = Rendering()
    if background is not None:
        rendering = Rendering(products=(Product.COMPOSITE,), background=background)
    options = BatchOptions(rendering, ModelOptions(model), None, 1, 10**6, 10**9)
    return WatchTask(BatchTask(Selection(inputs, output), options, lock=lock), **more)


def play(acts, *, end=30.0, setup=lambda runs: None, what=None):
    """Watch while things happen at their seconds."""
    clock, told = Story(acts, end), Told()
    runs = Runs(clock)
    setup(runs)
    watch(what or task(), told, clock, runs)
    return told, runs


def names(runs):
    return [name for _, name in runs.done]


# When


def test_photos_that_are_there_and_those_that_come_are_done_once_each(place):
    put("a.jpg")
    told, runs = play({7.0: lambda: put("b.jpg"), 8.0: lambda: put("x/y/c.png")})
    assert sorted(names(runs)) == ["a.jpg", "b.jpg", "c.png"]
    assert [what for _, what in told.outcomes] == ["written"] * 3
    assert told.summary.counts[Status.WRITTEN] == 3
    assert told.summary.seconds == len({at for at, _ in runs.done})


def test_a_photo_is_done_as_soon_as_it_has_settled(place):
    put("a.jpg")
    _, runs = play({})
    assert runs.done == [(2.0, "a.jpg")]


def test_a_photo_that_is_written_in_pieces_is_done_once_and_nothing_fails(place):
    acts = {1.0: lambda: put("a.jpg", b"")}
    acts |= {float(at): lambda: append("a.jpg", b"x" * 10) for at in range(2, 12)}
    acts |= {12.0: lambda: append("a.jpg", b"end")}
    told, runs = play(acts)
    assert told.outcomes == [("a.jpg", "written")]
    assert names(runs) == ["a.jpg"]


def test_a_writer_that_opens_and_waits_is_waited_for(place):
    told, runs = play(
        {1.0: lambda: put("a.jpg", b""), 40.0: lambda: append("a.jpg", b"end")}, end=60
    )
    assert told.outcomes == [("a.jpg", "written")]
    assert len(told.details) == len(runs.done) - 1 > 2


def test_a_photo_that_stays_unreadable_fails_once_and_again_when_it_changes(place):
    put("a.jpg", b"half")
    told, runs = play({100.0: lambda: append("a.jpg", b"more")}, end=400.0)
    assert told.outcomes == [("a.jpg", "failed")] * 2
    assert [at for at, _ in runs.done][:6] == pytest.approx([2, 4, 8, 16, 32, 60], abs=0.2)
    assert told.summary.exit_code is ExitCode.SOME_FAILED


def test_a_photo_that_failed_for_another_reason_is_not_tried_again(place):
    put("a.jpg")
    failed = Outcome("", Status.FAILED, error=Message("no subject found"))
    told, runs = play({}, end=200.0, setup=lambda runs: runs.becomes.update({"a.jpg": failed}))
    assert told.outcomes == [("a.jpg", "failed")]
    assert names(runs) == ["a.jpg"]


def test_a_copy_that_keeps_old_times_is_done_when_it_is_whole(place):
    def old(name):
        os.utime(Path("in", name), ns=(10**18, 10**18))

    def grow(data):
        append("a.jpg", data)
        old("a.jpg")

    acts = {1.0: lambda: grow(b"xx"), 2.5: lambda: grow(b"xx"), 4.0: lambda: grow(b"end")}
    told, runs = play(acts)
    assert told.outcomes == [("a.jpg", "written")]
    assert names(runs) == ["a.jpg"]


def test_a_photo_that_is_renamed_into_place_is_done(place):
    def rename():
        put(".a.jpg.part").rename("in/a.jpg")

    told, _ = play({3.0: rename})
    assert told.outcomes == [("a.jpg", "written")]


def test_a_photo_that_changes_is_done_again(place):
    put("a.jpg")
    _, runs = play({10.0: lambda: append("a.jpg", b"end")})
    assert names(runs) == ["a.jpg", "a.jpg"]


def test_a_photo_that_changes_while_it_is_done_is_done_again(place):
    put("a.jpg")

    class Changing(Runs):
        def outcome(self, label, path, data):
            if len(self.done) == 1:
                append("a.jpg", b"end")
            return super().outcome(label, path, data)

    clock, told = Story({}, 30.0), Told()
    runs = Changing(clock)
    watch(task(), told, clock, runs)
    assert names(runs) == ["a.jpg", "a.jpg"]


def test_a_photo_that_vanishes_and_comes_back_is_planned_again(place):
    photo = put("a.jpg")
    away = place / "away.jpg"
    _, runs = play({10.0: lambda: photo.rename(away), 20.0: lambda: away.rename(photo)}, end=40.0)
    assert names(runs) == ["a.jpg", "a.jpg"]  # and found up to date


def test_a_photo_that_vanishes_before_it_is_done_is_no_failure(place):
    put("a.jpg")
    runs_before = Runs.__call__

    class Late(Runs):
        def __call__(self, task, listener, executors):
            Path("in/a.jpg").unlink(missing_ok=True)
            return runs_before(self, task, listener, executors)

    clock, told = Story({}, 90.0), Told()
    watch(task(), told, clock, Late(clock))
    assert told.outcomes == []
    assert told.summary.exit_code is ExitCode.OK


def test_products_of_ours_are_no_photos(place, command_made):
    shutil.copy(command_made, "in/product.png")
    _, runs = play({5.0: lambda: put("a.jpg")})
    assert names(runs) == ["a.jpg"]


@pytest.fixture
def command_made(tmp_path):
    """A product."""
    stamp = Stamp("0" * 16, "fp32", "cutout", 1, 1).text()
    path = tmp_path / "made.png"
    made = encode(np.zeros((8, 8, 4), np.uint8), Format.PNG, metadata=Metadata(stamp=stamp))
    path.write_bytes(made)
    return path


# Two that want one place


def test_the_second_of_two_that_want_one_target_fails_by_name_and_goes_on_later(place):
    first = put("a.jpg")
    acts = {10.0: lambda: put("a.png"), 20.0: first.unlink}
    told, runs = play(acts, end=40.0)
    assert told.outcomes == [("a.jpg", "written"), ("a.png", "failed"), ("a.png", "written")]
    assert names(runs) == ["a.jpg", "a.png"]


# Inputs and outputs that go


def test_an_input_that_goes_is_told_once_and_nothing_is_done_when_it_is_back(place):
    put("a.jpg")
    away = place / "away"

    def back():
        away.rename("in")
        put("b.jpg")

    told, runs = play({10.0: lambda: Path("in").rename(away), 60.0: back}, end=100.0)
    assert names(runs) == ["a.jpg", "b.jpg"]
    [trouble] = told.troubles
    assert trouble.startswith("in: No such file")
    assert "in: is there again" in told.notices


def test_an_output_that_goes_is_not_made_again_and_waited_for(place):
    put("a.jpg")
    seen = []
    acts = {
        10.0: lambda: shutil.rmtree("out"),
        20.0: lambda: put("b.jpg"),
        100.0: lambda: seen.append(Path("out").exists()),
        101.0: lambda: Path("out").mkdir(),
    }
    told, runs = play(acts, end=200.0)
    assert seen == [False]
    assert names(runs) == ["a.jpg", "b.jpg"]
    [trouble] = told.troubles
    assert trouble.startswith("out: No such file")
    assert "out: is there again" in told.notices


def test_an_output_that_goes_after_it_was_asked_for_is_waited_for(place, monkeypatch):
    put("a.jpg")
    ask = MountedFolder.trouble
    acts = {
        20.0: lambda: put("b.jpg"),
        60.0: lambda: Path("gone").rename("out"),
    }

    def asked(folder):
        """Asks, and has the output go right after the answer, once."""
        answer = ask(folder)
        if clock.time > 10 and folder.path == Path("out") and not went:
            went.append(clock.time)
            Path("out").rename("gone")
        return answer

    went = []
    monkeypatch.setattr(MountedFolder, "trouble", asked)
    clock, told = Story(acts, 200.0), Told()
    runs = Runs(clock)
    watch(task(), told, clock, runs)
    assert len(went) == 1
    assert names(runs) == ["a.jpg", "b.jpg"]
    assert told.troubles == ["out: No such file or directory; waits until it is there again"]


def test_a_full_disk_pauses_it_until_there_is_room(place):
    put("a.jpg")
    put("b.jpg")
    full = Outcome("", Status.FAILED, error=Message("No space left on device"), fatal=True)

    def setup(runs):
        runs.becomes["a.jpg"] = full

    clock, told = Story({}, 300.0), Told()
    runs = Runs(clock)
    setup(runs)
    clock.acts = [(100.0, runs.becomes.clear)]
    watch(task(), told, clock, runs)
    assert sorted(set(told.outcomes)) == [("a.jpg", "written"), ("b.jpg", "written")]
    assert told.summary.counts[Status.FAILED] == 0
    [trouble] = told.troubles
    assert "No space left" in trouble
    assert "out: can be written again" in told.notices
    tries = [at for at, name in runs.done if name == "a.jpg"]
    assert all(later - at >= 30 for at, later in pairwise(tries))
    assert len(tries) == 5


def test_an_output_that_cannot_be_written_at_all_pauses_it(place):
    put("a.jpg")
    clock, told = Story({}, 100.0), Told()
    runs = Runs(clock)
    runs.raises = OutputError("out: cannot be written: Read-only file system")

    def writable():
        runs.raises = None

    clock.acts = [(50.0, writable)]
    watch(task(), told, clock, runs)
    assert told.outcomes == [("a.jpg", "written")]
    assert len(told.troubles) == 1


# The model


def test_the_model_is_kept_and_let_go_when_there_is_no_work_for_long(place, monkeypatch):
    released = []
    monkeypatch.setattr(
        Executors, "release", lambda self: (released.append(1), setattr(self, "_predictor", None))
    )
    put("a.jpg")
    acts = {400.0: lambda: put("b.jpg"), 1500.0: lambda: put("c.jpg")}
    told, _ = play(acts, end=1600.0)
    assert len(released) == 1
    assert told.details == [
        "no photo for 600 s: the model is let go", "the model is loaded again",
    ]  # fmt: skip


def test_the_model_is_kept_where_that_is_wanted(place):
    put("a.jpg")
    told, _ = play({}, end=5000.0, what=task(idle=None))
    assert told.details == []


def test_the_model_is_let_go_in_time_where_it_seldom_looks(place, monkeypatch):
    freed = []
    monkeypatch.setattr(
        Executors, "release", lambda self: (freed.append(1), setattr(self, "_predictor", None))
    )
    put("a.jpg")
    play({}, end=10.0, what=task(every=1000.0, idle=5.0))
    assert freed == [1]


def test_letting_go_drops_the_network():
    executors = Executors(task().batch.options)
    executors._predictor = Loaded()
    assert executors.is_loaded
    executors.release()
    executors.release()
    assert not executors.is_loaded


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def test_letting_go_frees_the_network_and_the_devices_memory(tiny_weights, device):
    model = ModelOptions(str(tiny_weights), device=device, compile=device == "cuda")
    executors = Executors(replace(task().batch.options, model=model))
    photo = FoundPhoto(LocalFile(Path("a.jpg")), Path("a.jpg"))
    job = plan_job(photo, Selection(("in",), "out"), (Product.CUTOUT,), Format.PNG)
    todo = [Decision(job)]
    pipeline = executors.for_run(todo, None, NullReporter(), Summary())
    assert executors._predictor is not None
    network = weakref.ref(executors._predictor.network)
    if device == "cuda":
        for _ in range(3):  # the graph is recorded at the second batch
            executors._predictor.warm_up(1)
    held = torch.cuda.memory_reserved() if device == "cuda" else 1
    del pipeline
    executors.release()
    assert network() is None
    assert (torch.cuda.memory_reserved() if device == "cuda" else 0) < held
    executors.for_run(todo, None, NullReporter(), Summary())
    assert executors.is_loaded


def test_weights_that_change_are_loaded_again(place, tiny_weights):
    shutil.copy(tiny_weights, "w.safetensors")
    put("a.jpg")
    used = []

    class Noting(Runs):
        def __call__(self, task, listener, executors):
            used.append(executors)
            return super().__call__(task, listener, executors)

    def change():
        data = Path("w.safetensors").read_bytes()
        Path("w.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    acts = {10.0: lambda: put("b.jpg"), 20.0: change, 21.0: lambda: put("c.jpg")}
    clock, told = Story(acts, 40.0), Told()
    watch(task(model="w.safetensors"), told, clock, Noting(clock))
    assert used[0] is used[1] is not used[2]
    assert [n for n in told.notices if "weights" in n]


def test_weights_that_are_copied_meanwhile_are_waited_for(place, tiny_weights):
    whole = tiny_weights.read_bytes()
    Path("w.safetensors").write_bytes(whole)
    put("a.jpg")

    class Loading(Runs):
        """Loads the weights at each run, as a new process would."""

        def __call__(self, task, listener, executors):
            load_network(resolve("w.safetensors"))
            return super().__call__(task, listener, executors)

    def copy(part):
        Path("w.safetensors").write_bytes(part)

    acts = {
        10.0: lambda: copy(whole[: len(whole) // 2]),
        11.0: lambda: put("b.jpg"),
        40.0: Path("w.safetensors").unlink,
        80.0: lambda: copy(whole),
    }
    clock, told = Story(acts, 200.0), Told()
    runs = Loading(clock)
    watch(task(model="w.safetensors"), told, clock, runs)
    assert names(runs) == ["a.jpg", "b.jpg"]
    assert told.outcomes == [("a.jpg", "written"), ("b.jpg", "written")]
    [trouble] = told.troubles
    assert trouble.startswith("w.safetensors: ")
    assert trouble.endswith("tries again every 30 s, and goes on when it can")
    assert [n for n in told.notices if "weights" in n] == [
        "the weights have changed: they are loaded again", "the weights can be read again",
    ]  # fmt: skip


def test_weights_that_never_were_good_end_it(place):
    put("a.jpg")
    runs = Runs(Story({}, 0))
    runs.raises = ModelError("w.safetensors: damaged")
    with pytest.raises(ModelError, match="damaged"):
        watch(task(), Told(), Story({}, 100.0), runs)


def save_picture(name, colour):
    Image.new("RGB", (32, 32), colour).save(name)


def test_a_background_that_is_saved_meanwhile_is_waited_for(place):
    save_picture("bg.png", "red")
    put("a.jpg")
    acts = {
        10.0: lambda: Path("bg.png").write_bytes(Path("bg.png").read_bytes()[:60]),
        11.0: lambda: put("b.jpg"),
        40.0: Path("bg.png").unlink,
        80.0: lambda: save_picture("bg.png", "blue"),
    }
    told, runs = play(acts, end=200.0, what=task(background="bg.png"))
    assert names(runs) == ["a.jpg", "b.jpg"]
    [trouble] = told.troubles
    assert "background=bg.png: " in trouble
    assert "the background can be read again" in told.notices


def test_a_background_that_a_product_would_replace_costs_that_photo_only(place):
    Path("bgs").mkdir()
    save_picture("bgs/a.png", "red")

    def come():
        save_picture("bgs/c.png", "red")
        for name in ("b.jpg", "c.jpg", "d.jpg"):
            put(name)

    what = task(output="bgs", background="bgs")
    told, _ = play({10.0: come, 40.0: Path("bgs/c.png").unlink, 41.0: lambda: put("e.jpg")},
                      end=60.0, what=what)  # fmt: skip
    assert told.outcomes == [
        ("c.jpg", "failed"), ("b.jpg", "written"), ("d.jpg", "written"),
        ("e.jpg", "written"), ("c.jpg", "written"),
    ]  # fmt: skip
    assert told.troubles == []


# How it begins and ends


def test_it_says_at_the_start_what_it_watches_and_how_often(place):
    told, _ = play({}, end=1.0)
    assert told.notices[0].startswith("watching in: looks every 5 s")
    assert "pip install 'birefcli[watch]'" in told.notices[0]
    told, _ = play({}, end=1.0, what=task(events=False))
    assert told.notices == ["watching in: looks every 5 s"]


def test_a_network_file_system_is_named(place, monkeypatch):
    monkeypatch.setattr("birefcli.batch.watch.folder_look.network_type", lambda _: "nfs4")
    told, _ = play({}, end=1.0)
    assert told.notices == [
        "watching in: looks every 5 s; no file events: in is on a network (nfs4)"
    ]


def test_events_that_end_are_told_once(place, monkeypatch):
    monkeypatch.setattr(file_events, "available", lambda: True)
    put("a.jpg")

    class Fails:
        def __init__(self, folders, wake, failed):
            failed("OS file watch limit reached")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(file_events, "wake_on_changes", Fails)
    told, runs = play({})
    assert names(runs) == ["a.jpg"]
    assert told.notices[1:] == ["no file events: OS file watch limit reached; looks every 5 s"]


def test_what_is_left_to_do_is_counted_at_the_end(place):
    put("a.jpg", b"half")
    told, _ = play({}, end=5.0)
    assert told.summary.counts[Status.PENDING] == 1


def test_the_output_is_held_while_it_watches(place):
    def locked():
        with pytest.raises(BusyError), hold_folder(Path("out"), Lock.LEAVE):
            pass

    play({3.0: locked}, end=5.0)
    with hold_folder(place / "in", Lock.LEAVE):
        pass
    Path("out").mkdir(exist_ok=True)
    with hold_folder(Path("out"), Lock.LEAVE), pytest.raises(BusyError):
        play({})


def test_an_output_into_which_nothing_came_is_not_left_behind(place):
    play({}, end=1.0)
    assert not Path("out").exists()


def test_a_run_that_no_device_is_left_for_ends_it(place):
    put("a.jpg")

    def lost(task, listener, executors):
        summary = Summary(stopped=ExitCode.MODEL)
        listener.on_end(summary)
        return summary

    told = Told()
    summary = watch(task(), told, Story({}, 100.0), lost)
    assert summary.exit_code is ExitCode.MODEL
    assert told.summary is summary


def test_photos_that_wait_are_left_over_also_where_a_signal_ends_a_run(place):
    put("a.jpg", b"half")
    put("b.jpg")

    class Interrupted(Runs):
        def __call__(self, task, listener, executors):
            label = str(Path("in/a.jpg"))
            listener.on_outcome(Outcome(label, Status.FAILED, error=Message("half"), unread=True))
            listener.on_end(Summary(stopped=ExitCode.TERMINATED))
            raise StoppedError

    clock, told = Story({}, 100.0), Told()
    watch(task(), told, clock, Interrupted(clock))
    assert told.summary.counts[Status.PENDING] == 2


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"output": "-"}, UsageError, "name a folder"),
        ({"output": "out.png"}, UsageError, "name a folder"),
        ({"inputs": ("-",)}, UsageError, "stdin"),
        ({"inputs": ("gone",)}, NoInputError, "gone: no such folder"),
        ({"inputs": ("file.jpg",)}, NoInputError, "file.jpg: is a file"),
        ({"inputs": ("in", "./in/x")}, UsageError, "hold the same photos"),
        ({"inputs": ("in", "/")}, UsageError, "hold the same photos"),
        ({"model": "unknown"}, Exception, "unknown"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_made(place, more, error, text):
    put("x/a.jpg")
    Path("file.jpg").touch()
    with pytest.raises(error, match=text):
        watch(task(**more), Told(), Story({}, 1.0), Runs(Story({}, 1.0)))
    assert not Path("out").exists()


def test_memory_holds_what_is_there_and_no_more(place, monkeypatch):
    clock, told = Story({}, 1e9), Told()
    runs = Runs(clock)
    kept = []

    def turn(number):
        for old in Path("in").iterdir():
            old.unlink()
        for each in range(20):
            put(f"{number}-{each}.jpg")

    begun = []

    class Seen(watch_module._Watch):
        def __init__(self, *words):
            super().__init__(*words)
            begun.append(self)

    monkeypatch.setattr(watch_module, "_Watch", Seen)

    def count():
        [watching] = begun
        [one] = watching._inputs
        kept.append(
            (
                len(one.settling._ended) + len(one.settling._waiting),
                len(one.look_at._wanted),
                len(watching._claims._keys),
                len(watching._listener._expected),
            )
        )

    clock.acts = [(10.0 * n, lambda n=n: turn(n)) for n in range(1, 30)]
    clock.acts += [(10.0 * n + 9.0, count) for n in range(1, 30)]
    clock.acts.sort(key=lambda act: act[0])
    clock.end = 310.0
    watch(task(), told, clock, runs)
    assert len(told.outcomes) == 29 * 20
    assert set(kept) == {(20, 20, 20, 0)}
