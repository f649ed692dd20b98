"""What the system tells of changes: only that there was one."""

import threading

import pytest
from conftest import TIMEOUT

from birefcli.system import clock as clock_module
from birefcli.system import file_events
from birefcli.system.clock import Clock

watchfiles = pytest.importorskip("watchfiles")


class Heard:
    """What is told; whoever waits for anything is woken by a failure as well, and sees it."""

    def __init__(self):
        self.failures = []
        self._told = threading.Semaphore(0)

    def wake(self):
        self._told.release()

    def fail(self, reason):
        self.failures.append(reason)
        self._told.release()

    def wait(self):
        """Wait for one wake, or one failure."""
        assert self._told.acquire(timeout=TIMEOUT), "nothing is told"


def test_a_change_deep_below_wakes_whoever_waits(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    heard = Heard()
    with file_events.wake_on_changes([tmp_path], heard.wake, heard.fail):
        heard.wait()  # it listens from now on
        (tmp_path / "x" / "y" / "a.jpg").write_bytes(b"x")
        heard.wait()
    assert heard.failures == []


def test_what_cannot_be_watched_is_told_once(tmp_path):
    heard = Heard()
    with file_events.wake_on_changes([tmp_path / "gone"], lambda: None, heard.fail):
        heard.wait()
    assert len(heard.failures) == 1
    assert heard.failures[0]


def test_the_systems_limit_is_told_in_its_words(tmp_path, monkeypatch):
    def refuse(*folders, **more):
        text = 'OS file watch limit reached. about ["/x"]'
        raise OSError(text)

    monkeypatch.setattr(watchfiles, "watch", refuse)
    heard = Heard()
    with file_events.wake_on_changes([tmp_path], lambda: None, heard.fail):
        heard.wait()
    assert heard.failures == ["OS file watch limit reached"]


def test_a_folder_that_may_not_be_entered_costs_no_other_its_events(tmp_path, monkeypatch):
    asked = []

    def watch(*folders, ignore_permission_denied, **more):
        asked.append(ignore_permission_denied)
        if not ignore_permission_denied:
            raise PermissionError(13, "Permission denied")
        yield set()

    monkeypatch.setattr(watchfiles, "watch", watch)
    heard = Heard()
    with file_events.wake_on_changes([tmp_path], heard.wake, heard.fail):
        heard.wait()
    assert heard.failures == []
    assert asked == [False, True]


def test_the_first_silence_after_a_change_wakes_once_more(tmp_path, monkeypatch):
    """A file may come into a new folder before that is listened to."""
    change = {(1, "x")}
    told = [set(), set(), change, change, set(), set()]
    wakes = []
    asked = {}
    heard = Heard()

    def watch(*folders, **more):
        asked.update(more)
        for changes in told:
            wakes.append(0)
            yield changes
        heard.wake()  # all of it was told

    monkeypatch.setattr(watchfiles, "watch", watch)

    def wake():
        wakes[-1] += 1

    with file_events.wake_on_changes([tmp_path], wake, heard.fail):
        heard.wait()
    assert heard.failures == []
    assert wakes == [1, 0, 1, 1, 1, 0]
    assert asked["yield_on_timeout"], "else silence is not told"


def test_events_can_be_had_where_the_package_is(monkeypatch):
    assert file_events.available()
    monkeypatch.setattr(file_events, "find_spec", lambda name: None)
    assert not file_events.available()


class Event:
    """In the place of one of threading, on a clock that only waiting moves."""

    def __init__(self):
        self.time, self.is_set, self.slept = 0.0, False, []

    def set(self):
        self.is_set = True

    def clear(self):
        self.is_set = False

    def wait(self, seconds):
        if not self.is_set:
            self.time += seconds
        return self.is_set

    def sleep(self, seconds):
        self.time += seconds
        self.slept.append(seconds)

    def monotonic(self):
        return self.time


def test_a_clock_is_woken_and_waits_no_less_than_it_has_to(monkeypatch):
    event = Event()
    monkeypatch.setattr(clock_module, "time", event)
    clock = Clock()
    clock._woken = event
    clock.wake()
    clock.wait(300.0, at_least=5.0)
    assert (clock.now(), event.slept) == (5.0, [5.0])
    clock.wait(10.0, at_least=5.0)  # it was woken once
    assert (clock.now(), event.slept) == (15.0, [5.0])
    clock.wake()
    clock.wait(300.0)
    assert (clock.now(), event.slept) == (15.0, [5.0])


def test_a_clock_is_woken_from_another_thread():
    clock = Clock()
    waiter = threading.Thread(target=clock.wait, args=(2 * TIMEOUT,), daemon=True)
    waiter.start()
    clock.wake()
    waiter.join(TIMEOUT)
    assert not waiter.is_alive()
