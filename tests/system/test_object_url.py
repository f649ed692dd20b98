import pytest
from hypothesis import given
from hypothesis import strategies as st

from birefcli.system.object_url import ObjectUrl, is_url, parse_url, why_no_key


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://shop/in/a.jpg", ("s3", "shop", "in/a.jpg")),
        ("S3://shop/In/A.JPG", ("s3", "shop", "In/A.JPG")),
        ("gs://my_shop.example/in/", ("gs", "my_shop.example", "in/")),
        ("az://$web", ("az", "$web", "")),
        ("az://shop/", ("az", "shop", "")),
        ("s3://shop/a b?x=1#2%20é.jpg", ("s3", "shop", "a b?x=1#2%20é.jpg")),
        ("s3://shop/...", ("s3", "shop", "...")),
    ],
)
def test_a_url_is_a_scheme_a_bucket_and_a_key_as_it_is_written(text, parts):
    assert is_url(text)
    assert parse_url(text) == ObjectUrl(*parts)
    assert parse_url(str(parse_url(text))) == ObjectUrl(*parts)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://shop/a//b.jpg", "empty part"),
        ("s3://shop//b.jpg", "empty part"),
        ("s3://shop/in//", "slash"),
        ("s3://shop/a/../b.jpg", "part . or .."),
        ("s3://shop/./b.jpg", "part . or .."),
        ("s3://shop/a\nb.jpg", "control character"),
        ("s3://shop/a\x7fb.jpg", "control character"),
        ("s3://shop/a\udcffb.jpg", "no UTF-8"),
        ("s3://", "names no bucket"),
        ("s3:///a.jpg", "names no bucket"),
        ("s3://a b/a.jpg", "no name of a bucket"),
        ("s3://user:secret@shop/a.jpg", "no name of a bucket"),
        ("http://shop/a.jpg", "no URL of a store"),
        ("photos/a.jpg", "no URL of a store"),
    ],
)
def test_a_url_that_could_be_no_file_is_refused_with_its_cause(text, why):
    with pytest.raises(ValueError, match=why):
        parse_url(text)


@pytest.mark.parametrize("text", ["photos/a.jpg", "s3:/a/b", "c://x", "http://a/b", "", "s3", "-"])
def test_paths_and_other_addresses_are_no_urls_of_stores(text):
    assert not is_url(text)


@given(st.text())
def test_a_key_is_refused_or_every_part_of_it_is_a_name(key):
    if why_no_key(key) is None:
        assert all(part not in ("", ".", "..") for part in key.split("/"))
        assert parse_url(f"s3://shop/{key}").key == key


def test_what_lies_below_a_prefix_is_named_with_or_without_its_slash():
    assert str(parse_url("s3://shop/in").below("a.jpg")) == "s3://shop/in/a.jpg"
    assert str(parse_url("s3://shop/in/").below("a.jpg")) == "s3://shop/in/a.jpg"
    assert str(parse_url("s3://shop").below("a.jpg")) == "s3://shop/a.jpg"
    assert parse_url("s3://shop").is_prefix
    assert parse_url("s3://shop/in/").is_prefix
    assert not parse_url("s3://shop/in").is_prefix
