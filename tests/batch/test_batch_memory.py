"""Memory of large batches and of large photos, measured from outside. All of it is slow."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from support import png

from birefcli.batch import memory
from birefcli.options import Format, Product, Rendering

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc"),
]
MB = 1 << 20


def peak(environment: dict[str, str], log: Path, *words: object) -> tuple[int, dict[str, Any]]:
    """Run the command: its peak of resident memory in bytes, and its summary."""
    command = [sys.executable, "-m", "birefcli", "matte", *map(str, words), "--json"]
    most = 0
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM"):
                    most = max(most, int(line.split()[1]) * 1024)
            time.sleep(0.02)
    assert process.returncode == 0
    summary: dict[str, Any] = json.loads(log.read_bytes().splitlines()[-1])["summary"]
    return most, summary


def alike(folder: Path, first: Path, count: int) -> Path:
    """A folder of one photo under many names."""
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:05d}{first.suffix}").hardlink_to(first)
    return folder


def test_ten_thousand_photos_take_the_memory_of_a_thousand(environment, tmp_path):
    picture().save(tmp_path / "a.jpg")
    peaks = {}
    for count in (1000, 10_000):
        folder = alike(tmp_path / f"in{count}", tmp_path / "a.jpg", count)
        words = (folder, "-o", tmp_path / f"out{count}")
        peaks[count], summary = peak(environment, tmp_path / "log", *words)
        assert summary["written"] == count
        print(f"{count} photos: {peaks[count] / MB:.0f} MB, {summary['seconds']:.0f} s")
    assert peaks[10_000] <= 1.1 * peaks[1000]
    again, summary = peak(environment, tmp_path / "log", *words)
    print(f"again: {again / MB:.0f} MB, {summary['seconds']:.1f} s")
    assert (summary["written"], summary["current"]) == (0, 10_000)
    made = [path.name for path in (tmp_path / "out10000").iterdir()]
    assert len(made) == 10_000
    assert not [name for name in made if not name.endswith(".png")]


def noisy(height: int, width: int, dtype: type, channels: int = 3) -> Any:
    """A picture that packs badly, made without taking much memory itself."""
    noise = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    out = np.empty((height, width, channels), dtype)
    for row in range(0, height, 500):
        part = out[row : row + 500]
        part[:] = noise.integers(0, top // 8, part.shape, dtype, endpoint=True)
        part += np.linspace(0, top * 3 // 4, width).astype(dtype)[None, :, None]
    return out


@pytest.fixture(scope="module")
def baseline(environment, tmp_path_factory) -> int:
    """What the program takes for a photo of no size."""
    folder = tmp_path_factory.mktemp("base")
    picture().save(folder / "a.jpg")
    return peak(environment, folder / "log", folder / "a.jpg", "-o", folder / "out")[0]


ALL = tuple(Product)


@pytest.mark.parametrize(
    ("kind", "rendering", "more"),
    [
        ("rgb8", Rendering(), ()),
        ("rgba8", Rendering(), ()),
        ("rgb16", Rendering(), ()),
        ("rgb8", Rendering(format=Format.WEBP), ("--format", "webp")),
        ("rgb8", Rendering((Product.COMPOSITE,)), ("--background", "blur")),
        ("rgb16", Rendering(bits=16), ()),
        ("rgb16", Rendering(ALL, bits=16), ("--background", "blur")),
    ],
)
def test_photo_takes_no_more_than_the_rule_says(
    environment, tmp_path, baseline, kind, rendering, more
):
    height, width = 4000, 6000
    file = tmp_path / ("a.png" if kind != "rgb8" else "a.jpg")
    if kind == "rgb16":
        file.write_bytes(png(16, 2, noisy(height, width, np.uint16), width, height))
    else:
        channels = 4 if kind == "rgba8" else 3
        Image.fromarray(noisy(height, width, np.uint8, channels)).save(file)
    kinds = ",".join(product.value for product in rendering.products)
    words = (file, "-o", tmp_path / "out", "--write", kinds, "--bits", rendering.bits, *more)
    most, _ = peak(environment, tmp_path / "log", *words)
    each = (most - baseline - file.stat().st_size) / (height * width)
    print(f"{kind} {kinds} {rendering.bits} bits {more}: {each:.1f} bytes a pixel")
    assert each <= memory.bytes_per_pixel(rendering)


def test_a_dozen_photos_of_100_megapixels_stay_within_the_memory_allowed(
    environment, tmp_path, baseline
):
    side, allowed = 10_000, 7.0  # GB: two photos at a time
    Image.fromarray(noisy(side, side, np.uint8)).save(tmp_path / "a.jpg", quality=80)
    folder = alike(tmp_path / "in", tmp_path / "a.jpg", 12)
    words = (folder, "-o", tmp_path / "out", "--max-memory", allowed, "--threads", 4)
    most, summary = peak(environment, tmp_path / "log", *words)
    print(f"{(most - baseline) / MB:.0f} MB of {allowed} GB, {summary['seconds']:.0f} s")
    assert summary["written"] == 12
    assert most - baseline <= allowed * 1e9
