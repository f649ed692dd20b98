"""A photo, a device or a worker that never ends costs its time limit, and nothing else.

The devices are on the CPU. What hangs waits for a test to let it go, or is stopped by a signal, as
a driver that hangs stops a process.
"""

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from test_workers import (
    MANY,
    alive,
    decisions,
    fill,
    needs_proc,
    told,
    wait_until_gone,
    workers,
    written,
)

from birefcli import values
from birefcli.batch import run as running
from birefcli.batch import stages
from birefcli.batch.outcome import Status
from birefcli.batch.reporter import NullReporter
from birefcli.batch.run import run
from birefcli.batch.workers import pool, process
from birefcli.batch.workers.protocol import Assign, Request, Result, WorkerConfig, WorkerLost
from birefcli.birefnet.inference import InferenceNetwork
from birefcli.birefnet.inference.convolution import Convolution
from birefcli.errors import ExitCode, UsageError
from birefcli.matting.device import parse_devices
from birefcli.models import load, weights
from birefcli.options import (
    BatchOptions,
    BatchTask,
    ModelOptions,
    Precision,
    Product,
    Rendering,
    Selection,
)

LIMIT = 0.8  # seconds; far more than a photo of these takes without what hangs
BOTH = ("--device", "cpu,cpu", "--json")


# One device: its photos are done in the process of the run


class Ended(Exception):  # noqa: N818 - it is the end of a process, and no error
    """What ends the process."""


class Listing(NullReporter):
    """Keeps what it hears."""

    def __init__(self):
        self.ended, self.lines = {}, []

    def on_outcome(self, outcome):
        self.ended[Path(outcome.input).name] = (outcome.status, str(outcome.error))

    def on_device_lost(self, name, lost, photos):
        self.lines.append(f"{name}: {lost.reason}")
        assert "hang" in lost.trace, "it says where"

    def on_trouble(self, text):
        self.lines.append(text)

    def on_end(self, summary):
        self.summary = summary


@pytest.fixture
def task(tmp_path: Path, tiny_weights: Path) -> BatchTask:
    fill(tmp_path / "in", 5)
    model = ModelOptions(str(tiny_weights), device="cpu")
    rendering = Rendering((Product.MASK,))
    options = BatchOptions(rendering, model, 1, 2, 10**8, 10**9, photo_timeout=LIMIT)
    selection = Selection((str(tmp_path / "in"),), str(tmp_path / "out"))
    return BatchTask(selection, options, failed_to=tmp_path / "failed")


@pytest.fixture
def hang(monkeypatch):
    """What never returns, until the process would have ended; ``hang.code`` is with what."""
    over = threading.Event()

    def hang():
        assert over.wait(TIMEOUT)
        raise Ended

    def leave(code):
        hang.code = code
        over.set()

    monkeypatch.setattr(running, "leave", leave)
    hang.code = None
    yield hang
    over.set()


def in_network(hang, monkeypatch):
    calls = []
    plain = InferenceNetwork.forward

    def forward(self, batch):
        calls.append(batch)
        return hang() if len(calls) == 3 else plain(self, batch)

    monkeypatch.setattr(InferenceNetwork, "forward", forward)


def in_decoder(hang, monkeypatch):
    plain = stages.read_source

    def read(job, *more):
        return hang() if job.label.endswith("002.png") else plain(job, *more)

    monkeypatch.setattr(stages, "read_source", read)


def in_encoder(hang, monkeypatch):
    plain = stages.encode_all

    def encode(context, decision, *more):
        late = decision.job.label.endswith("002.png")
        return hang() if late else plain(context, decision, *more)

    monkeypatch.setattr(stages, "encode_all", encode)


@pytest.mark.parametrize("where", [in_network, in_decoder, in_encoder])
def test_photo_that_never_ends_is_named_and_the_run_ends(task, hang, monkeypatch, tmp_path, where):
    where(hang, monkeypatch)
    heard = Listing()
    with pytest.raises(Ended) if where is in_network else nullcontext():
        run(task, heard)
    assert hang.code is ExitCode.MODEL
    why = f"no answer within {LIMIT} s"
    assert heard.ended["002.png"] == (Status.FAILED, f"no answer from cpu within {LIMIT} s")
    assert heard.lines == [f"cpu: {why}", running.NO_DEVICE]
    assert heard.summary.lost == [f"cpu: {why}"]
    failed = [name for name, (status, _) in heard.ended.items() if status is Status.FAILED]
    assert failed == ["002.png"], "the others that had begun are left"
    assert (tmp_path / "failed").read_text() == f"{tmp_path}/in/./002.png\n"
    monkeypatch.undo()
    assert run(task).exit_code is ExitCode.OK
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_network_that_is_never_loaded_ends_the_run_and_fails_no_photo(
    task, hang, monkeypatch, tmp_path
):
    monkeypatch.setattr("birefcli.batch.patience.START", LIMIT)
    monkeypatch.setattr(load, "load_predictor", lambda *_: hang())
    heard = Listing()
    with pytest.raises(Ended):
        run(task, heard)
    assert hang.code is ExitCode.MODEL
    assert heard.summary.counts[Status.PENDING] == 5
    assert (tmp_path / "failed").read_text() == ""
    assert not (tmp_path / "out").exists(), "it was made for this run, and is empty"


def test_network_that_takes_long_but_goes_on_is_waited_for(task, hang, monkeypatch, tmp_path):
    """As for a very large input on a CPU: layer after layer ends."""
    plain = Convolution.forward
    slept = []

    def forward(self, *given):
        slept.append(LIMIT / 20)
        time.sleep(slept[-1])
        return plain(self, *given)

    monkeypatch.setattr(Convolution, "forward", forward)
    for number in range(1, 5):
        (tmp_path / "in" / f"{number:03d}.png").unlink()
    assert run(task).counts[Status.WRITTEN] == 1
    assert hang.code is None
    assert sum(slept) > 1.5 * LIMIT


def test_layers_are_heard_during_a_run_and_no_longer(task, monkeypatch):
    seen = []
    plain = InferenceNetwork.forward

    def forward(self, batch):
        seen.append(self)
        assert all(module._forward_hooks for module in self.modules())
        return plain(self, batch)

    monkeypatch.setattr(InferenceNetwork, "forward", forward)
    assert run(task).counts[Status.WRITTEN] == 5
    assert not any(module._forward_hooks for module in seen[0].modules())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.slow  # a second way to what a quick test holds
def test_whoever_writes_or_reads_a_pipe_may_take_as_long_as_it_likes(inside, tmp_path, start):
    picture().save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    words = ("matte", tmp_path / "pipe", "-o", "-", "--photo-timeout", LIMIT)
    run = start(*words, "--device", "cpu")
    with (tmp_path / "pipe").open("wb") as pipe:
        time.sleep(3 * LIMIT)
        pipe.write((tmp_path / "a.png").read_bytes())
    assert run.poll() is None
    out, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    assert out.startswith(b"\x89PNG")


def test_photo_that_waits_for_memory_or_its_reader_is_not_at_work(task, monkeypatch, tmp_path):
    """One photo has all the memory, and whoever hears of it takes its time."""
    options = dataclasses.replace(task.options, max_memory=1, threads=3)
    ended = []
    monkeypatch.setattr(running, "leave", ended.append)

    class Slow(NullReporter):
        def on_outcome(self, outcome):
            time.sleep(2 * LIMIT if outcome.input.endswith("000.png") else 0)

    summary = run(dataclasses.replace(task, options=options), Slow())
    assert (ended, summary.counts[Status.WRITTEN]) == ([], 5)


STUCK = """\
import sys, time
if "spawn_main" not in " ".join(sys.orig_argv):
    from birefcli.birefnet.inference import InferenceNetwork
    plain, seen = InferenceNetwork.forward, []
    def forward(self, batch):
        seen.append(batch)
        return time.sleep(1000) if len(seen) > 2 else plain(self, batch)
    InferenceNetwork.forward = forward
"""


@pytest.fixture
def early(tmp_path):
    """Environment in which processes run some lines before anything else."""

    def build(text):
        (tmp_path / "early").mkdir()
        (tmp_path / "early" / "sitecustomize.py").write_text(text)
        path = [str(tmp_path / "early"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path)}

    return build


@pytest.mark.slow  # a second way to what a quick test holds
def test_command_whose_device_hangs_ends_with_a_summary_and_without_a_trace(
    command, early, tmp_path
):
    folder, out = fill(tmp_path / "in", 6), tmp_path / "out"
    words = ("matte", folder, "-o", out, "--json", "--batch", 1, "--failed-to", tmp_path / "list")
    result = command(*words, "--photo-timeout", 3, **early(STUCK))
    assert result.returncode == ExitCode.MODEL
    lines, summary = told(result.stdout)
    assert [line["status"] for line in lines] == ["written"] * 2 + ["failed"]
    assert lines[2]["error"] == "no answer from cpu within 3 s"
    assert (summary["pending"], summary["exit_code"]) == (3, 4)
    assert summary["lost"] == ["cpu: no answer within 3 s"]
    assert b"the same command goes on where it stopped" in result.stderr
    assert b"Traceback" not in result.stderr
    assert (tmp_path / "list").read_text() == f"{folder}/./002.png\n"
    assert sorted(path.name for path in out.iterdir()) == ["000.png", "001.png"]


# Several devices: a process for each


def whole(folder):
    """Files of a folder, all of which can be read to their end."""
    for file in folder.iterdir():
        with Image.open(file) as image:
            image.load()
    return list(folder.iterdir())


NOTING = """\
import os, sys
if "spawn_main" in " ".join(sys.orig_argv):
    from birefcli.batch import stages
    plain = stages.read_source
    def read(job, *rest):
        open(os.path.join({folder!r}, str(os.getpid())), "w").close()
        return plain(job, *rest)
    stages.read_source = read
"""


@pytest.fixture
def at_work(start, early, tmp_path):
    """Starts a run on two devices; its process, its workers once both have begun a photo, and
    what it has printed till then."""

    def begin(count, limit):
        (tmp_path / "noted").mkdir()
        noting = early(NOTING.format(folder=str(tmp_path / "noted")))
        folder = fill(tmp_path / "in", count)
        words = ("matte", folder, "-o", tmp_path / "out", *BOTH, "--photo-timeout", limit)
        run = start(*words, **noting)
        first = run.stdout.readline()
        wait_for(lambda: len(list((tmp_path / "noted").iterdir())) == 2, "workers' first photos")
        return run, workers(run), first

    return begin


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.7])
def test_stopped_worker_is_given_up_and_its_photos_done_elsewhere(at_work, tmp_path, moment):
    run, numbers, first = at_work(200, 3)
    time.sleep(moment)
    os.kill(numbers[0], signal.SIGSTOP)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    lines, summary = told(first + rest)
    assert [line["status"] for line in lines] == ["written"] * 200
    assert summary["lost"] in ([f"cpu #{i}: no answer within 3 s"] for i in (1, 2))
    assert len(list((tmp_path / "out").iterdir())) == 200, "and no part file"
    wait_until_gone(numbers)


@needs_proc
@pytest.mark.slow
def test_run_ends_where_every_worker_is_stopped(at_work, tmp_path):
    run, numbers, first = at_work(MANY, 2)
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == ExitCode.MODEL, said
    _, summary = told(first + rest)
    assert sorted(summary["lost"]) == [f"cpu #{i}: no answer within 2 s" for i in (1, 2)]
    # A worker may be stopped when it has written a photo and not yet said so.
    assert summary["written"] <= len(whole(tmp_path / "out")) < MANY
    assert summary["written"] + summary["pending"] == MANY
    wait_until_gone(numbers)


@needs_proc
@pytest.mark.slow  # a run that is interrupted waits a while for what is being written
def test_interrupted_run_leaves_no_stopped_worker(at_work, tmp_path):
    run, numbers, first = at_work(MANY, "none")
    os.kill(numbers[0], signal.SIGSTOP)
    os.kill(run.pid, signal.SIGINT)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == ExitCode.INTERRUPTED, said
    assert told(first + rest)[1]["written"] <= len(whole(tmp_path / "out")) < MANY
    wait_until_gone(numbers)


STARTING = """\
import sys, os, signal
from birefcli.batch import patience
patience.START = 15.0
if "spawn_main" in " ".join(sys.orig_argv):
    try:
        os.close(os.open({first!r}, os.O_CREAT | os.O_EXCL))
        os.kill(os.getpid(), signal.SIGSTOP)
    except FileExistsError:
        pass
    from birefcli.batch import stages
    import time
    plain = stages.read_source
    def read(job, *rest):
        time.sleep(0.5)
        return plain(job, *rest)
    stages.read_source = read
"""


@needs_proc
@pytest.mark.slow  # the limit of a start must be more than a start takes
@pytest.mark.parametrize("count", [2, 60])
def test_worker_that_is_stopped_as_it_starts_costs_no_photo(start, early, tmp_path, count):
    """With few photos it is not missed before they are done, with many it is."""
    folder, out = fill(tmp_path / "in", count), tmp_path / "out"
    more = early(STARTING.format(first=str(tmp_path / "first")))
    run = start("matte", folder, "-o", out, *BOTH, "--photo-timeout", 5, **more)
    out_text, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    _, summary = told(out_text)
    assert (summary["written"], len(list(out.iterdir()))) == (count, count)
    assert len(summary["lost"]) == (count == 60)


# The same without processes


class Fake:
    """A worker that does what a test says."""

    def __init__(self, config, receive, gone):
        self.config, self.receive, self.gone = config, receive, gone
        self.heard, self.over, self.got, self.killed = 0, False, [], None

    def start(self):
        pass

    def send(self, message):
        self.got.append(message)

    def say(self, message):
        self.heard += 1
        self.receive(message)

    def stop(self):
        pass

    def join(self):
        wait_for(lambda: self.over)

    def clear_parts(self, folders):
        pass

    def kill(self, why):
        self.killed = why
        self.gone(why)
        self.over = True


@pytest.fixture
def fakes(monkeypatch):
    made: list[Fake] = []

    def make(*words):
        made.append(Fake(*words))
        return made[-1]

    monkeypatch.setattr(process, "WorkerProcess", make)
    monkeypatch.setattr(pool, "LEAVE", LIMIT)
    monkeypatch.setattr(pool, "GRACE", 0.0)
    return made


def a_pool(task, timeout, lost):
    options = dataclasses.replace(task.options, photo_timeout=timeout)
    listener = pool.PoolListener(print, print, lambda name, why, count: lost.append((name, count)))
    source = process.LocalWorkers(options, None, {"a": None, "b": None})
    return pool.WorkerPool(source, listener, timeout)


def test_worker_that_never_says_ready_is_lost_and_one_at_rest_is_not(task, fakes, monkeypatch):
    monkeypatch.setattr("birefcli.batch.patience.START", 3 * LIMIT)
    lost, ready = [], []
    workers_of = a_pool(task, LIMIT, lost)
    outcomes = workers_of(decisions(2), lambda: ready.append(len(told)))
    told = []
    done = threading.Thread(target=lambda: told.extend(outcomes))
    done.start()
    wait_for(lambda: len(fakes) == 2)
    first, second = fakes
    first.say(Request(patient=True))
    (given,) = first.got
    assert isinstance(given, Assign)
    for _ in range(8):  # as its beats
        time.sleep(LIMIT / 2)
        first.heard += 1
    assert second.killed is not None, "it has not said that it is ready"
    assert str(second.killed.reason) == f"no answer within {3 * LIMIT:g} s"
    first.say(Result(written(given.decision), {}))
    first.say(Request(patient=True))
    first.say(Result(written(first.got[-1].decision), {}))
    done.join(TIMEOUT)
    assert [outcome.status for outcome in told] == [Status.WRITTEN] * 2
    assert lost == [("b", 0)]
    assert ready == [0], "a model is loaded once, before the first photo ends"
    assert first.killed is not None, "nor does it leave"


def test_without_a_limit_only_the_end_is_waited_for_no_longer(task, fakes):
    lost = []
    outcomes = a_pool(task, None, lost)(decisions(2))
    done = threading.Thread(target=lambda: next(outcomes, None))
    done.daemon = True
    done.start()
    wait_for(lambda: len(fakes) == 2)
    fakes[0].say(Request(patient=True))
    time.sleep(LIMIT / 2)
    assert [fake.killed for fake in fakes] == [None, None]
    for fake in fakes:
        fake.gone(WorkerLost("gone", ""))
        fake.over = True
    done.join(TIMEOUT)
    assert [name for name, _ in lost] == ["a", "b"]


@pytest.mark.slow
@needs_proc
def test_process_that_cannot_even_be_killed_is_not_waited_for(task, monkeypatch, tiny_weights):
    """As where a driver hangs: here it is stopped, and the kill does nothing."""
    monkeypatch.setattr(process, "LEAVE", LIMIT)
    options = dataclasses.replace(task.options, photo_timeout=None)
    checkpoint = weights.resolve(str(tiny_weights), offline=True)
    (placement,) = parse_devices(("cpu",), Precision.AUTO).values()
    heard, gone = [], []
    worker = process.WorkerProcess(
        WorkerConfig(options, checkpoint, placement, 2, 1), heard.append, gone.append
    )
    worker.start()
    number, kill = worker.process.pid, worker.process.kill
    try:
        wait_for(lambda: any(isinstance(message, Request) for message in heard))
        os.kill(number, signal.SIGSTOP)
        monkeypatch.setattr(worker.process, "kill", lambda: None)
        worker.kill(WorkerLost("no answer", ""))
        worker.join()
        assert worker.over
        assert [why.reason for why in gone] == ["no answer"]
        assert alive(number)
        assert worker.process not in multiprocessing.active_children(), "no exit waits for it"
    finally:
        kill()
    wait_for(lambda: not alive(number))
    assert len(gone) == 1


@pytest.mark.parametrize(
    ("text", "limit"),
    [("none", None), ("0", None), ("0.0", None), ("600", 600.0), ("1.5", 1.5), ("1e3", 1000.0)],
)
def test_limit_is_seconds_or_none(text, limit):
    assert values.seconds("photo_timeout", text) == limit


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "10m", "auto", "1e30"])
def test_limit_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="give none or seconds, like 600"):
        values.seconds("photo_timeout", text)
