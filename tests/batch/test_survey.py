from pathlib import Path

import pytest

from birefcli.batch import survey
from birefcli.batch.places import LocalFile
from birefcli.batch.stores import StoredPhoto, StoredProduct
from birefcli.batch.targets import Job
from birefcli.options import Product
from birefcli.system.object_store import ObjectEntry
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
