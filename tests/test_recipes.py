"""The recipes of the manual do what they say: each block is taken from the page and run."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import serving
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


@needs("crontab")
def test_cron_takes_the_table_and_its_line_cuts_out_new_photos_alone(shell, photos, tmp_path):
    [table] = recipe("Every night, by cron", "crontab")
    (tmp_path / "crontab").write_text(table)
    (tmp_path / "empty").touch()
    tried = subprocess.run(["crontab", "-n", tmp_path / "empty"], capture_output=True, check=False)
    if tried.returncode == 0:  # not every cron can try a table
        shell("crontab -n crontab")
    line = table.splitlines()[-1]
    command = re.fullmatch(r"(?:\S+ +){5}(.*)", line)[1]
    assert "%" not in command  # in a crontab that begins a new line
    (tmp_path / "shop").mkdir()
    photos.rename(tmp_path / "shop" / "photos")
    for _ in range(2):
        shell(command, HOME=str(tmp_path))
    assert made(tmp_path / "shop" / "cutouts") == ALL
    log = (tmp_path / "shop" / "matte.log").read_text()
    assert re.findall(r"^3 (?:written|up to date)", log, re.M) == ["3 written", "3 up to date"]


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


@pytest.mark.parametrize("number", range(2))
def test_what_a_container_copies_is_enough_to_build_the_package(number, tmp_path):
    pytest.importorskip("hatchling", reason="pip install '.[test]' brings what builds packages")
    for line in re.findall(r"^COPY (.*)$", recipe("Docker", "dockerfile")[number], re.M):
        *sources, target = line.split()
        for name in sources:
            whole = tmp_path / target.lstrip("/")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, whole)
            else:
                whole.mkdir(exist_ok=True)
                shutil.copy(ROOT / name, whole)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(words, cwd=tmp_path / "src", check=True, capture_output=True)
    assert list((tmp_path / "src" / "dist").glob("birefcli-*.whl"))
