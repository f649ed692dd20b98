"""Limits of control groups, read from trees of files as containers show them."""

import os
import subprocess
import sys

import pytest

from birefcli import doctor, values
from birefcli.options import Precision
from birefcli.system import cgroup, cpu, machine, process_settings
from birefcli.system.cgroup import Limits

GB = 1 << 30
UNLIMITED = "9223372036854771712"  # version 1's way to say it
INHERITED = f"cache 5\nhierarchical_memory_limit {GB}\ntotal_cache 5"
V2 = "30 24 0:26 {top} {at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "3{n} 24 0:3{n} {top} {at} rw,nosuid shared:9 - cgroup cgroup rw,{resources}"


@pytest.fixture
def system(tmp_path):
    """Builds a system of files: their contents by path, missing where they are None."""

    def build(groups, mounts, **files):
        lines = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}
        for name, content in lines.items():
            file = tmp_path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                file.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
        return tmp_path

    return build


def v2(top="/", at="/sys/fs/cgroup"):
    return V2.format(top=top, at=at)


def v1(resources, top="/", at=None, n=1):
    at = f"/sys/fs/cgroup/{resources}" if at is None else at
    return V1.format(resources=resources, top=top, at=at, n=n)


def at(folder, **files):
    """Files of one group: ``memory_max`` is memory.max."""
    names = {"memory_max": "memory.max", "memory_high": "memory.high", "cpu_max": "cpu.max"}
    names |= {"limit": "memory.limit_in_bytes", "stat": "memory.stat"}
    names |= {"quota": "cpu.cfs_quota_us", "period": "cpu.cfs_period_us"}
    return {f"sys/fs/cgroup/{folder}/{names[name]}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        (at("a/b", memory_max=3 * GB, cpu_max="150000 100000"), Limits(3 * GB, 1.5)),
        (at("a/b", memory_max="max", memory_high="max", cpu_max="max 100000"), Limits()),
        (at("a/b", memory_max=3 * GB, memory_high=2 * GB), Limits(2 * GB)),
        (at("a/b", memory_max=3 * GB) | at("a", memory_max=GB), Limits(GB)),
        (at("a/b", memory_max=GB) | at("a", memory_max=3 * GB), Limits(GB)),
        (at("a/b", cpu_max="max 100000") | at("a", cpu_max="50000 100000"), Limits(None, 0.5)),
        (at("a/b", cpu_max="400000 100000") | at("", cpu_max="300000 100000"), Limits(None, 3.0)),
        (at("a/b/c", memory_max=GB) | at("other", memory_max=GB, cpu_max="1 100"), Limits()),
    ],
)
def test_version_2_tightest_of_own_group_and_those_above_holds(system, files, limits):
    assert cgroup.limits(system("0::/a/b", v2(), **files)) == limits


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        (at("memory/a/b", limit=2 * GB), Limits(2 * GB)),
        (at("memory/a/b", limit=2 * GB) | at("memory/a", limit=GB), Limits(GB)),
        (at("memory/a/b", limit=2 * GB, stat=INHERITED), Limits(GB)),
        (at("cpu,cpuacct/x", quota=250000, period=100000), Limits(None, 2.5)),
        (at("cpu,cpuacct/x", quota=-1, period=100000), Limits()),
        (at("cpu,cpuacct/x", quota=-1, period=100000)
         | at("cpu,cpuacct", quota=20000, period=10000), Limits(None, 2.0)),
        (at("memory/x", limit=GB) | at("cpu,cpuacct/a/b", quota=1, period=100), Limits()),
    ],
)  # fmt: skip
def test_version_1_has_a_tree_for_each_resource(system, files, limits):
    groups = "11:memory:/a/b\n4:cpu,cpuacct:/x\n3:pids:/a\n1:name=systemd:/a/b"
    mounts = "\n".join([v1("memory", n=1), v1("cpu,cpuacct", n=2), v1("pids", n=3)])
    assert cgroup.limits(system(groups, mounts, **files)) == limits


def test_version_1_without_a_limit_says_more_than_any_machine_has(system):
    files = at("memory/a", limit=UNLIMITED)
    assert cgroup.limits(system("11:memory:/a", v1("memory"), **files)).memory == int(UNLIMITED)


def test_both_versions_at_once(system):
    groups = "3:memory:/a\n2:cpu:/a\n0::/b"
    mounts = "\n".join([v1("memory"), v1("cpu", n=2), v2(at="/sys/fs/cgroup/unified")])
    files = at("memory/a", limit=GB) | at("cpu/a", quota=300, period=100)
    files |= at("unified/b", memory_max=2 * GB, cpu_max="200 100")
    assert cgroup.limits(system(groups, mounts, **files)) == Limits(GB, 2.0)


@pytest.mark.parametrize(
    ("group", "top", "folder"),
    [
        ("/", "/", ""),  # in a namespace of its own
        ("/docker/1a", "/docker/1a", ""),  # without one, its group alone is shown
        ("/docker/1a/job", "/docker/1a", "job"),
        ("/../other", "/", ""),  # moved out of its namespace: what the container shows
        ("/", "/../..", ""),  # mounted from outside the namespace
        ("/docker/1a", "/kubepods/2b", ""),
        ("/gone (deleted)", "/", ""),
        ("/with:colon and space", "/", "with:colon and space"),
    ],
)
def test_group_is_found_from_inside_a_container(system, group, top, folder):
    for mounts in (v2(top), "\n".join(["", "no mount", v2(top)])):
        files = at(folder, memory_max=GB, cpu_max="100 100")
        assert cgroup.limits(system(f"0::{group}", mounts, **files)) == Limits(GB, 1.0)


def test_mount_point_may_have_a_space_and_lie_anywhere(system):
    files = {"my groups/a/memory.max": f"{GB}"}
    found = cgroup.limits(system("0::/a", v2(at=r"/my\040groups"), **files))
    assert found == Limits(GB)


@pytest.mark.parametrize(
    ("groups", "mounts", "files"),
    [
        (None, None, {}),
        ("0::/a", None, at("a", memory_max=GB)),
        (None, v2(), at("a", memory_max=GB)),
        (b"\xff\xfe\x00", b"\x00\xff - cgroup2", {}),
        ("0::/a\0b", v2(), {}),
        ("0\n0:\n::\nx:y:z\n5:memory", "1 2 3 - cgroup2\n - cgroup\n-\n" + v2(), {}),
        ("0::/a", v2(), at("a", memory_max="", cpu_max="")),
        ("0::/a", v2(), at("a", memory_max="much", cpu_max="1")),
        ("0::/a", v2(), at("a", memory_max="9" * 5000, cpu_max="100000 0")),
        ("0::/a", v2(), at("a", memory_max="-5", cpu_max="0 100000")),
        ("0::/a", v2(), at("a", memory_max=b"\xff\x00", cpu_max="max max")),
        ("0::/a", v2(), at("a/memory.max", cpu_max="1 1")),  # a folder of that name
        ("0::/" + "a/" * 3000, v2(), {}),
        ("1:cpu:/", v1("cpu", at="/sys/fs/cgroup"), at("", quota=5, period=0)),
    ],
)
def test_what_cannot_be_read_sets_no_limit(system, groups, mounts, files):
    assert cgroup.limits(system(groups, mounts, **files)) == Limits()


@pytest.fixture
def container(monkeypatch):
    def within(memory=None, cores=None):
        monkeypatch.setattr(cgroup, "limits", lambda: Limits(memory, cores))

    monkeypatch.setattr(machine, "physical_memory", lambda: 64 * GB)
    monkeypatch.setattr(machine, "_own_limit", lambda _: None)
    monkeypatch.setattr(cpu, "admitted", lambda: 8)
    return within


@pytest.mark.parametrize(
    ("time", "cores"), [(None, 8), (0.1, 1), (1.0, 1), (1.5, 2), (3.0, 3), (7.01, 8), (96.0, 8)]
)
def test_cores_are_those_that_time_is_given_for(container, time, cores):
    container(cores=time)
    assert cpu.count() == cores


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [(None, 16 * GB), (int(UNLIMITED), 16 * GB), (8 * GB, 2 * GB), (3 * GB, GB), (GB, GB // 2)],
)
def test_automatic_memory_is_a_quarter_of_what_there_is_in_the_container(container, limit, allowed):
    container(memory=limit)
    assert values.memory("max_memory", "auto") == allowed


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process differ by system")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_ulimit_is_a_limit_of_memory(kind):
    code = (
        f"import resource; resource.setrlimit(resource.{kind}, ({GB}, resource.RLIM_INFINITY));"
        "from birefcli.system import machine; print(machine.memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert int(done.stdout) == GB


@pytest.mark.parametrize(
    ("time", "own", "threads"),
    [(2.0, None, "2"), (2.0, "5", "5"), (None, None, None), (96.0, None, None)],
)
def test_libraries_begin_with_as_many_threads_as_there_is_time_for(
    container, monkeypatch, time, own, threads
):
    for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        monkeypatch.setenv(name, own or "")
        if own is None:
            monkeypatch.delenv(name)
    container(cores=time)
    process_settings.keep_to_allowed_cores()
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert os.environ.get("OPENCV_FOR_THREADS_NUM") == threads


@pytest.mark.slow
def test_variables_are_those_that_torch_and_opencv_read():
    code = "import cv2, torch; print(cv2.getNumThreads(), torch.get_num_threads())"
    more = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | more, check=True, capture_output=True
    )
    assert done.stdout.split() == [b"1", b"1"]


def machine_facts():
    found = doctor.examine("cpu", Precision.AUTO, measure=False)
    return found.facts["machine"], found.advice


def test_doctor_shows_the_machine_and_the_container(container, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    container(memory=3 * GB, cores=1.5)
    facts, advice = machine_facts()
    assert (facts["memory_gb"], facts["memory_limit_gb"]) == (68.7, 3.2)
    assert facts["memory_limit_gb_why"] == "control group"
    assert (facts["cores"], facts["cores_limit"]) == (os.cpu_count(), 1.5)
    assert any("little memory" in str(step) for step in advice)
    assert not any("torch uses" in str(step) for step in advice)


def test_doctor_shows_no_limit_where_there_is_none(container, monkeypatch):
    monkeypatch.setattr(cpu, "admitted", os.cpu_count)
    container(memory=int(UNLIMITED), cores=1000.0)
    facts, _ = machine_facts()
    assert (facts["memory_limit_gb"], facts["cores_limit"]) == (None, None)
