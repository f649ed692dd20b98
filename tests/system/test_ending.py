"""How the process of a command ends: all is written, and others have their turn."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Python ends in its own way there")

PROGRAM = """
import atexit, ctypes, sys, threading, time
from birefcli.system import ending

class Torn:
    def __del__(self):
        print("torn down")

def later():
    time.sleep(0.2)
    print("a thread")

def main():
    ending.prepare()
    atexit.register(print, "registered")
    threading.Thread(target=later).start()
    ctypes.CDLL(None).printf(b"printed in C\\n")
    ending.leave_at_once(3, sys._getframe())
    sys.exit(3)

torn = Torn()
"""
CALL = "main()"
GOES_ON = "try:\n    main()\nexcept SystemExit:\n    print('goes on')"
IN_C, REGISTERED, THREAD, TORN = "printed in C", "registered", "a thread", "torn down"


def ended(folder, *words, call=CALL, before="", name="birefcli"):
    """Sorted lines of such a program, and its exit code."""
    (folder / name).write_text(before + PROGRAM + call)
    ran = subprocess.run(
        [sys.executable, *(words or [name])],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return sorted(ran.stdout.splitlines()), ran.returncode


@pytest.mark.parametrize("words", [(), ("-m", "birefcli_script")])
def test_threads_exit_functions_and_outputs_have_their_turn(tmp_path, words):
    name = "birefcli_script.py" if words else "birefcli"
    lines, code = ended(tmp_path, *words, name=name)
    assert (lines, code) == (sorted([IN_C, REGISTERED, THREAD]), 3)


@pytest.mark.parametrize(
    ("how", "said", "wanted"),
    [
        ({"before": "import atexit; atexit.register(print, 'the first')"}, ["the first"], 3),
        ({"before": "import sys; sys.settrace(eval('lambda *_: None', {}))"}, [], 3),
        ({"name": "program.py"}, [], 3),
        ({"name": "program.py", "call": GOES_ON}, ["goes on"], 0),
        ({"words": ["-m", "cProfile", "birefcli"]}, [], None),
    ],
    ids=["exit functions before ours", "a debugger", "a program", "one that goes on", "a profiler"],
)
def test_where_others_are_concerned_python_ends_in_its_own_way(tmp_path, how, said, wanted):
    more = dict(how)
    lines, code = ended(tmp_path, *more.pop("words", ()), **more)
    assert {IN_C, REGISTERED, THREAD, TORN, *said} <= set(lines)
    assert wanted in (code, None)
    assert wanted is not None or any("function calls" in line for line in lines)


def test_the_command_ends_at_once(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Torn:\n    def __del__(self): print('torn down')\nsys.torn = Torn()"
    )
    words = [sys.executable, "-m", "birefcli", "--version"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("birefcli ")
    assert TORN not in ran.stdout
