"""Finding photos, naming targets, and writing files that are never half there."""

import dataclasses
import os
import posixpath
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TIMEOUT
from hypothesis import given
from hypothesis import strategies as st

from birefcli.batch.freshness import Verdict, decide
from birefcli.batch.inputs import FoundPhoto, find_photos, search_photos
from birefcli.batch.lists import split_unread, unread_line
from birefcli.batch.lock import hold_folder
from birefcli.batch.output import output_of
from birefcli.batch.places import LocalFile, Stdin, Stdout
from birefcli.batch.targets import (
    Job,
    check_output,
    plan_targets,
    remove_empty,
)
from birefcli.errors import NoInputError, OutputError, UsageError
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Existing, Format, Lock, Precision, Product, Selection
from birefcli.system import atomic
from birefcli.system.atomic import write_file
from birefcli.system.object_url import is_url

CUTOUT = (Product.CUTOUT,)


def place(path):
    return LocalFile(Path(path))


needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@pytest.fixture
def photos(tmp_path):
    """A folder to be filled with files of any content."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content does not matter")


def selected(*inputs, output="out", **more):
    return Selection(tuple(map(str, inputs)), str(output), **more)


def found(*inputs, **more):
    """Paths below the output folder of what is found."""
    return [photo.relative.as_posix() for photo in find_photos(selected(*inputs, **more)).found]


def skipped(*inputs, **more):
    search = find_photos(selected(*inputs, **more))
    return {path.name: reason for path, reason in search.skipped}


# Finding


def test_folder_is_searched_in_name_order_and_hidden_files_are_left_out(photos):
    touch(photos, "b.png", "a.jpg", ".hidden.jpg", "sub/z.jpg", "sub/.x/a.jpg", ".y/a.jpg")
    touch(photos, "notes.txt", "noextension", "a.jpg.part")
    assert found(photos) == ["a.jpg", "b.png", "sub/z.jpg"]


def test_upper_case_and_every_known_extension_is_found(photos):
    names = ["A.JPG", "b.JpEg", *(f"x{suffix}" for suffix in sorted(PHOTO_SUFFIXES))]
    touch(photos, *names)
    assert sorted(found(photos)) == sorted(names)


def test_subfolders_can_be_left_out(photos):
    touch(photos, "a.jpg", "sub/b.jpg")
    assert found(photos, recursive=False) == ["a.jpg"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.raw",), (), ["c.raw", "sub/d.raw"]),
        (("*.raw", "a.*"), (), ["a.jpg", "c.raw", "sub/d.raw"]),
        (("sub/*",), (), ["sub/b.jpg", "sub/d.raw"]),
        ((), ("b*",), ["a.jpg"]),
        ((), ("sub/*",), ["a.jpg"]),
        (("*.raw",), ("d*",), ["c.raw"]),
    ],
)
def test_patterns_choose_by_name_or_by_path(photos, include, exclude, expected):
    touch(photos, "a.jpg", "sub/b.jpg", "c.raw", "sub/d.raw")
    assert found(photos, include=include, exclude=exclude) == expected


def test_file_named_by_the_user_is_taken_whatever_its_name(photos):
    touch(photos, ".hidden", "noextension", "x.jpg")
    named = [photos / ".hidden", photos / "noextension", photos / "missing.jpg"]
    assert found(*named, exclude=("*",)) == [".hidden", "noextension", "missing.jpg"]


def test_same_photo_named_twice_is_done_once(photos):
    touch(photos, "a.jpg", "sub/b.jpg")
    (photos.parent / "link").symlink_to(photos)
    ways = (photos, photos / "a.jpg", photos / "sub" / ".." / "a.jpg", photos.parent / "link")
    assert found(*ways) == ["a.jpg", "sub/b.jpg"]


def test_folder_behind_a_link_is_searched_and_a_loop_ends(photos):
    touch(photos, "a.jpg")
    touch(photos.parent, "elsewhere/b.jpg")
    (photos / "elsewhere").symlink_to(photos.parent / "elsewhere")
    (photos / "loop").symlink_to(photos)
    (photos / "sub").mkdir()
    (photos / "sub" / "up").symlink_to("..")
    assert found(photos) == ["a.jpg", "elsewhere/b.jpg"]


def test_links_to_nothing_and_to_themselves_are_skipped_and_said(photos):
    touch(photos, "a.jpg")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "self.jpg").symlink_to("self.jpg")
    assert found(photos) == ["a.jpg"]
    assert skipped(photos) == {
        "gone.jpg": "a symbolic link to nothing",
        "self.jpg": "a symbolic link to nothing",
    }


@needs_fifo
def test_named_pipe_in_a_folder_is_skipped_and_never_opened(photos):
    touch(photos, "a.jpg")
    os.mkfifo(photos / "pipe.jpg")
    assert found(photos) == ["a.jpg"]
    assert skipped(photos) == {"pipe.jpg": "not a regular file"}


def test_folder_called_like_a_photo_is_searched(photos):
    touch(photos, "x.jpg/a.jpg")
    assert found(photos) == ["x.jpg/a.jpg"]


def test_unreadable_folder_is_a_failure_that_can_be_retried_and_the_rest_is_found(
    photos, monkeypatch
):
    touch(photos, "a.jpg", "locked/b.jpg", "locked/out/c.jpg", "locked/old/d.jpg", "locked/e.txt")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        search = find_photos(selected(photos))
        assert [photo.relative.name for photo in search.found] == ["a.jpg"]
        [unread] = search.failed
        line = f"{photos}/././locked/"
        assert unread == (photos / "locked", "Permission denied", line)
        again = search_photos(selected(listed=(line,)))
        assert (again.found, again.failed) == ([], [unread])
        itself = search_photos(selected(photos / "locked"))
        assert itself.failed[0].listed == f"{photos / 'locked'}/././"
    more = {"output": photos / "locked" / "out", "exclude": ("locked/old",)}
    for lines in ((line,), (line, f"{photos}/./locked/b.jpg")):
        [photo] = find_photos(selected(listed=lines, **more)).found
        assert photo.relative == Path("locked/b.jpg")
        assert photo.source.listed_as(photo.relative) == f"{photos}/./locked/b.jpg"
    for name in (f"{photos}/locked/", f"{photos}/./"):
        [plain] = find_photos(selected(listed=(name,))).found
        assert "is a folder" in plain.source.absence(), "one that find names is no photo"


@pytest.mark.parametrize("root", ["/", ".", "in", "/in", "s3://b/", "s3://b/in/"])
@pytest.mark.parametrize("below", ["", "locked/", "x/locked/"])
def test_line_of_an_unread_folder_tells_what_was_searched(root, below):
    line = unread_line(root, below.removesuffix("/"))
    assert split_unread(line) == (root.removesuffix("/") + "/", below)
    assert is_url(line) or Path(line) == Path(root, below)


def test_unread_folder_below_the_top_of_all_is_searched_there(photos):
    touch(photos, "a.jpg")
    [photo] = find_photos(selected(listed=(unread_line("/", str(photos)[1:]),))).found
    assert (photo.source, photo.relative) == (
        place(photos / "a.jpg"),
        Path(str(photos)[1:], "a.jpg"),
    )


@pytest.mark.parametrize("output", ["in/out", "link/out", "in/sub/../out"])
def test_output_folder_inside_the_input_folder_is_not_read(photos, output):
    touch(photos, "a.jpg", "out/a.png", "sub/out/b.jpg")
    (photos.parent / "link").symlink_to(photos)
    out = photos.parent / output
    assert found(photos, output=out) == ["a.jpg", "sub/out/b.jpg"]


def test_output_folder_named_as_an_input_is_read(photos):
    touch(photos, "a.jpg", "out/b.jpg")
    assert found(photos / "out", output=photos / "out") == ["b.jpg"]


def test_products_of_an_earlier_run_are_no_photos_unless_named(photos):
    touch(photos, "a.jpg", "c.png")
    made = Stamp("0" * 16, "fp32", "cutout", 1, 2).text()
    pixels = np.zeros((1, 1, 4), np.uint8)
    (photos / "a.png").write_bytes(encode(pixels, Format.PNG, metadata=Metadata(stamp=made)))
    assert found(photos, output=photos) == ["a.jpg", "c.png"]
    assert skipped(photos, output=photos) == {"a.png": "made by birefcli"}
    assert found(photos) == ["a.jpg", "c.png"], "wherever this run writes"
    assert found(photos / "a.png") == ["a.png"]


def test_nothing_found_is_an_error_that_says_where_and_what_to_do_with_other_files(photos):
    with pytest.raises(NoInputError, match=f"^no photo found in {re.escape(str(photos))}$"):
        find_photos(selected(photos))
    touch(photos, "notes.txt")
    with pytest.raises(NoInputError, match=r"no photo found in .*; a file that is named itself"):
        find_photos(selected(photos))


def test_names_may_hold_anything(photos):
    names = [" a b.jpg", "-rf.jpg", "new\nline.jpg", "ä.jpg", "a\u0308.jpg", "{stem}.jpg", "%s.jpg"]
    touch(photos, *names, os.fsdecode(b"\xff\xfe.jpg"))
    jobs = plan_targets(find_photos(selected(photos)).found, selected(photos), CUTOUT, Format.PNG)
    targets = {os.fsencode(next(iter(job.targets.values())).path.name) for job in jobs}
    assert targets == {
        *(os.fsencode(name.replace(".jpg", ".png")) for name in names),
        b"\xff\xfe.png",
    }


# Lists of photos


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("a.jpg", "a.jpg"),
        ("sub/a.jpg", "sub/a.jpg"),
        ("./sub/a.jpg", "sub/a.jpg"),
        ("../up/a.jpg", "up/a.jpg"),
        ("/abs/a.jpg", "abs/a.jpg"),
        ("/abs/./sub/a.jpg", "sub/a.jpg"),
        ("sub/../../a.jpg", "sub/a.jpg"),
    ],
)
def test_listed_photo_keeps_its_path_below_the_output_folder(name, relative):
    (photo,) = find_photos(Selection((), "out", listed=(name,))).found
    assert photo.relative == Path(relative)
    assert photo.source == place(name)


PARTS = st.lists(st.sampled_from(["a", "b.jpg", "..", "-", " c", "ä"]), min_size=1, max_size=4)


@given(PARTS, PARTS.filter(lambda parts: ".." not in parts), st.sampled_from(["", "/", "./"]))
def test_name_in_a_list_of_failures_gives_the_same_target_again(folder, below, start):
    if folder[-1] == "..":
        folder = [*folder, "d"]
    for source, relative in (
        (place(Path(start, *folder, *below)), Path(*below)),
        (place(Path(start, *folder)), Path(*(part for part in folder if part != ".."))),
    ):
        name = source.listed_as(relative)
        (again,) = find_photos(Selection((), "out", listed=(name,))).found
        assert again.relative == relative
        assert again.source == source


# Targets


def targets(jobs):
    return [target.path for job in jobs for target in job.targets.values()]


def planned(*relatives, output="/out", products=CUTOUT, format_=Format.PNG, name="{stem}"):
    photos = [FoundPhoto(place(Path("/in", relative)), Path(relative)) for relative in relatives]
    return plan_targets(photos, selected("/in", output=output, name=name), products, format_)


def test_targets_keep_the_folder_tree():
    jobs = planned("a.jpg", "sub/a.jpg", "sub.dir/x.y.jpg")
    assert targets(jobs) == [Path("/out/a.png"), Path("/out/sub/a.png"),
                             Path("/out/sub.dir/x.y.png")]  # fmt: skip


def test_several_products_get_a_folder_each():
    (job,) = planned("sub/a.jpg", products=(Product.CUTOUT, Product.MASK))
    assert job.targets == {
        Product.CUTOUT: place("/out/cutout/sub/a.png"),
        Product.MASK: place("/out/mask/sub/a.png"),
    }


def test_names_can_be_made_of_stem_and_name():
    assert targets(planned("a.jpg", name="{stem}-cut")) == [Path("/out/a-cut.png")]
    assert targets(planned("a.jpg", name="{name}")) == [Path("/out/a.jpg.png")]


def test_two_photos_for_one_target_are_refused_and_both_named():
    with pytest.raises(OutputError) as error:
        planned("a.jpg", "b.jpg", "a.png")
    for name in ("/in/a.jpg", "/in/a.png", "/out/a.png", "{name}"):
        assert name in str(error.value)
    assert len(planned("a.jpg", "a.png", name="{name}")) == 2


def test_target_that_is_a_photo_is_refused():
    with pytest.raises(OutputError, match="would be overwritten"):
        planned("a.png", output="/in")
    with pytest.raises(OutputError, match="would be overwritten"):
        planned("a.jpg", "cutout/a.png", output="/in", products=(Product.CUTOUT, Product.MASK))


def test_target_that_is_a_photo_by_another_way_is_refused(photos):
    touch(photos, "a.png")
    (photos.parent / "way").symlink_to(photos)
    with pytest.raises(OutputError, match="would be overwritten"):
        plan_targets([FoundPhoto(place(photos / "a.png"), Path("a.png"))],
             selected(photos, output=photos.parent / "way"), CUTOUT, Format.PNG)  # fmt: skip
    (photos.parent / "link.png").symlink_to(photos / "a.png")
    with pytest.raises(OutputError, match="would be overwritten"):
        plan_targets([FoundPhoto(place(photos.parent / "link.png"), Path("a.png"))],
             selected("x", output=photos), CUTOUT, Format.PNG)  # fmt: skip


def test_photo_that_is_a_link_to_itself_is_planned_like_any(photos):
    (photos / "self.jpg").symlink_to("self.jpg")
    search = find_photos(selected(photos / "self.jpg"))
    assert len(plan_targets(search.found, selected(photos), CUTOUT, Format.PNG)) == 1


NAME = st.text(st.sampled_from("aAäß.~ {}%-0\u0308\n"), min_size=1, max_size=4).filter(
    lambda name: name.strip(".") != ""
)


@given(
    st.lists(st.lists(NAME, min_size=1, max_size=3), min_size=1, max_size=8, unique_by=tuple),
    st.sampled_from(["{stem}", "{name}", "x{stem}", "same"]),
    st.sampled_from(["/out", "/in", "/in/a", "/in/../in"]),
    st.sets(st.sampled_from(Product), min_size=1),
    st.sampled_from(Format),
    st.sampled_from(["", ".jpg", ".png"]),
)
def test_no_two_photos_ever_share_a_target(paths, name, output, products, format_, suffix):
    relatives = ["/".join(parts) + suffix for parts in paths]
    try:
        jobs = planned(*relatives, output=output, products=tuple(products), format_=format_,
                       name=name)  # fmt: skip
    except OutputError:
        return
    places = [posixpath.normpath(target) for target in targets(jobs)]
    assert len(set(places)) == len(places) == len(jobs) * len(products)
    assert not {posixpath.normpath(job.source.path) for job in jobs} & set(places)


# One file as output


def test_one_photo_into_a_named_file(tmp_path):
    one = selected("/in/a.jpg", output=tmp_path / "x.PNG")
    (job,) = plan_targets([FoundPhoto(place("/in/a.jpg"), Path("a.jpg"))], one, CUTOUT, Format.PNG)
    assert job.targets == {Product.CUTOUT: place(tmp_path / "x.PNG")}


def test_folder_called_like_a_picture_is_a_folder(tmp_path):
    (tmp_path / "out.png").mkdir()
    assert not output_of(selected("a.jpg", output=tmp_path / "out.png")).is_one
    assert not output_of(selected("a.jpg", output=f"{tmp_path}/new.png/")).is_one
    assert output_of(selected("a.jpg", output=tmp_path / "new.png")).is_one


@pytest.mark.parametrize("output", ["one.png", "-"])
def test_one_output_for_several_photos_or_products_is_refused(tmp_path, output):
    target = output if output == "-" else tmp_path / output
    two = [
        FoundPhoto(place("/in/a.jpg"), Path("a.jpg")),
        FoundPhoto(place("/in/b.jpg"), Path("b.jpg")),
    ]
    with pytest.raises(UsageError, match="one file"):
        plan_targets(two, selected("/in/a.jpg", "/in/b.jpg", output=target), CUTOUT, Format.PNG)
    with pytest.raises(UsageError, match="one product"):
        plan_targets(two[:1], selected("/in/a.jpg", output=target), tuple(Product), Format.PNG)
    with pytest.raises(UsageError, match="one file"):
        plan_targets(two[:1], selected(tmp_path, output=target), CUTOUT, Format.PNG)


def test_photo_into_itself_is_refused(photos):
    touch(photos, "a.png")
    itself = selected(photos / "a.png", output=photos / "a.png")
    with pytest.raises(OutputError, match="would be overwritten"):
        plan_targets(find_photos(itself).found, itself, CUTOUT, Format.PNG)


def test_pipe_in_and_out():
    both = selected("-", output="-")
    (job,) = plan_targets(find_photos(both).found, both, CUTOUT, Format.PNG)
    assert job.source == Stdin()
    assert job.targets == {Product.CUTOUT: Stdout()}
    assert job.label == "-"


def test_file_called_as_stdin_is_told_apart_from_it():
    assert Job(place("-"), {}, Path("-")).label == "./-"
    assert Job(Stdin(), {}, Path("stdin")).label == "-"


# The output folder


def test_output_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    check_output([], selected("a", output=tmp_path / "new" / "out"))
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_looking_at_the_output_folder_makes_nothing(tmp_path):
    check_output([], selected("a", output=tmp_path / "new"), make=False)
    assert not (tmp_path / "new").exists()


def test_file_in_the_place_of_the_output_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    for output in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputError, match=str(output)):
            check_output([], selected("a", output=output))
    assert (tmp_path / "out").read_text() == "a file"


def test_folder_in_the_place_of_a_target_is_refused(tmp_path):
    (tmp_path / "a.png").mkdir()
    job = Job(place("/in/a.jpg"), {Product.CUTOUT: place(tmp_path / "a.png")}, Path("a.jpg"))
    with pytest.raises(OutputError, match="is a folder"):
        check_output([job], selected("/in", output=tmp_path))


# Writing


def test_written_file_is_whole_and_alone(tmp_path):
    write_file(tmp_path / "a.png", b"new")
    write_file(tmp_path / "a.png", b"newer")
    assert (tmp_path / "a.png").read_bytes() == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_failure_before_the_last_byte_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(TypeError):
        write_file(tmp_path / "a.png", "no bytes")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_failure_of_the_last_step_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"old")

    def full(self, target):
        assert self.read_bytes() == b"new", "all is written before the old file goes"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0, 0o666)])
def test_written_file_has_ordinary_permissions(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_file(tmp_path / "a.png", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == mode


def test_link_at_the_target_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"precious")
    (tmp_path / "a.png").symlink_to("photo.png")
    (tmp_path / "b.png").hardlink_to(tmp_path / "photo.png")
    for name in ("a.png", "b.png"):
        write_file(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "photo.png").read_bytes() == b"precious"


def test_name_of_255_bytes_is_written_and_a_longer_one_fails_without_a_trace(tmp_path):
    write_file(tmp_path / ("a" * 251 + ".png"), b"new")
    with pytest.raises(OSError, match="too long"):
        write_file(tmp_path / ("a" * 252 + ".png"), b"new")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_name_too_long_for_its_target_is_no_trouble_before_it_is_written(photos):
    touch(photos, "a" * 251 + ".jpg", "b.jpg")
    chosen = selected(photos, output=photos.parent / "out")
    jobs = plan_targets(find_photos(chosen).found, chosen, CUTOUT, Format.TIFF)
    check_output(jobs, chosen)
    todo = [
        decide(job, existing, {Product.CUTOUT: "0"}, Precision.AUTO).job
        for job in jobs
        for existing in Existing
    ]
    assert all(job.targets for job in todo)


def test_reader_sees_the_old_file_or_the_new_one_and_nothing_between(tmp_path):
    target = tmp_path / "a.png"
    contents = [bytes([i]) * 200_000 for i in range(4)]
    write_file(target, contents[0])
    done = threading.Event()

    def write():
        for i in range(100):
            write_file(target, contents[i % 4])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(target.read_bytes())
    writer.join()
    assert seen <= set(contents)


# What a killed run leaves


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_part_files_of_a_killed_run_are_cleared_and_those_of_a_living_one_are_not(tmp_path):
    dead, living = f".birefcli-{ended_process()}-0a.part", f".birefcli-{os.getpid()}-0b.part"
    old, other = ".birefcli-other-0c.part", ".birefcli-other-0d.part"
    touch(tmp_path, dead, living, old, other, "photo.part", ".birefcli-notes.txt")
    long_ago = time.time() - 2 * atomic.STALE
    os.utime(tmp_path / old, (long_ago, long_ago))
    assert atomic.clear_stale([tmp_path, tmp_path / "not there"]) == 2
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {living, other, "photo.part", ".birefcli-notes.txt"}


def test_part_file_that_may_not_be_removed_is_left(tmp_path, monkeypatch):
    touch(tmp_path, f".birefcli-{ended_process()}-0a.part")

    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        assert atomic.clear_stale([tmp_path]) == 0
    assert atomic.clear_stale([tmp_path]) == 1


@pytest.mark.parametrize("number", ["9" * 30, "0", "²", ""])
def test_part_file_with_an_odd_number_is_left_alone(tmp_path, number):
    name = f".birefcli-{number}-0a.part"
    touch(tmp_path, name)
    assert atomic.clear_stale([tmp_path]) == 0
    assert (tmp_path / name).exists()


# What is there already


@pytest.fixture
def job(photos, tmp_path):
    touch(photos, "a.jpg")
    out = {Product.CUTOUT: place(tmp_path / "c.png"), Product.MASK: place(tmp_path / "m.png")}
    return Job(place(photos / "a.jpg"), out, Path("a.jpg"))


def make(job, kind, fingerprint="0" * 16, precision="fp32"):
    pixels = np.zeros((1, 1, 4), np.uint8)
    made = Stamp(fingerprint, precision, kind.value, *job.source.state()).text()
    job.targets[kind].path.write_bytes(encode(pixels, Format.PNG, metadata=Metadata(stamp=made)))


WANTED = dict.fromkeys(Product, "0" * 16)


@pytest.mark.parametrize("existing", Existing)
def test_missing_products_are_made_whatever_the_policy(job, existing):
    assert decide(job, existing, WANTED, Precision.AUTO).job.targets == job.targets


@pytest.mark.parametrize(
    ("existing", "left", "reason"),
    [
        (Existing.UPDATE, [], Verdict.UP_TO_DATE.message),
        (Existing.SKIP, [], Verdict.EXISTS.message),
        (Existing.OVERWRITE, [Product.CUTOUT, Product.MASK], Verdict.OVERWRITE.message),
    ],
)
def test_products_that_are_there_are_kept_or_made_again(job, existing, left, reason):
    make(job, Product.CUTOUT)
    make(job, Product.MASK)
    decision = decide(job, existing, WANTED, Precision.AUTO)
    assert list(decision.job.targets) == left
    assert decision.reason == reason


def test_existing_product_is_an_error_where_that_is_asked_for(job):
    make(job, Product.MASK)
    with pytest.raises(OutputError, match=r"m\.png: exists"):
        decide(job, Existing.ERROR, WANTED, Precision.AUTO)


@pytest.mark.parametrize("existing", [Existing.UPDATE, Existing.SKIP])
def test_only_what_is_missing_is_made(job, existing):
    make(job, Product.CUTOUT)
    decision = decide(job, existing, WANTED, Precision.AUTO)
    assert list(decision.job.targets) == [Product.MASK]
    assert decision.reason == Verdict.MISSING.message


def test_product_of_an_older_photo_or_other_options_or_a_torn_one_is_made_again(job):
    make(job, Product.CUTOUT)
    make(job, Product.MASK, "1" * 16)
    assert list(decide(job, Existing.UPDATE, WANTED, Precision.AUTO).job.targets) == [Product.MASK]
    os.utime(job.source.path, ns=(1, 1))
    assert decide(job, Existing.UPDATE, WANTED, Precision.AUTO).job.targets == job.targets
    make(job, Product.CUTOUT)
    make(job, Product.MASK)
    torn = job.targets[Product.CUTOUT].path
    torn.write_bytes(torn.read_bytes()[:-5])
    decision = decide(job, Existing.UPDATE, WANTED, Precision.AUTO)
    assert list(decision.job.targets) == [Product.CUTOUT]
    assert decision.reason == Verdict.DAMAGED.message


@pytest.mark.parametrize(
    ("made", "asked", "kept"),
    [
        ("fp32", Precision.AUTO, True),
        ("fp16", Precision.AUTO, True),  # made where auto is that
        ("bf16", Precision.AUTO, False),
        ("fp32", Precision.FP32, True),
        ("fp16", Precision.FP32, False),
        ("fp32", Precision.BF16, False),
        ("bf16", Precision.BF16, True),
    ],
)
def test_precision_that_is_named_must_be_that_of_the_product(job, made, asked, kept):
    make(job, Product.CUTOUT, precision=made)
    make(job, Product.MASK, precision=made)
    decision = decide(job, Existing.UPDATE, WANTED, asked)
    assert decision.reason == (Verdict.UP_TO_DATE.message if kept else Verdict.OPTIONS.message)


def test_file_of_somebody_else_at_the_target_is_kept(job):
    pixels = np.zeros((1, 1, 4), np.uint8)
    make(job, Product.CUTOUT)
    job.targets[Product.MASK].path.write_bytes(encode(pixels, Format.PNG))
    decision = decide(job, Existing.UPDATE, WANTED, Precision.AUTO)
    assert decision.job.targets == {}
    assert decision.kept == {str(job.targets[Product.MASK]): Verdict.NOT_OURS.message}
    assert (
        str(decision.reason)
        == f"{Verdict.UP_TO_DATE.message}, {job.targets[Product.MASK]}: {Verdict.NOT_OURS.message}"
    )


def test_file_that_may_not_be_read_is_kept_like_any_that_is_not_ours(job, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    make(job, Product.CUTOUT)
    make(job, Product.MASK)
    monkeypatch.setattr(stamp, "read", refuse)
    for existing in (Existing.UPDATE, Existing.SKIP):
        assert decide(job, existing, WANTED, Precision.AUTO).job.targets == {}


def test_stdout_is_always_written(job):
    piped = dataclasses.replace(job, targets={Product.CUTOUT: Stdout()})
    for existing in Existing:
        assert decide(piped, existing, WANTED, Precision.AUTO).job.targets == {
            Product.CUTOUT: Stdout()
        }


@needs_fifo
def test_what_is_no_regular_file_is_written_into_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(pipe, b"text")
        assert os.read(reader, 9) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_folders_that_were_made_are_taken_back_unless_something_came_into_them(tmp_path):
    chosen = selected("a", output=tmp_path / "new" / "out")
    made = check_output([], chosen)
    assert made == [tmp_path / "new" / "out", tmp_path / "new"]
    (tmp_path / "new" / "other").touch()
    remove_empty(made)
    assert not (tmp_path / "new" / "out").exists()
    assert (tmp_path / "new").is_dir()
    assert check_output([], selected("a", output=tmp_path / "new")) == []


def test_run_that_waited_for_a_folder_finds_it_again_when_it_was_taken_back(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    waiting = threading.Event()

    def second():
        waiting.set()
        with hold_folder(out, Lock.WAIT):
            (out / "a").touch()

    with hold_folder(out, Lock.LEAVE):
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        time.sleep(0.1)
        out.rmdir()
    thread.join(TIMEOUT)
    assert (out / "a").exists()
