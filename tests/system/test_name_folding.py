"""Names that a disk does not tell apart."""

import os
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from birefcli.system import name_folding
from birefcli.system.name_folding import LOOSE, Folding, NameIndex

EXACT = Folding()
ONE, TWO = "caf\u00e9", "cafe\u0301"  # é as one character and as two
PAIRS = {
    "case": ("/out/Portrait.png", "/out/portrait.PNG"),
    "case of a folder": ("/out/Sub/a.png", "/out/sub/a.png"),
    "case beyond ASCII": ("/out/ÜBER.png", "/out/über.png"),
    "composition": (f"/out/{ONE}.png", f"/out/{TWO}.png"),
    "composition of a folder": (f"/out/{ONE}/a.png", f"/out/{TWO}/a.png"),
    "ending": ("/out/sub./a.png", "/out/sub/a.png"),
    "endings": ("/out/sub. ./a.png", "/out/sub/a.png"),
}
KINDS = ("case", "composition", "ending")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", PAIRS)
def test_each_folding_folds_its_own_kind_of_difference(kind, pair):
    fold = Folding(**{kind: True})
    one, other = PAIRS[pair]
    assert (fold(one) == fold(other)) == pair.startswith(kind)
    assert EXACT(one) != EXACT(other)
    assert LOOSE(one) == LOOSE(other)


@pytest.mark.parametrize("one", ["É.png", "e\u0301.PNG"])
def test_both_foldings_fold_together(one):
    both = Folding(case=True, composition=True)
    assert both(one) == both("É.png") == both("\u00e9.png")


@pytest.mark.parametrize("folding", [EXACT, *(Folding(**{kind: True}) for kind in KINDS), LOOSE])
@pytest.mark.parametrize("pair", PAIRS)
def test_index_finds_what_is_one_file_where_its_folder_is(monkeypatch, folding, pair):
    monkeypatch.setattr(name_folding, "probe", lambda _: folding)
    index: NameIndex[str] = NameIndex()
    one, other = PAIRS[pair]
    index.add(one, "first")
    assert index.find(one) == (one, "first")
    assert index.find("/out/another.png") is None
    assert index.find(other) == ((one, "first") if folding(one) == folding(other) else None)


def test_disk_is_tried_once_and_only_where_two_names_are_alike(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(name_folding, "probe", lambda folder: tried.append(folder) or EXACT)
    index: NameIndex[int] = NameIndex()
    for number in range(100):
        path = str(tmp_path / "none" / "yet" / f"{number}.png")
        assert index.find(path) is None
        index.add(path, number)
    assert tried == []
    for name in "abc":
        index.add(str(tmp_path / "none" / f"{name}.png"), 0)
        assert index.find(str(tmp_path / "none" / f"{name.upper()}.png")) is None
    assert tried == [tmp_path], "the nearest folder that is there"


def folding_disk(monkeypatch, fold):
    """Have ``lstat`` find files as a disk does on which ``fold`` makes names one."""
    real = Path.lstat

    def lstat(path):
        for other in path.parent.iterdir():
            if fold(other.name) == fold(path.name):
                return real(other)
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)


@pytest.mark.parametrize(
    ("fold", "found"),
    [
        (str, EXACT),
        (str.casefold, Folding(case=True)),
        (lambda name: unicodedata.normalize("NFC", name), Folding(composition=True)),
        (lambda name: name.rstrip("."), Folding(ending=True)),
        (lambda name: unicodedata.normalize("NFC", name.rstrip(".").casefold()), LOOSE),
    ],
)
def test_probe_says_what_a_disk_folds_and_leaves_nothing(tmp_path, monkeypatch, fold, found):
    folding_disk(monkeypatch, fold)
    assert name_folding.probe(tmp_path) == found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), UnicodeError("é")])
def test_disk_that_cannot_be_tried_is_taken_for_exact(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(Path, "touch", refuse)
    assert name_folding.probe(tmp_path) == EXACT
    assert name_folding.probe(tmp_path / "none") == EXACT


@pytest.fixture
def exfat(tmp_path):
    """A real disk that folds case, where this system can make and mount one."""
    needed = ("mkfs.exfat", "mount.exfat-fuse", "losetup", "umount")
    if os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, needed)):
        pytest.skip("no exFAT here")
    image, disk = tmp_path / "image", tmp_path / "exfat"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    loop = ""
    try:
        subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
        words = ["losetup", "-f", "--show", image]
        loop = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        words = ["mount.exfat-fuse", loop, disk]
        tried = subprocess.run(words, capture_output=True, check=False, timeout=30)
        if tried.returncode:
            pytest.skip("exFAT cannot be mounted here")
        yield disk
        subprocess.run(["umount", "-l", disk], check=True)
    finally:
        if loop:
            subprocess.run(["losetup", "-d", loop], check=False, capture_output=True)


def test_real_disk_that_folds_case(exfat):
    assert name_folding.probe(exfat) == Folding(case=True)
    assert list(exfat.iterdir()) == []
    index: NameIndex[int] = NameIndex()
    index.add(str(exfat / "Portrait.png"), 1)
    assert index.find(str(exfat / "portrait.PNG")) is not None
    assert index.find(str(exfat / "portrait.webp")) is None


def test_folder_of_this_test_tells_what_names_it_keeps_apart(tmp_path):
    folding = name_folding.probe(tmp_path)
    (tmp_path / "a").touch()
    assert folding.case == (tmp_path / "A").exists()


def test_names_in_a_store_are_never_folded_whatever_the_disk_does(monkeypatch):
    monkeypatch.setattr(name_folding, "probe", lambda folder: LOOSE)
    index = NameIndex()
    index.add("s3://shop/out/a.png", 1)
    assert index.find("s3://shop/out/A.png") is None
    assert index.find("s3://shop/out/a.png") == ("s3://shop/out/a.png", 1)
