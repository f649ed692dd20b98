"""What ``--max-bytes`` gives up: ``python tests/benchmarks/byte_limit.py PICTURES``.

For each picture and each number of bits a pixel, the best file that fits in each way, with its
quality and its SSIMULACRA 2 (``pip install ssimulacra2``; 90 cannot be told from the original): of
an opaque picture JPEG and AVIF of 4:4:4 and 4:2:0, of one with transparency WebP with lossless
alpha and with others, over black and over white. The limits of ``birefcli.images.byte_limit`` are
from here.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from ssimulacra2 import compute_ssimulacra2

from birefcli.images.encode import encode
from birefcli.options import Compress, Format

BEHIND = ("black", "white")


def best(of: Callable[[int], bytes], most: int, top: int) -> tuple[int, bytes]:
    """The highest quality that fits, and its file; quality 0 where none does."""
    low, found, high = 0, b"", top + 1
    while high - low > 1:
        middle = (low + high) // 2
        data = of(middle)
        if len(data) <= most:
            low, found = middle, data
        else:
            high = middle
    return low, found


def score(before: Image.Image, after: Image.Image) -> float:
    """SSIMULACRA 2, the lower one over two backgrounds."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/{n}.png" for n in "ab"]
        for colour in BEHIND:
            for image, name in zip((before, after), names, strict=True):
                over = Image.new("RGBA", image.size, colour)
                over.alpha_composite(image.convert("RGBA"))
                over.convert("RGB").save(name, compress_level=0)
            found.append(compute_ssimulacra2(*names))
    return min(found)


def ways(image: Image.Image) -> dict[str, tuple[Callable[[int], bytes], int]]:
    """Encoders by name, each with its best quality."""
    pixels = np.asarray(image)
    if image.mode == "RGBA":
        return {
            f"webp, alpha {alpha}": (
                lambda q, a=alpha: encode(pixels, Format.WEBP, quality=q, alpha_quality=a),
                100,
            )
            for alpha in (100, 80, 60, 50, 40, 20)
        }
    effort = {Format.JPG: Compress.BALANCED, Format.AVIF: Compress.FAST}
    return {
        f"{kind.value} {'4:4:4' if full else '4:2:0'}": (
            lambda q, k=kind, f=full: encode(pixels, k, effort[k], quality=q, full_chroma=f),
            95 if kind is Format.JPG else 85,
        )
        for kind in effort
        for full in (True, False)
    }


def print_efforts(paths: list[Path], rounds: int = 5) -> None:
    """Bytes of all pictures as JPEGs of quality 95, and CPU time as a ratio, in turns."""
    pictures = []
    for path in paths:
        with Image.open(path) as opened:
            pictures.append(np.asarray(opened.convert("RGB")))
    spent = {effort: [] for effort in Compress}
    for _ in range(rounds):
        for effort, times in spent.items():
            started = time.process_time()
            made = [encode(pixels, Format.JPG, effort, quality=95) for pixels in pictures]
            times.append((time.process_time() - started, sum(map(len, made))))
    least = min(spent[Compress.FAST])[0]
    for effort, times in spent.items():
        seconds, size = min(times)
        print(effort.value, f"{size:,} bytes", f"{seconds / least:.1f} times the CPU", sep="  ")


def main() -> None:
    """Print a line for each picture, budget and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--bits", type=float, nargs="+", default=[0.15, 0.3, 0.6, 1.0])
    parser.add_argument("--effort", action="store_true", help="of JPEGs of one quality, instead")
    arguments = parser.parse_args()
    if arguments.effort:
        print_efforts(arguments.pictures)
        return
    for path in arguments.pictures:
        with Image.open(path) as opened:
            image = opened.convert("RGBA" if opened.mode == "RGBA" else "RGB")
        for bits in arguments.bits:
            most = int(image.width * image.height * bits / 8)
            for name, (of, top) in ways(image).items():
                quality, data = best(of, most, top)
                if not quality:
                    print(path.name, f"{most:,} bytes", name, "does not fit", sep="  ")
                    continue
                with Image.open(io.BytesIO(data)) as made:
                    told = f"quality {quality}", f"{score(image, made):.1f}"
                print(path.name, f"{most:,} bytes", name, *told, sep="  ", flush=True)


if __name__ == "__main__":
    main()
