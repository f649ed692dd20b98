"""When a photo that somebody writes is tried, tried again, and given up."""

from hypothesis import given
from hypothesis import strategies as st

from birefcli.batch.watch.settling import Settling

SETTLE, GRACE = 2.0, 60.0


class Writer:
    """A file as a series of looks sees it, and as each try finds it."""

    def __init__(self, changes, whole_at):
        """``changes``: seconds at which it grows; it can be read from ``whole_at`` on."""
        self.changes, self.whole_at = sorted(changes), whole_at

    def version(self, now):
        return (sum(at <= now for at in self.changes), 0, 0)

    def there(self, now):
        return bool(self.changes) and now >= self.changes[0]

    def is_whole(self, now):
        return now >= self.whole_at


def watched(writer, every=1.0, end=400.0):
    """(time, what became of it) of each try; looks are ``every`` seconds apart."""
    settling = Settling(SETTLE, GRACE)
    told = []
    now = 0.0
    while now < end:
        seen = [("a.jpg", writer.version(now))] if writer.there(now) else []
        settling.look(now, seen)
        for label in settling.due(now):
            if writer.is_whole(now):
                settling.end(label)
                told.append((now, "done"))
            else:
                told.append((now, "failed" if settling.unread(label) else "not yet"))
        now += every
    return told


times = st.lists(st.integers(0, 300).map(float), min_size=1, max_size=12)


@given(times)
def test_a_photo_that_becomes_whole_with_its_last_change_is_done_once_it_is_still(changes):
    told = watched(Writer(changes, whole_at=max(changes)))
    done = [now for now, what in told if what == "done"]
    assert done == [max(changes) + SETTLE]


@given(times)
def test_no_photo_fails_that_is_written_to_at_least_once_a_minute(changes):
    steps = sorted({*changes, *range(0, int(max(changes)), 50)})
    told = watched(Writer(steps, whole_at=max(steps)))
    assert "failed" not in [what for _, what in told]


@given(times)
def test_a_photo_that_is_never_whole_fails_once_a_minute_after_its_last_change(changes):
    told = watched(Writer(changes, whole_at=1e9))
    last = max(changes)
    failed = [now for now, what in told if what == "failed" and now > last]
    assert len(failed) == 1
    assert last + GRACE <= failed[0] < last + GRACE + 2.0


@given(times)
def test_nothing_is_tried_within_the_time_to_settle(changes):
    for now, _ in watched(Writer(changes, whole_at=1e9)):
        assert not [at for at in changes if now - SETTLE < at <= now]


def test_pauses_between_tries_double():
    told = watched(Writer([0.0], whole_at=1e9))
    assert [now for now, _ in told] == [2, 4, 8, 16, 32, 60]
    assert [what for _, what in told] == [*["not yet"] * 5, "failed"]


def test_what_has_ended_is_tried_again_when_it_changes_and_not_before():
    settling = Settling(SETTLE)
    settling.look(0.0, [("a", (1,))])
    assert settling.due(1.0) == []
    assert settling.due(2.0) == ["a"]
    settling.end("a")
    settling.look(3.0, [("a", (1,))])
    assert settling.next_due is None
    settling.look(4.0, [("a", (2,))])
    assert settling.next_due == 6.0


def test_what_changes_while_it_is_done_is_done_again():
    settling = Settling(SETTLE)
    settling.look(0.0, [("a", (1,))])
    settling.due(2.0)
    settling.end("a")  # as it was at the look
    settling.look(3.0, [("a", (2,))])
    assert settling.due(5.0) == ["a"]


@given(st.lists(st.sets(st.sampled_from("abcdef")), max_size=20))
def test_what_has_vanished_is_told_and_forgotten(looks):
    settling = Settling(SETTLE)
    before = set()
    for now, names in enumerate(looks):
        gone = settling.look(float(now), [(name, (1,)) for name in sorted(names)])
        assert gone == before - names
        for label in settling.due(float(now)):
            settling.end(label)
        before = names
    settling.look(1e6, [])
    assert (settling._ended, settling._waiting) == ({}, {})


def test_a_look_that_fails_forgets_nothing():
    def broken():
        yield "a", (1,)
        raise OSError("unmounted")

    settling = Settling(SETTLE)
    settling.look(0.0, [("a", (1,)), ("b", (1,))])
    try:
        settling.look(1.0, broken())
    except OSError:
        assert settling.due(2.0) == ["a", "b"]
    else:
        raise AssertionError


def test_what_is_put_off_waits_and_what_is_let_go_on_does_not():
    settling = Settling(SETTLE)
    settling.look(0.0, [("a", (1,))])
    settling.put_off("a", 9.0)
    assert settling.due(8.0) == []
    assert settling.due(9.0) == ["a"]
    settling.end("a")
    settling.again("a", 10.0)
    assert settling.due(10.0) == ["a"]
    settling.again("unknown", 10.0)
    assert settling.waiting == 1
