"""What the system tells of changes: only that there was one."""

import threading

import pytest

from birefcli.system import file_events
from birefcli.system.clock import Clock

watchfiles = pytest.importorskip("watchfiles")


def test_a_change_deep_below_wakes_whoever_waits(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    woken = threading.Semaphore(0)
    failures = []
    with file_events.wake_on_changes([tmp_path], woken.release, failures.append):
        assert woken.acquire(timeout=300)  # it listens from now on
        (tmp_path / "x" / "y" / "a.jpg").write_bytes(b"x")
        assert woken.acquire(timeout=300)
    assert failures == []


def test_what_cannot_be_watched_is_told_once(tmp_path):
    failures = []
    failed = threading.Event()

    def fail(reason):
        failures.append(reason)
        failed.set()

    with file_events.wake_on_changes([tmp_path / "gone"], lambda: None, fail):
        assert failed.wait(300)
    assert len(failures) == 1
    assert failures[0]


def test_the_systems_limit_is_told_in_its_words(tmp_path, monkeypatch):
    def refuse(*folders, **more):
        text = 'OS file watch limit reached. about ["/x"]'
        raise OSError(text)

    monkeypatch.setattr(watchfiles, "watch", refuse)
    failed = threading.Event()
    failures = []
    with file_events.wake_on_changes(
        [tmp_path], lambda: None, lambda why: (failures.append(why), failed.set())
    ):
        assert failed.wait(300)
    assert failures == ["OS file watch limit reached"]


def test_a_folder_that_may_not_be_entered_costs_no_other_its_events(tmp_path, monkeypatch):
    asked = []

    def watch(*folders, ignore_permission_denied, **more):
        asked.append(ignore_permission_denied)
        if not ignore_permission_denied:
            raise PermissionError(13, "Permission denied")
        yield set()

    monkeypatch.setattr(watchfiles, "watch", watch)
    woken = threading.Event()
    failures = []
    with file_events.wake_on_changes([tmp_path], woken.set, failures.append):
        assert woken.wait(300)
    assert asked == [False, True]
    assert failures == []


def test_the_first_silence_after_a_change_wakes_once_more(tmp_path, monkeypatch):
    """A file may come into a new folder before that is listened to."""
    change = {(1, "x")}
    told = [set(), set(), change, change, set(), set()]
    wakes = []
    over = threading.Event()

    def watch(*folders, **more):
        assert more["yield_on_timeout"]
        for number, changes in enumerate(told):
            wakes.append(0)
            yield changes
            assert len(wakes) == number + 1
        over.set()
        more["stop_event"].wait(300)

    monkeypatch.setattr(watchfiles, "watch", watch)

    def wake():
        wakes[-1] += 1

    with file_events.wake_on_changes([tmp_path], wake, pytest.fail):
        assert over.wait(300)
    assert wakes == [1, 0, 1, 1, 1, 0]


def test_events_can_be_had_where_the_package_is(monkeypatch):
    assert file_events.available()
    monkeypatch.setattr(file_events, "find_spec", lambda name: None)
    assert not file_events.available()


def test_a_clock_is_woken_and_waits_no_less_than_it_has_to():
    clock = Clock()
    clock.wake()
    before = clock.now()
    clock.wait(300.0, at_least=0.05)
    assert 0.05 <= clock.now() - before < 300
    before = clock.now()
    clock.wait(0.05)  # it was woken once
    assert clock.now() - before >= 0.04
