"""Photos that want one place, while they come and go."""

from pathlib import Path

import numpy as np
import pytest

from birefcli.batch.inputs import FoundPhoto
from birefcli.batch.places import LocalFile
from birefcli.batch.targets import plan_job
from birefcli.batch.watch.claims import Claims
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format, Product, Selection


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def job(root, name, out="out", template="{stem}"):
    path = root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(name.encode())
    selection = Selection((str(root / "in"),), str(root / out), name=template)
    found = FoundPhoto(LocalFile(path), Path(name))
    return plan_job(found, selection, (Product.CUTOUT,), Format.PNG)


def take(claims, *jobs):
    taken, refused = claims.take(jobs)
    return [j.source.path.name for j in taken], {j.source.path.name: str(why) for j, why in refused}


def test_the_second_of_two_that_want_one_target_is_refused_with_the_name_of_the_first(root):
    claims = Claims({})
    assert take(claims, job(root, "a.jpg")) == (["a.jpg"], {})
    taken, refused = take(claims, job(root, "a.png"), job(root, "b.jpg"))
    assert taken == ["b.jpg"]
    assert str(root / "in" / "a.jpg") in refused["a.png"]
    assert "name='{name}'" in refused["a.png"]


def test_of_two_that_come_at_once_the_first_by_name_is_taken(root):
    taken, refused = take(Claims({}), job(root, "a.jpg"), job(root, "a.png"))
    assert (taken, list(refused)) == (["a.jpg"], ["a.png"])


def test_of_two_that_come_at_once_the_one_whose_product_is_there_is_taken(root):
    second = job(root, "a.png")
    size, mtime = second.source.state()
    stamp = Stamp("0" * 16, "fp32", "cutout", size, mtime).text()
    data = encode(np.zeros((8, 8, 4), np.uint8), Format.PNG, metadata=Metadata(stamp=stamp))
    (root / "out" / "a.png").write_bytes(data)
    taken, refused = take(Claims({}), job(root, "a.jpg"), second)
    assert (taken, list(refused)) == (["a.png"], ["a.jpg"])


def test_when_the_first_goes_the_other_may_go_on(root):
    claims = Claims({})
    first, second = job(root, "a.jpg"), job(root, "a.png")
    claims.take([first, second])
    assert claims.give_up(first.label) == [second.label]
    assert claims.give_up(first.label) == []
    assert take(claims, second) == (["a.png"], {})
    assert list(take(claims, first)[1]) == ["a.jpg"]


def test_a_photo_that_changes_keeps_what_it_has(root):
    claims = Claims({})
    claims.take([job(root, "a.jpg")])
    assert take(claims, job(root, "a.jpg")) == (["a.jpg"], {})


def test_a_refused_photo_that_goes_is_forgotten(root):
    claims = Claims({})
    first, second = job(root, "a.jpg"), job(root, "a.png")
    claims.take([first, second])
    claims.give_up(second.label)
    assert claims.give_up(first.label) == []
    assert (claims._keys, claims._refused, claims._index._known) == ({}, {}, {})


def test_no_photo_is_overwritten_by_another_one(root):
    claims = Claims({})
    claims.take([job(root, "a.png", out="elsewhere")])
    _, refused = take(claims, job(root, "a.jpg", out="in"))
    assert "a.png" in refused["a.jpg"]


def test_no_photo_is_overwritten_by_itself(root):
    _, refused = take(Claims({}), job(root, "a.png", out="in"))
    assert "its own result" in refused["a.png"]


def test_a_photo_that_takes_the_place_of_a_product_is_refused(root):
    claims = Claims({})
    claims.take([job(root, "a.jpg", out="in")])
    _, refused = take(claims, job(root, "a.png", out="elsewhere"))
    assert "would be overwritten by the result of" in refused["a.png"]


def test_what_every_photo_needs_is_not_overwritten(root):
    (root / "out" / "w.png").write_bytes(b"")
    claims = Claims({root / "out" / "w.png": "the weights"})
    _, refused = take(claims, job(root, "w.jpg"))
    assert "the weights" in refused["w.jpg"]


def test_a_folder_in_a_products_place_costs_one_photo(root):
    (root / "out" / "a.png").mkdir()
    taken, refused = take(Claims({}), job(root, "a.jpg"), job(root, "b.jpg"))
    assert taken == ["b.jpg"]
    assert "is a folder" in refused["a.jpg"]
