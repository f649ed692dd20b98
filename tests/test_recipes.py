"""The recipes of the manual do what they say: each block is taken from the page and run."""

import dataclasses
import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import TIMEOUT
from fake_hub import serving
from forks import BEFORE
from PIL import Image
from support import blocks

from birefcli.models import zoo

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "man" / "guide" / "recipes.md").read_text(encoding="utf-8")


def recipe(title: str, language: str) -> list[str]:
    """Blocks of a language under the heading that begins like this."""
    found: list[str] = blocks(PAGE, title, language)
    return found


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} here")


def made(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if path.name[0] != ".")


ALL = ["a.png", "b.png", "sub/a.png"]


@pytest.fixture
def cron(quickly_installed, photos, tmp_path):
    """Run the table's command as cron does: no terminal, and ``alone`` with no more variables than
    cron has; gives what is mailed.

    cron's mailer is a program that is given what the command prints, unless that is nothing.
    """
    [table] = recipe("Every night, by cron", "crontab")
    set_there = dict(line.split("=", 1) for line in table.splitlines() if "=" in line.split(" ")[0])
    found = re.fullmatch(r"(?:\S+ +){5}(.*)", table.splitlines()[-1])
    command = found[1]
    assert "%" not in command  # in a crontab that begins a new line
    (tmp_path / "shop").mkdir()
    photos.rename(tmp_path / "shop" / "photos")
    mailer = tmp_path / "sendmail"
    mailer.write_text(f'#!/bin/sh\ncat > "{tmp_path}/mail"\n')
    mailer.chmod(0o755)
    name = quickly_installed["PATH"].partition(":")[0]
    kept = {k: v for k, v in quickly_installed.items() if k.startswith(("BIREFCLI_", "HF_"))}
    env = {
        **{"HOME": str(tmp_path), "LOGNAME": "me", "SHELL": "/bin/sh"},
        **{**set_there, **kept, "PATH": f"{name}:{set_there['PATH']}"},
    }
    # Without them the command would not be forked.
    more = {k: v for k, v in quickly_installed.items() if k.startswith(BEFORE) and k not in env}

    def night(*changed, alone=False):
        for old, _ in changed:
            assert old in command
        line = functools.reduce(lambda text, pair: text.replace(*pair), changed, command)
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            env=env if alone else {**more, **env},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=TIMEOUT,
        )
        (tmp_path / "mail").unlink(missing_ok=True)
        if ended.stdout:
            words = [mailer, "-i", env["MAILTO"]]
            subprocess.run(words, input=ended.stdout, check=True, timeout=TIMEOUT)
        mail = tmp_path / "mail"
        return ended.returncode, mail.read_text() if mail.exists() else None

    return night


def test_cron_cuts_out_new_photos_and_mails_on_failure_alone(cron, tmp_path):
    shop = tmp_path / "shop"
    assert cron(alone=True) == (0, None)
    assert made(shop / "cutouts") == ALL
    (shop / "photos" / "bad.jpg").write_bytes(b"no picture")
    code, mail = cron()
    assert code == 1
    assert re.fullmatch(r"photos/bad\.jpg: .*\n", mail)
    assert (shop / "failed.txt").read_text() == "photos/./bad.jpg\n"
    (shop / "photos" / "bad.jpg").unlink()
    assert cron() == (0, None)
    assert (shop / "failed.txt").read_text() == ""
    (shop / "photos").rename(tmp_path / "elsewhere")
    (shop / "photos").mkdir()
    code, mail = cron()
    assert code == 3
    assert re.fullmatch(r"birefcli: .*no photo found in photos/.*\n", mail)


@pytest.mark.slow
def test_cron_that_overtakes_itself_mails_nothing(cron, tmp_path):
    folder = tmp_path / "shop" / "cutouts"
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    code, mail = cron(("--lock wait", ""))
    assert code == 75
    assert mail.endswith("cutouts: another run is writing here; use --lock wait to wait for it\n")
    with ThreadPoolExecutor(1) as pool:
        overtaking = pool.submit(cron)
        os.close(held)
        assert overtaking.result() == (0, None)
    assert made(folder) == ALL


@needs("chronic")
def test_chronic_mails_the_whole_log_on_failure_alone(cron, tmp_path):
    change = (("birefcli", "chronic birefcli"), ("--quiet", "--verbose"))
    assert cron(*change) == (0, None)
    (tmp_path / "shop" / "photos" / "bad.jpg").touch()
    code, mail = cron(*change)
    assert code == 1
    assert "bad.jpg: the file is empty" in mail
    assert "1 failed" in mail


@needs("crontab")
def test_cron_takes_the_table(shell, tmp_path):
    [table] = recipe("Every night, by cron", "crontab")
    (tmp_path / "crontab").write_text(table)
    (tmp_path / "empty").touch()
    tried = subprocess.run(["crontab", "-n", tmp_path / "empty"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("this cron cannot try a table")
    shell("crontab -n crontab")


@needs("xargs")
def test_what_is_left_of_removed_photos_is_listed_and_then_deleted(shell, photos, tmp_path):
    shell("birefcli matte photos/ -o cutouts/ --quiet")
    photos.joinpath("b.png").unlink()
    look, delete = recipe("What is left of removed photos", "sh")
    assert shell(look) == "cutouts/b.png\n"
    shell(delete)
    shell(delete)
    assert made(tmp_path / "cutouts") == ["a.png", "sub/a.png"]


@needs("systemd-analyze")
def test_systemd_takes_the_units_and_runs_their_command(shell, quickly_installed, tmp_path):
    script = str(shutil.which("birefcli", path=quickly_installed["PATH"]))
    service, timer = recipe("Every night, by systemd", "systemd")
    service = service.replace("/usr/local/bin/birefcli", script)
    (tmp_path / "matte.service").write_text(service)
    (tmp_path / "matte.timer").write_text(timer)
    units = "./matte.service ./matte.timer"
    shell(f"systemd-analyze verify --user {units} 2>&1 || systemd-analyze verify {units}")
    shell(re.search(r"^ExecStart=(.*)$", service, re.M)[1])
    assert made(tmp_path / "cutouts") == ALL
    assert "SuccessExitStatus=75\n" in service


@needs("make")
def test_one_run_makes_all_targets_that_are_out_of_date(shell, photos, tmp_path):
    together, _ = recipe("make", "make")
    more = "all: list\nlist: $(cutouts)\n\tls $^ > list\n"
    (tmp_path / "Makefile").write_text(together + more)
    Image.open(photos / "a.jpg").save(photos / "c.jpg")
    assert len(re.findall("^birefcli", shell("make --jobs 2"), re.M)) == 1
    assert made(tmp_path / "out") == ["cutout/a.png", "cutout/c.png", "mask/a.png", "mask/c.png"]
    assert "birefcli" not in shell("make")
    before = (tmp_path / "out/mask/c.png").stat().st_mtime_ns
    (tmp_path / "out/mask/a.png").unlink()
    Image.open(photos / "a.jpg").save(photos / "d.jpg")
    assert "ls out" in shell("make")
    assert "d.png" in (tmp_path / "list").read_text()
    assert made(tmp_path / "out")[3:] == ["mask/a.png", "mask/c.png", "mask/d.png"]
    assert (tmp_path / "out/mask/c.png").stat().st_mtime_ns == before
    assert "birefcli" not in shell("make")


@needs("make")
def test_make_makes_each_target_that_is_out_of_date(shell, tmp_path):
    _, each = recipe("make", "make")
    (tmp_path / "Makefile").write_text(each)
    shell("make --jobs 2")
    assert made(tmp_path / "out") == ["cutout/a.png", "mask/a.png"]
    assert "Nothing to be done" in shell("make")
    (tmp_path / "out/mask/a.png").unlink()
    assert "birefcli matte photos/a.jpg" in shell("make --dry-run out/mask/a.png")


@needs("find")
def test_what_find_finds_is_cut_out(shell, photos, tmp_path):
    photos.joinpath("a.jpg").rename(photos / "two\nlines.jpg")
    [line] = recipe("What find finds", "sh")
    shell(line)
    assert made(tmp_path / "cutouts") == ["photos/sub/a.png", "photos/two\nlines.png"]
    shell(line.replace("photos/", "photos/./").replace("cutouts/", "tree/"))
    assert made(tmp_path / "tree") == ["sub/a.png", "two\nlines.png"]


@pytest.mark.slow
@needs("parallel", "find")
def test_parallel_works_on_folders_at_once(shell, photos, tmp_path):
    (photos / "more").mkdir()
    photos.joinpath("a.jpg").rename(photos / "more" / "c.jpg")
    [line] = recipe("GNU parallel", "sh")
    shell(line, HOME=str(tmp_path))
    assert made(tmp_path / "cutouts") == ["more/c.png", "sub/a.png"]
    # Each waits until the other has begun.
    (tmp_path / "show").write_text(
        "touch at.$CUDA_VISIBLE_DEVICES\n"
        "for i in $(seq 600); do [ -e at.0 ] && [ -e at.1 ] && break; sleep 0.1; done\n"
        "echo $CUDA_VISIBLE_DEVICES\n"
    )
    told = shell(line.replace("birefcli matte", "sh show"), HOME=str(tmp_path))
    assert sorted(told.split()) == ["0", "1"]


@needs("rsync")
def test_rsync_brings_photos_and_takes_cutouts(shell, photos, tmp_path):
    photos.rename(tmp_path / "camera")
    [lines] = recipe("From another machine", "sh")
    lines = lines.replace("camera:photos/", "camera/").replace("shop:cutouts/", "shop/")
    shell(lines)
    assert made(tmp_path / "shop") == ALL
    before = (tmp_path / "cutouts/a.png").stat().st_mtime_ns
    (tmp_path / "cutouts/.birefcli-1.part").touch()
    shell(lines)
    assert (tmp_path / "cutouts/a.png").stat().st_mtime_ns == before
    assert not list((tmp_path / "shop").glob(".*"))


@pytest.mark.slow
@needs("mogrify", "convert")
def test_imagemagick_makes_thumbnails(shell, tmp_path):
    folder, pipe = recipe("Thumbnails", "sh")
    shell(folder)
    assert made(tmp_path / "thumbs") == ["a.webp", "b.webp"]
    with Image.open(tmp_path / "thumbs/a.webp") as thumb:
        assert (thumb.size, thumb.mode) == ((256, 256), "RGBA")
    shell(pipe)
    with Image.open(tmp_path / "thumb.webp") as thumb:
        assert max(thumb.size) == 256


@pytest.mark.slow
def test_weights_go_to_a_machine_without_a_network(shell, installed, tiny_weights, tmp_path):
    there, here = recipe("A machine without a network", "sh")
    with serving(tiny_weights.read_bytes()) as hub:
        folder = stand_in(tmp_path, hub.sha256, tiny_weights)
        path = f"{folder}:{installed['PATH']}"
        shell(there, PATH=path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
        assert hub.delivered == tiny_weights.stat().st_size
        hub.asked.clear()
        shell(here, PATH=path, HF_ENDPOINT=hub.url, HF_HOME="")
        assert hub.asked == []
    assert made(tmp_path / "cutouts") == ALL


def stand_in(tmp_path: Path, sha256: str, weights: Path) -> Path:
    """A ``birefcli`` for which the small network is ``portrait``."""
    known = zoo.ZOO["portrait"]
    fields = {"revision": "main", "size_bytes": weights.stat().st_size, "sha256": sha256}
    assert set(fields) < {field.name for field in dataclasses.fields(known)}
    program = f"""\
import dataclasses, json, sys
sys.argv[0] = "birefcli"
from birefcli.models import zoo
fields = json.loads({json.dumps(json.dumps(fields))})
zoo.ZOO["portrait"] = dataclasses.replace(zoo.ZOO["portrait"], size=(96, 64), **fields)
from birefcli.__main__ import main
main()
"""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "run.py").write_text(program)
    (folder / "birefcli").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/run.py" "$@"\n')
    (folder / "birefcli").chmod(0o755)
    return folder


@needs("hadolint")
@pytest.mark.parametrize("number", range(2))
def test_hadolint_has_no_complaint(number, tmp_path):
    (tmp_path / "Dockerfile").write_text(recipe("Docker", "dockerfile")[number])
    words = ["hadolint", "--no-color", tmp_path / "Dockerfile"]
    result = subprocess.run(words, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_what_a_container_copies_is_enough_to_build_the_package(tmp_path):
    pytest.importorskip("hatchling", reason="pip install '.[test]' brings what builds packages")
    pages = recipe("Docker", "dockerfile")
    assert len(pages) == 2
    copied = {tuple(re.findall(r"^COPY (.*)$", page, re.M)) for page in pages}  # both the same?
    for number, lines in enumerate(copied):
        root = tmp_path / str(number)
        copy_into(root, lines)
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
        subprocess.run(words, cwd=root / "src", check=True, capture_output=True)
        assert list((root / "src" / "dist").glob("birefcli-*.whl"))


def copy_into(root: Path, lines: tuple[str, ...]) -> None:
    """What ``COPY`` copies."""
    assert lines
    for *sources, target in map(str.split, lines):
        for name in sources:
            whole = root / target.lstrip("/")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, whole)
            else:
                whole.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, whole)
