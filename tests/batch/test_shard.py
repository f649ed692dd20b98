"""One batch in parts: every photo is in exactly one of them, whoever looks, and whenever."""

import os
import random
import tempfile
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import TIMEOUT, picture, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Encoded
from test_batch_faults import kill_somewhere, many, others, summary, whole

from birefcli.batch.inputs import find_photos, search_photos
from birefcli.batch.lock import hold_folder
from birefcli.batch.shard import SCHEDULERS, holds, parse_shard
from birefcli.batch.targets import plan_targets, refuse_overwriting
from birefcli.errors import BusyError, ExitCode, OutputError, UsageError
from birefcli.options import Format, Lock, Product, Selection, Shard
from birefcli.system import atomic

PART = st.text(st.sampled_from("aAäÄ\u0308.b 1"), min_size=1, max_size=3).filter(
    lambda part: part.strip(".") and not part.startswith(".")
)
TREE = st.lists(
    st.tuples(st.lists(PART, max_size=2), PART, st.sampled_from([".jpg", ".JPG", ".png", ".webp"])),
    max_size=12,
)
COUNT = st.integers(1, 64)


def chosen(folder, index=0, count=1, output="out", **more):
    return Selection((str(folder),), str(output), shard=Shard(index, count), **more)


def relatives(tree):
    return [Path(*folders, name + suffix) for folders, name, suffix in tree]


@given(TREE, COUNT, st.sampled_from(["{stem}", "{name}", "cut-{stem}"]))
def test_every_name_is_in_exactly_one_shard(tree, count, name):
    for relative in relatives(tree):
        held = [i for i in range(count) if holds(chosen("in", i, count, name=name), relative)]
        assert len(held) == 1


@settings(max_examples=30)
@given(TREE, COUNT)
def test_the_shards_of_a_folder_are_its_photos_each_once(tree, count):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        for relative in relatives(tree):
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / relative).is_dir():
                (folder / relative).touch()
        everything = [photo.source for photo in search_photos(Selection((name,), "out")).found]
        parts = [search_photos(chosen(name, i, count)) for i in range(count)]
        assert sorted(p.source.label for s in parts for p in s.found) == sorted(
            source.label for source in everything
        )
        assert {len(s.found) + s.elsewhere for s in parts} == {len(everything)}


@given(TREE, TREE, COUNT)
def test_a_photos_shard_is_a_matter_of_its_own_name(tree, more, count):
    """Whatever else there is: a machine that looks later sees other photos beside it."""
    names = relatives(tree)
    early = {r: holds(chosen("in", 0, count), r) for r in names}
    shuffled = names + relatives(more)
    random.Random(count).shuffle(shuffled)
    late = {r: holds(chosen("in", 0, count), r) for r in shuffled}
    assert all(late[relative] == here for relative, here in early.items())


@given(st.lists(PART, max_size=2), PART, COUNT)
def test_photos_that_want_one_target_share_a_shard(folders, name, count):
    here = chosen("in", 0, count)
    alike = [name, name.upper(), name.lower(), unicodedata.normalize("NFD", name)]
    held = {holds(here, Path(*folders, a + end)) for a in alike for end in (".jpg", ".png")}
    # Letters of which upper and lower case are not one pair are none of these.
    assert len(held) == 1


def test_two_photos_for_one_target_are_refused_by_the_shard_that_has_them(tmp_path):
    for name in ("a.jpg", "a.png", "b.jpg"):
        (tmp_path / name).touch()
    refused = 0
    for index in range(2):
        here = chosen(tmp_path, index, 2)
        try:
            plan_targets(search_photos(here).found, here, (Product.CUTOUT,), Format.PNG)
        except OutputError:
            refused += 1
    assert refused == 1


def test_a_photo_found_twice_is_in_the_shard_of_the_place_where_it_was_found_first(tmp_path):
    (tmp_path / "sub").mkdir()
    for number in range(20):
        (tmp_path / "sub" / f"{number}.jpg").touch()
    names = (str(tmp_path), str(tmp_path / "sub"))
    parts = [
        search_photos(Selection(names, "out", shard=Shard(index, 4))).found for index in range(4)
    ]
    taken = [photo.source.label for part in parts for photo in part]
    assert len(taken) == len(set(taken)) == 20
    assert all(photo.relative.parts[0] == "sub" for part in parts for photo in part)


def test_a_result_never_takes_the_place_of_another_shards_photo(tmp_path):
    """A run of the whole refuses it; a shard has never looked at the other photo's target."""
    for name in ("a.jpg", "a_x.png"):
        picture().save(tmp_path / name)
    count = 8
    index = next(i for i in range(count) if holds(chosen("", i, count, name="{stem}_x"),
                                                  Path("a.jpg")))  # fmt: skip
    here = chosen(tmp_path, index, count, output=tmp_path, name="{stem}_x")
    search = search_photos(here)
    assert [photo.relative.name for photo in search.found] == ["a.jpg"]
    jobs = plan_targets(search.found, here, (Product.CUTOUT,), Format.PNG)
    with pytest.raises(OutputError, match=r"a_x\.png: a photo of another shard would be over"):
        refuse_overwriting(jobs, {}, search.replaceable)


# What schedulers say

TOLD = [
    ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}, "auto", (3, 8)),
    (
        {
            "SLURM_ARRAY_TASK_ID": "14",
            "SLURM_ARRAY_TASK_COUNT": "4",
            "SLURM_ARRAY_TASK_MIN": "10",
            "SLURM_ARRAY_TASK_STEP": "2",
        },
        "auto",
        (2, 4),
    ),
    ({"SLURM_PROCID": "5", "SLURM_NTASKS": "6"}, "auto", (5, 6)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "JOB_COMPLETION_INDEX": "2"}, "auto/4", (2, 4)),
    ({"JOB_COMPLETION_INDEX": "2"}, "auto/4", (2, 4)),
    ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "2"}, "auto", (0, 2)),
    ({"BATCH_TASK_INDEX": "1", "BATCH_TASK_COUNT": "2"}, "auto", (1, 2)),
    ({"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "3"}, "auto/3", (1, 3)),
    ({"PBS_ARRAY_INDEX": "1"}, "auto/2", (1, 2)),
    ({"SGE_TASK_ID": "1", "SGE_TASK_LAST": "4"}, "auto", (0, 4)),
    ({"SGE_TASK_ID": "7", "SGE_TASK_FIRST": "3", "SGE_TASK_STEPSIZE": "2"}, "auto/4", (2, 4)),
    (
        {
            "SGE_TASK_ID": "7",
            "SGE_TASK_FIRST": "3",
            "SGE_TASK_LAST": "9",
            "SGE_TASK_STEPSIZE": "2",
        },
        "auto",
        (2, 4),
    ),
    (
        {
            "SLURM_ARRAY_TASK_ID": "1",
            "SLURM_ARRAY_TASK_COUNT": "1",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_MAX": "1",
        },
        "auto",
        (0, 1),
    ),
    ({}, "0/1", (0, 1)),
    (
        {
            "SLURM_ARRAY_TASK_ID": "2",
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_MAX": "2",
        },
        "auto",
        (1, 2),
    ),
    ({"SLURM_ARRAY_TASK_ID": "3"}, "7/8", (7, 8)),
]


@pytest.mark.parametrize(("variables", "text", "expected"), TOLD)
def test_number_and_count_are_those_that_a_scheduler_tells(variables, text, expected):
    shard = parse_shard(text, variables)
    assert (shard.index, shard.count) == expected
    assert shard.told_by in (*variables, "")
    assert bool(shard.told_by) == text.startswith("auto")


@pytest.mark.parametrize(
    ("variables", "text", "said"),
    [
        ({}, "3/3", "numbered 0 to 2"),
        ({}, "-1/4", "like 3/8"),
        ({}, "1", "like 3/8"),
        ({}, "0/0", "0 parts"),
        ({}, "0/999999999", "from 1 to 100000"),
        ({}, "one/two", "like 3/8"),
        ({}, "", "like 3/8"),
        ({}, "auto", "SGE_TASK_ID"),
        ({"SGE_TASK_ID": "undefined"}, "auto", "no scheduler's variable"),
        ({"SLURM_ARRAY_TASK_ID": "x"}, "auto", "SLURM_ARRAY_TASK_ID=x is no number"),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "5",
          "SLURM_ARRAY_TASK_COUNT": "2"}, "auto", "some of an array's; to repeat a part"),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "3",
          "SLURM_ARRAY_TASK_COUNT": "1"}, "auto", "like 3/8"),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "3",
          "SLURM_ARRAY_TASK_COUNT": "1"}, "auto/8", "COUNT says 1 parts; to repeat a part"),
        ({}, "\u0663/\u0665", "like 3/8"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, "auto", "no scheduler's variable"),
        ({"JOB_COMPLETION_INDEX": "1"}, "auto", "give auto/COUNT"),
        ({"JOB_COMPLETION_INDEX": "9"}, "auto/4", "number 9 (by JOB_COMPLETION_INDEX)"),
        ({"BATCH_TASK_INDEX": "1", "BATCH_TASK_COUNT": "2"}, "auto/3", "BATCH_TASK_COUNT says 2"),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "3",
          "SLURM_ARRAY_TASK_COUNT": "2"}, "auto", "number -2"),
    ],
)  # fmt: skip
def test_what_is_no_shard_is_refused_with_what_was_looked_for(variables, text, said):
    with pytest.raises(UsageError) as error:
        parse_shard(text, variables)
    assert said in str(error.value)


def test_all_schedulers_are_looked_for_and_named():
    with pytest.raises(UsageError) as error:
        parse_shard("auto", {})
    assert all(scheduler.index in str(error.value) for scheduler in SCHEDULERS)


# Locks


def test_shards_hold_a_folder_beside_each_other_and_a_whole_run_alone(tmp_path):
    with hold_folder(tmp_path, Lock.LEAVE, shared=True):
        with hold_folder(tmp_path, Lock.LEAVE, shared=True):
            pass
        with pytest.raises(BusyError), hold_folder(tmp_path, Lock.LEAVE):
            pass
    with (
        hold_folder(tmp_path, Lock.LEAVE),
        pytest.raises(BusyError),
        hold_folder(tmp_path, Lock.LEAVE, shared=True),
    ):
        pass


# Whole runs


def contents(folder):
    return {
        p.relative_to(folder): Encoded(p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }


def test_the_shards_of_a_folder_make_what_a_whole_run_makes(inside, photos, tmp_path):
    assert inside("matte", photos, "-o", tmp_path / "whole").returncode == ExitCode.OK
    for index in range(3):
        result = inside("matte", photos, "-o", tmp_path / "out", "--shard", f"{index}/3", "--json")
        assert result.returncode == ExitCode.OK
        assert summary(result.stdout)["shard"] == f"{index}/3"
        assert f"shard {index}/3: ".encode() in result.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    after = inside("matte", photos, "-o", tmp_path / "out", "--dry-run", "--json")
    assert summary(after.stdout)["current"] == len(contents(tmp_path / "whole"))


def test_a_shard_without_photos_is_no_failure(inside, tmp_path):
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    index = next(i for i in range(4) if not holds(chosen("", i, 4), Path("a.png")))
    words = ("matte", tmp_path / "in", "-o", tmp_path / "out", "--shard", f"{index}/4")
    assert inside(*words).returncode == ExitCode.OK
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ("matte", empty, "-o", tmp_path / "out", "--shard", f"{index}/4")
    assert inside(*words).returncode == ExitCode.NO_INPUT


def test_a_folder_that_is_not_there_fails_in_every_shard(inside, photos, tmp_path):
    """As where a node of a cluster has not mounted it."""
    for index in range(3):
        more = ("-o", tmp_path / "out", "--shard", f"{index}/3", "--dry-run")
        result = inside("matte", tmp_path / "nophotos", *more)
        assert result.returncode == ExitCode.NO_INPUT
        result = inside("matte", tmp_path / "nophotos", photos, *more)
        assert result.returncode == ExitCode.SOME_FAILED
        assert b"nophotos: No such file" in result.stderr


def test_who_waits_for_another_run_says_so_once(tmp_path):
    said = []

    def wait():
        with hold_folder(tmp_path, Lock.WAIT, on_wait=said.append):
            return True

    with ThreadPoolExecutor(1) as pool:
        with hold_folder(tmp_path, Lock.LEAVE):
            waiting = pool.submit(wait)
            wait_for(lambda: said)
        assert waiting.result()
    assert said == [f"{tmp_path}: another run is writing here; waits for it"]


def test_number_and_count_come_from_the_environment(inside, photos, tmp_path):
    words = ("matte", photos, "-o", tmp_path / "out", "--shard", "auto", "--dry-run")
    result = inside(*words, SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_TASK_COUNT="2")
    assert b"shard 1/2 (SLURM_ARRAY_TASK_ID): " in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("in/a.png", "-o", "a.png", "--shard", "0/2"), "a folder as --output"),
        (("-", "-o", "out", "--shard", "0/2"), "has no --shard"),
        (("in", "-o", "out", "--shard", "2/2"), "--shard 2/2: number 2 is none of them"),
    ],
)
def test_what_has_no_shards_is_refused(ended, words, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, text = ended("matte", *words)
    assert code == ExitCode.USAGE
    assert said in text
    assert len(text.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="whether a process lives is asked on POSIX alone")
def test_a_shard_leaves_what_another_machine_is_writing(inside, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr("platform.node", lambda: "another-machine")
    atomic._host.cache_clear()
    # Of a process that is not there: on that machine it may be.
    name = atomic.part_name().replace(f"-{os.getpid()}-", "-999999999-")
    monkeypatch.undo()
    atomic._host.cache_clear()
    mine = atomic.part_name().replace(f"-{os.getpid()}-", "-999999999-")
    for part in (name, mine):
        (out / part).write_bytes(b"half")
    assert inside("matte", photos, "-o", out, "--shard", "0/2").returncode == ExitCode.OK
    assert (out / name).exists()
    assert not (out / mine).exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_eight_shards_at_once_two_of_them_killed_make_what_a_whole_run_makes(
    start, inside, tmp_path
):
    photos = many(tmp_path / "in", 200)
    out = tmp_path / "out"
    assert inside("matte", photos, "-o", tmp_path / "whole").returncode == ExitCode.OK
    words = ("matte", photos, "-o", out, "--json", "--threads", 1)
    gates = []
    for index in range(2):  # what nobody writes into keeps these from their end
        here = chosen("", index, 8)
        gates.append(tmp_path / next(f"g{n}" for n in range(999) if holds(here, Path(f"g{n}"))))
        os.mkfifo(gates[-1])
    runs = [start(*words, *gates[i : i + 1], "--shard", f"{i}/8") for i in range(8)]
    for number, run in enumerate(runs[:2]):
        kill_somewhere(run, 3, 0.02 * number)
    again = [start(*words, "--shard", f"{i}/8") for i in range(2)]
    for run in (*runs[2:], *again):
        _, stderr = run.communicate(timeout=TIMEOUT)
        assert run.returncode == ExitCode.OK, stderr
    assert len(find_photos(Selection((str(photos),), "x")).found) == len(whole(out)) == 200
    assert others(out) == []
    assert contents(out) == contents(tmp_path / "whole")
