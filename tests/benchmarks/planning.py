"""How long a run takes before it does any work: ``python tests/benchmarks/planning.py``.

Plans 100,000 photos (empty files: planning opens none), then runs ``birefcli matte`` for the second
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

from birefcli.batch.inputs import find_photos
from birefcli.batch.places import LocalFile
from birefcli.batch.targets import plan_targets
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format, Product, Selection


def plan(count: int) -> None:
    """Find and plan ``count`` photos in folders of 1,000."""
    with tempfile.TemporaryDirectory() as root:
        photos = Path(root, "photos")
        for i in range(count):
            folder = photos / f"{i // 1000:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"IMG_{i:06d}.jpg").touch()
        selection = Selection((str(photos),), str(Path(root, "out")))
        started = time.perf_counter()
        found = find_photos(selection).found
        middle = time.perf_counter()
        jobs = plan_targets(found, selection, (Product.CUTOUT,), Format.PNG)
        ended = time.perf_counter()
        print(f"{len(jobs)} photos: found in {middle - started:.2f} s", end=", ")
        print(f"planned in {ended - middle:.2f} s")


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
                record=Stamp(first.fingerprint, first.precision, first.product, *state).text()
            )
            made = encode(np.zeros((8, 8, 4), np.uint8), Format.PNG, metadata=notes)
            (out / f"{i:06d}.png").write_bytes(made)
        started = time.perf_counter()
        result = subprocess.run(words, capture_output=True, check=True)
        print(f"second run over {count} photos: {time.perf_counter() - started:.2f} s", end=", ")
        print(result.stderr.decode().strip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=int, default=100_000)
    parser.add_argument("--second-run", type=int, default=10_000)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    plan(arguments.plan)
    second_run(arguments.second_run, arguments.model)
