"""Damaged files in every command that reads pictures: each costs itself, by name, and no bug."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image

pytestmark = pytest.mark.slow
COUNT = 400
SIZE = (48, 36)


def originals(image: Image.Image) -> list[tuple[str, bytes]]:
    """One picture in every kind of file, with what is written beside pixels."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    kinds = {
        "jpg": {"format": "JPEG", "exif": exif, "dpi": (300, 300)},
        "png": {"format": "PNG", "exif": exif, "dpi": (300, 300)},
        "tif": {"format": "TIFF", "compression": "tiff_lzw"},
        "tiff": {"format": "TIFF", "exif": exif},
        "webp": {"format": "WEBP", "lossless": True, "exif": exif},
        "gif": {"format": "GIF"},
        "bmp": {"format": "BMP"},
        "ppm": {"format": "PPM"},
    }
    found = []
    for suffix, options in kinds.items():
        out = io.BytesIO()
        image.save(out, **options)
        found.append((suffix, out.getvalue()))
    deep = (np.asarray(image.convert("L")).astype(np.uint16) * 257)[:, :, None]
    for suffix, data in (("png", deep), ("tif", deep)):
        out = io.BytesIO()
        Image.fromarray(data[:, :, 0]).save(out, {"png": "PNG", "tif": "TIFF"}[suffix])
        found.append((suffix, out.getvalue()))
    return found


def mutated(image: Image.Image, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files with some bytes changed, cut off, doubled or taken out."""
    chance = np.random.default_rng(seed)
    kinds = originals(image)
    for number in range(count):
        suffix, whole = kinds[number % len(kinds)]
        data = bytearray(whole)
        # Most of what a decoder can stumble over stands at the beginning.
        reach = len(data) if number % 2 else min(len(data), 300)
        for _ in range(int(chance.integers(1, 12))):
            data[int(chance.integers(reach))] = int(chance.integers(256))
        at, length = int(chance.integers(reach)), int(chance.integers(1, 60))
        match number % 5:
            case 1:
                del data[at:]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
        yield suffix, bytes(data)


def fill(folder: Path, image: Image.Image, seed: int, count: int = COUNT) -> list[Path]:
    """Mutated files under the same names for every seed."""
    folder.mkdir(parents=True)
    names = []
    for number, (suffix, data) in enumerate(mutated(image, count, seed)):
        names.append(folder / f"{number:04d}.{suffix}")
        names[-1].write_bytes(data)
    return names


def disc() -> Image.Image:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    soft = 255 * (14 - np.hypot(x - 24, y - 18)).clip(0, 1)
    return Image.fromarray(soft.astype(np.uint8))


def checked(result, *codes: int) -> str:
    """What a command says on stderr, which is neither a bug nor a traceback."""
    stderr = result.stderr.decode()
    assert result.returncode in codes, stderr[-2000:]
    for word in ("Traceback", "a bug"):
        assert word not in stderr, stderr[stderr.index(word) - 300 :][:1000]
    return stderr


def test_matte_names_damaged_files_of_a_list(command, tmp_path):
    files = fill(tmp_path / "in", picture(*SIZE), 1)
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in files))
    words = ("--files-from", tmp_path / "list", "-o", tmp_path / "out", "--json")
    result = command("matte", *words, "--write", "cutout")
    checked(result, 1)
    *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == COUNT
    assert last["summary"]["written"] + last["summary"]["failed"] == COUNT
    assert all(line["error"] for line in lines if line["status"] == "failed")


def test_matte_survives_mutated_lists(command, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    picture(*SIZE).save(folder / "a.png")
    chance = np.random.default_rng(4)
    plain = f"{folder}/a.png\n{folder}/./a.png\n\n{folder}/none.png\n".encode() * 3
    for number in range(30):
        data = bytearray(plain)
        for _ in range(int(chance.integers(1, 20))):
            data[int(chance.integers(len(data)))] = int(chance.integers(256))
        (tmp_path / "list").write_bytes(data)
        words = ("--files-from", tmp_path / "list", *(("-0",) if number % 2 else ()))
        checked(command("matte", *words, "-o", tmp_path / "out"), 0, 1, 2, 3, 5)


def test_score_names_damaged_files(command, tmp_path):
    truths = fill(tmp_path / "truth", disc(), 2)
    fill(tmp_path / "pred", disc(), 3)
    words = ("score", tmp_path / "pred", tmp_path / "truth", "--json", "--each")
    result = command(*words, "--report", tmp_path / "report.html", "--photos", tmp_path / "pred")
    checked(result, 0, 1)
    found = json.loads(result.stdout)
    assert len(found["each"]) + len(found["failed"]) == len(truths)
    assert len(found["failed"]) > 10


def test_sheet_shows_what_can_be_read_and_names_the_rest(command, tmp_path):
    fill(tmp_path / "in", disc(), 5)
    result = command("sheet", tmp_path / "in", "-o", tmp_path / "sheet.jpg")
    checked(result, 0, 1)
    assert list(tmp_path.glob("sheet*.jpg"))


def test_train_lists_damaged_files_and_trains_on_none(command, tmp_path, tiny_weights):
    fill(tmp_path / "d/im", picture(*SIZE), 6)
    fill(tmp_path / "d/gt", disc(), 7)
    words = ("train", tmp_path / "d", "-o", tmp_path / "w.safetensors", "--from", tiny_weights)
    stderr = checked(command(*words, "--size", 64, "--epochs", 1), 3)
    assert stderr.count("\n") > 10
    assert not (tmp_path / "w.safetensors").exists()


def test_a_mutated_background_is_refused_or_used(command, tmp_path):
    picture(*SIZE).save(tmp_path / "a.png")
    for path in fill(tmp_path / "behind", picture(*SIZE), 8, 60):
        words = ("matte", tmp_path / "a.png", "-o", tmp_path / "out", "--write", "composite")
        checked(command(*words, "--background", path), 0, 2)
