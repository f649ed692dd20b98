"""A background is read again when it has changed, and only then."""

import os
from pathlib import Path

import pytest
from PIL import Image

from birefcli.errors import UsageError
from birefcli.products import kept_background
from birefcli.products.kept_background import KeptBackground


def save(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path


def settle(folder):
    """Have a folder and all below it changed last a while ago."""
    for here, _, _ in os.walk(folder):
        before = Path(here).stat().st_mtime_ns
        os.utime(here, ns=(before, before - 10 * 10**9))


@pytest.mark.parametrize("text", ["white", "blur", "picture", "folder"])
def test_what_has_not_changed_is_the_same_object(tmp_path, text):
    if text in ("picture", "folder"):
        picture = save(tmp_path / "bgs" / "x" / "a.png")
        settle(tmp_path / "bgs")
        text = str(picture if text == "picture" else tmp_path / "bgs")
    kept = KeptBackground(text, 10**6)
    assert kept.load() is kept.load()


def test_a_picture_that_changes_is_read_again_and_one_that_is_broken_is_told(tmp_path):
    picture = save(tmp_path / "a.png")
    kept = KeptBackground(str(picture), 10**6)
    assert kept.load().image[0, 0].tolist() == [255, 0, 0]
    save(picture, "blue")
    os.utime(picture, ns=(0, 10**18))
    assert kept.load().image[0, 0].tolist() == [0, 0, 255]
    picture.write_bytes(picture.read_bytes()[:50])
    for _ in range(2):
        with pytest.raises(UsageError, match="background="):
            kept.load()
    picture.unlink()
    with pytest.raises(UsageError, match="no such file"):
        kept.load()
    save(picture, "blue")
    assert kept.load().image[0, 0].tolist() == [0, 0, 255]


def test_a_folder_is_walked_again_only_when_it_has_changed(tmp_path, monkeypatch):
    root = tmp_path / "bgs"
    save(root / "a.png")
    save(root / "x" / "deep" / "b.png")
    settle(root)
    walks, walk = [], kept_background.parse_background
    monkeypatch.setattr(
        kept_background, "parse_background", lambda *words: (walks.append(1), walk(*words))[1]
    )
    kept = KeptBackground(str(root), 10**6)

    def found():
        return {Path(picture.origin).name for picture in kept.load().pictures.values()}

    for _ in range(3):
        assert found() == {"a.png", "b.png"}
    assert len(walks) == 1
    save(root / "x" / "deep" / "c.png")
    assert found() == {"a.png", "b.png", "c.png"}
    settle(root)
    (root / "a.png").unlink()
    assert found() == {"b.png", "c.png"}


def test_a_change_within_one_tick_of_the_folders_clock_is_seen(tmp_path):
    root = tmp_path / "bgs"
    save(root / "a.png")
    kept = KeptBackground(str(root), 10**6)
    kept.load()
    before = root.stat()
    save(root / "b.png")
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a coarse clock has it
    assert len(kept.load().pictures) == 2
