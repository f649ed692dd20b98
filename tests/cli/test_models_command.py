"""``birefcli models``, run as people run it."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest
from fake_hub import COMMIT, environment, models, run, script, serving

from birefcli.cli.models import raise_all
from birefcli.errors import Message, ModelError, Option

CONTENT = bytes(range(256)) * 16_384  # 4 MiB


@pytest.fixture
def fake():
    with serving(CONTENT) as hub:
        yield hub


@pytest.fixture
def pulled(fake, tmp_path):
    """The model's path in the cache, as the command printed it."""
    done = run(fake, tmp_path, models("pull", "tiny"))
    assert (done.returncode, done.stderr) == (0, "")
    fake.asked.clear()
    return tmp_path / done.stdout.removeprefix("tiny: ").strip()


def on_terminal(fake, folder, *args, answer=""):
    """What ``models ARGS`` shows on a terminal of 80 columns, without colours; its exit status."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        script(fake, models(*args)),
        env=environment(folder, fake.url, TERM="xterm"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    os.write(controller, answer.encode())
    output = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while block := os.read(controller, 4096):
            output += block
    os.close(controller)
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode()), process.wait(timeout=60)


def state(fake, folder, name="tiny"):
    lines = run(fake, folder, models("list", "--json")).stdout.splitlines()
    return {entry["name"]: entry["state"] for entry in map(json.loads, lines)}[name]


def test_help_needs_neither_torch_nor_the_hub_library(fake, tmp_path):
    body = """
import atexit
@atexit.register
def check():
    heavy = {"torch", "huggingface_hub", "safetensors", "tqdm", "obstore", "boto3"}
    print("heavy:", sorted(heavy & {*sys.modules}))
"""
    done = run(fake, tmp_path, body.strip() + "\n" + models("pull", "--help"), forked=False)
    assert done.returncode == 0
    assert "heavy: []" in done.stdout


def test_list_in_a_pipe_is_tab_separated_with_a_header(fake, tmp_path):
    done = run(fake, tmp_path, models("list"))
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["name", "width", "height", "megabytes", "state", "purpose"]
    assert lines[1][:5] == ["portrait", "1024", "1024", "885", "missing"]
    assert lines[-1] == ["tiny", "64", "32", "4", "missing", "tests"]
    assert {len(line) for line in lines} == {6}
    assert fake.asked == []


def test_list_as_json_tells_everything(fake, pulled, tmp_path):
    done = run(fake, tmp_path, models("list", "--json"))
    entries = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    assert entries["tiny"]["state"] == "verified"
    assert entries["tiny"]["path"] == str(pulled)
    assert entries["tiny"]["sha256"] == fake.sha256
    assert entries["portrait"]["path"] is None
    assert entries["mini"]["state"] == "built in"


def test_list_on_a_terminal_fits_80_columns(fake, tmp_path):
    output, status = on_terminal(fake, tmp_path, "list")
    lines = output.replace("\r", "").splitlines()
    assert status == 0
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if "×" in line]
    assert len(rows) == 12, output  # none is wrapped
    assert any("2560×1440" in row and "smaller network, wide photos" in row for row in rows)


def test_pull_says_where_the_file_is(fake, pulled, tmp_path):
    assert pulled.read_bytes() == CONTENT
    assert COMMIT in str(pulled)
    assert state(fake, tmp_path) == "verified"


def test_pull_shows_a_bar_on_a_terminal(fake, tmp_path):
    output, status = on_terminal(fake, tmp_path, "pull", "tiny")
    assert status == 0
    assert "tiny:   0%" in output
    assert "4.19M/4.19M" in output


@pytest.mark.parametrize("option", ["--no-progress", "--quiet"])
def test_pull_shows_no_bar_when_asked(fake, tmp_path, option):
    output, status = on_terminal(fake, tmp_path, "pull", "tiny", option)
    assert status == 0
    assert "%" not in output
    assert (output == "") == (option == "--quiet")


def test_bar_of_a_resumed_pull_starts_where_the_last_one_stopped(fake, tmp_path):
    fake.cut_after = 3 << 20
    assert run(fake, tmp_path, models("pull", "tiny")).returncode == 4
    assert state(fake, tmp_path) == "partial"
    fake.cut_after = None
    output, status = on_terminal(fake, tmp_path, "pull", "tiny")
    assert status == 0
    assert "tiny:  75%" in output


def test_pull_of_a_cached_model_asks_nobody(fake, pulled, tmp_path):
    done = run(fake, tmp_path, models("pull", "tiny"))
    assert (done.returncode, done.stdout, fake.asked) == (0, f"tiny: {pulled}\n", [])


def test_pull_replaces_a_file_that_verify_found_damaged(fake, pulled, tmp_path):
    pulled.write_bytes(CONTENT[::-1])
    assert run(fake, tmp_path, models("verify")).returncode == 4
    assert run(fake, tmp_path, models("pull", "tiny")).returncode == 0
    assert pulled.read_bytes() == CONTENT


def test_one_failure_does_not_keep_the_others_from_being_pulled(fake, tmp_path):
    # The stand-in has the bytes of `tiny` alone: the real models are refused by size.
    done = run(fake, tmp_path, models("pull", "portrait", "tiny", "lite"))
    assert done.returncode == 4
    assert done.stdout.startswith("tiny: /")
    assert "2 models could not be fetched" in done.stderr
    assert "portrait: " in done.stderr
    assert "lite: " in done.stderr


def test_what_is_to_be_done_about_several_failures_is_said_once_and_as_it_is_typed(capsys):
    failures = {
        name: ModelError(
            f"{name}: none",
            hint=Message(f"`birefcli models pull {name}`, or `", Option("model", "mini"), "`"),
        )
        for name in ("portrait", "lite")
    }
    with pytest.raises(ModelError, match="2 models could not be fetched"):
        raise_all({"tiny": None, **failures}, lambda option: f"--{option.name} {option.value}")
    assert capsys.readouterr().err == (
        "birefcli: portrait: none; `birefcli models pull portrait`, or `--model mini`\n"
        "birefcli: lite: none\n"
    )


def test_unknown_name_is_refused_before_anything_is_pulled(fake, tmp_path):
    done = run(fake, tmp_path, models("pull", "tiny", "potrait"))
    assert done.returncode == 4
    assert "did you mean portrait?" in done.stderr
    assert fake.asked == []


@pytest.mark.parametrize("args", [["pull"], ["pull", "--all", "tiny"]])
def test_pull_wants_either_names_or_all(fake, tmp_path, args):
    done = run(fake, tmp_path, models(*args))
    assert done.returncode == 2
    assert "--all" in done.stderr


def test_path_prints_the_file_and_nothing_else(fake, pulled, tmp_path):
    assert run(fake, tmp_path, models("path", "tiny")).stdout == f"{pulled}\n"
    assert fake.asked == []


def test_path_of_a_model_that_is_not_here_fails(fake, tmp_path):
    done = run(fake, tmp_path, models("path", "tiny"))
    assert (done.returncode, done.stdout, fake.asked) == (4, "", [])
    assert "birefcli models pull tiny" in done.stderr


def test_verify_reports_each_cached_model(fake, pulled, tmp_path):
    done = run(fake, tmp_path, models("verify"))
    assert (done.returncode, done.stdout) == (0, f"tiny: verified ({pulled})\n")


def test_verify_with_an_empty_cache_says_so(fake, tmp_path):
    done = run(fake, tmp_path, models("verify"))
    assert done.returncode == 0
    assert "no model is in the cache" in done.stdout


def test_verify_of_a_model_that_is_not_here_fails(fake, tmp_path):
    done = run(fake, tmp_path, models("verify", "tiny"))
    assert (done.returncode, done.stdout) == (4, "")


def test_verify_detects_a_blob_whose_size_and_time_were_kept(fake, pulled, tmp_path):
    before = pulled.stat()
    pulled.write_bytes(CONTENT[:-1] + b"!")
    os.utime(pulled, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state(fake, tmp_path) == "verified"  # nothing less than reading it can tell
    done = run(fake, tmp_path, models("verify", "tiny"))
    assert (done.returncode, done.stdout) == (4, f"tiny: damaged ({pulled})\n")
    assert "birefcli models pull tiny" in done.stderr
    assert state(fake, tmp_path) == "damaged"


def test_truncated_blob_is_listed_as_damaged_without_reading_it(fake, pulled, tmp_path):
    os.truncate(pulled, 1000)
    assert state(fake, tmp_path) == "damaged"


def test_remove_frees_the_model_and_touches_nothing_else(fake, pulled, tmp_path):
    cache = tmp_path / "hf" / "hub"
    # Another program's model, with a snapshot of the same name.
    other = cache / "models--someone--else" / "snapshots" / COMMIT / "model.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"precious")
    done = run(fake, tmp_path, models("remove", "tiny", "--yes"))
    assert (done.returncode, done.stdout) == (0, "tiny: removed, 4 MB freed\n")
    assert not (cache / "models--someone--tiny-net").exists()
    assert other.read_bytes() == b"precious"
    assert state(fake, tmp_path) == "missing"


def test_remove_takes_an_interrupted_download_away(fake, tmp_path):
    fake.cut_after = 3 << 20
    assert run(fake, tmp_path, models("pull", "tiny")).returncode == 4
    done = run(fake, tmp_path, models("remove", "tiny", "--yes"))
    assert (done.returncode, done.stdout) == (0, "tiny: removed, 3 MB freed\n")
    assert state(fake, tmp_path) == "missing"


def test_remove_keeps_another_version_of_the_model(fake, pulled, tmp_path):
    folder = tmp_path / "hf" / "hub" / "models--someone--tiny-net"
    (folder / "blobs" / ("e" * 64)).write_bytes(b"newer")
    newer = folder / "snapshots" / ("9" * 40) / "model.safetensors"
    newer.parent.mkdir()
    newer.symlink_to("../../blobs/" + "e" * 64)
    assert run(fake, tmp_path, models("remove", "tiny", "-y")).returncode == 0
    assert newer.read_bytes() == b"newer"
    assert not pulled.exists()
    assert not (folder / "blobs" / fake.sha256).exists()


@pytest.mark.parametrize(("answer", "kept"), [("n\n", True), ("y\n", False)])
def test_remove_asks_on_a_terminal(fake, pulled, tmp_path, answer, kept):
    output, status = on_terminal(fake, tmp_path, "remove", "tiny", answer=answer)
    assert "Remove tiny from" in output
    assert status == 0
    assert pulled.exists() is kept


def test_remove_without_a_terminal_wants_yes(fake, pulled, tmp_path):
    done = run(fake, tmp_path, models("remove", "tiny"))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert pulled.exists()


def test_remove_of_what_is_not_there_fails(fake, tmp_path):
    assert run(fake, tmp_path, models("remove", "tiny", "--yes")).returncode == 4


def test_built_in_model_cannot_be_removed(fake, tmp_path):
    done = run(fake, tmp_path, models("remove", "mini", "--yes"))
    assert done.returncode == 2
    assert "ships inside the package" in done.stderr
