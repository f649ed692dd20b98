"""What lies where products go: disks that fold names, what is no file, looks that fail."""

import errno
import json
import os
import re
import shlex
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import support
from conftest import TIMEOUT, picture
from PIL import Image

from birefcli.batch import places
from birefcli.batch.inputs import find_photos
from birefcli.batch.lock import hold_folder
from birefcli.batch.run import run
from birefcli.batch.targets import plan_targets
from birefcli.errors import OutputError
from birefcli.options import (
    BatchOptions,
    BatchTask,
    Existing,
    Format,
    Lock,
    ModelOptions,
    Product,
    Rendering,
    Selection,
)
from birefcli.scoring.report.page_mark import PageMark
from birefcli.system import name_folding
from birefcli.system.name_folding import Folding

needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
CASE, COMPOSITION = Folding(case=True), Folding(composition=True)
BOTH = Folding(case=True, composition=True)
ONE, TWO = "caf\u00e9", "cafe\u0301"  # é as one character and as two


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture().save(folder / name)
    return folder


def told(result):
    """The lines of photos by the names of their files, and the summary."""
    *lines, summary = map(json.loads, result.stdout.splitlines())
    return {Path(line["input"]).name: line for line in lines}, summary["summary"]


# Disks that fold names


def folds(monkeypatch, folding):
    monkeypatch.setattr(name_folding, "probe", lambda _: folding)


def planned(*inputs, output, name="{stem}", products=(Product.CUTOUT,)):
    chosen = Selection(tuple(map(str, inputs)), str(output), name=name)
    return plan_targets(find_photos(chosen).found, chosen, products, Format.PNG)


@pytest.mark.parametrize(
    ("folding", "one", "other"),
    [
        (CASE, "Portrait.jpg", "portrait.JPG"),
        (CASE, "Sub/a.jpg", "sub/a.jpg"),
        (CASE, "A/B/c.jpg", "a/b/C.jpg"),
        (CASE, "ÜBER.jpg", "über.jpg"),
        (COMPOSITION, f"{ONE}.jpg", f"{TWO}.jpg"),
        (COMPOSITION, f"{ONE}/a.jpg", f"{TWO}/a.jpg"),
        (BOTH, f"{ONE}.jpg", f"{TWO.upper()}.jpg"),
        (Folding(ending=True), "sub./a.jpg", "sub/a.jpg"),
    ],
)
def test_two_photos_for_one_file_of_a_disk_that_folds_names_are_refused(
    tmp_path, monkeypatch, folding, one, other
):
    folder = fill(tmp_path / "in", one, other)
    if len(find_photos(Selection((str(folder),), "-")).found) < 2:
        pytest.skip("this disk folds names itself")
    for products in ((Product.CUTOUT,), (Product.CUTOUT, Product.MASK)):
        folds(monkeypatch, Folding())
        assert len(planned(folder, output=tmp_path / "out", products=products)) == 2
        folds(monkeypatch, folding)
        with pytest.raises(OutputError, match="for one; rename one of them") as caught:
            planned(folder, output=tmp_path / "out", products=products)
        assert f"{folder / one}" in str(caught.value)
        assert f"{folder / other}" in str(caught.value)


@pytest.mark.parametrize(
    ("folding", "photo", "output"),
    [
        (CASE, "a.PNG", ""),
        (CASE, "A.png", "a.png"),
        (COMPOSITION, f"{ONE}.png", f"{TWO}.png"),
        (BOTH, f"{ONE}.png", f"{TWO.upper()}.png"),
    ],
)
def test_photo_that_its_product_would_replace_on_such_a_disk_is_refused(
    tmp_path, monkeypatch, folding, photo, output
):
    folder = fill(tmp_path / "in", photo)
    folds(monkeypatch, Folding())
    assert planned(folder / photo, output=folder / output)
    folds(monkeypatch, folding)
    with pytest.raises(OutputError, match="would be overwritten by the result of"):
        planned(folder / photo, output=folder / output)


def test_photos_that_differ_in_more_than_that_are_planned(tmp_path, monkeypatch):
    folds(monkeypatch, BOTH)
    folder = fill(tmp_path / "in", "a.jpg", "B.jpg", "sub/a.jpg", "sub/A1.jpg", f"{ONE}.jpg")
    assert len(planned(folder, output=tmp_path / "out")) == 5


@pytest.fixture
def task(tmp_path, tiny_weights):
    """A run over ``in`` that looks for its targets in this process."""

    def make(**more):
        selection = Selection((str(tmp_path / "in"),), str(tmp_path / "out"))
        rendering = Rendering((Product.CUTOUT,))
        model = ModelOptions(str(tiny_weights), device="cpu")
        options = BatchOptions(rendering, model, None, 1, 10**6, 10**9)
        return BatchTask(selection, options, **more)

    return make


def test_list_of_failures_in_the_place_of_a_product_on_such_a_disk_is_refused(
    tmp_path, task, monkeypatch
):
    fill(tmp_path / "in", "a.jpg")
    folds(monkeypatch, CASE)
    for file in (tmp_path / "out" / "A.PNG", tmp_path / "IN" / "a.jpg"):
        with pytest.raises(OutputError, match="is one of the photos or results"):
            run(task(failed_to=file))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_dry_run_refuses_such_names_too_and_leaves_nothing(tmp_path, task, monkeypatch):
    fill(tmp_path / "in", "Portrait.jpg", "portrait.JPG")
    if len(list((tmp_path / "in").iterdir())) < 2:
        pytest.skip("this disk folds names itself")
    assert run(task(dry_run=True)).exit_code == 0, "the probe says that this disk is exact"
    folds(monkeypatch, CASE)
    for dry_run in (True, False):
        with pytest.raises(OutputError, match="would both be written to"):
            run(task(dry_run=dry_run))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# Looks that fail


def failing_looks(monkeypatch, name, number):
    """Have every look at a file of this name fail."""
    real = places.open_regular

    def opened(path):
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(places, "open_regular", opened)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_photo_fails_whose_target_cannot_be_read_and_the_others_go_on(
    tmp_path, task, monkeypatch, number
):
    fill(tmp_path / "in", "a.jpg", "b.jpg")
    fill(tmp_path / "out", "a.png")
    before = (tmp_path / "out" / "a.png").read_bytes()
    failing_looks(monkeypatch, "a.png", number)
    names = tmp_path / "failed"
    for dry_run in (True, False):
        summary = run(task(dry_run=dry_run, failed_to=names))
        assert summary.exit_code == 1
        assert (tmp_path / "out" / "b.png").exists() is not dry_run
    assert (tmp_path / "out" / "a.png").read_bytes() == before
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["a.png", "b.png"]
    assert names.read_text().splitlines() == [f"{tmp_path / 'in'}/./a.jpg"]
    assert run(task(existing=Existing.OVERWRITE)).exit_code == 0
    assert (tmp_path / "out" / "a.png").read_bytes() != before


def test_photo_fails_where_one_of_two_targets_cannot_be_looked_at(inside, tmp_path):
    fill(tmp_path / "in", "a.jpg", "b.jpg")
    loop = tmp_path / "out" / "mask" / "a.png"
    loop.parent.mkdir(parents=True)
    loop.symlink_to("a.png")
    words = ("matte", "in", "-o", "out", "--write", "cutout,mask", "--json")
    for more in ("--dry-run", "--existing=overwrite", "--existing=skip", "--existing=update"):
        result = inside(*words, more, cwd=tmp_path)
        photos, _ = told(result)
        assert result.returncode == 1
        assert photos["a.jpg"]["error"].startswith("out/mask/a.png: ")
        assert photos["b.jpg"]["error"] is None
    assert loop.is_symlink()
    assert not (tmp_path / "out" / "cutout" / "a.png").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="faults are injected by strace")
@pytest.mark.parametrize("number", ["EIO", "ESTALE", "EMFILE", "ENOMEM", "ETIMEDOUT"])
@pytest.mark.parametrize("call", ["read", "openat"])
def test_first_call_on_a_target_that_fails_replaces_nothing(command, tmp_path, number, call):
    fill(tmp_path / "in", "a.jpg")
    fill(tmp_path / "out", "a.png")
    before = (tmp_path / "out" / "a.png").read_bytes()
    within = ("strace", "-f", "-o", os.devnull, "-P", tmp_path / "out" / "a.png")
    often = "1+" if number == "ESTALE" else "1"  # a stale handle is opened once more
    words = ("-e", f"inject={call}:error={number}:when={often}")
    out = tmp_path / "out"  # strace knows a file by its name as it is given
    result = command("matte", "in", "-o", out, cwd=tmp_path, within=(*within, *words))
    if b"ptrace" in result.stderr:
        pytest.skip("strace may not trace here")
    assert result.returncode == 1
    assert b"out/a.png: cannot be read, and stays: " in result.stderr
    assert (tmp_path / "out" / "a.png").read_bytes() == before


# What is no regular file


@needs_fifo
def test_pipes_and_devices_at_targets_are_neither_opened_nor_waited_for(inside, tmp_path):
    fill(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "a.png")
    (out / "b.png").symlink_to("/dev/full")
    for more in ("--dry-run", "--existing=overwrite", "--existing=update"):
        result = inside("matte", "in", "-o", "out", more, "--json", cwd=tmp_path)
        photos, summary = told(result)
        assert (result.returncode, summary["failed"]) == (1, 2)
        assert photos["a.jpg"]["error"] == (
            "out/a.png: is a named pipe, not a regular file; use --output - to write to a pipe"
        )
        assert photos["b.jpg"]["error"] == (
            "out/b.png: is a device, not a regular file; move it, or choose another --output"
        )
    assert (out / "a.png").is_fifo()
    assert (out / "b.png").is_symlink()


@needs_fifo
def test_one_file_that_is_a_pipe_with_a_reader_is_refused(inside, tmp_path):
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    reader = os.open(tmp_path / "pipe.png", os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = inside("matte", "a.jpg", "-o", "pipe.png", cwd=tmp_path)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert result.returncode == 1
    assert b"is a named pipe, not a regular file; use --output -" in result.stderr


@needs_fifo
def test_list_of_failures_goes_into_a_pipe_or_a_device(inside, command, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    os.mkfifo(tmp_path / "pipe")
    words = ("matte", "in", "-o", "out", "--failed-to")
    result = inside(*words, "pipe", cwd=tmp_path)
    assert result.returncode == 5
    assert b"--failed-to pipe: nobody reads from this pipe" in result.stderr
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    result = inside(*words, "pipe", cwd=tmp_path)
    reader.join(TIMEOUT)
    assert result.returncode == 1
    assert got == [b"in/./bad.jpg\n"]
    result = command(*words, "/dev/stderr", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith(b"in/./bad.jpg\n")
    assert inside(*words, os.devnull, cwd=tmp_path).returncode == 1
    assert Path(os.devnull).is_char_device()


@needs_fifo
def test_sheets_and_reports_treat_pipes_by_the_same_rule(inside, tmp_path):
    fill(tmp_path / "cutouts", "a.png")
    os.mkfifo(tmp_path / "sheet.png")
    os.mkfifo(tmp_path / "page.html")
    result = inside("sheet", "cutouts", "-o", "sheet.png", cwd=tmp_path)
    assert (result.returncode, b"sheet.png: is a named pipe, not a" in result.stderr) == (5, True)
    grey = picture().convert("L").point(lambda level: 255 if level > 99 else 0)
    for folder in ("pred", "gt"):
        (tmp_path / folder).mkdir()
        grey.save(tmp_path / folder / "a.png")
    result = inside("score", "pred", "gt", "--report", "page.html", "--json", cwd=tmp_path)
    assert result.returncode == 5
    assert b"--report page.html: nobody reads from this pipe" in result.stderr
    assert json.loads(result.stdout.splitlines()[-1]), "the scores are not lost"


# Locks


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
def test_disk_without_locks_is_written_all_the_same(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with hold_folder(tmp_path, Lock.LEAVE), hold_folder(tmp_path, Lock.WAIT):
        pass


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENFILE])
def test_folder_that_cannot_be_opened_for_its_lock_is_told(tmp_path, monkeypatch, number):
    pytest.importorskip("fcntl")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with (
        pytest.raises(OutputError, match=f"cannot be opened: {os.strerror(number)}"),
        hold_folder(tmp_path, Lock.LEAVE),
    ):
        pass


# Disks that are full


def test_folder_of_temporary_files_that_is_full_is_named_by_a_sheet(command, small_disk, tmp_path):
    (tmp_path / "cutouts").mkdir()
    for number in range(12):  # their tiles take twice the disk
        noise = np.random.RandomState(number).randint(0, 256, (230, 230, 4)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "cutouts" / f"{number}.png")
    result = command("sheet", "cutouts", "-o", "s.png", cwd=tmp_path, TMPDIR=str(small_disk))
    assert result.returncode == 5
    said = f"{small_disk}: No space left on device; set TMPDIR to a folder on a disk with room"
    assert said in result.stderr.decode()
    assert not (tmp_path / "s.png").exists()


FULL = {
    "a report": ("score", "cutouts", "truths", "--report", "{}/page.html"),
    "a sheet": ("sheet", "cutouts", "-o", "{}/sheet.png"),
    "a list of failures": ("matte", "bad.jpg", "-o", "out", "--failed-to", "{}/failed"),
    "a product": ("matte", "a.jpg", "-o", "{}/a.png"),
}


@pytest.mark.parametrize("photo", ["it's.jpg", "a[1].jpg", "-*.jpg", "a b.jpg"])
@pytest.mark.parametrize("name", ["{stem}", "{stem}[1]"])
def test_advice_to_leave_an_edited_result_out_holds_for_odd_names(tmp_path, photo, name):
    edited = Path(name.replace("{stem}", Path(photo).stem) + ".png")
    for file in (Path(photo), edited):
        (tmp_path / file).touch()
    chosen = Selection((str(tmp_path),), str(tmp_path), name=name)

    def planned(selection):
        found = find_photos(selection).found
        return plan_targets(found, selection, (Product.CUTOUT,), Format.PNG)

    with pytest.raises(OutputError) as refused:
        planned(chosen)
    words = shlex.split(re.search(r"(?:with )(exclude=.+?)(; or.*)?$", str(refused.value))[1])
    [pattern] = [word.removeprefix("exclude=") for word in words]
    assert [job.relative for job in planned(replace(chosen, exclude=(pattern,)))] == [Path(photo)]


@pytest.mark.parametrize("what", FULL)
def test_full_disk_is_told_with_the_file_and_keeps_what_was_there(
    inside, small_disk, tmp_path, what
):
    picture().save(tmp_path / "a.jpg")
    (tmp_path / "bad.jpg").write_text("no picture")
    (tmp_path / "cutouts").mkdir()
    shown = picture().convert("L").point(lambda level: 255 if level > 99 else 0)
    shown.save(tmp_path / "cutouts" / "a.png")
    shutil.copytree(tmp_path / "cutouts", tmp_path / "truths")
    words = [word.format(small_disk) for word in FULL[what]]
    target = Path(words[-1])
    if what == "a report":
        mark = PageMark("scores")
        target.write_bytes(mark.sealed(f"{mark.tag()}old"))
    elif what == "a list of failures":
        target.write_text("././old.jpg\n")
    support.fill(small_disk / "filler")
    before = {path: path.read_bytes() for path in small_disk.iterdir()}
    result = inside(*words, cwd=tmp_path)
    assert result.returncode == 5
    said = result.stderr.decode()
    assert "No space left on device" in said
    assert str(target) in said
    assert {path: path.read_bytes() for path in small_disk.iterdir()} == before
