"""How long a run takes before it does any work: ``python tests/benchmarks/planning.py``.

Plans a shard of 100,000 out of a million photos (empty files: planning opens none), with its peak
memory, then runs ``birefcli matte`` for the second
time over 10,000 finished photos.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from birefcli.batch.places import LocalFile
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format


def plan(count: int, shards: int) -> None:
    """Plan the first of so many shards of ``count`` photos in folders of 1,000, all missing."""
    with tempfile.TemporaryDirectory() as root:
        photos = Path(root, "photos")
        for i in range(count):
            folder = photos / f"{i // 1000:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"IMG_{i:06d}.jpg").touch()
        words = ["matte", photos, "-o", Path(root, "out"), "-m", "mini", "--dry-run", "--quiet"]
        started = time.perf_counter()
        # Peak memory is that of the largest child so far: the only one.
        measured = [sys.executable, "-c", MEASURED, *words, "--shard", f"0/{shards}"]
        result = subprocess.run(measured, capture_output=True, check=True, text=True)
        seconds = time.perf_counter() - started
        print(f"shard 0/{shards} of {count} photos: {seconds:.1f} s, {result.stdout.strip()}")


MEASURED = """
import resource
from birefcli.cli.process import run
code = run()
peak = resource.getrusage(resource.RUSAGE_SELF)
cpu = peak.ru_utime + peak.ru_stime
print(f"{cpu:.1f} s of CPU, peak {peak.ru_maxrss / 1024:.0f} MB", flush=True)
raise SystemExit(code)
"""


def second_run(count: int, model: str) -> None:
    """Time the command over ``count`` photos whose cutouts are all current.

    One cutout is made by the command; the others carry its record, of their own photos.
    """
    with tempfile.TemporaryDirectory() as root:
        photos, out = Path(root, "photos"), Path(root, "out")
        photos.mkdir()
        Image.new("RGB", (8, 8)).save(photos / "first.png")
        words = [sys.executable, "-m", "birefcli", "matte", photos, "-o", out, "-m", model]
        subprocess.run(words, capture_output=True, check=True)
        first = stamp.read(out / "first.png").stamp
        assert first is not None
        for i in range(count - 1):
            photo = photos / f"{i:06d}.jpg"
            photo.write_bytes(b"never opened")
            state = LocalFile(photo).state()
            assert state is not None
            notes = Metadata(
                stamp=Stamp(first.fingerprint, first.precision, first.product, *state).text()
            )
            made = encode(np.zeros((8, 8, 4), np.uint8), Format.PNG, metadata=notes)
            (out / f"{i:06d}.png").write_bytes(made)
        started = time.perf_counter()
        result = subprocess.run(words, capture_output=True, check=True)
        print(f"second run over {count} photos: {time.perf_counter() - started:.2f} s", end=", ")
        print(result.stderr.decode().strip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--second-run", type=int, default=10_000)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    plan(arguments.plan, arguments.shards)
    second_run(arguments.second_run, arguments.model)
