from dataclasses import replace
from pathlib import Path

import pytest
from obstore import delete

from birefcli.batch import survey
from birefcli.batch.places import LocalFile
from birefcli.batch.stores import StoredPhoto, StoredProduct
from birefcli.batch.targets import Job
from birefcli.options import Existing, Precision, Product
from birefcli.system.object_store import ObjectEntry, ObjectStore
from birefcli.system.object_url import parse_url


def jobs_for(*urls):
    return [
        Job(LocalFile(Path(url)), {Product.CUTOUT: StoredProduct(parse_url(url))}, Path("a.jpg"))
        for url in urls
    ]


@pytest.mark.parametrize(
    ("urls", "prefix"),
    [
        (("s3://b/out/a.png", "s3://b/out/sub/b.png"), "s3://b/out/"),
        (("s3://b/out/sub/a.png", "s3://b/out/b.png"), "s3://b/out/"),
        (("s3://b/out/x/a.png", "s3://b/out/xy/b.png"), "s3://b/out/"),
        (("s3://b/outer/a.png", "s3://b/out/b.png"), "s3://b/"),
        (("s3://b/a.png",), "s3://b/"),
    ],
)
def test_one_listing_holds_all_products(urls, prefix):
    assert [str(found) for found in survey._prefixes(jobs_for(*urls))] == [prefix]


def test_a_photo_is_as_old_as_its_content_and_not_as_its_upload():
    def state(etag, modified):
        entry = ObjectEntry("a.jpg", 5, etag, modified)
        return StoredPhoto(parse_url("s3://b/a.jpg"), entry).state()

    assert state('"x"', 1) == state('"x"', 2) != state('"y"', 1)
    assert state("", 1) == (5, 1) != state("", 2)
    size, version = state('"x"', 1)
    assert size == 5
    assert 0 <= version < 2**63


@pytest.mark.parametrize("count", [2, 9])
def test_what_another_run_writes_or_deletes_meanwhile_is_seen_as_it_is(
    put, count, tmp_path, monkeypatch
):
    """Between the listing, or the question of one by one, and the small read."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    urls = [f"s3://b/out/{number}.png" for number in range(count)]
    jobs = [replace(job, source=LocalFile(photo)) for job in jobs_for(*urls)]
    for url in urls:
        put(url, b"theirs")
    read_range, written = ObjectStore.read_range, []

    def overtaken(self, key, *rest):
        if key == "out/0.png" and not written:
            written.append(key)
            put(urls[0], b"of another run")
        if key == "out/1.png":
            delete(self._backend, key)
        return read_range(self, key, *rest)

    monkeypatch.setattr(ObjectStore, "read_range", overtaken)
    made = {Product.CUTOUT: "f" * 16}
    decisions = survey.decide_all(jobs, Existing.UPDATE, lambda _: made, Precision.AUTO)
    assert [decision.trouble for decision in decisions] == [None] * count
    assert [bool(decision.kept) for decision in decisions] == [True, False] + [True] * (count - 2)
    assert str(decisions[1].reason) == "missing"
    assert list(decisions[1].job.targets) == [Product.CUTOUT]
