"""What is built is whole, has nothing needless inside, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from birefcli import __version__

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "man" / "guide"
PAGES = {page.name for page in (ROOT / "man" / "man1").glob("*.1")}
SHARED = f"birefcli-{__version__}.data/data/share"
INFO = f"birefcli-{__version__}.dist-info"


def build(source: Path, folder: Path, *kinds: str) -> None:
    pytest.importorskip("hatchling", reason="pip install '.[test]' brings what builds packages")
    targets = [word for kind in kinds for word in ("-t", kind)]
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *targets]
    subprocess.run(words, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def prefix(wheel, tmp_path_factory) -> Path:
    """The wheel, installed where no checkout is."""
    pytest.importorskip("pip", reason="this environment has no pip")
    folder = tmp_path_factory.mktemp("prefix")
    words = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--prefix", folder]
    environment = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}  # it goes elsewhere
    more = ("--ignore-installed", wheel)
    subprocess.run([*words, *more], check=True, capture_output=True, env=environment)
    return folder


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_a_wheel_has_the_package_the_manual_and_the_licence_and_nothing_else(wheel):
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "birefcli").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    manual = {f"{SHARED}/man/man1/{name}" for name in PAGES}
    guides = {
        f"{SHARED}/doc/birefcli/{path.relative_to(GUIDE)}"
        for path in GUIDE.rglob("*")
        if path.is_file()
    }
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert PAGES
    assert f"{SHARED}/doc/birefcli/recipes.md" in guides
    assert "birefcli/py.typed" in package  # types are for those who import it
    assert names(wheel) == package | manual | guides | {f"{INFO}/{name}" for name in about}


def test_what_a_wheel_says_of_itself_is_complete(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = BytesParser().parsebytes(archive.read(f"{INFO}/METADATA"))
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
    known = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier")}
    assert {"3.11", "3.12", "3.13"} <= known


def test_a_source_archive_builds_the_same_wheel(built, wheel, tmp_path):
    archive = next(built.glob("*.tar.gz"))
    with tarfile.open(archive) as source:
        if sys.version_info >= (3, 12):
            source.extractall(tmp_path, filter="data")
        else:
            source.extractall(tmp_path)
    top = tmp_path / archive.name.removesuffix(".tar.gz")
    assert {path.name for path in (top / "tests").iterdir()} >= {"conftest.py", "data"}
    assert not list(top.rglob("__pycache__"))
    build(top, tmp_path / "again", "wheel")
    assert names(next((tmp_path / "again").glob("*.whl"))) == names(wheel)


def test_an_installed_wheel_runs_away_from_the_checkout(prefix, tmp_path):
    package = next(prefix.rglob("birefcli/__init__.py")).parents[1]
    code = "import birefcli; print(birefcli.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(package)}
    words = [sys.executable, "-c", code]
    shown = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert Path(shown.stdout.decode().strip()).is_relative_to(prefix)
    script = next(prefix.rglob("bin/birefcli"))
    photo = ROOT / "samples" / "grace_hopper.jpg"
    result = subprocess.run(
        [script, "matte", photo, "-o", "cutout.png", "--model", "mini"],
        cwd=tmp_path,
        env={**environment, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "cutout.png").stat().st_size > 1000


@pytest.mark.skipif(shutil.which("man") is None, reason="no man(1) here")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_man_finds_every_page_of_an_installed_wheel(prefix, name):
    folder = next(prefix.rglob("share/man"))
    words = ["man", "-M", folder, "-w", name.removesuffix(".1")]
    found = subprocess.run(words, capture_output=True, check=True).stdout.decode().strip()
    assert Path(found) == folder / "man1" / name
