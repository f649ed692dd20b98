"""Which objects are photos of a run: without a server, in stores that are memory."""

import pytest
from obstore.store import MemoryStore

from birefcli.batch.inputs import search_photos
from birefcli.options import Selection
from birefcli.system import object_store
from birefcli.system.object_store import ObjectStore, store_for
from birefcli.system.object_url import parse_url


@pytest.fixture(autouse=True)
def put(monkeypatch):
    """Put bytes into stores that are memory, made when they are first asked for."""
    made = {}

    def store_of(scheme, bucket):
        return made.setdefault((scheme, bucket), ObjectStore(scheme, bucket, MemoryStore()))

    monkeypatch.setattr(object_store, "store_of", store_of)

    def write(url, data=b"photo"):
        store_for(parse_url(url)).write(parse_url(url).key, data)

    return write


def found(*inputs, output, **more):
    search = search_photos(Selection(inputs, output, **more))
    assert search.failed == []
    return [str(photo.source) for photo in search.found]


@pytest.mark.parametrize(
    ("prefix", "output"),
    [
        ("s3://b/in/", "s3://b/"),
        ("s3://b/in/", "s3://b/in/"),
        ("s3://b/in/", "s3://b/in"),
        ("s3://b/in/", "s3://b/i"),
        ("s3://b/out/in/", "s3://b/out/"),
        ("s3://b/out/in/", "s3://b/out/in/sub/deep"),
        ("s3://b/in/", "s3://other/in/sub/"),
        ("gs://b/in/", "s3://b/in/sub/"),
        ("gs://b/", "s3://b/"),
        ("gs://b/in/", "s3://b/"),
        ("s3://b/in/", "out/"),
    ],
)
def test_an_output_that_is_not_below_what_is_searched_costs_it_no_photo(put, prefix, output):
    photos = [f"{prefix}a.jpg", f"{prefix}sub/b.jpg"]
    for url in photos:
        put(url)
    assert found(prefix, output=output) == photos


@pytest.mark.parametrize("output", ["s3://b/in/out/", "s3://b/in/out", "S3://b/in/out/"])
def test_an_output_below_what_is_searched_is_left_out(put, output):
    for url in ("s3://b/in/a.jpg", "s3://b/in/out/a.png", "s3://b/in/outer/c.jpg"):
        put(url)
    assert found("s3://b/in", output=output) == ["s3://b/in/a.jpg", "s3://b/in/outer/c.jpg"]
    both = found("s3://b/in", "S3://b/in/out", output=output)  # it is named, too
    assert "s3://b/in/out/a.png" in both
