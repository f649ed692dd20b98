"""A signal ends what is running in order, and leaves no library half imported."""

import importlib
import os
import signal
import time

import pytest

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
