"""A run over the machines of a Ray cluster: who joins it, what is seen to before, who is lost.

The machines are nodes of a cluster on this one, of a CPU each. What may befall a machine is done to
its node from outside, or by a fault that all of its processes are started with.
"""

import json
import math
import os
import re
import signal
import socket
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from conftest import TIMEOUT, picture, wait_for
from ray_cluster import ray_cluster
from support import stamped_png

from birefcli import __version__
from birefcli.batch.freshness import Decision
from birefcli.batch.outcome import Outcome, Status
from birefcli.batch.places import LocalFile
from birefcli.batch.stores import StoredPhoto, StoredProduct
from birefcli.batch.targets import Job
from birefcli.batch.workers import pool
from birefcli.batch.workers.protocol import (
    Assign,
    NoWork,
    Refused,
    Request,
    Result,
    WorkerLost,
)
from birefcli.batch.workers.ray.run import output_folders, working_folder
from birefcli.batch.workers.ray.store_access import StoreAccess, access_needed
from birefcli.batch.workers.scheduler import Scheduler
from birefcli.batch.workers.source import NewWorker
from birefcli.errors import DeviceError, ExitCode, NoInputError, OutputError
from birefcli.images.findings import Findings
from birefcli.matting.device import parse_device
from birefcli.options import (
    BatchOptions,
    ClusterOptions,
    ModelOptions,
    Precision,
    Product,
    Rendering,
)
from birefcli.system import atomic, cpu
from birefcli.system.object_url import parse_url

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def decisions(count, folder=Path()):
    return [
        Decision(
            Job(
                LocalFile(folder / f"{i}.jpg"),
                {Product.CUTOUT: LocalFile(folder / "out" / f"{i}.png")},
                Path(f"{i}.jpg"),
            ),
        )
        for i in range(count)
    ]


def written(decision):
    return Outcome(decision.job.label, Status.WRITTEN)


# Who joins later


def test_worker_that_joins_late_gets_its_share_of_what_is_left():
    scheduler = Scheduler(decisions(12), ["a"])
    assert scheduler.assign(0) is not None
    assert scheduler.join("b") == 1
    taken = list(iter(lambda: scheduler.assign(1), None))
    assert len(taken) == 6, "half of what has not ended"
    assert scheduler.names == ["a", "b"]


def test_photo_that_cost_its_only_worker_waits_for_one_that_joins():
    scheduler = Scheduler(decisions(2), ["a", "b"])
    first, other = scheduler.assign(0), scheduler.assign(1)
    assert first is not None
    assert other is not None
    scheduler.lose(0, "dead")
    scheduler.join("c")
    assert scheduler.assign(2) == replace(first, retried=True)
    scheduler.lose(2, "dead as well")
    scheduler.end(1, written(other))
    ended = {outcome.input: outcome.status for outcome in scheduler.ended()}
    assert ended == {"0.jpg": Status.FAILED, "1.jpg": Status.WRITTEN}


def test_photos_wait_for_the_worker_that_comes_in_the_place_of_the_only_one():
    scheduler = Scheduler(decisions(2), ["a"])
    first = scheduler.assign(0)
    scheduler.lose(0, "dead", replaced=True)
    assert (scheduler.left, scheduler.no_device_left) == (2, False)
    scheduler.join("a (2)")
    scheduler.expect_no_more()
    other = scheduler.assign(1)
    scheduler.end(1, written(other))
    assert scheduler.assign(1) == replace(first, retried=True), "last, and alone"
    scheduler.lose(1, "dead as well", replaced=True)
    (failed,) = [o for o in scheduler.ended() if o.status is Status.FAILED]
    assert str(failed.error) == "two devices could not do it: a: dead; a (2): dead as well"
    scheduler.expect_no_more()
    assert (scheduler.left, scheduler.no_device_left) == (0, False)


def test_where_no_worker_comes_after_all_photos_are_left_for_lack_of_one():
    scheduler = Scheduler(decisions(2), ["a"])
    scheduler.assign(0)
    scheduler.lose(0, "dead", replaced=True)
    scheduler.expect_no_more()
    assert (scheduler.left, scheduler.no_device_left) == (0, True)
    assert scheduler.ended() == []


def test_suspect_is_tried_on_another_machine_while_there_is_one():
    scheduler = Scheduler(decisions(1))
    scheduler.join("a", "machine a")
    suspect = scheduler.assign(0)
    scheduler.join("b", "machine b")
    scheduler.lose(0, "dead", replaced=True)
    scheduler.join("a (2)", "machine a")
    assert scheduler.assign(2) is None
    scheduler.lose(1, "dead, too")
    assert scheduler.assign(2) == replace(suspect, retried=True)


class FakeWorker:
    """Does whatever it is given at once."""

    def __init__(self, receive, gone):
        self.receive, self.gone = receive, gone
        self.heard, self.over, self.done = 0, False, []

    def start(self):
        self.receive(Request(patient=True))

    def send(self, message):
        if isinstance(message, Assign):
            self.done.append(message.decision)
            self.receive(Result(written(message.decision), {}))
        if isinstance(message, Assign | NoWork):
            self.receive(Request(patient=True))

    def stop(self):
        self.over = True

    def join(self):
        pass

    def clear_parts(self, folders):
        pass


class FakeSource:
    """A worker that takes a photo and keeps it, and later another that does everything."""

    def __init__(self, fails=None):
        self.fails, self.closed, self.workers, self.kept = fails, 0, [], []
        self.settled = None
        """Called by a test; None once it was, or where none is to come in the place of any."""
        self.replaces = False

    def open(self, photos, join, notify):
        self.join, self.notify = join, notify
        if self.fails is not None:
            raise self.fails
        return [NewWorker("slow", self.make(send=self.kept.append))]

    def make(self, **more):
        def build(receive, gone):
            self.workers.append(FakeWorker(receive, gone))
            vars(self.workers[-1]).update(more)
            return self.workers[-1]

        return build

    def replace(self, name, settled):
        self.settled = settled
        return self.replaces

    def close(self):
        self.closed += 1


def test_run_goes_on_with_a_worker_that_joins_and_closes_the_source_of_both():
    source, lost, told = FakeSource(), [], []
    listener = pool.PoolListener(print, told.append, lambda name, *_: lost.append(name))
    outcomes = pool.WorkerPool(source, listener, None)(decisions(5))
    found = []
    run = threading.Thread(target=lambda: found.extend(outcomes))
    run.start()
    wait_for(lambda: source.kept)
    source.notify("one comes")
    source.join(NewWorker("quick", source.make()))
    source.workers[0].over = True
    source.workers[0].gone(WorkerLost("no power", ""))
    run.join(TIMEOUT)
    assert len({outcome.input for outcome in found}) == 5
    assert [outcome.status for outcome in found] == [Status.WRITTEN] * 5
    assert len(source.workers[1].done) == 5
    assert (lost, told) == (["slow"], ["one comes"])
    assert source.closed == 1
    source.join(NewWorker("too late", source.make()))
    assert len(source.workers) == 2, "the run is over"


@pytest.mark.parametrize("comes", [True, False])
def test_run_waits_for_the_worker_that_comes_in_the_place_of_its_only_one(comes):
    source, found = FakeSource(), []
    source.replaces = True
    workers = pool.WorkerPool(source, pool.PoolListener(print, print, print), None)
    outcomes = workers(decisions(5))
    run = threading.Thread(target=lambda: found.extend(outcomes))
    run.start()
    wait_for(lambda: source.kept)
    source.workers[0].over = True
    source.workers[0].gone(WorkerLost("killed", ""))
    assert not workers.no_device_left
    if comes:
        source.join(NewWorker("slow (2)", source.make()))
    source.settled()
    run.join(TIMEOUT)
    assert [outcome.status for outcome in found] == [Status.WRITTEN] * (5 if comes else 0)
    assert workers.no_device_left is not comes


def test_photo_that_was_written_when_its_worker_was_lost_is_neither_left_nor_done_again(tmp_path):
    """The worker had taken them all; it was killed before it could tell of the first."""
    source, found = FakeSource(), []
    workers = pool.WorkerPool(source, pool.PoolListener(print, print, print), None)
    todo = decisions(3, tmp_path)
    marks = {Product.CUTOUT: "f" * 16}
    absent = {Product.CUTOUT: todo[0].job.targets[Product.CUTOUT].if_absent()}
    todo[0] = replace(todo[0], job=replace(todo[0].job, targets=absent), fingerprints=marks)
    todo[2] = replace(todo[2], fingerprints=marks)
    (tmp_path / "out").mkdir()
    run = threading.Thread(target=lambda: found.extend(workers(todo)))
    run.start()
    wait_for(lambda: source.kept)
    source.workers[0].receive(Request(patient=False))
    source.workers[0].receive(Request(patient=False))
    for i in (0, 2):  # of the last it cannot be told whether it was there before
        seen = Findings(0.5, ("soft",), 0.1, ("cut off",))
        (tmp_path / f"out/{i}.png").write_bytes(stamped_png(found=seen))
    source.workers[0].over = True
    source.workers[0].gone(WorkerLost("killed", ""))
    run.join(TIMEOUT)
    assert [(o.input, o.status, o.flags, o.notes) for o in found] == [
        (todo[0].job.label, Status.WRITTEN, ("soft",), ("cut off", pool.UNHEARD))
    ]
    assert found[0].outputs == todo[0].job.targets
    assert workers.no_device_left


def test_source_whose_machines_will_not_do_refuses_the_run_and_is_closed():
    source = FakeSource(fails=DeviceError("a: its birefcli is older"))
    listener = pool.PoolListener(print, print, print)
    with pytest.raises(DeviceError, match="a: its birefcli is older"):
        list(pool.WorkerPool(source, listener, None)(decisions(1)))
    assert source.closed == 1


# What travels, and what a machine makes of it


def options(**more):
    rendering = more.pop("rendering", Rendering())
    return BatchOptions(rendering, ModelOptions("mini"), None, 7, 10**9, 10**9, **more)


def test_workers_enter_the_run_s_folder_only_where_a_path_is_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "white").touch()
    assert working_folder(options(), decisions(2, tmp_path)) == str(tmp_path), "its background"
    (tmp_path / "white").unlink()
    assert working_folder(options(), decisions(2, tmp_path)) is None
    assert working_folder(options(), decisions(2)) == str(tmp_path)
    assert decisions(2)[0].job.label == "0.jpg", "and it is called as the user calls it"


def test_outputs_that_are_probed_are_folders_that_are_there_and_hold_all_products(tmp_path):
    (tmp_path / "out").mkdir()
    job = Job(
        LocalFile(tmp_path / "in/sub/a.jpg"),
        {
            Product.CUTOUT: LocalFile(tmp_path / "out/cutout/sub/a.png"),
            Product.MASK: LocalFile(tmp_path / "out/mask/sub/a.png"),
        },
        Path("sub/a.jpg"),
    )
    assert output_folders([Decision(job)]) == (tmp_path / "out",)
    (tmp_path / "out/mask/sub").mkdir(parents=True)
    assert output_folders([Decision(job)]) == (tmp_path / "out", tmp_path / "out/mask")


def test_file_of_a_probe_is_gone_after_it_and_those_of_a_dead_writer_are_cleared(tmp_path):
    with atomic.probe(tmp_path) as file:
        assert list(tmp_path.iterdir()) == [file]
    assert list(tmp_path.iterdir()) == []
    theirs = tmp_path / f"{atomic.PART}far-1-12ab{atomic.PART_END}"
    other = tmp_path / f"{atomic.PART}far-12-12ab{atomic.PART_END}"
    theirs.touch()
    other.touch()
    atomic.clear_of("far-1", [tmp_path, tmp_path / "not there"])
    assert list(tmp_path.iterdir()) == [other]


@pytest.fixture
def sharers():
    yield cpu.set_sharers
    cpu.set_sharers(1)


def test_workers_of_a_machine_share_the_cores_that_are_counted_for_them(sharers, monkeypatch):
    monkeypatch.setattr(cpu, "admitted", lambda: 16)
    monkeypatch.setattr(cpu.cgroup, "limits", lambda: cpu.cgroup.Limits(None, None))
    sharers(2, 6)
    assert cpu.count() == 3
    sharers(2)
    assert cpu.count() == 8
    sharers(4, 64)
    assert cpu.count() == 4, "there are no more"


@needs_ray
def test_threads_and_memory_are_each_worker_s_own_by_its_machine_unless_they_are_given(monkeypatch):
    from birefcli.batch.workers.ray import actor

    monkeypatch.setattr(actor.values, "memory", lambda option, text: 8 << 30)
    monkeypatch.setattr(cpu, "count", lambda: 12)
    share = actor.Share(sharers=2, cores=8, photos=1)
    assert actor.machine_cores(share) == 8
    assert actor.machine_cores(actor.Share(2, 0, 1)) == 12, "Ray counts none"
    own = actor.own_options(options(cluster=ClusterOptions()), share, 8)
    assert (own.threads, own.max_memory) == (4, 4 << 30)
    own = actor.own_options(options(cluster=ClusterOptions(None, 3, 5)), share, 8)
    assert (own.threads, own.max_memory) == (3, 5)


@needs_ray
def test_workers_are_spread_over_machines_before_one_has_two():
    from birefcli.batch.workers.ray.cluster import Machine
    from birefcli.batch.workers.ray.source import slots

    machines = [Machine("a", "a", 2, 8), Machine("b", "b", 0, 4), Machine("c", "c", 1, 0)]
    placed = [(machine.id, slot) for machine, slot in slots(machines, gpus=True)]
    assert placed == [("a", 0), ("c", 0), ("a", 1)]
    placed = [(machine.id, slot) for machine, slot in slots(machines, gpus=False)]
    assert placed == [("a", 0), ("b", 0)]


@needs_ray
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", None),
        ("gone", "is not there; all machines must see the same output folder"),
        ("another", "is another folder than that of the run"),
        ("closed", "cannot be written: Read-only file system"),
    ],
)
def test_machine_sees_the_run_s_output_and_can_write_to_it(tmp_path, monkeypatch, change, said):
    from birefcli.batch.workers.ray import actor

    out = tmp_path / "out"
    if change != "gone":
        out.mkdir()
        (out / ("probe" if change != "another" else "other")).touch()
    if change == "closed":

        def fail(*_):
            raise OSError(30, os.strerror(30))

        monkeypatch.setattr(actor.atomic, "check_writable", fail)
    if said is None:
        actor.check_output(out / "probe")
        return
    with pytest.raises(actor.OutputError, match=said) as raised:
        actor.check_output(out / "probe")
    assert raised.value.exit_code is ExitCode.OUTPUT


def stored(key, target, relative):
    photo = StoredPhoto(parse_url(key), None)
    return Decision(Job(photo, {Product.CUTOUT: StoredProduct(parse_url(target))}, relative))


def test_of_stores_the_prefixes_travel_that_photos_and_products_are_below():
    todo = [
        stored("s3://shop/in/sub/a.jpg", "s3://out/made/sub/a.png", Path("sub/a.jpg")),
        stored("s3://shop/in/b.jpg", "s3://out/made/b.png", Path("b.jpg")),
        stored("gs://other/c.jpg", "s3://out/made/c.png", Path("c.jpg")),
    ]
    needed = access_needed(todo)
    assert [str(url) for url in needed.read] == ["s3://shop/in/", "gs://other/"]
    assert [str(url) for url in needed.written] == ["s3://out/made/"]
    one = [stored("s3://shop/in/sub/a.jpg", "s3://out/x.png", Path("sub/a.jpg"))]
    assert [str(url) for url in access_needed(one).written] == ["s3://out/"], "its one file"
    assert access_needed(decisions(2)) == StoreAccess()


def test_machine_s_own_credentials_are_tried_for_input_and_output_and_leave_nothing(bucket):
    bucket.put("in/a.jpg", b"photo")
    there = parse_url(f"{bucket.url}/in/")
    access = StoreAccess((there,), (parse_url(f"{bucket.url}/out/"),))
    access.check()
    assert bucket.names() == ["in/a.jpg"]
    refusal = {"status": 403, "code": "AccessDenied", "message": "not you", "times": 99}
    bucket.proxy.fail(method="PUT", **refusal)
    with pytest.raises(
        OutputError, match=r"out/: cannot be written: AccessDenied: not you; .* ray"
    ):
        access.check()
    bucket.proxy.fail(**refusal)
    with pytest.raises(NoInputError, match=r"in/: cannot be read: AccessDenied: not you; .* ray"):
        access.check()


def test_machine_without_the_package_for_stores_will_not_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.exceptions", None)
    url = parse_url("s3://no-such-package-here/in/")
    for access in (StoreAccess(read=(url,)), StoreAccess(written=(url,))):
        with pytest.raises(DeviceError, match=r"need the package obstore; pip install"):
            access.check()


@needs_ray
def test_failure_on_a_machine_names_it_and_keeps_its_kind():
    from birefcli.batch.workers.ray.worker import at

    error = at("node-7", DeviceError("none", option="device", value="cuda", hint="use another"))
    assert isinstance(error, DeviceError)
    assert str(error) == "node-7: device=cuda: none; use another"


@needs_ray
@pytest.mark.parametrize("late", [False, True])
def test_worker_that_cannot_start_refuses_the_run_unless_others_are_at_work(late):
    from birefcli.batch.workers.ray.actor import Ended
    from birefcli.batch.workers.ray.worker import RayWorker

    heard, gone = [], []
    worker = RayWorker("node-7", None, print, heard.append, gone.append, late=late)
    worker._hear(Refused(DeviceError("no such background")))
    worker._hear(Ended(WorkerLost("its process ended with code 0", "")))
    (message,) = heard
    if late:
        assert message == WorkerLost("no such background", "")
        assert [why.reason for why in gone] == ["no such background"]
    else:
        assert str(message.error) == "node-7: no such background"
        assert [why.reason for why in gone] == ["its process ended with code 0"]


# Who is waited for, without a cluster


class FakeCluster:
    """Machines as a test says; what is asked of them is answered by :func:`machines`' fakes."""

    def __init__(self):
        self.there, self.asked, self.left = [], [], False

    def join(self):
        pass

    def leave(self):
        self.left = True

    def machines(self):
        return list(self.there)

    def start_actor(self, machine, *, gpu):
        self.asked.append(machine.name)
        return machine.name

    def end_actors(self, actors):
        self.ended = list(actors)


@pytest.fixture
def machines(monkeypatch):
    """A source of workers on machines that answer what a test says, by their names.

    An answer may be an exception, or an event that is waited for.
    """
    from birefcli.batch.workers.ray import candidate, source
    from birefcli.batch.workers.ray.actor import NodeInfo
    from birefcli.batch.workers.ray.cluster import Machine

    monkeypatch.setattr(source, "LOOK", 0.04)
    monkeypatch.setattr(source, "START", TIMEOUT)
    answers = {}
    placement = parse_device("cpu", Precision.AUTO)

    def check_version(self):
        if isinstance(answers[self.name], threading.Event):
            assert answers[self.name].wait(TIMEOUT)
        self.answered = 1.0

    def validate(self, work, device):
        if isinstance(answers[self.name], Exception):
            raise answers[self.name]
        return NodeInfo(placement, "")

    monkeypatch.setattr(candidate.Candidate, "check_version", check_version)
    monkeypatch.setattr(candidate.Candidate, "validate", validate)
    cluster = FakeCluster()

    def add(name, answer=None):
        answers[name] = answer
        cluster.there.append(Machine(name, name, 0, 4))

    def build(workers=None):
        options_ = options(cluster=ClusterOptions(workers))
        work = candidate.Work(options_, "", None, (), StoreAccess())
        said = []
        callbacks = source.Callbacks(lambda placements: None, said.append, lambda state: None)
        made = source.RayWorkers(work, callbacks, cluster)
        made.said = said
        return made

    build.add, build.cluster, build.answers = add, cluster, answers
    return build


class Late:
    """A clock on which the time for a start is over once something has come about."""

    def __init__(self, come_about):
        self.come_about = come_about

    def monotonic(self):
        return math.inf if self.come_about() else time.monotonic()


@needs_ray
def test_run_begins_without_a_machine_that_has_no_room_yet_and_it_joins_later(
    machines, monkeypatch
):
    room, joined = threading.Event(), []
    machines.add("a")
    machines.add("busy", room)
    source = machines()
    late = Late(lambda: any(each.found is not None for each in source._candidates))
    monkeypatch.setattr("birefcli.batch.workers.ray.source.time", late)
    first = source.open(9, joined.append, print)
    assert [new.name for new in first] == ["a"]
    assert source.said == ["busy has not begun; it joins once it has a core to spare"]
    room.set()
    wait_for(lambda: joined)
    source.close()
    assert [new.name for new in joined] == ["busy"]
    assert machines.cluster.left
    assert machines.cluster.ended == machines.cluster.asked == ["a", "busy"]


@needs_ray
def test_machine_that_will_not_do_refuses_the_run_but_not_once_it_goes_on(machines):
    machines.add("a")
    machines.add("old", DeviceError("old: its birefcli is 0"))
    source = machines()
    with pytest.raises(DeviceError, match="old: its birefcli is 0"):
        source.open(9, print, print)
    source.close()
    machines.cluster.there.pop()
    source, told = machines(), []
    assert [new.name for new in source.open(9, print, told.append)] == ["a"]
    machines.add("older", DeviceError("older: its birefcli is 0"))
    wait_for(lambda: told)
    source.close()
    assert told == ["a machine that has come is not used: older: its birefcli is 0"]


@needs_ray
def test_machine_that_is_lost_before_it_begins_is_named_and_the_last_one_ends_the_run(machines):
    machines.add("gone", OSError("no route"))
    source = machines()
    with pytest.raises(DeviceError, match="no machine of the cluster can begin"):
        source.open(9, print, print)
    assert source.said == ["gone is lost before it began: OSError: no route"]
    source.close()
    machines.add("b")
    source = machines()
    assert [new.name for new in source.open(9, print, print)] == ["b"]
    source.close()


@needs_ray
def test_no_more_workers_than_asked_for_or_than_photos_and_another_when_one_is_lost(
    machines, monkeypatch
):
    from birefcli.batch.workers.ray.worker import RayWorker

    for name in "abc":
        machines.add(name)
    source, joined = machines(), []
    assert len(source.open(1, print, print)) == 1
    source.close()
    source = machines(workers=2)
    first = source.open(9, joined.append, print)
    assert [new.name for new in first] == ["a", "b"]
    over = threading.Event()
    monkeypatch.setattr(RayWorker, "over", property(lambda self: over.is_set()))
    first[0].make(print, print)
    over.set()
    wait_for(lambda: joined)
    source.close()
    assert [new.name for new in joined] == ["c"]


@needs_ray
def test_giving_a_worker_up_waits_for_nothing_that_the_cluster_does_not_do(monkeypatch):
    from birefcli.batch.workers.ray import worker as module

    answers, ended = threading.Event(), SimpleQueue()

    def end_actor(actor):
        """As Ray's, whose head is gone."""
        answered = answers.wait(TIMEOUT)
        ended.put((actor, answered, threading.current_thread().daemon))

    monkeypatch.setattr(module, "end_actor", end_actor)
    worker = module.RayWorker("node-7", "actor", None, print, print)
    worker.abandon()
    assert ended.empty()
    answers.set()
    assert ended.get(timeout=TIMEOUT) == ("actor", True, True), "the process ends without it"


def lose(source, name):
    """A worker is lost; what is called once nobody is waited for in its place, or None."""
    settled = threading.Event()
    return settled if source.replace(name, settled.set) else None


@needs_ray
def test_worker_that_dies_on_a_machine_that_lives_is_replaced_a_few_times(machines, monkeypatch):
    from birefcli.batch.workers.ray.worker import RayWorker

    names = ["a", "a (2)", "a (3)", "a (4)"]
    machines.add("a")
    for name in names[1:]:
        machines.answers[name] = None
    source, joined, told = machines(), [], []
    dead = set()
    monkeypatch.setattr(RayWorker, "over", property(lambda self: self._name in dead))
    joined += source.open(9, joined.append, told.append)
    for i, name in enumerate(names):
        joined[i].make(print, print)
        settled = lose(source, name)
        dead.add(name)
        assert (settled is None) == (i == 3)
        if settled is not None:
            assert settled.wait(TIMEOUT)
    source.close()
    assert [new.name for new in joined] == names
    assert {new.machine for new in joined} == {"a"}
    assert told == [f"{name} begins in the place of a worker that is lost" for name in names[1:]]
    assert machines.cluster.asked == ["a"] * 4


@needs_ray
def test_worker_is_not_replaced_where_its_machine_is_gone_or_the_user_is_to_mend_it(machines):
    machines.add("a")
    machines.add("b")
    source, joined, told = machines(), [], []
    first = source.open(9, joined.append, told.append)
    workers = [new.make(print, print) for new in first]
    workers[1]._hear(Refused(DeviceError("no such background")))
    assert lose(source, "b") is None
    machines.cluster.there.pop(0)
    assert lose(source, "a").wait(TIMEOUT)
    source.close()
    assert (joined, told, machines.cluster.asked) == ([], [], ["a", "b"])


@needs_ray
def test_worker_in_the_place_of_another_that_cannot_begin_is_not_waited_for(machines, monkeypatch):
    from birefcli.batch.workers.ray import candidate

    monkeypatch.setattr(candidate, "START", 0.1)
    machines.add("a")
    machines.answers["a (2)"] = room = threading.Event()
    source, joined, told = machines(), [], []
    source.open(9, joined.append, told.append)
    assert lose(source, "a").wait(TIMEOUT)
    assert joined == [], "its core was given to others"
    room.set()
    wait_for(lambda: joined)
    machines.answers["a (3)"] = OSError("no route")
    assert lose(source, "a (2)").wait(TIMEOUT)
    source.close()
    assert [new.name for new in joined] == ["a (2)"]
    assert told == []


# Without a cluster


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", 2), "--workers does nothing without --on ray"),
        (("--on", "ray", "--device", "cuda:1"), "choose from auto, cpu, cuda with --on ray"),
        (("--on", "ray", "--device", "cpu,cpu"), "choose from auto, cpu, cuda with --on ray"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(ended, photos, tmp_path, words, said):
    code, err = ended("matte", photos, "-o", tmp_path / "out", "-m", "mini", *words)
    assert code == ExitCode.USAGE
    assert said in err
    assert err.count("\n") == 1


def test_without_ray_one_line_says_what_to_install(ended, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    code, err = ended("matte", photos, "-o", tmp_path / "out", "-m", "mini", "--on", "ray")
    assert code == ExitCode.USAGE
    assert "--on ray: needs the package ray: pip install 'birefcli[ray]'" in err
    assert err.count("\n") == 1


@needs_ray
def test_address_outside_of_the_cluster_is_refused_with_the_way_in(
    ended, photos, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    code, err = ended("matte", photos, "-o", tmp_path / "out", "-m", "mini", "--on", "ray")
    assert code == ExitCode.USAGE
    assert "ray://head:10001" in err
    assert "ray job submit -- birefcli" in err


@needs_ray
def test_where_no_cluster_answers_one_line_says_so(ended, photos, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        words = ("matte", photos, "-o", tmp_path / "out", "-m", "mini", "--on", "ray")
        code, err = ended(*words)
        assert code == ExitCode.MODEL
        assert f"--on ray: there is no Ray cluster: {address}: " in err
        assert err.count("\n") == 1
        assert ended(*words, "--dry-run") == (code, err)


@needs_ray
@pytest.mark.parametrize(
    "address", ["local", "garbage", "6379", ":6379", "head:port", "head:0", "head:70000", "::1:1"]
)
def test_address_that_is_none_is_refused_with_the_form_of_one(
    ended, photos, tmp_path, monkeypatch, address
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    words = ("matte", photos, "-o", tmp_path / "out", "-m", "mini", "--on", "ray")
    code, err = ended(*words)
    assert code == ExitCode.USAGE
    assert f"--on ray: RAY_ADDRESS is '{address}'" in err
    assert "write HOST:PORT of its head, like 10.0.0.5:6379 or [fd00::5]:6379; or unset it" in err
    assert err.count("\n") == 1
    assert ended(*words, "--dry-run") == (code, err)


@needs_ray
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "[::1]"])
def test_address_where_nothing_is_names_it(monkeypatch, host):
    from birefcli.batch.workers.ray import address

    monkeypatch.setenv("RAY_ADDRESS", f"{host}:1")
    with pytest.raises(DeviceError, match=f"there is no Ray cluster: {re.escape(host)}:1: "):
        address.find_address()


@needs_ray
@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_and_is_no_cluster_is_not_waited_for(monkeypatch, answer):
    from birefcli.batch.workers.ray import address

    monkeypatch.setattr(address, "ANSWER", 0.2 if answer is None else TIMEOUT)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        said = "timed out" if answer is None else "what answers there is none"
        with pytest.raises(DeviceError, match=f"no Ray cluster: 127.0.0.1:[0-9]+: {said}"):
            address.find_address()


def test_photo_and_product_of_a_pipe_are_refused(command, photos, tmp_path):
    result = command("matte", photos, "-", "-o", tmp_path / "out", "--on", "ray")
    assert result.returncode == ExitCode.USAGE
    assert b"--on ray: stdin (-) is no file" in result.stderr
    result = command("matte", photos / "a.jpg", "-o", "-", "--on", "ray")
    assert result.returncode == ExitCode.USAGE
    assert b"--on ray: the product on stdout (-) is no file" in result.stderr


# On a cluster

MANY = 200
IN_A_WORKER = """\
import os, signal, sys, time
if "spawn_main" in " ".join(sys.orig_argv):
    import torch
    from birefcli.batch import stages
    plain = stages.read_source
    def read(job, *rest):
        {fault}
        return plain(job, *rest)
    stages.read_source = read
"""
IN_AN_ACTOR = """\
import sys
if "default_worker.py" in " ".join(sys.orig_argv):
    {fault}
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
ON_RAY = ("--on", "ray", "--json")


@pytest.fixture(scope="module")
def cluster(environment):
    with ray_cluster(environment) as made:
        yield made


@pytest.fixture
def nodes(cluster):
    """Add a node, for one test."""
    yield cluster.add
    cluster.clear()


def held_until(go):
    """A fault: only a few photos are read before a file is there."""
    return IN_A_WORKER.format(
        fault=f"while job.label[-7:] > '020' and not os.path.exists({str(go)!r}): time.sleep(0.01)"
    )


def fill(folder: Path, count: int) -> Path:
    folder.mkdir()
    picture().save(folder / "000.png")
    for i in range(1, count):
        (folder / f"{i:03d}.png").hardlink_to(folder / "000.png")
    return folder


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def told(out: bytes):
    *lines, last = [json.loads(line) for line in out.splitlines()]
    return lines, last["summary"]


def each_once(lines, folder):
    assert sorted(Path(line["input"]).name for line in lines) == sorted(names(folder))
    assert {line["status"] for line in lines} == {"written"}


@needs_ray
@pytest.mark.slow
def test_all_photos_are_done_each_once_and_called_as_they_were(command, cluster, nodes, tmp_path):
    nodes(), nodes()
    folder = fill(tmp_path / "in", MANY)
    words = ("matte", "in", "-o", "out", "-m", "mini", *ON_RAY, "--quiet")
    result = command(*words, cwd=tmp_path, **cluster.environment)
    assert result.returncode == 0, result.stderr
    assert result.stderr == b"", "Ray says nothing"
    lines, summary = told(result.stdout)
    each_once(lines, folder)
    assert [line["input"] for line in lines] == [f"in/{i:03d}.png" for i in range(MANY)]
    assert lines[0]["outputs"] == {"cutout": "out/000.png"}
    assert summary["device"] == "ray (2 cpu)"
    assert names(tmp_path / "out") == names(folder), "and no part file"
    again = command(*words, cwd=tmp_path, **cluster.environment)
    assert told(again.stdout)[1]["current"] == MANY


@needs_ray
@pytest.mark.slow
def test_machine_that_is_lost_costs_no_photo_and_is_named(start, cluster, nodes, tmp_path):
    go = tmp_path / "go"
    lost = nodes(held_until(go))
    nodes(held_until(go))
    folder, out = fill(tmp_path / "in", MANY), tmp_path / "out"
    run = start("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    first = run.stdout.readline()
    cluster.remove(lost)
    go.touch()
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    lines, summary = told(first + rest)
    each_once(lines, folder)
    assert names(out) == names(folder), "and no part file"
    assert len(summary["lost"]) == 1
    assert said.decode().count(" is lost: its machine") == 1, said
    assert b"raylet" not in said


@needs_ray
@pytest.mark.slow
def test_machine_that_comes_late_gets_work_up_to_as_many_as_are_asked_for(
    start, cluster, nodes, tmp_path
):
    go, mark = tmp_path / "go", tmp_path / "late"
    nodes(held_until(go))
    folder, out = fill(tmp_path / "in", MANY), tmp_path / "out"
    run = start("matte", folder, "-o", out, *ON_RAY, "--workers", 2, **cluster.environment)
    first = run.stdout.readline()
    nodes(IN_A_WORKER.format(fault=f"open({str(mark)!r}, 'a').close()"))
    wait_for(mark.exists, "the late machine's first photo")
    nodes(IN_A_WORKER.format(fault=KILL))  # a third has no part in it
    go.touch()
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0, said
    lines, summary = told(first + rest)
    each_once(lines, folder)
    assert (summary["lost"], summary["device"]) == ([], "ray (2 cpu)")


@needs_ray
@pytest.mark.slow
def test_photo_that_kills_two_workers_fails_alone(command, cluster, nodes, tmp_path):
    for _ in range(2):
        nodes(IN_A_WORKER.format(fault=f"if job.label.endswith('011.png'): {KILL}"))
    folder, out = fill(tmp_path / "in", 12), tmp_path / "out"
    result = command("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    assert result.returncode == ExitCode.SOME_FAILED, result.stderr
    lines, summary = told(result.stdout)
    assert (summary["written"], summary["failed"]) == (11, 1)
    assert lines[-1]["input"].endswith("011.png")
    assert lines[-1]["error"].startswith("two devices could not do it: ")
    assert lines[-1]["error"].count("its process was ended by SIGKILL") == 2
    assert names(out) == {f"{i:03d}.png" for i in range(11)}


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["getpid", "getppid"])
def test_worker_that_is_killed_once_costs_neither_a_photo_nor_its_machine(
    command, cluster, nodes, tmp_path, victim
):
    mark = str(tmp_path / "killed")
    once = f"job.label.endswith('003.png') and not os.path.exists({mark!r})"
    kill = f"open({mark!r}, 'w').close(); os.kill(os.{victim}(), signal.SIGKILL)"
    nodes(IN_A_WORKER.format(fault=f"if {once}: {kill}"))
    folder, out = fill(tmp_path / "in", 12), tmp_path / "out"
    result = command("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    assert result.returncode == 0, result.stderr
    lines, summary = told(result.stdout)
    each_once(lines, folder)
    assert names(out) == names(folder), "and no part file"
    assert len(summary["lost"]) == 1
    said = f"{socket.gethostname()} (2) begins in the place of a worker that is lost"
    assert result.stderr.count(said.encode()) == 1


@needs_ray
@pytest.mark.slow
def test_when_no_machine_is_left_the_exit_code_says_so(command, cluster, nodes, tmp_path):
    nodes(IN_A_WORKER.format(fault=KILL))
    folder = fill(tmp_path / "in", 4)
    words = ("matte", folder, "-o", tmp_path / "out", *ON_RAY)
    result = command(*words, **cluster.environment)
    assert result.returncode == ExitCode.MODEL, result.stderr
    summary = told(result.stdout)[1]
    assert summary["pending"] > 0
    assert summary["pending"] + summary["failed"] == 4
    assert len(summary["lost"]) == 4, "its first worker, and three in its place"
    assert result.stderr.count(b"no device is left; the same command goes on") == 1


@needs_ray
@pytest.mark.slow
def test_worker_that_does_not_answer_is_killed_and_counts_as_lost(
    command, cluster, nodes, tmp_path
):
    mark = str(tmp_path / "mark")
    fault = f"if not os.path.exists({mark!r}): "
    fault += f"open({mark!r}, 'x').close(); os.kill(os.getpid(), signal.SIGSTOP)"
    for _ in range(2):  # whoever reads that photo first is stuck with it
        nodes(IN_A_WORKER.format(fault=f"if job.label.endswith('003.png'):\n            {fault}"))
    # However busy this machine is, the other one is not lost while it begins.
    patient = tmp_path / "sitecustomize.py"
    patient.write_text("from birefcli.batch import patience\npatience.START = 600.0\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    folder = fill(tmp_path / "in", 12)
    more = ("--photo-timeout", 5, "--threads", 1)
    words = ("matte", folder, "-o", tmp_path / "out", *ON_RAY, *more)
    result = command(*words, **cluster.environment, PYTHONPATH=path)
    lines, summary = told(result.stdout)
    assert result.returncode == 0, result.stderr
    each_once(lines, folder)
    assert ["no answer within 5 s" in text for text in summary["lost"]] == [True]


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_interrupted_run_counts_what_was_written(start, cluster, nodes, tmp_path, number, code):
    for _ in range(2):
        nodes(IN_A_WORKER.format(fault="time.sleep(0.05)"))
    folder, out = fill(tmp_path / "in", 900), tmp_path / "out"
    run = start("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    first = run.stdout.readline()
    os.kill(run.pid, number)
    rest, said = run.communicate(timeout=TIMEOUT)
    assert run.returncode == code, said
    lines, summary = told(first + rest)
    assert (summary["interrupted"], summary["lost"]) == (True, [])
    assert summary["written"] + summary["pending"] == 900
    assert {Path(line["input"]).name for line in lines} == names(out)
    assert 0 < summary["written"] < 900
    assert all(word not in said for word in (b"Traceback", b"SIGTERM", b".cc:")), said


@needs_ray
@pytest.mark.slow
def test_killed_run_stops_its_workers_and_the_next_does_the_rest(start, command, cluster, nodes,
                                                                 tmp_path):  # fmt: skip
    mark = tmp_path / "pids"
    fault = f"time.sleep(0.05); open({str(mark)!r}, 'a').write(str(os.getpid()) + '\\n')"
    for _ in range(2):
        nodes(IN_A_WORKER.format(fault=fault))
    folder, out = fill(tmp_path / "in", MANY), tmp_path / "out"
    run = start("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    run.stdout.readline()
    run.kill()
    run.communicate(timeout=TIMEOUT)
    pids = {int(line) for line in mark.read_text().split()}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "workers' end")
    done = names(out)
    assert 0 < len(done) < MANY
    assert done < names(folder), "no part file"
    again = command("matte", folder, "-o", out, *ON_RAY, **cluster.environment)
    assert again.returncode == 0, again.stderr
    summary = told(again.stdout)[1]
    assert (summary["current"], summary["written"]) == (len(done), MANY - len(done))


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (
            "import birefcli; birefcli.__version__ = '0.0.0'",
            ExitCode.MODEL,
            f"its birefcli is 0.0.0, and the run's is {__version__}; install one version",
        ),
        (
            "sys.modules['birefcli'] = None",
            ExitCode.MODEL,
            "its birefcli is another, or missing",
        ),
        (
            "from birefcli.models import checksum; checksum.sha256_of = lambda path: '0' * 64",
            ExitCode.MODEL,
            "holds other weights than the run's; copy one file to all machines",
        ),
        (
            "from birefcli.system import atomic\n"
            "    def fail(*_): raise PermissionError(13, 'Permission denied')\n"
            "    atomic.check_writable = fail",
            ExitCode.OUTPUT,
            "out: cannot be written: Permission denied",
        ),
    ],
)
def test_machine_that_will_not_do_refuses_the_run_by_name(
    command, cluster, nodes, tmp_path, fault, code, said
):
    nodes()
    bad = nodes(IN_AN_ACTOR.format(fault=fault))
    folder = fill(tmp_path / "in", 4)
    words = ("matte", folder, "-o", tmp_path / "out", "--on", "ray")
    result = command(*words, **cluster.environment)
    assert result.returncode == code, result.stderr
    assert said.encode() in result.stderr
    assert result.stderr.count(b"\n") == 1
    name = socket.gethostname().encode()
    assert name in result.stderr, bad
    assert names(tmp_path / "out") == set()


def environment_of(variables):
    return IN_AN_ACTOR.format(fault=f"import os; os.environ.update({variables!r})")


@needs_ray
@pytest.mark.slow
def test_machine_that_cannot_reach_the_store_refuses_the_run_by_name(
    command, cluster, nodes, bucket, tmp_path
):
    nodes(environment_of(bucket.variables))
    folder = fill(tmp_path / "in", 4)
    for name in names(folder):
        bucket.put(f"in/{name}", (folder / name).read_bytes())
    environment = {**cluster.environment, **bucket.variables}
    result = command(
        "matte", f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", *ON_RAY, **environment
    )
    assert result.returncode == 0, result.stderr
    done = {f"out/{name}" for name in names(folder)}
    assert done < set(bucket.names())
    nodes(environment_of({**bucket.variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}))
    for words, code, said in (
        ((folder, "-o", f"{bucket.url}/new/"), ExitCode.OUTPUT, "new/: cannot be written: "),
        ((f"{bucket.url}/in/", "-o", tmp_path / "out"), ExitCode.NO_INPUT, "in/: cannot be read: "),
    ):
        result = command("matte", *words, "--on", "ray", **environment)
        assert result.returncode == code, result.stderr
        machine = f"{socket.gethostname()}( \\([0-9a-f]+\\))?"  # two nodes are called the same
        line = f"birefcli: {machine}: {re.escape(f'{bucket.url}/{said}')}"
        assert re.match(line.encode(), result.stderr), result.stderr
        assert result.stderr.count(b"\n") == 1
    assert names(tmp_path / "out") == set()


@needs_ray
@pytest.mark.slow
def test_cluster_without_a_machine_or_a_gpu_is_refused(command, cluster, nodes, tmp_path):
    folder = fill(tmp_path / "in", 2)
    words = ("matte", folder, "-o", tmp_path / "out", "--on", "ray")
    result = command(*words, **cluster.environment)
    assert result.returncode == ExitCode.MODEL
    assert b"the cluster has no machine with a CPU" in result.stderr
    nodes()
    result = command(*words, "--device", "cuda", **cluster.environment)
    assert result.returncode == ExitCode.MODEL
    assert b"the cluster has no GPU" in result.stderr


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_machine_whose_gpu_is_of_no_use_refuses_the_run_by_name(command, cluster, nodes, tmp_path):
    nodes(gpus=1)  # Ray believes in it
    words = ("matte", fill(tmp_path / "in", 2), "-o", tmp_path / "out", "--on", "ray")
    result = command(*words, **cluster.environment)
    assert result.returncode == ExitCode.MODEL
    assert b" GPU 0: --device cuda: " in result.stderr
