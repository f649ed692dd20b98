"""Make the README's picture from the samples and their cutouts: ``python man/pictures.py CUTOUTS``.

CUTOUTS is what ``birefcli matte samples/ -o CUTOUTS --model mini`` wrote.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
HEIGHT = 320  # pixels of each photo
GAP = 8
SQUARE = 12  # of the checkerboard
NAMES = ("astronaut.png", "camera.png", "grace_hopper.jpg")


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """Light grey squares behind what is transparent."""
    x, y = np.meshgrid(np.arange(size[0]) // SQUARE, np.arange(size[1]) // SQUARE)
    return Image.fromarray(np.where((x + y) % 2, 255, 215).astype(np.uint8)).convert("RGBA")


def scaled(path: Path) -> Image.Image:
    """A picture of ``HEIGHT`` pixels, with transparency."""
    with Image.open(path) as image:
        size = (round(image.width * HEIGHT / image.height), HEIGHT)
        # Premultiplied while it is scaled: hidden colours must not show at the edges.
        return (
            image.convert("RGBA")
            .convert("RGBa")
            .resize(size, Image.Resampling.LANCZOS)
            .convert("RGBA")
        )


def main() -> None:
    """Photos above, cutouts below."""
    before = [scaled(ROOT / "samples" / name) for name in NAMES]
    after = [scaled(Path(sys.argv[1]) / f"{Path(name).stem}.png") for name in NAMES]
    width = sum(image.width for image in before) + GAP * (len(before) - 1)
    sheet = Image.new("RGB", (width, 2 * HEIGHT + GAP), "white")
    left = 0
    for photo, cut in zip(before, after, strict=True):
        sheet.paste(photo.convert("RGB"), (left, 0))
        board = Image.alpha_composite(checkerboard(cut.size), cut)
        sheet.paste(board.convert("RGB"), (left, HEIGHT + GAP))
        left += photo.width + GAP
    target = ROOT / "man" / "pictures" / "before-after.png"
    target.parent.mkdir(exist_ok=True)
    sheet.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
