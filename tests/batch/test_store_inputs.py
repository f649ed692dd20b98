"""Which objects are photos of a run: without a server, in stores that are memory."""

from pathlib import Path

import pytest
from support import stamped_png

from birefcli.batch.inputs import search_photos
from birefcli.batch.products_among import set_products_aside
from birefcli.batch.shard import holds
from birefcli.batch.targets import plan_targets, refuse_overwriting
from birefcli.errors import NoInputError, OutputError, UsageError
from birefcli.options import Format, Product, Selection, Shard
from birefcli.system.object_store import ObjectStore


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


def test_a_prefix_that_could_not_be_listed_can_be_retried(put, monkeypatch):
    put("s3://b/in/sub/a.jpg")
    whole = ObjectStore.list

    def refuse(self, prefix, on_error):
        on_error(OSError(84, "holds what is no path", "s3://b/in/sub/"))
        yield from ()

    chosen = Selection(("s3://b/in",), "out")
    monkeypatch.setattr(ObjectStore, "list", refuse)
    [unread] = search_photos(chosen).failed
    assert unread.listed == "s3://b/in/././sub/"
    monkeypatch.setattr(ObjectStore, "list", whole)
    [photo] = search_photos(Selection((), "out", listed=(unread.listed,))).found
    assert (photo.relative, photo.searched) == (Path("sub/a.jpg"), True)
    assert photo.source.listed_as(photo.relative) == "s3://b/in/./sub/a.jpg"


# Products of ours among them


@pytest.fixture
def small_reads(monkeypatch):
    """The keys of which a part was read."""
    reads = []
    read_range = ObjectStore.read_range

    def note(self, key, *rest):
        reads.append(key)
        return read_range(self, key, *rest)

    monkeypatch.setattr(ObjectStore, "read_range", note)
    return reads


def planned(selection, products=(Product.CUTOUT,)):
    """Labels of the photos of a run, and its search."""
    search = search_photos(selection)
    set_products_aside(search, selection, products, Format.PNG)
    jobs = plan_targets(search.found, selection, products, Format.PNG)
    refuse_overwriting(jobs, {}, search.replaceable)
    return [job.label for job in jobs], search


def test_a_product_beside_its_photo_is_none_wherever_the_output_is(put, small_reads, tmp_path):
    names = ("a.jpg", "b.jpg", "sub/c.jpg")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name, data in [*((name, b"photo") for name in names), ("a.png", stamped_png())]:
        put(f"s3://b/in/{name}", data)
        (tmp_path / "in" / name).write_bytes(data)
    for output in ("s3://b/out/", "s3://b/in/", str(tmp_path / "out")):
        small_reads.clear()
        labels, search = planned(Selection(("s3://b/in/",), output))
        there, folder = planned(Selection((str(tmp_path / "in"),), str(tmp_path / "out")))
        assert labels == [f"s3://b/in/{name}" for name in names]
        assert there == [str(tmp_path / "in" / name) for name in names]
        assert search.skipped == [("s3://b/in/a.png", "made by birefcli")]
        assert folder.skipped == [(tmp_path / "in" / "a.png", "made by birefcli")]
        assert "in/b.jpg" not in small_reads


def test_photos_that_want_one_target_are_refused_still(put):
    put("s3://b/in/a.jpg")
    put("s3://b/in/a.png", b"no product")
    with pytest.raises(OutputError, match=r"would both be written to s3://b/out/a\.png"):
        planned(Selection(("s3://b/in/",), "s3://b/out/"))


def test_where_nothing_can_be_a_product_nothing_is_read(put, small_reads):
    for name in ("a.jpg", "b.png", "sub/a.jpg", "old/c.png"):
        put(f"s3://b/in/{name}", stamped_png())
    assert len(planned(Selection(("s3://b/in/",), "s3://b/out/"))[0]) == 4
    assert small_reads == []


def test_products_in_place_are_none_for_every_kind(put, small_reads):
    for name in ("a.jpg", "b.jpg"):
        put(f"s3://b/in/{name}")
    for kind in ("cutout", "mask"):
        put(f"s3://b/in/{kind}/a.png", stamped_png())
    both = (Product.CUTOUT, Product.MASK)
    labels, search = planned(Selection(("s3://b/in/",), "s3://b/in/"), both)
    assert labels == ["s3://b/in/a.jpg", "s3://b/in/b.jpg"]
    assert len(search.skipped) == 2
    assert sorted(small_reads) == ["in/cutout/a.png", "in/mask/a.png"]


def test_a_product_whose_photo_has_gone_is_no_photo_in_place(put):
    put("s3://b/in/a.jpg")
    put("s3://b/in/gone.png", stamped_png())
    assert planned(Selection(("s3://b/in/",), "s3://b/in/"))[0] == ["s3://b/in/a.jpg"]


def test_what_is_named_is_tried_though_it_is_a_product(put):
    put("s3://b/in/a.png", stamped_png())
    labels, _ = planned(Selection(("s3://b/in/a.png",), "s3://b/out/"))
    assert labels == ["s3://b/in/a.png"]


def test_a_store_that_lets_nobody_look_is_told(put, monkeypatch):
    for name in ("a.jpg", "a.png"):
        put(f"s3://b/in/{name}")

    def refuse(self, key, *_):
        raise PermissionError(13, "AccessDenied: no", self.url(key))

    monkeypatch.setattr(ObjectStore, "read_range", refuse)
    with pytest.raises(NoInputError, match=r"s3://b/in/a\.jpg: AccessDenied: no"):
        planned(Selection(("s3://b/in/",), "s3://b/out/"))


def test_shards_in_place_look_at_their_own_products_only_and_count_photos(put, small_reads):
    names = [f"{number}.jpg" for number in range(12)]
    for name in names:
        put(f"s3://b/in/{name}")
        put(f"s3://b/in/{name[:-4]}-cut.png", stamped_png())
    labels = []
    for index in range(4):
        small_reads.clear()
        selection = Selection(
            ("s3://b/in/",), "s3://b/in/", name="{stem}-cut", shard=Shard(index, 4)
        )
        mine, search = planned(selection)
        labels += mine
        assert len(mine) + search.elsewhere == len(names)
        assert len(small_reads) <= len(mine) + len(search.skipped)
    assert sorted(labels) == sorted(f"s3://b/in/{name}" for name in names)


def test_a_photo_of_another_shard_is_not_replaced(put):
    put("s3://b/in/a.jpg")
    put("s3://b/in/a_x.png", b"no product")
    shards = [
        Selection(("s3://b/in/",), "s3://b/in/", name="{stem}_x", shard=Shard(index, 8))
        for index in range(8)
    ]
    first = next(shard for shard in shards if holds(shard, Path("a.jpg")))
    assert not holds(first, Path("a_x.png"))
    with pytest.raises(OutputError, match=r"a_x\.png: a photo of another shard would be over"):
        planned(first)


def test_an_output_that_is_no_url_is_told_by_its_option(put):
    put("s3://b/in/a.jpg")
    with pytest.raises(UsageError) as refused:
        search_photos(Selection(("s3://b/in/",), "s3://b//out/"))
    assert (refused.value.option, refused.value.value) == ("output", "s3://b//out/")
