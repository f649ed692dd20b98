"""Which pictures of a folder a contact sheet shows."""

import numpy as np
import pytest
from cutouts import cutout, disc

from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format
from birefcli.review.cutout_search import find_cutouts
from birefcli.review.photos import PhotoIndex


@pytest.fixture
def product(tmp_path):
    """Put a product into ``out``; ``size``: bytes of its photo's file."""
    pixels = np.asarray(cutout(disc()))

    def put(name, kind, size):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = None if kind is None else Stamp("0" * 16, "fp32", kind, size, 5).text()
        path.write_bytes(encode(pixels, Format.PNG, metadata=Metadata(stamp=stamp)))

    return put


def shown(folder):
    found = find_cutouts((str(folder),))
    return [entry.path.relative_to(folder).as_posix() for entry in found.entries], found


def test_photos_in_folders_that_are_called_as_products_are_all_shown(product, tmp_path):
    names = ["015.png", "cutout/003.png", "cutout/mask/7.png", "mask/003.png", "mask/013.png"]
    for size, name in enumerate([*names, "x/010.png"]):
        product(name, "cutout", size)
    listed, found = shown(tmp_path / "out")
    assert (sorted(listed), found.beside) == ([*names, "x/010.png"], 0)


def test_of_one_photos_products_the_cutout_or_else_the_mask_is_shown(product, tmp_path):
    product("alone.png", "cutout", 1)
    for size, name in ((2, "a.png"), (3, "sub/b.png")):
        for kind in ("cutout", "mask", "composite", "trimap"):
            product(f"{kind}/{name}", kind, size)
    for kind in ("mask", "composite", "foreground"):
        product(f"x/{kind}/c.png", kind, 4)
    product("composite/d.png", "composite", 5)
    listed, found = shown(tmp_path / "out")
    assert set(listed) == {
        *("alone.png", "cutout/a.png", "cutout/sub/b.png", "x/mask/c.png", "composite/d.png")
    }
    assert (found.beside, found.not_mattes) == (8, 0)


def test_folders_of_products_that_tell_nothing_are_taken_by_their_names(product, tmp_path):
    product("cutout/a.png", None, 0)
    product("mask/a.png", "mask", 1)
    product("mask/b.png", None, 0)
    listed, found = shown(tmp_path / "out")
    assert (listed, found.beside) == (["cutout/a.png", "mask/b.png"], 1)


def test_products_of_two_photos_are_never_taken_for_those_of_one(product, tmp_path):
    product("cutout/a.png", "cutout", 1)
    product("mask/a.png", "mask", 2)
    product("composite/a.png", "composite", 3)
    listed, found = shown(tmp_path / "out")
    assert (len(listed), found.beside) == (3, 0)
    (composite,) = (entry for entry in found.entries if entry.composite)
    assert composite.matte is None


def test_what_is_named_is_shown_beside_its_cutout(product, tmp_path):
    out = tmp_path / "out"
    for kind in ("cutout", "mask", "composite"):
        product(f"{kind}/a.png", kind, 1)
    named = find_cutouts((str(out / "cutout"), str(out / "mask" / "a.png"), str(out / "composite")))
    assert len(named.entries) == 3
    assert named.entries[2].matte == out / "cutout" / "a.png"


def test_photo_is_found_by_the_name_that_its_products_share(product, tmp_path):
    photos = tmp_path / "photos"
    for name in ("a.jpg", "cutout/a.jpg", "x/a.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    for size, name in ((1, "a.png"), (2, "cutout/a.png")):
        product(f"cutout/{name}", "cutout", size)
        product(f"mask/{name}", "mask", size)
    product("x/a.png", "cutout", 3)
    index = PhotoIndex(photos)
    pairs = {
        entry.names[0]: [
            photo.path.relative_to(photos).as_posix() for photo in index.of(*entry.names)
        ]
        for entry in find_cutouts((str(tmp_path / "out"),)).entries
    }
    assert pairs == {
        "a.png": ["a.jpg"],
        "cutout/a.png": ["cutout/a.jpg"],
        "x/a.png": ["x/a.jpg"],
    }
