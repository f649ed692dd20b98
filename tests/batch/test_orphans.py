"""Products whose photo is gone: which are listed, and where nothing is."""

import os
from pathlib import Path

import pytest
from support import stamped_png

from birefcli.batch.orphans import find_orphans
from birefcli.batch.stores import find_photo
from birefcli.cli.app import app
from birefcli.errors import NoInputError, OutputError, UsageError
from birefcli.images.stamp import SHEET
from birefcli.options import Selection, Shard
from birefcli.system.object_url import parse_url

OURS = stamped_png()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make files, with the bytes of a product or of a photo, in the folder that is worked in."""
    monkeypatch.chdir(tmp_path)

    def made(data, *names):
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    return made


def listed(*inputs, output="out", **more):
    return [str(each) for each in find_orphans(Selection(inputs, output, **more)).products]


def test_what_no_photo_can_have_given_is_listed_and_all_else_is_not(make):
    make(b"photo", "photos/a.jpg", "photos/x/b.tar.jpg", "photos/É.jpg")
    kept = (
        *("a.png", "a.jpg.webp", "a.tif", "x/b.tar.png", "É.png", "A.png"),
        *("mask/a.png", "cutout/x/b.tar.png", "trimap/a.jpg.png", "composite/a.jpg"),
        *("photos/x/b.tar.png", "b.tar.png"),  # of a list, and of a photo that is named
        *("shop/x/b.tar.png", "shop/mask/a.png"),  # of another run, whose output is in this
    )
    gone = (
        "y/b.tar.png",
        "mask/x/c/b.tar.png",
        "b.png",
        "c.png",
        "cutout/c.png",
        "x/b.png",
        "x/c.jpg.png",
    )
    make(OURS, *(f"out/{name}" for name in (*kept, *gone)))
    make(b"of somebody else", "out/other.png", "out/.hidden.png")
    make(OURS, "out/notes.txt", "out/.thumbnails/c.png", "out/.c.png")
    assert listed("photos") == sorted_as_walked(gone)
    assert set(Path("out").rglob("*.png")) >= {Path("out") / n for n in gone if n.endswith("png")}


def sorted_as_walked(names):
    return [f"out/{n}" for n in sorted(names, key=lambda n: ("/" in n, n.rpartition("/")))]


def test_a_page_of_a_contact_sheet_is_no_photos_product(make):
    make(b"photo", "photos/a.jpg")
    make(OURS, "out/c.png")
    make(stamped_png(product=SHEET), "out/page.png")
    assert listed("photos") == ["out/c.png"]


def test_a_name_of_this_run_counts_beside_the_usual_ones(make):
    make(b"photo", "photos/a.jpg")
    make(OURS, "out/a-cut.png", "out/a.png", "out/b-cut.png")
    assert listed("photos", name="{stem}-cut") == ["out/b-cut.png"]


def test_what_was_made_of_a_file_that_is_there_is_no_orphan_whatever_both_are_called(make):
    make(b"photo", "photos/a.jpg", "photos/x/scan", "photos/x.psd")
    for number, path in enumerate(("photos/a.jpg", "photos/x/scan", "photos/x.psd")):
        os.utime(path, ns=(7, number))
        make(stamped_png(len(b"photo"), number), f"out/{number}-cut.png")
    make(stamped_png(len(b"photo"), 3), "out/3-cut.png")
    make(stamped_png(len(b"photo") + 1, 2), "out/changed.png")
    assert listed("photos") == ["out/3-cut.png", "out/changed.png"]
    make(OURS, "out/x.png", "out/x/scan.jpg", "out/y.png")
    make(b"text", "photos/y.xmp")
    assert listed("photos") == ["out/3-cut.png", "out/changed.png", "out/y.png"], "by its name"
    Path("photos/x.psd").unlink()
    assert {"out/2-cut.png", "out/x.png"} < set(listed("photos"))


def test_photos_and_products_may_share_a_folder_or_lie_in_each_other(make):
    make(b"photo", "all/a.jpg", "all/x/b.jpg")
    make(OURS, "all/a.png", "all/c.png", "all/x/b.png", "all/out/a.png", "all/out/c.png")
    assert listed("all", output="all") == ["all/c.png", "all/out/c.png"]
    assert listed("all", output="all/out") == ["all/out/c.png"]
    make(b"photo", "more/c.jpg")
    assert listed("all", "more", output="all/out") == []


@pytest.mark.parametrize(
    ("inputs", "more"),
    [
        (["photos"], {"include": ("*.jpg",)}),
        (["photos"], {"exclude": ("x/*",)}),
        (["photos"], {"listed": ("photos/a.jpg",)}),
        (["photos"], {"shard": Shard(0, 2)}),
        (["photos"], {"recursive": False}),
        (["photos/a.jpg"], {}),
        (["-"], {}),
        (["photos", "nowhere"], {}),
        (["photos"], {"output": "out/a.png"}),
    ],
)
def test_a_selection_that_leaves_photos_out_is_refused(make, inputs, more):
    make(b"photo", "photos/a.jpg")
    make(OURS, "out/c.png")
    with pytest.raises(UsageError):
        listed(*inputs, **more)


def test_photos_that_cannot_be_seen_are_not_taken_for_gone(make, tmp_path):
    make(OURS, "out/a.png", "out/x/b.png")
    Path("photos/x").mkdir(parents=True)
    with pytest.raises(NoInputError, match="no photo found in photos"):
        listed("photos")  # as of a disk that is not mounted
    make(b"photo", "photos/c.jpg")
    Path("not-mounted").mkdir()
    with pytest.raises(NoInputError, match="no photo found in not-mounted"):
        listed("photos", "not-mounted")
    Path("photos/a.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    assert listed("photos") == ["out/x/b.png"]
    with pytest.raises(OutputError, match="no such folder"):
        listed("photos", output="nowhere")


def test_a_folder_that_cannot_be_read_ends_the_search(make, monkeypatch):
    make(b"photo", "photos/c.jpg")
    make(OURS, "out/x/b.png")
    Path("photos/x").mkdir()
    from birefcli.images import files

    plain = files._listed

    def closed(folder, **more):
        if folder.name == "x":
            raise PermissionError(13, "Permission denied", str(folder))
        return plain(folder, **more)

    monkeypatch.setattr(files, "_listed", closed)
    with pytest.raises(NoInputError, match="photos/x: Permission denied; it may hold photos"):
        listed("photos")


def test_in_a_store_as_in_a_folder(put):
    pytest.importorskip("obstore")
    for url in ("s3://b/in/a.jpg", "s3://b/in/x/b.jpg"):
        put(url)
    for name in ("a.png", "c.png", "cutout/x/b.png", "cutout/x/c.png", "in/d.png", "in/a.png"):
        put(f"s3://b/{name}", OURS)
    put("s3://b/e.png", b"of somebody else")
    gone = ["s3://b/c.png", "s3://b/cutout/x/c.png", "s3://b/in/d.png"]
    assert listed("s3://b/in/", output="s3://b/") == gone
    assert listed("s3://b/in", output="s3://b/in/") == gone[-1:]
    put("s3://b/in/scan", b"photo")
    made_of = find_photo(parse_url("s3://b/in/scan")).state()
    put("s3://b/other-cut.png", stamped_png(*made_of))
    assert listed("s3://b/in/", output="s3://b/") == gone
    with pytest.raises(UsageError):
        listed("s3://b/in/a.jpg", output="s3://b/")


def test_the_command_prints_names_that_xargs_takes(inside, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    out = tmp_path / "-out"
    out.mkdir()
    for name in ("a.png", "b b.png", "c\nd.png"):
        (out / name).write_bytes(OURS)
    words = ("matte", "photos", "-o", "./-out", "--orphans")
    result = inside(*words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"./-out/b b.png\n")
    assert b"-out/c\\nd.png: its name holds a line break; use --null" in result.stderr
    result = inside(*words, "-0", "--quiet", cwd=tmp_path)
    assert result.returncode == 0
    assert sorted(result.stdout.split(b"\0")) == [b"", b"./-out/b b.png", b"./-out/c\nd.png"]
    assert result.stderr == b""
    assert len(list(out.iterdir())) == 3
    (out / "mine.png").write_bytes(b"of another program")
    said = inside(*words, cwd=tmp_path).stderr.decode()
    assert "1 picture is not judged: not made by birefcli, or saved without its stamp" in said


@pytest.mark.parametrize(
    "option",
    [
        *(["--dry-run"], ["--json"], ["--quality", "3"], ["--existing", "overwrite"]),
        *(["--preset", "nonsense"], ["--fail-fast"], ["--no-progress"]),
    ],
)
def test_an_option_of_a_run_is_refused_beside_a_list_of_orphans(option):
    with pytest.raises(UsageError, match=f"^{option[0]} does nothing beside --orphans; leave it"):
        app(["matte", "photos", "-o", "out", "--orphans", *option])
