"""Standard streams that are closed, full, left by their reader, or in a narrow encoding."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from PIL import Image

from birefcli.errors import ExitCode
from birefcli.system import streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell's redirections")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
ODD = [b"a\xff", b"n\nl", b"t\tab", b"qu\"o'te", b"<script>", b"&amp;", b"\x1b[31m", b"=1+1", b"-b"]
ODD += [b"+c", b"@d", b"\tlead", b"\rcr=1", "é日😀".encode()]


@pytest.fixture
def shell(environment, quickly_installed, tmp_path):
    """Run ``birefcli`` in a shell, with redirections; its code, stdout and stderr.

    In a process of its own where a stream is closed, which Python sees when it starts.
    """

    def run(words, **more):
        if "&-" in words:
            line = f'"{sys.executable}" -m birefcli {words}'
            env = {**environment, "PYTHONPATH": str(Path(__file__).parents[2])}
        else:
            line, env = f"birefcli {words}", quickly_installed
        result = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env={**env, "BIREFCLI_MODEL": "mini", **more},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=TIMEOUT,
        )
        return result.returncode, result.stdout, result.stderr.decode()

    return run


@pytest.fixture
def named(tmp_path):
    """Folders of truths and predictions whose names hold anything a system allows."""
    for folder, level in ((b"gt", 255), (b"pred", 220)):
        (tmp_path / folder.decode()).mkdir()
        for number, name in enumerate(ODD):
            mask = np.zeros((24, 32), np.uint8)
            mask[4:20, 8:24] = level - number
            mask[4:20, 8:23] = 255
            path = os.fsencode(tmp_path) + b"/" + folder + b"/" + name + b".png"
            try:
                with open(path, "wb") as file:  # noqa: PTH123 - bytes
                    Image.fromarray(mask).save(file, "PNG")
            except OSError:
                pytest.skip("this disk keeps no such names")
    return tmp_path


SOME_CLOSED = [" ".join(which) for which in product(("", "<&-"), ("", ">&-"), ("", "2>&-"))][1:]


@pytest.mark.parametrize("redirected", SOME_CLOSED)
def test_commands_end_as_ever_with_any_stream_closed(shell, redirected):
    code, out, said = shell(f"models list --json {redirected}")
    if ">&-" in redirected.replace("2>&-", ""):
        assert (code, out) == (5, b"")
        assert "2>&-" in redirected or "standard output cannot be written: it is closed" in said
    else:
        assert (code, said) == (0, "")
        assert all(json.loads(line)["name"] for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("matte none.png -o - 2>&-", 3),
        *(
            pytest.param(words, code, marks=pytest.mark.slow)
            for words, code in {
                "matte a.png -o - --no-refine >&-": 5,
                "matte a.png -o - --no-refine 2>&-": 0,
                "matte - -o - <&- 2>&-": 1,
                "matte bad.png -o - 2>&-": 1,
                "matte a.png -o out --no-refine >&-": 0,
                "matte a.png -o out --no-refine --json <&- 2>&-": 0,
                "matte a.png -o out --no-refine --json >&-": 5,
            }.items()
        ),
    ],
)
def test_messages_are_in_no_result_whatever_is_closed(shell, tmp_path, words, code):
    picture().save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_text("no picture")
    ended, out, said = shell(words)
    assert ended == code, said
    assert "Traceback" not in said
    assert "a bug" not in said
    if code == 0 and "-o -" in words:
        assert out.startswith(b"\x89PNG")
        assert out.endswith(b"IEND\xaeB`\x82")
    elif code == 0 and "--json" in words:
        assert len([json.loads(line) for line in out.splitlines()]) == 2
    else:
        assert out == b""
    if ">&-" in words.replace("2>&-", "") and code:
        assert "it is closed" in said


NO_STDOUT = "import os, sys\nos.close(1)\nsys.stdout = sys.__stdout__ = None\n"
"""As Python begins where stdout is closed."""


def test_picture_for_a_stdout_that_is_closed_is_exit_5(start, tmp_path):
    picture().save(tmp_path / "a.png")
    words = ("matte", tmp_path / "a.png", "-o", "-", "--no-refine")
    process = start(*words, first=NO_STDOUT)
    out, said = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (5, b""), said
    assert b"it is closed" in said
    assert b"Traceback" not in said


CLOSED = {full: pytest.param(full, marks=pytest.mark.slow) for full in ("2>&-", ">&-")}


@FULL
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("models list", 0),
        ("matte --no-such-option", 2),
        ("matte none.png -o out", 3),
        ("matte a.png -o out -m nonesuch", 4),
        ("matte a.png -o .", 5),
        ("nonsense", 2),
    ],
)
@pytest.mark.parametrize("full", ["2>/dev/full", CLOSED["2>&-"]])
def test_message_that_cannot_be_printed_changes_no_exit_code(shell, tmp_path, words, code, full):
    picture().save(tmp_path / "a.png")
    assert shell(f"{words} {full}")[::2] == (code, "")


@FULL
@pytest.mark.parametrize(
    "words", ["--help", "--version", "matte --help", "models list", "models path mini", "score p t"]
)
@pytest.mark.parametrize("full", [">/dev/full", CLOSED[">&-"]])
def test_results_that_cannot_be_printed_are_exit_5_and_one_line(shell, tmp_path, words, full):
    if words.startswith("score"):
        for folder in (tmp_path / "p", tmp_path / "t"):
            folder.mkdir()
            Image.new("L", (20, 20), 255).save(folder / "a.png")
    code, _, said = shell(f"{words} {full}")
    assert code == 5
    assert said.startswith("birefcli: standard output cannot be written: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", ["--help", "models list", "models list --json"])
def test_reader_that_leaves_hears_no_complaint(environment, words):
    reads, writes = os.pipe()
    os.close(reads)
    result = subprocess.run(
        [sys.executable, "-m", "birefcli", *words.split()],
        stdout=writes,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
        timeout=TIMEOUT,
    )
    os.close(writes)
    assert (result.returncode, result.stderr) == (ExitCode.OUTPUT, b"")


NARROW = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "no locale": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize(
    "narrow",
    ["no locale", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ascii", "latin-1"))],
)
def test_tables_are_printed_in_every_encoding(shell, named, narrow):
    code, out, said = shell("score pred gt --each", **NARROW[narrow])
    assert (code, said) == (0, "")
    assert b"qu\"o'te" in out
    assert b"a\\xff" in out
    code, out, said = shell("matte gt -o out --dry-run", **NARROW[narrow])
    assert code == 0, said
    assert len(out.splitlines()) == len(ODD)


def test_scores_keep_odd_names_in_json_csv_and_pages(shell, named):
    code, out, said = shell("score pred gt --each --json")
    assert code == 0, said
    assert {os.fsencode(name) for name in json.loads(out)["each"]} == {n + b".png" for n in ODD}
    code, out, said = shell("score pred gt --each --csv --report r.html")
    assert code == 0, said
    rows = list(csv.reader(io.StringIO(out.decode(), newline="")))
    assert len(rows) == len(ODD) + 1
    assert len({len(row) for row in rows}) == 1
    assert not [row[0] for row in rows if row[0].startswith(tuple("=+-@\t\r"))]
    assert {"'=1+1.png", "'-b.png", "'+c.png", "'@d.png", "a\\xff.png"} <= {r[0] for r in rows}
    page = (named / "r.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;.png" in page
    assert "\x1b" not in page
    assert "a\\xff.png" in page


@pytest.mark.slow
def test_training_lists_odd_names_byte_by_byte(command, named):
    (named / "pred").rename(named / "im")
    words = "train . -o w.safetensors --from mini --epochs 1 --size 32 --batch 4 --hold-out 3"
    result = command(*words.split(), cwd=named)
    assert result.returncode == 0, result.stderr
    listed = (named / "w.train" / "held_out.txt").read_bytes()
    end = b"\0" if b"\0" in listed else b"\n"
    *names, last = listed.split(end)
    assert last == b""
    assert len(names) == 5
    assert all(os.path.exists(os.path.join(os.fsencode(named), name)) for name in names)  # noqa: PTH110, PTH118


def test_path_of_a_model_is_printed_byte_by_byte(shell, tmp_path):
    from birefcli.models import zoo

    home = os.fsencode(tmp_path) + b"/h\xff\xe9"
    model = zoo.ZOO["lite"]
    assert model.repo is not None
    folder = home + b"/hub/models--" + model.repo.replace("/", "--").encode()
    folder += b"/snapshots/" + model.revision.encode()
    os.makedirs(folder)  # noqa: PTH103 - bytes
    (Path(os.fsdecode(folder)) / "model.safetensors").write_bytes(b"")
    code, out, said = shell("models path lite", HF_HOME=os.fsdecode(home), PYTHONUTF8="0")
    assert (code, said) == (0, "")
    assert out.startswith(folder)


@pytest.mark.slow
def test_pipe_that_does_not_wait_is_waited_for(environment, tmp_path):
    noise = np.random.RandomState(0).randint(0, 256, (400, 400, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    words = ["matte", tmp_path / "a.png", "-o", "-", "--write", "foreground", "--no-refine"]
    process = subprocess.Popen(
        [sys.executable, "-m", "birefcli", *words],
        stdout=writes,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        data = file.read()
    _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), noise)


class Refusing(io.RawIOBase):
    """A file whose disk is full, and full no more after some writes."""

    def __init__(self, refusals):
        self.refusals, self.taken = refusals, b""

    def writable(self):
        return True

    def write(self, data):
        if self.refusals:
            self.refusals -= 1
            raise OSError(28, "No space left on device")
        self.taken += bytes(data)
        return len(data)


def test_output_that_failed_takes_all_and_says_so_at_the_end(monkeypatch):
    monkeypatch.setattr(streams._Output, "failure", None)
    raw = Refusing(1)
    text = io.TextIOWrapper(io.BufferedWriter(streams._Output(raw, drops=False)))
    text.write("lost")
    with pytest.raises(OSError, match="No space left") as failed:
        text.flush()
    assert failed.value.filename == streams.STDOUT
    text.write("more")
    text.close()
    assert raw.taken == b""
    assert streams._Output.failure is failed.value


def test_messages_come_again_once_there_is_room(monkeypatch):
    monkeypatch.setattr(streams._Output, "failure", None)
    raw = Refusing(1)
    text = io.TextIOWrapper(
        io.BufferedWriter(streams._Output(raw, drops=True)), line_buffering=True
    )
    print("lost", file=text)
    print("told", file=text)
    assert raw.taken == b"told\n"
    assert streams._Output.failure is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_that_a_library_swallows_ends_the_run_all_the_same(environment, tmp_path, number):
    script = (
        "import os, time\n"
        "import birefcli.batch.interrupts as i\n"
        "i.GRACE = 0.5\n"
        "from birefcli.cli import environment\n"
        "def swallow(*_):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        time.sleep(1)\n"
        "    except BaseException:\n"
        "        time.sleep(60)\n"
        "environment.check_place = swallow\n"
        "from birefcli.__main__ import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "score", "a.png", "a.png"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert result.returncode == (130 if number == signal.SIGINT else 143), result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_within_an_import_ends_the_command_at_once_and_says_so(
    environment, tmp_path, number
):
    # A library that takes an exception for one of its own, and goes on with half of itself.
    (tmp_path / "cv2.py").write_text(
        "import os, time\n"
        "try:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(1)\n"
        "    MARKER_CROSS = 0\n"
        "except BaseException:\n"
        "    pass\n"
    )
    picture().save(tmp_path / "a.png")
    result = subprocess.run(
        [sys.executable, "-m", "birefcli", "score", "a.png", "a.png"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    ctrl_c = number == signal.SIGINT
    said = b"birefcli: interrupted\n" if ctrl_c else b"birefcli: terminated\n"
    assert (result.returncode, result.stderr) == (130 if ctrl_c else 143, said)


def test_ctrl_c_within_text_that_a_library_runs_has_the_same_code(environment, tmp_path):
    (tmp_path / "cv2.py").write_text('exec("import os; os.kill(os.getpid(), 2)")\n')
    env = {**environment, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    (tmp_path / "p").mkdir()
    (tmp_path / "t").mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "birefcli", "score", "p", "t", "--report", "r.html"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert result.returncode == 130, result.stderr
    assert b"Traceback" not in result.stderr
