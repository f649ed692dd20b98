"""Pieces of bytes on disk."""

from birefcli.system.temporary_store import TemporaryStore


def test_pieces_are_those_that_were_put_in_any_order_of_asking():
    pieces = [b"first", b"", b"\0" * 9, b"last"]
    with TemporaryStore() as store:
        places = [store.put(piece) for piece in pieces]
        assert [store.get(place) for place in reversed(places)] == pieces[::-1]
        places.append(store.put(b"after"))
        assert store.get(places[-1]) == b"after"
        assert store.get(places[0]) == b"first"


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TemporaryStore() as store:
        store.put(b"piece")
    assert list(tmp_path.iterdir()) == []
