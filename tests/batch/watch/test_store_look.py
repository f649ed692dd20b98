"""What a watch sees of a store."""

import pytest
from support import stamped_png

from birefcli.batch.stores import StoredPhoto
from birefcli.batch.targets import plan_job
from birefcli.batch.watch.claims import Claims
from birefcli.batch.watch.run import _looks
from birefcli.batch.watch.store_look import StoreLook
from birefcli.errors import UsageError
from birefcli.options import Format, Product, Selection

SELECTION = Selection(("s3://b/in/",), "s3://b/out/")


def take(look):
    """Labels of the photos that have their targets for themselves, and of the others."""
    jobs = [plan_job(look.photo(n), SELECTION, (Product.CUTOUT,), Format.PNG) for n, _ in look()]
    taken, refused = Claims({}).take(jobs)
    return [job.label for job in taken], [job.label for job, _ in refused]


@pytest.mark.parametrize("owner", ["s3://b/in/a.jpg", "s3://b/in/a.png"])
def test_of_two_objects_that_want_one_target_the_one_whose_product_is_there_has_it(put, owner):
    """So it was before a restart."""
    for name in ("a.jpg", "a.png"):
        put(f"s3://b/in/{name}", name.encode())
    look = StoreLook("s3://b/in/", SELECTION)
    put("s3://b/out/a.png", stamped_png(*dict(look())[owner]))
    taken, refused = take(look)
    assert taken == [owner]
    assert len(refused) == 1


def test_an_object_is_planned_as_it_was_at_the_last_look(put):
    put("s3://b/in/a.jpg", b"first")
    look = StoreLook("s3://b/in", SELECTION)
    first = dict(look())
    assert look.photo("s3://b/in/a.jpg").source.state() == first["s3://b/in/a.jpg"]
    put("s3://b/in/a.jpg", b"second")
    assert look.photo("s3://b/in/a.jpg").source.state() == first["s3://b/in/a.jpg"]
    assert dict(look()) != first
    assert look.photo("s3://b/in/a.jpg").source.state() != first["s3://b/in/a.jpg"]
    assert isinstance(look.photo("s3://b/in/gone.jpg").source, StoredPhoto)


def test_products_are_told_by_their_stamps(put):
    put("s3://b/in/a.jpg")
    put("s3://b/in/b.png", stamped_png())
    look = StoreLook("s3://b/in/", SELECTION)
    labels = [label for label, _ in look()]
    assert look.products([*labels, "s3://b/in/gone.png"]) == {"s3://b/in/b.png"}


def test_a_url_that_is_none_is_told_once(put):
    put("s3://b/in/a.jpg")
    with pytest.raises(UsageError) as refused:
        _looks(Selection(("s3://b/in/",), "s3://b//out/"))
    assert str(refused.value).count("empty part") == 1
    with pytest.raises(UsageError, match=r"^s3://b//in/: has an empty part") as refused:
        _looks(Selection(("s3://b//in/",), "s3://b/out/"))
    assert str(refused.value).count("empty part") == 1
