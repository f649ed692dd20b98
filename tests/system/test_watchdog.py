"""Who no longer moves is told; who does, or is not waited for, is not."""

import sys
import threading
import time
import weakref

import pytest
from conftest import wait_for

from birefcli.system.watchdog import Activity, Sign, Watchdog

STEP = 0.01


@pytest.fixture
def told():
    """Watches signs that a test changes, until ``told`` has somebody; returns both."""
    signs: dict[str, Sign] = {}
    overdue: list[str] = []

    def note(who, sign):
        overdue.append(who)
        signs.pop(who)

    with Watchdog(STEP, lambda: dict(signs), note):
        yield signs, overdue


def test_who_has_not_moved_is_told_once_and_who_moves_is_not(told):
    signs, overdue = told
    signs |= {"still": Sign(0, 20 * STEP), "patient": Sign(0, 10**6)}
    for moves in range(1000):
        signs["moving"] = Sign(moves, 20 * STEP)
        time.sleep(STEP / 4)
    assert overdue == ["still"]


def test_time_in_which_nobody_is_waited_for_does_not_count(told):
    signs, overdue = told
    for _ in range(6):
        signs["now and then"] = Sign(0, 100 * STEP)
        time.sleep(40 * STEP)
        del signs["now and then"]
        time.sleep(10 * STEP)
    assert overdue == []


def test_a_process_that_was_stopped_itself_has_waited_for_one_step(monkeypatch):
    """As by Ctrl-Z, or where its machine slept: an hour is over at the next look."""
    overdue = []
    dog = Watchdog(1.0, lambda: {"it": Sign(0, 5.0)}, lambda *_: overdue.append(looks.pop()))
    looks: list[int] = []

    class Late:
        """Each wait for a second takes an hour."""

        def wait(self, seconds):
            looks.append(len(looks))
            return bool(overdue)

    monkeypatch.setattr(dog, "_over", Late())
    dog._watch()
    assert overdue == [5], "it was seen first, and then for five seconds"


def test_activity_names_what_is_at_work_and_not_what_waits():
    activity = Activity()
    assert activity.names == []
    with activity.on(["a", "b"]):
        before = activity.moves
        with activity.on(["a"]), activity.waiting("b"):
            assert activity.names == ["a"]
        assert activity.names == ["a", "b"]
        assert activity.moves > before
        with activity.waiting("a"), activity.waiting("a"):
            assert activity.names == ["b"]
    assert activity.names == []
    with pytest.raises(ZeroDivisionError), activity.on(["a"]):
        _ = 1 / 0
    assert activity.names == []


def test_import_of_a_library_is_progress(monkeypatch):
    activity = Activity()
    before = activity.moves
    monkeypatch.setitem(sys.modules, "a_part_of_a_large_library", threading)
    assert activity.moves != before


def test_watching_ends_with_its_block():
    with Watchdog(STEP, dict, lambda *_: None):
        assert "watchdog" in {thread.name for thread in threading.enumerate()}
    wait_for(lambda: "watchdog" not in {thread.name for thread in threading.enumerate()})


def test_what_is_over_keeps_nothing_of_what_it_watched():
    """Its thread may live on for a moment, and would be the last to hold a network."""

    class Network:
        def signs(self):
            return {}

        def overdue(self, who, sign):
            pass

    network = Network()
    gone = weakref.ref(network)
    with Watchdog(1000.0, network.signs, network.overdue):
        del network
        assert gone() is not None
    assert gone() is None
