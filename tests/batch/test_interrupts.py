"""A signal ends what is running in order, and leaves no library half imported."""

import importlib
import os
import signal
import time

import pytest

from birefcli.batch import interrupts
from birefcli.batch.interrupts import InterruptHandler, StoppedError
from birefcli.errors import ExitCode

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no alarm")

SWALLOWING = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    whole = True
except BaseException:
    whole = False
"""


def test_a_signal_within_an_import_stops_the_run_after_it(tmp_path, monkeypatch):
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    monkeypatch.syspath_prepend(tmp_path)

    def run():
        assert importlib.import_module("swallowing").whole
        time.sleep(30)

    with InterruptHandler() as signals, pytest.raises(StoppedError):
        run()
    assert signals.code is ExitCode.TERMINATED


def test_a_run_that_an_import_has_begun_is_stopped_at_once(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(
        "import os, signal\n"
        "from birefcli.batch.interrupts import InterruptHandler, StoppedError\n"
        "with InterruptHandler():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except StoppedError:\n"
        "        stopped = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("program").stopped


def test_steps_that_are_held_are_stopped_after_them():
    done = []

    def run():
        with signals.held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with InterruptHandler() as signals, pytest.raises(StoppedError):
        run()
    assert (done, signals.code) == ([1], ExitCode.INTERRUPTED)


class LeftError(BaseException):
    """The process has ended, with this code."""


@pytest.fixture
def told(monkeypatch):
    """What a run tells where it ends at once, which raises here."""

    def leave(code):
        raise LeftError(code)

    monkeypatch.setattr(interrupts, "leave", leave)
    monkeypatch.setattr(interrupts, "later", lambda *_: None)  # it would end the tests
    monkeypatch.setattr(interrupts, "_asked", None)
    return []


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_tells_the_end_once_and_ends_at_once_wherever_it_comes(told):
    with InterruptHandler() as signals:
        signals.before_exit = lambda: told.append(signals.code)
        with pytest.raises(StoppedError):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # as timeout sends two
        with pytest.raises(LeftError):
            press_ctrl_c()
    assert told == [ExitCode.TERMINATED]
    assert interrupts.asked() is ExitCode.TERMINATED


@pytest.mark.parametrize(("block", "expected"), [("held", ["this", "end"]), ("ending", ["this"])])
def test_a_second_ctrl_c_lets_what_is_being_told_end_and_tells_nothing_twice(told, block, expected):
    def tell():
        with getattr(signals, block)():
            press_ctrl_c()
            told.append("this")

    with InterruptHandler() as signals:
        signals.before_exit = lambda: told.append("end")
        with pytest.raises(StoppedError):
            press_ctrl_c()
        with pytest.raises(LeftError):
            tell()
    assert told == expected


def test_a_signal_that_stopped_a_run_within_a_watch_is_the_first_for_the_watch(told):
    with InterruptHandler() as watch:
        watch.before_exit = lambda: told.append(watch.code)
        with InterruptHandler() as run, pytest.raises(StoppedError):
            press_ctrl_c()
        assert watch.code is run.code is ExitCode.INTERRUPTED
        with pytest.raises(LeftError):
            press_ctrl_c()
    assert told == [ExitCode.INTERRUPTED]


def test_a_signal_at_the_very_end_of_a_run_stops_the_watch_around_it():
    def end():
        with InterruptHandler() as run, run.ending():
            press_ctrl_c()

    with InterruptHandler() as watch, pytest.raises(StoppedError):
        end()
    assert watch.code is ExitCode.INTERRUPTED
