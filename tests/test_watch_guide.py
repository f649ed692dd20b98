"""The guide to a folder that fills: its units are taken from the page, and their commands run."""

import contextlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import typer.main
from conftest import TIMEOUT, picture, wait_for
from support import blocks
from test_recipes import needs

from birefcli.cli.app import app

PAGE = (Path(__file__).parent.parent / "man" / "guide" / "watch.md").read_text(encoding="utf-8")
FLAT = "One flat local folder, by a path unit"


def units(title: str) -> list[str]:
    found: list[str] = blocks(PAGE, title, "systemd")
    return found


def value(unit: str, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", unit, re.M)
    assert found is not None, name
    return found[1]


def options(command: str) -> dict[str, object]:
    found = typer.main.get_command(app).commands[command]
    return {name: p.default for p in found.params for name in (*p.opts, *p.secondary_opts)}


@needs("systemd-analyze")
def test_systemd_takes_the_units(installed, tmp_path):
    script = str(shutil.which("birefcli", path=installed["PATH"]))
    names = ("birefcli-watch.service", "cutouts.path", "cutouts.service")
    for name, text in zip(names, [*units("systemd"), *units(FLAT)], strict=True):
        (tmp_path / name).write_text(text.replace("/usr/local/bin/birefcli", script))
    for files, user in ((names[:1], ()), (names[1:], ("--user",))):
        words = ["systemd-analyze", "verify", *user, *(f"./{name}" for name in files)]
        tried = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
        if tried.returncode and user:  # no manager of a user is here
            words.remove("--user")
            tried = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
        assert tried.returncode == 0, tried.stderr.decode()


def test_the_service_watches_tells_so_and_stops_as_it_says(start, tmp_path):
    [unit] = units("systemd")
    words = shlex.split(value(unit, "ExecStart"))
    assert {word for word in words if word.startswith("--")} <= set(options("watch"))
    for name in ("photos", "cutouts"):
        (tmp_path / name).mkdir()
    assert value(unit, "RequiresMountsFor").split() == [w for w in words if w.startswith("/srv")]
    assert value(unit, "ReadWritePaths") == "/srv/cutouts"
    words = [word.replace("/srv", str(tmp_path)).replace("portrait", "mini") for word in words[1:]]
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(TIMEOUT)
        process = start(*words, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert told.recv(99) == b"READY=1"
        picture().save(tmp_path / "photos" / "a.jpg")
        wait_for((tmp_path / "cutouts" / "a.png").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == int(value(unit, "SuccessExitStatus"))
        assert told.recv(99) == b"STOPPING=1"


def test_the_path_units_command_cuts_out_what_came(command, tmp_path):
    path, service = units(FLAT)
    words = shlex.split(value(service, "ExecStart"))[1:]
    watched = Path(value(path, "PathChanged").replace("%h", str(tmp_path)))
    assert watched == tmp_path / words[1].rstrip("/")
    watched.mkdir()
    picture().save(watched / "a.jpg")
    assert command(*words, cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "cutouts").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("option", "shown"), [("--every", "5"), ("--settle", "2"), ("--idle", "600")]
)
def test_the_defaults_of_the_page_are_those_of_the_command(option, shown):
    told = re.search(rf"`{option}` seconds (?:without any )?\((\d+)", PAGE)
    assert told is not None
    assert told[1] == shown
    assert float(str(options("watch")[option])) == float(shown)
