"""Running a batch again, twice at once, interrupted, and with failures.

In a process of its own where it is interrupted or another runs beside it.
"""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TIMEOUT, TINY, picture, wait_for
from PIL import Image

from birefcli.batch.freshness import Verdict
from birefcli.birefnet import BiRefNet
from birefcli.errors import ExitCode
from birefcli.models import weights

needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def words_of(verdict):
    """A reason as the command line writes it."""
    return verdict.message.spelled(lambda option: f"--{option.name} {option.value}")


def told(
    result: "subprocess.CompletedProcess[bytes] | bytes",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON lines of a run by the names of their photos, and its summary."""
    said = result if isinstance(result, bytes) else result.stdout
    *lines, last = [json.loads(line) for line in said.splitlines()]
    return {Path(line["input"]).name: line for line in lines}, last["summary"]


def state(folder: Path) -> dict[bytes, tuple[bytes, int] | None]:
    """Content and time of every file below a folder, and which folders there are."""
    return {
        os.fsencode(path): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in folder.rglob("*")
    }


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def decoded(folder: Path) -> int:
    """How many files lie below a folder; every one decodes to its last pixel."""
    for name in names(folder):
        with Image.open(folder / name) as image:
            image.load()
    return len(names(folder))


def fill(folder: Path, *photos: str) -> Path:
    for i, name in enumerate(photos):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed=i).save(folder / name)
    return folder


# What is up to date


@pytest.fixture(scope="module")
def done(inside, tmp_path_factory) -> Path:
    """A folder ``in`` of photos, with two products each in ``out``. Not to be changed."""
    top = tmp_path_factory.mktemp("done")
    photos = ("fine", "copied", "missing", "one", "damaged", "changed", "foreign", "sub/deep")
    fill(top / "in", *(f"{name}.jpg" for name in photos))
    result = inside("matte", top / "in", "-o", top / "out", "--write", "cutout,mask")
    assert result.returncode == 0, result.stderr.decode()
    return top


@pytest.fixture
def used(done, tmp_path) -> Path:
    """A copy of it that may be changed, with everything that can happen to files."""
    top = tmp_path / "used"
    shutil.copytree(done, top)  # keeps the times, as cp -a and rsync -a do
    out = top / "out"
    for kind in ("cutout", "mask"):
        (out / kind / "missing.png").unlink()
        picture().save(out / kind / "foreign.png")
        # A plain copy, which has a time of its own.
        (out / kind / "copied.png").unlink()
        shutil.copyfile(done / "out" / kind / "copied.png", out / kind / "copied.png")
    (out / "mask" / "one.png").unlink()
    damaged = out / "cutout" / "damaged.png"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    picture(50, 50).save(top / "in" / "changed.jpg")
    return top


def run_over(used: Path, *more: object) -> tuple[object, ...]:
    return ("matte", used / "in", "-o", used / "out", "--write", "cutout,mask", *more)


EXPECTED = {
    "fine.jpg": ("current", words_of(Verdict.UP_TO_DATE), {"cutout", "mask"}),
    "copied.jpg": ("current", words_of(Verdict.UP_TO_DATE), {"cutout", "mask"}),
    "deep.jpg": ("current", words_of(Verdict.UP_TO_DATE), {"cutout", "mask"}),
    "foreign.jpg": ("skipped", words_of(Verdict.NOT_OURS), {"cutout", "mask"}),
    "missing.jpg": ("pending", words_of(Verdict.MISSING), {"cutout", "mask"}),
    "one.jpg": ("pending", words_of(Verdict.MISSING), {"mask"}),
    "damaged.jpg": ("pending", words_of(Verdict.DAMAGED), {"cutout"}),
    "changed.jpg": ("pending", words_of(Verdict.CHANGED), {"cutout", "mask"}),
}


def test_dry_run_says_what_would_be_done_and_why_and_touches_nothing(inside, used):
    before = state(used)
    lines, summary = told(inside(*run_over(used, "--dry-run", "--json")))
    assert {
        name: (line["status"], line["reason"], set(line["outputs"])) for name, line in lines.items()
    } == EXPECTED
    assert (summary["pending"], summary["current"], summary["skipped"]) == (4, 3, 1)
    text = inside(*run_over(used, "--dry-run", "--failed-to", used / "failed"))
    assert text.returncode == 0
    shown = text.stdout.decode().splitlines()
    assert len(shown) == 4
    assert any(line.endswith("mask/one.png (missing)") for line in shown)
    assert any("damaged.jpg: pending" in line and "(damaged)" in line for line in shown)
    assert state(used) == before


def test_second_run_does_only_what_the_dry_run_said_and_a_third_nothing(inside, used):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = used / "out" / "mask" / f".birefcli-{ended.pid}-0a.part"
    alive = used / "out" / "mask" / f".birefcli-{os.getpid()}-0b.part"
    for part in (stale, alive):
        part.write_bytes(b"half a file")
    before = state(used)
    lines, summary = told(inside(*run_over(used, "--json")))
    planned = {name: (*status, kinds) for name, (*status, kinds) in EXPECTED.items()}
    for name, (status, reason, kinds) in planned.items():
        assert lines[name]["status"] == ("written" if status == "pending" else status)
        assert (lines[name]["reason"], set(lines[name]["outputs"])) == (reason, kinds)
    touched = {os.fsdecode(path) for path, now in state(used).items() if before.get(path) != now}
    outputs = {
        path
        for line in lines.values()
        if line["status"] == "written"
        for path in line["outputs"].values()
    }
    assert {path for path in touched if path.endswith(".png")} == outputs
    assert not stale.exists(), "its writer is gone"
    assert alive.exists(), "its writer is alive"
    _, third = told(inside(*run_over(used, "--json")))
    assert (third["written"], third["current"], third["skipped"]) == (0, 7, 1)
    assert summary["written"] == 4


@pytest.mark.parametrize(
    ("existing", "status", "reason"),
    [
        ("skip", "skipped", words_of(Verdict.EXISTS)),
        ("overwrite", "pending", words_of(Verdict.OVERWRITE_FOREIGN)),
    ],
)
def test_what_is_there_is_skipped_or_overwritten_on_request(inside, used, existing, status, reason):
    lines, _ = told(inside(*run_over(used, "--existing", existing, "--dry-run", "--json")))
    earlier = words_of(Verdict.OVERWRITE) if existing == "overwrite" else reason
    for name, why in {"fine.jpg": earlier, "foreign.jpg": reason, "changed.jpg": earlier}.items():
        assert (lines[name]["status"], lines[name]["reason"]) == (status, why)
    assert (lines["missing.jpg"]["status"], lines["missing.jpg"]["reason"]) == (
        "pending",
        "missing",
    )


def test_what_is_there_is_an_error_on_request_before_any_work(inside, used):
    before = state(used)
    result = inside(*run_over(used, "--existing", "error"))
    assert result.returncode == ExitCode.OUTPUT
    assert "changed.png: exists" in result.stderr.decode()
    assert state(used) == before


@pytest.mark.parametrize(
    ("options", "redone"),
    [
        (("--bits", "16"), {"cutout", "mask"}),
        (("--size", "64"), {"cutout", "mask"}),
        (("--no-refine",), {"cutout"}),
        (("--lock", "wait", "--threads", "7"), set()),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_only_options_that_show_in_a_product_make_it_out_of_date(inside, done, options, redone):
    lines, _ = told(inside(*run_over(done, "--dry-run", "--json", *options)))
    assert len(lines) == 8
    for line in lines.values():
        if redone:
            assert (line["status"], line["reason"]) == (
                "pending",
                words_of(Verdict.OPTIONS),
            )
            assert set(line["outputs"]) == redone
        else:
            assert line["status"] == "current"


@pytest.fixture(scope="module")
def blind(tmp_path_factory) -> Path:
    """Weights of a network that sees no subject anywhere."""
    torch.manual_seed(0)
    network = BiRefNet(TINY)
    last = network.decoder.conv_out1[0]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    last.bias.data.fill_(-50)
    path = tmp_path_factory.mktemp("weights") / "blind.safetensors"
    weights.save(network, path, config=TINY, size=(96, 64))
    return path


def test_another_model_makes_everything_out_of_date(inside, done, blind):
    lines, _ = told(inside(*run_over(done, "--dry-run", "--json"), BIREFCLI_MODEL=str(blind)))
    assert {line["reason"] for line in lines.values()} == {words_of(Verdict.OPTIONS)}


# Output folders among the inputs


def test_results_beside_their_photos_are_no_photos_of_the_next_run(inside, tmp_path):
    folder = fill(tmp_path / "in", "a.jpg", "sub/a.jpg")
    before = state(folder)
    again = ("matte", folder, "-o", folder, "--json")
    piped = (folder / "a.jpg").read_bytes()
    first = inside("matte", folder, "-", "-o", folder, "--json", stdin=piped)
    assert first.returncode == 0, first.stderr.decode()
    products = {"a.png", "sub/a.png", "stdin.png"}
    assert names(folder) == {"a.jpg", "sub/a.jpg"} | products
    after = state(folder)
    result = inside(*again)
    assert result.returncode == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    reasons = {
        Path(line["input"]).relative_to(folder).as_posix(): (line["status"], line["reason"])
        for line in lines
    }
    assert reasons == {
        "a.jpg": ("current", words_of(Verdict.UP_TO_DATE)),
        "sub/a.jpg": ("current", words_of(Verdict.UP_TO_DATE)),
        **dict.fromkeys(products, ("skipped", "made by birefcli")),
    }
    assert state(folder) == after
    for path in (folder / "a.jpg", folder / "sub" / "a.jpg"):
        assert after[os.fsencode(path)] == before[os.fsencode(path)]


def test_output_folder_inside_the_input_folder_is_left_out(inside, tmp_path):
    folder = fill(tmp_path / "in", "a.jpg", "sub/b.png")
    words = ("matte", folder, "-o", folder / "out")
    assert inside(*words).returncode == 0
    assert names(folder) == {"a.jpg", "sub/b.png", "out/a.png", "out/sub/b.png"}
    before = state(folder)
    second = inside(*words)
    assert second.stderr.decode().startswith("2 up to date")
    assert state(folder) == before


def test_photos_are_never_replaced_by_results(inside, tmp_path):
    folder = fill(tmp_path / "in", "a.png", "sub/b.png")
    before = state(folder)
    for words in (
        ("matte", folder, "-o", folder),
        ("matte", folder / "a.png", "-o", folder / "a.png"),
        ("matte", folder, "-o", folder, "--existing", "overwrite"),
        ("matte", folder, "-o", tmp_path / "out", "--failed-to", folder / "a.png"),
        ("matte", folder, "-o", tmp_path / "out", "--failed-to", tmp_path / "out" / "a.png"),
    ):
        result = inside(*words)
        assert result.returncode == ExitCode.OUTPUT, words
        said = result.stderr.decode()
        assert "a.png" in said
        assert "another" in said, "the way out"
        assert len(said.splitlines()) == 1
        assert state(folder) == before


def test_folder_named_twice_is_done_once(inside, tmp_path):
    folder = fill(tmp_path / "in", "a.jpg", "sub/a.jpg", "sub/b.jpg")
    out = tmp_path / "out"
    dry = ("-o", out, "--dry-run", "--json")
    whole, _ = told(inside("matte", folder, folder / "sub", *dry))
    assert {path for line in whole.values() for path in line["outputs"].values()} <= {
        str(out / name) for name in ("a.png", "sub/a.png", "sub/b.png")
    }
    _, summary = told(inside("matte", folder, folder / "sub", *dry))
    assert summary["pending"] == 3
    other = inside("matte", folder / "sub", folder, *dry)
    assert other.returncode == ExitCode.OUTPUT
    assert all(name in other.stderr.decode() for name in ("in/sub/a.jpg", "in/a.jpg", "a.png"))


# Two runs at once


@needs_fifo
def test_one_run_at_a_time_unless_told_otherwise(inside, start, tmp_path):
    folder, out = fill(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg"), tmp_path / "out"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # the first run waits for it until this test lets it go on
    first = start("matte", folder / "a.jpg", pipe, "-o", out, "--json", "--threads", 3)
    wait_for((out / "a.png").exists)
    refused = inside("matte", folder, "-o", out)
    assert refused.returncode == ExitCode.BUSY
    assert f"{out}: another run is writing here" in refused.stderr.decode()
    assert "--lock wait" in refused.stderr.decode()
    assert names(out) == {"a.png"}
    bold, _ = told(inside("matte", folder, "-o", out, "--lock", "none", "--json"))
    assert [line["status"] for line in bold.values()] == ["current", "written", "written"]
    (out / "b.png").unlink()
    waiting = start("matte", folder / "b.jpg", "-o", out, "--lock", "wait", "--json")
    time.sleep(1)
    assert waiting.poll() is None
    assert not (out / "b.png").exists()
    with pipe.open("wb") as file:
        file.write((folder / "a.jpg").read_bytes())
    said, errors = first.communicate(timeout=TIMEOUT)
    assert first.returncode == 0, errors
    assert json.loads(said.splitlines()[0])["status"] == "written", "a pipe is a photo like any"
    said, errors = waiting.communicate(timeout=TIMEOUT)
    assert waiting.returncode == 0, errors
    assert json.loads(said.splitlines()[0])["status"] == "written"
    assert names(out) == {"a.png", "b.png", "c.png", "pipe.png"}
    assert decoded(out) == 4


# Signals

MANY = 2000  # photos: a run over them is not over before it is interrupted


def alike(folder: Path) -> Path:
    """A folder of one photo under many names."""
    fill(folder, "0000.jpg")
    for i in range(1, MANY):
        (folder / f"{i:04d}.jpg").hardlink_to(folder / "0000.jpg")
    return folder


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        pytest.param(signal.SIGTERM, ExitCode.TERMINATED, marks=pytest.mark.slow),
        (signal.SIGHUP, ExitCode.TERMINATED),
    ],
)
def test_interrupted_run_counts_what_it_wrote_and_leaves_nothing_else(
    start, tmp_path, number, code
):
    folder, out = alike(tmp_path / "in"), tmp_path / "out"
    process = start("matte", folder, "-o", out, "--json", "--threads", 4)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    rest, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, said
    *lines, last = [json.loads(line) for line in (first + rest).splitlines()]
    summary = last["summary"]
    assert (summary["interrupted"], summary["exit_code"]) == (True, code)
    assert summary["written"] + summary["pending"] == MANY
    assert summary["written"] == len(lines) == decoded(out) < MANY
    assert {path for line in lines for path in line["outputs"].values()} == {
        str(out / name) for name in names(out)
    }
    assert f"{len(lines)} written, {summary['pending']} pending" in said.decode()


def test_output_folder_that_goes_stops_the_run(start, tmp_path):
    folder, out = alike(tmp_path / "in"), tmp_path / "out"
    process = start("matte", folder, "-o", out, "--json", "--threads", 1, "--batch", 1)
    assert process.stdout is not None
    first = process.stdout.readline()
    out.rename(tmp_path / "elsewhere")
    rest, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == ExitCode.OUTPUT, said
    *lines, last = [json.loads(line) for line in (first + rest).splitlines()]
    written = [line for line in lines if line["status"] == "written"]
    assert len(written) <= decoded(tmp_path / "elsewhere") < MANY
    assert last["summary"]["pending"] > 0
    assert b"moved, removed or unmounted meanwhile" in said


SOON = """
from birefcli.batch.interrupts import InterruptHandler
codes, grace = InterruptHandler.__init__.__defaults__
InterruptHandler.__init__.__defaults__ = (codes, 1.0)
"""


@pytest.fixture
def stuck(request, start, tmp_path):
    """A run that has one photo done and waits for another that never comes.

    Its parameter is code that is run before.
    """
    folder = fill(tmp_path / "in", "a.jpg")
    os.mkfifo(tmp_path / "pipe")
    words = ("--json", "--threads", 2, "--batch", 1)
    first = getattr(request, "param", "")
    process = start("matte", folder, tmp_path / "pipe", "-o", tmp_path / "out", *words, first=first)
    wait_for((tmp_path / "out" / "a.png").exists)
    return process


@needs_fifo
def test_second_interrupt_ends_at_once(stuck, tmp_path):
    stuck.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        stuck.wait(timeout=1)
    while stuck.poll() is None:  # on a busy machine two may come as one
        stuck.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, _ = stuck.communicate(timeout=TIMEOUT)
    assert stuck.returncode == ExitCode.INTERRUPTED
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert (summary["written"], summary["pending"]) == (1, 1)
    assert names(tmp_path / "out") == {"a.png"}


@needs_fifo
@pytest.mark.slow
def test_run_whose_terminal_was_closed_ends_in_order(environment, tmp_path):
    folder = alike(tmp_path / "in")
    terminal, stderr = pty.openpty()
    words = ["matte", folder, "-o", tmp_path / "out", "--json", "--failed-to", tmp_path / "failed"]
    with subprocess.Popen(
        [sys.executable, "-m", "birefcli", *words],
        env=environment, stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
    ) as process:  # fmt: skip
        os.close(stderr)
        assert process.stdout is not None
        written = b""
        while b"\n" not in written:  # who does not read a terminal holds those up who write to it
            for end in select.select([process.stdout, terminal], [], [])[0]:
                data = os.read(end if end == terminal else process.stdout.fileno(), 65536)
                written += data if end != terminal else b""
        os.close(terminal)  # now every word to it is an error
        process.send_signal(signal.SIGHUP)
        summary = json.loads(process.stdout.read().splitlines()[-1])["summary"]
        assert process.wait(TIMEOUT) == ExitCode.TERMINATED
    assert 0 < summary["written"] < MANY
    assert (tmp_path / "failed").exists(), "what comes after the last word is done too"


@needs_fifo
@pytest.mark.parametrize(
    ("stuck", "number", "code"),
    [
        (SOON, signal.SIGINT, ExitCode.INTERRUPTED),
        pytest.param("", signal.SIGINT, ExitCode.INTERRUPTED, marks=pytest.mark.slow),
        pytest.param("", signal.SIGTERM, ExitCode.TERMINATED, marks=pytest.mark.slow),
    ],
    indirect=["stuck"],
)
def test_photo_that_does_not_end_is_dropped_after_a_while(stuck, tmp_path, number, code):
    stuck.send_signal(number)
    out, said = stuck.communicate(timeout=TIMEOUT)
    assert stuck.returncode == code
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert (summary["written"], summary["pending"], summary["interrupted"]) == (1, 1, True)
    assert "1 written, 1 pending" in said.decode()
    assert names(tmp_path / "out") == {"a.png"}


# Failures


def test_list_of_failures_leads_to_the_same_targets_again(inside, tmp_path):
    folder = tmp_path / "in"
    bad = [b"bad\nline.jpg", b"bad-\xff.jpg", b"sub/bad.jpg", b" .jpg", b"-.jpg"]
    fill(folder, "good.jpg", "sub/good.jpg")
    for name in bad:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("no photo")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cr\r").write_text("no photo, and an odd name")
    listing = tmp_path / "failed"
    where = ("in", "other/cr\r", "-o", "out", "--json")
    first = inside("matte", *where, "--failed-to", "failed", cwd=tmp_path)
    assert first.returncode == ExitCode.SOME_FAILED, first.stderr.decode()
    failed = {n: line for n, line in told(first)[0].items() if line["status"] == "failed"}
    assert len(failed) == 6
    assert listing.read_bytes().count(b"\n") == 6
    planned, _ = told(inside("matte", *where, "--dry-run", cwd=tmp_path))
    again = ("--files-from", "failed", "-o", "out", "--dry-run", "--json")
    fed_back, summary = told(inside("matte", *again, cwd=tmp_path))
    assert summary["pending"] == 6
    assert {name: line["outputs"] for name, line in fed_back.items()} == {
        name: planned[name]["outputs"] for name in failed
    }


def test_list_of_failures_is_plain_lines_and_empty_where_nothing_failed(inside, tmp_path):
    fill(tmp_path / "in", "good.jpg")
    (tmp_path / "in" / "bad.jpg").write_text("no photo")
    words = ("matte", "in", "-o", "out", "--failed-to", "failed")
    inside(*words, cwd=tmp_path)
    assert (tmp_path / "failed").read_text() == "in/./bad.jpg\n"
    inside(*words, "--exclude", "bad*", cwd=tmp_path)
    assert (tmp_path / "failed").read_text() == ""


@pytest.mark.parametrize(
    "words",
    [
        *(("out", "--failed-to", p) for p in ("none/failed", "in", "in/a.jpg/failed", "/")),
        *(("out", "--failed-to", p) for p in ("in/a.jpg", "out/a.png", "list/failed")),
        *((p,) for p in ("in/a.jpg/out", "list", "list/a/b")),
    ],
)
def test_place_that_cannot_be_written_is_refused_before_any_work_and_by_a_dry_run(
    inside, tmp_path, words
):
    fill(tmp_path / "in", "a.jpg")
    (tmp_path / "list").write_text("in/a.jpg")
    run, dry = (
        inside("matte", "in", "-o", *words, *more, cwd=tmp_path) for more in ((), ("--dry-run",))
    )
    assert run.returncode == dry.returncode == ExitCode.OUTPUT
    assert run.stderr == dry.stderr
    assert len(run.stderr.splitlines()) == 1
    assert " ".join(words[1:]) in run.stderr.decode()
    assert names(tmp_path) == {"in/a.jpg", "list"}


def test_run_stops_after_so_many_failures(inside, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02d}.jpg").write_text("no photo")
    words = ("--max-failures", 3, "--threads", 2, "--json")
    result = inside("matte", folder, "-o", tmp_path / "out", *words)
    assert result.returncode == ExitCode.SOME_FAILED
    lines, summary = told(result)
    assert 3 <= summary["failed"] == len(lines) < 40
    assert summary["pending"] == 40 - summary["failed"]


def test_empty_matte_is_said_and_fails_on_request(inside, blind, tmp_path):
    fill(tmp_path / "in", "a.jpg")
    words = ("matte", "in", "--json", "-m", blind)
    lenient = inside(*words, "-o", "out", cwd=tmp_path)
    assert lenient.returncode == 0
    line = told(lenient)[0]["a.jpg"]
    assert (line["status"], line["coverage"]) == ("written", 0)
    assert "no subject found" in line["notes"][0]
    assert (
        "a.jpg: written -> out/a.png (flagged: empty; no subject found" in lenient.stderr.decode()
    )
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert np.asarray(image)[:, :, 3].max() == 0
    strict = inside(*words, "-o", "strict", "--fail-if-empty", cwd=tmp_path)
    assert strict.returncode == ExitCode.SOME_FAILED
    line = told(strict)[0]["a.jpg"]
    assert (line["status"], line["coverage"]) == ("failed", 0)
    assert "no subject found" in line["error"]
    assert names(tmp_path / "strict") == set()
    later = inside(*words, "-o", "out", "--fail-if-empty", cwd=tmp_path)
    assert later.returncode == ExitCode.SOME_FAILED, "also where it was made before"
    assert told(later)[0]["a.jpg"]["status"] == "failed"
    assert names(tmp_path / "out") == {"a.png"}


# Exit codes


@pytest.mark.parametrize("debug", [False, True])
def test_bug_is_one_line_and_exit_70_and_a_traceback_on_request(start, photos, debug):
    patch = "from birefcli.batch import run\nrun.plan_targets = lambda *_: 1 / 0"
    words = ("matte", photos, "-o", photos / "out", *(["--debug"] if debug else []))
    process = start(*words, first=patch)
    said = process.communicate(timeout=TIMEOUT)[1].decode()
    assert process.returncode == ExitCode.BUG
    assert "birefcli: a bug: ZeroDivisionError" in said.splitlines()[-1]
    assert ("Traceback" in said) == debug
    assert len(said.splitlines()) == 1 or debug


@pytest.mark.slow
def test_bug_that_meets_one_photo_costs_that_photo_and_exits_70(start, photos, tmp_path):
    patch = """
from birefcli.batch import stages
right = stages.render_product
def product(kind, photo, matte, bits, background, relative):
    if relative.name == "b.png":
        raise KeyError("a moment of weakness")
    return right(kind, photo, matte, bits, background, relative)
stages.render_product = product
"""
    words = ("matte", photos, "-o", tmp_path / "out", "--debug", "--json")
    process = start(*words, first=patch)
    out, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == ExitCode.BUG
    lines, summary = told(out)
    assert (summary["written"], summary["failed"], summary["exit_code"]) == (2, 1, 70)
    assert lines["b.png"]["error"].startswith("a bug: KeyError")
    assert b"Traceback" in said
    assert names(tmp_path / "out") == {"a.png", "sub/a.png"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ExitCode.OK, ("in", "-o", "out", "--dry-run")),
        (ExitCode.USAGE, ("in",)),
        (ExitCode.NO_INPUT, ("in", "-o", "out", "--include", "*.raw")),
        (ExitCode.MODEL, ("in", "-o", "out", "-m", "no.safetensors")),
        (ExitCode.OUTPUT, ("in", "-o", "in/a.jpg/out")),
    ],
    ids=lambda value: value.name if isinstance(value, ExitCode) else "",
)
def test_exit_code_says_what_is_wrong_before_any_work(inside, tmp_path, code, words):
    fill(tmp_path / "in", "a.jpg")
    result = inside("matte", *words, cwd=tmp_path)
    assert result.returncode == code, result.stderr.decode()
    assert names(tmp_path) == {"in/a.jpg"}


def test_names_that_the_terminal_cannot_show_end_no_run(start, tmp_path):
    fill(tmp_path / "in", "caf\u00e9.jpg")
    words = ("matte", tmp_path / "in", "-o", tmp_path / "out", "--dry-run")
    ascii_alone = "import sys; sys.stdout = sys.__stdout__ = open(1, 'w', encoding='ascii')"
    process = start(*words, first=ascii_alone)
    out, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    assert b"caf\\xe9.jpg: pending" in out
