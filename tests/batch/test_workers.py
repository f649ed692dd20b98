"""Runs on several devices: who does what, and what becomes of a run whose devices die.

The devices are processes on the CPU. What a GPU may do to its process is done to them from outside
(a kill), or by a fault that is put into them as they start.
"""

import json
import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from support import nearly_same

from birefcli import doctor
from birefcli.batch.fetching import Fetcher
from birefcli.batch.freshness import Decision
from birefcli.batch.interrupts import InterruptHandler
from birefcli.batch.memory import MemoryBudget
from birefcli.batch.outcome import Outcome, Status
from birefcli.batch.places import LocalFile
from birefcli.batch.targets import Job
from birefcli.batch.workers import channel
from birefcli.batch.workers import worker as one_worker
from birefcli.batch.workers.protocol import WorkerConfig
from birefcli.batch.workers.scheduler import Scheduler
from birefcli.errors import DeviceError, ExitCode, Message, UsageError
from birefcli.matting.device import parse_device, parse_devices
from birefcli.options import BatchOptions, ModelOptions, Precision, Product, Rendering
from birefcli.system.atomic import replace_file

Kill = Callable[[str], None]


# Which devices


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def named(*names):
    return {name: str(c.device) for name, c in parse_devices(names, Precision.AUTO).items()}


def test_all_means_every_gpu(two_gpus):
    assert named("all") == {"cuda:0": "cuda:0", "cuda:1": "cuda:1"}


def test_devices_are_listed_and_only_the_cpu_more_than_once(two_gpus):
    assert named("cuda:1", "cpu") == {"cuda:1": "cuda:1", "cpu": "cpu"}
    assert named("cpu", "cuda", "cpu") == {"cpu #1": "cpu", "cuda:0": "cuda:0", "cpu #2": "cpu"}
    for text in ("cuda:0,cuda:0", "cuda,cpu,cuda:0"):
        with pytest.raises(UsageError, match="cuda:0 is named 2 times"):
            named(*text.split(","))


@pytest.mark.parametrize("text", ["auto,cpu", "cpu,all", "cpu,", "cpu,gpu", "cpu,cuda:x"])
def test_list_that_is_none_is_refused(two_gpus, text):
    with pytest.raises(UsageError, match="device="):
        named(*text.split(","))


def test_bad_one_of_a_list_is_named(two_gpus):
    with pytest.raises(DeviceError, match="device=cuda:2: only 2 CUDA"):
        named("cuda:0", "cuda:2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_all_is_an_error_where_there_is_no_gpu():
    with pytest.raises(DeviceError, match=r"device=all: .*CUDA"):
        named("all")


@pytest.mark.parametrize("text", ["cpu,cpu", "all"])
def test_other_commands_want_one_device_and_say_so(text):
    with pytest.raises(UsageError, match=f"device={text}: choose from auto, cpu, .*, mps$"):
        parse_device(text, Precision.AUTO)


def test_doctor_lists_every_gpu_and_says_how_to_use_them(two_gpus, monkeypatch):
    gpu = SimpleNamespace(name="Some GPU", total_memory=80 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10**9, 2 * 10**9))
    monkeypatch.setattr(doctor, "LIBRARIES", {"torch": "torch"})  # others take long to import
    found = doctor.examine("auto", Precision.AUTO, measure=False)
    computing = found.facts["computing"]
    assert computing["cuda:0"] == computing["cuda:1"] == "Some GPU, 80.0 GB"
    assert any("device" in str(step) for step in found.advice)


# Who does what


class Stalled:
    """A photo in a store that does not answer before it is told to."""

    is_remote = True

    def __init__(self):
        self.gate = threading.Event()

    def state(self):
        return 10, 1

    def read(self, *_):
        self.gate.wait(TIMEOUT)
        return b"x", (10, 1)


@pytest.mark.parametrize(("connections", "held"), [(64, 10), (3, 3)])
def test_a_worker_holds_few_photos_of_a_store_ahead_of_their_turn(monkeypatch, connections, held):
    """The others are dealt to whoever comes first; in one process more of them hide the delay."""
    contexts = []

    def pipeline(context, batch, activity):
        contexts.append(context)

    monkeypatch.setattr(one_worker, "Pipeline", pipeline)
    monkeypatch.setattr(one_worker, "load_predictor", lambda *_: None)
    monkeypatch.setattr(one_worker, "_share_cores", lambda _: None)
    rendering = Rendering((Product.CUTOUT,))
    model = ModelOptions("mini")
    options = BatchOptions(rendering, model, 3, 2, 10**6, 1 << 30, connections=connections)
    channel = SimpleNamespace(send=lambda _: None, receive=lambda: None)
    config = WorkerConfig(options, None, None, 2, 100)
    one_worker._Worker(channel, config, InterruptHandler()).work()

    source, asked = Stalled(), []

    def photos():
        for number in range(100):
            asked.append(number)
            yield Decision(Job(source, {}, Path("a.jpg")))

    fetcher = Fetcher(contexts[0].options, MemoryBudget(1 << 30))
    next(fetcher(photos()))
    source.gate.set()
    fetcher.close()
    assert len(asked) == held


def decisions(count):
    return [Decision(Job(LocalFile(Path(f"{i}.jpg")), {}, Path(f"{i}.jpg"))) for i in range(count)]


def written(decision):
    return Outcome(decision.job.label, Status.WRITTEN)


def drained(scheduler):
    """Tell what has ended, in the dealer's order."""
    told = []
    while (outcome := scheduler.first()) is not None:
        told.append(outcome)
        scheduler.reported(outcome)
    return told


def deal_all(scheduler, worker):
    """Everything a worker gets that asks until there is none for it."""
    return list(iter(lambda: scheduler.assign(worker), None))


def test_fast_device_gets_more():
    scheduler = Scheduler(decisions(90), ["slow", "fast"])
    done = [0, 0]
    for tick in range(200):
        for worker in (0, 1) if tick % 2 else (1,):
            if (taken := scheduler.assign(worker)) is not None:
                scheduler.end(worker, written(taken))
                done[worker] += 1
    assert done == [30, 60]


def test_device_that_comes_first_takes_no_more_than_its_share():
    scheduler = Scheduler(decisions(10), ["a", "b"])
    assert len(deal_all(scheduler, 0)) == 5
    assert len(deal_all(scheduler, 1)) == 5


def test_outcomes_are_told_in_the_order_of_photos_whoever_ends_first():
    todo = decisions(3)
    scheduler = Scheduler(todo, ["a", "b"])
    first, second = scheduler.assign(0), scheduler.assign(1)
    assert first is not None
    assert second is not None
    scheduler.end(1, written(second))
    assert drained(scheduler) == []
    scheduler.end(0, written(first))
    assert [o.input for o in drained(scheduler)] == ["0.jpg", "1.jpg"]


def test_photos_of_a_lost_device_are_done_last_and_one_at_a_time():
    scheduler = Scheduler(decisions(8), ["a", "b"])
    assert len(deal_all(scheduler, 0)) == 4
    assert len(scheduler.lose(0, "dead")) == 4
    fresh = deal_all(scheduler, 1)
    assert [d.job.label for d in fresh] == ["4.jpg", "5.jpg", "6.jpg", "7.jpg"]
    for decision in fresh:
        scheduler.end(1, written(decision))
    assert len(drained(scheduler)) == 4, "they need not wait for the others"
    for i in range(4):
        assert [d.job.label for d in deal_all(scheduler, 1)] == [f"{i}.jpg"]
        scheduler.end(1, Outcome(f"{i}.jpg", Status.WRITTEN))
    assert len(drained(scheduler)) == 4
    assert scheduler.left == 0


def test_photo_that_costs_two_devices_fails_and_those_beside_it_do_not():
    scheduler = Scheduler(decisions(6), ["a", "b", "c"])
    assert "1.jpg" in [d.job.label for d in deal_all(scheduler, 0)]
    scheduler.lose(0, "killed")
    while (taken := scheduler.assign(1)) is not None:
        if taken.job.label == "1.jpg":
            assert [d.job.label for d in scheduler.lose(1, "killed too")] == ["1.jpg"]
            break
        scheduler.end(1, written(taken))
    for decision in iter(lambda: scheduler.assign(2), None):
        scheduler.end(2, written(decision))
    told = drained(scheduler)
    assert scheduler.left == 0
    assert [o.input for o in told if o.status is Status.FAILED] == ["1.jpg"]
    assert [str(o.error) for o in told if o.error] == [
        "two devices could not do it: a: killed; b: killed too"
    ]
    assert not scheduler.no_device_left


def test_without_any_device_left_every_photo_is_left_and_none_fails():
    scheduler = Scheduler(decisions(5), ["a", "b"])
    scheduler.assign(0)
    scheduler.lose(0, "dead")
    scheduler.lose(1, "dead as well")
    assert drained(scheduler) == []
    assert scheduler.left == 0
    assert scheduler.no_device_left


def short(decision):
    return Outcome(
        decision.job.label, Status.FAILED, error=Message("out of memory"), out_of_memory=True
    )


def test_photo_too_large_for_one_device_is_tried_on_one_other():
    scheduler = Scheduler(decisions(1), ["a", "b", "c"])
    taken = scheduler.assign(0)
    assert taken is not None
    scheduler.end(0, short(taken))
    assert scheduler.assign(0) is None, "it has been tried there"
    assert scheduler.assign(1) == replace(taken, retried=True)
    scheduler.end(1, short(taken))
    assert [str(o.error) for o in drained(scheduler)] == ["out of memory"]


def test_photo_too_large_for_the_only_device_left_fails():
    scheduler = Scheduler(decisions(1), ["a", "b"])
    taken = scheduler.assign(0)
    assert taken is not None
    scheduler.end(0, short(taken))
    scheduler.lose(1, "dead")
    (outcome,) = drained(scheduler)
    assert str(outcome.error) == "a: out of memory, and no other device is left for it"


# Real processes

IN_A_WORKER = """\
import os, signal, sys, time
if "spawn_main" in " ".join(sys.orig_argv):
    import torch
    from birefcli.batch import stages
    from birefcli.batch.workers import worker
    plain = stages.read_source
    def first(name):
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True
    def read(job, *rest):
        {fault}
        return plain(job, *rest)
    stages.read_source = read
"""


@pytest.fixture
def fault(tmp_path) -> Callable[[str], dict[str, str]]:
    """Environment in which workers do something before each photo; ``first``: only the first."""

    def build(text: str) -> dict[str, str]:
        folder = tmp_path / "fault"
        folder.mkdir()
        # Python imports a module of this name as it starts.
        (folder / "sitecustomize.py").write_text(IN_A_WORKER.format(fault=text))
        path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path)}

    return build


def in_workers(environment: dict[str, str]) -> str:
    """Code that a run is started with, so that its workers have variables which it has not."""
    return f"import os; os.environ.update({environment!r})"


MANY = 2000  # photos: a run over them is not over before it is interrupted
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def fill(folder: Path, count: int) -> Path:
    folder.mkdir()
    picture().save(folder / "000.png")
    for i in range(1, count):
        (folder / f"{i:03d}.png").hardlink_to(folder / "000.png")
    return folder


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def told(out: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *lines, last = [json.loads(line) for line in out.splitlines()]
    return lines, last["summary"]


def workers(process: "subprocess.Popen[bytes]", count: int = 2) -> list[int]:
    """Processes of a run's workers, once there are so many."""
    found: list[int] = []

    def there() -> bool:
        children = b" ".join(map(_content, Path(f"/proc/{process.pid}/task").glob("*/children")))
        found[:] = [
            int(number)
            for number in children.split()
            if b"spawn_main" in _content(Path(f"/proc/{number.decode()}/cmdline"))
        ]
        return len(found) == count

    wait_for(there, "workers' start")
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def alive(number: int) -> bool:
    state = _content(Path(f"/proc/{number}/stat")).rpartition(b")")[2].split()
    return bool(state) and state[0] != b"Z"


def wait_until_gone(numbers: list[int]) -> None:
    wait_for(lambda: not any(map(alive, numbers)), "workers' end")


def alike(one: Path, other: Path) -> bool:
    """Whether two files show the same: two processes share the cores, and sums by that."""
    with Image.open(one) as a, Image.open(other) as b:
        return nearly_same(a, b)


needs_proc = pytest.mark.skipif(
    not list(Path("/proc/self/task").glob("*/children")), reason="no /proc of Linux here"
)
TWO = ("--device", "cpu,cpu", "--json")


@needs_proc
def test_two_processes_write_what_one_does_also_where_one_of_them_is_killed(
    inside, start, fault, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(9):
        picture(60 + i, 40, seed=i).save(folder / f"{i}.jpg")
    (folder / "4.jpg").write_text("no photo")
    words = ("matte", folder, "--write", "cutout,composite", "--background", "blur:3", "--json")
    one = inside(*words, "-o", tmp_path / "one", "--device", "cpu")
    # Most photos, and more than one worker asks for at once, are not read before one is dead.
    go = tmp_path / "go"
    held = f"while job.label[-5:] >= '3' and not os.path.exists({str(go)!r}): time.sleep(0.01)"
    two = ("-o", tmp_path / "two", "--device", "cpu,cpu", "--threads", 2, "--batch", 1)
    run = start(*words, *two, first=in_workers(fault(held)))
    first = run.stdout.readline()
    os.kill(workers(run)[0], signal.SIGKILL)
    wait_for(lambda: select.select([run.stderr], [], [], 0)[0], "word of the dead worker")
    lost = run.stderr.readline()
    go.touch()
    rest, said = run.communicate(timeout=TIMEOUT)
    assert one.returncode == run.returncode == ExitCode.SOME_FAILED, said
    (lines, summary), (again, total) = told(one.stdout), told(first + rest)
    again.sort(key=lambda line: line["input"])  # those of the dead one were done last
    assert len(names(tmp_path / "one")) == 16
    assert names(tmp_path / "one") == names(tmp_path / "two"), "and no part file"
    for name in names(tmp_path / "one"):
        assert alike(tmp_path / "one" / name, tmp_path / "two" / name)
    for key in ("input", "status", "error", "reason", "notes"):
        assert [line[key] for line in lines] == [line[key] for line in again]
    covered = ([line["coverage"] for line in each if line["coverage"] is not None]
               for each in (lines, again))  # fmt: skip
    assert next(covered) == pytest.approx(next(covered), abs=1e-4)
    same = ("written", "failed", "pending", "precision", "model", "exit_code")
    assert {key: summary[key] for key in same} == {key: total[key] for key in same}
    assert total["device"] == "cpu,cpu"
    assert total["lost"] == ["cpu #1: its process was ended by SIGKILL"] or total["lost"] == [
        "cpu #2: its process was ended by SIGKILL"
    ]
    assert b" is lost: its process was ended by SIGKILL" in lost
    assert b"is lost" not in said


@pytest.mark.slow  # the dealer's part of it is above
def test_photo_that_kills_two_workers_fails_alone(command, fault, tmp_path):
    folder, out = fill(tmp_path / "in", 12), tmp_path / "out"
    environment = fault(f"if job.label.endswith('011.png'): {KILL}")
    listing = tmp_path / "failed"
    result = command(
        "matte", folder, "-o", out, *TWO, "--failed-to", listing, forked=True, **environment
    )
    assert result.returncode == ExitCode.SOME_FAILED, result.stderr.decode()
    lines, summary = told(result.stdout)
    assert (summary["written"], summary["failed"]) == (11, 1)
    assert lines[-1]["input"].endswith("011.png")
    assert lines[-1]["error"].startswith("two devices could not do it: cpu #")
    assert names(out) == {f"{i:03d}.png" for i in range(11)}
    assert listing.read_text() == f"{folder}/./011.png\n"


@pytest.mark.slow  # the dealer's part of it is above
def test_when_no_device_is_left_the_other_photos_are_left_and_the_exit_code_says_so(
    command, fault, tmp_path
):
    folder = fill(tmp_path / "in", 8)
    result = command("matte", folder, "-o", tmp_path / "out", *TWO, forked=True, **fault(KILL))
    assert result.returncode == ExitCode.MODEL, result.stderr.decode()
    lines, summary = told(result.stdout)
    assert summary["failed"] == len(lines)
    assert summary["failed"] + summary["pending"] == 8
    assert all("two devices could not do it" in line["error"] for line in lines)
    assert len(summary["lost"]) == 2
    assert result.stderr.decode().count("no device is left; the same command goes on") == 1
    assert result.stderr.decode().count("is lost: ") == 2
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.slow
def test_device_that_fails_at_everything_is_given_up_and_its_photos_done_elsewhere(
    command, fault, tmp_path
):
    # As after an illegal memory access: every call fails, for as long as the process lives.
    broken = (
        "global broken\n"
        f"        if first({str(tmp_path / 'one')!r}): broken = True\n"
        "        if globals().get('broken'):\n"
        "            worker.device_answers = lambda _: False\n"
        "            raise RuntimeError('CUDA error: an illegal memory access was encountered')"
    )
    folder, out = fill(tmp_path / "in", 10), tmp_path / "out"
    result = command("matte", folder, "-o", out, *TWO, forked=True, **fault(broken))
    assert result.returncode == 0, result.stderr.decode()
    lines, summary = told(result.stdout)
    assert summary["written"] == len(lines) == 10
    (reason,) = summary["lost"]
    assert "CUDA error: an illegal memory access" in reason


@needs_proc
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        pytest.param(signal.SIGTERM, ExitCode.TERMINATED, marks=pytest.mark.slow),
    ],
)
def test_interrupted_run_counts_what_was_written_and_leaves_no_process(
    start, forks, tmp_path, number, code
):
    folder, out = fill(tmp_path / "in", MANY), tmp_path / "out"
    alone = [] if forks else ["setsid"]  # a fork leads its group of processes
    run = start("matte", folder, "-o", out, *TWO, "--threads", 4, within=alone)
    first = run.stdout.readline()
    numbers = workers(run)
    # A terminal interrupts every process of the command, cron and systemd may end them all.
    os.killpg(run.pid, number)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == code, said
    lines, summary = told(first + rest)
    assert (summary["interrupted"], summary["lost"]) == (True, [])
    assert summary["written"] + summary["pending"] == MANY
    assert {Path(line["input"]).name for line in lines} == names(out)
    assert summary["written"] == len(lines) < MANY
    wait_until_gone(numbers)
    assert b"Traceback" not in said


def test_worker_leaves_when_its_run_is_gone_and_drops_what_it_writes(monkeypatch, tmp_path):
    left: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(channel.os, "_exit", left.put)
    ours, theirs = Pipe()
    channel.WorkerChannel(theirs)

    def end_the_run():
        assert len(list(tmp_path.iterdir())) == 1
        ours.close()
        assert left.get(timeout=TIMEOUT) == ExitCode.INTERRUPTED
        assert list(tmp_path.iterdir()) == []

    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "a.png", b"half a file", end_the_run)


@pytest.mark.slow  # what it does then is above
@needs_proc
def test_workers_end_when_their_run_is_killed(start, tmp_path):
    folder, out = fill(tmp_path / "in", MANY), tmp_path / "out"
    run = start("matte", folder, "-o", out, *TWO)
    run.stdout.readline()
    numbers = workers(run)
    run.kill()
    run.communicate(timeout=TIMEOUT)
    wait_until_gone(numbers)
    assert names(out) < names(folder), "not all, and no part file"


@pytest.mark.slow
def test_run_on_two_devices_stops_after_so_many_failures(command, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    # So many that no machine is through with them before the first three are reported.
    (folder / "0000.jpg").write_text("no photo")
    for i in range(1, 4000):
        (folder / f"{i:04d}.jpg").hardlink_to(folder / "0000.jpg")
    few = ("--max-failures", 3, "--threads", 2)
    result = command("matte", folder, "-o", tmp_path / "out", *TWO, *few)
    assert result.returncode == ExitCode.SOME_FAILED
    lines, summary = told(result.stdout)
    assert 3 <= summary["failed"] == len(lines) < 4000
    assert summary["failed"] + summary["pending"] == 4000


@pytest.mark.slow
def test_weights_that_cannot_be_loaded_are_told_in_one_line(command, tmp_path, tiny_weights):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(tiny_weights, "pt") as file:
        name, *others = file.keys()
        tensors = {key: file.get_tensor(key) for key in others}
        save_file(tensors, tmp_path / "less.safetensors", file.metadata())
    folder = fill(tmp_path / "in", 2)
    words = ("matte", folder, "-o", tmp_path / "out", "-m", tmp_path / "less.safetensors")
    result = command(*words, *TWO)
    assert result.returncode == ExitCode.MODEL
    (said,) = result.stderr.decode().splitlines()
    assert said.startswith("birefcli: ")
    assert name in said


def test_one_photo_takes_one_process_and_may_come_and_go_through_pipes(command, fault, tmp_path):
    photo = tmp_path / "a.png"
    picture().save(photo)
    words = ("matte", "-", "-o", "-", "--device", "cpu,cpu")
    result = command(*words, stdin=photo.read_bytes(), forked=True, **fault(KILL))
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.startswith(b"\x89PNG")


def test_photo_on_stdin_among_others_wants_one_device(command, photos, tmp_path):
    result = command("matte", photos, "-", "-o", tmp_path / "out", "--device", "cpu,cpu")
    assert result.returncode == ExitCode.USAGE
    assert "stdin (-) is no file" in result.stderr.decode()
    assert names(tmp_path / "out") == set()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two CUDA devices")
def test_two_gpus_write_what_one_does_and_the_death_of_one_costs_nothing(command, start, tmp_path):
    folder = fill(tmp_path / "in", 100)
    words = ("matte", folder, "--json", "--batch", 1)
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(torch.cuda.device_count())))}
    assert command(*words, "-o", tmp_path / "one", "--device", "cuda:0", **gpus).returncode == 0
    run = start(*words, "-o", tmp_path / "all", "--device", "all", "--write", "cutout", **gpus)
    first = run.stdout.readline()
    os.kill(workers(run, torch.cuda.device_count())[0], signal.SIGKILL)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    assert told(first + rest)[1]["written"] == 100
    for name in names(tmp_path / "one"):
        assert alike(tmp_path / "one" / name, tmp_path / "all" / name)
