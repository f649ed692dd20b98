"""Make the README's picture of samples and products: ``python man/make/before_after.py OUT``.

OUT is what ``birefcli matte samples/ -o OUT --model mini --write cutout,mask,composite --background
'#e9c46a'`` wrote.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
HEIGHT = 240  # pixels of each photo
GAP = 8
SQUARE = 12  # of the checkerboard
NAMES = ("astronaut.png", "camera.png", "grace_hopper.jpg")
PRODUCTS = ("mask", "cutout", "composite")


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """Light grey squares behind what is transparent."""
    x, y = np.meshgrid(np.arange(size[0]) // SQUARE, np.arange(size[1]) // SQUARE)
    return Image.fromarray(np.where((x + y) % 2, 255, 215).astype(np.uint8)).convert("RGBA")


def scaled(path: Path) -> Image.Image:
    """A picture of ``HEIGHT`` pixels, on a checkerboard."""
    with Image.open(path) as image:
        size = (round(image.width * HEIGHT / image.height), HEIGHT)
        # Premultiplied while it is scaled: hidden colours must not show at the edges.
        premultiplied = image.convert("RGBA").convert("RGBa")
        small = premultiplied.resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return Image.alpha_composite(checkerboard(small.size), small).convert("RGB")


def row(name: str, out: Path) -> list[Image.Image]:
    """A photo and what was made of it."""
    made = [out / product / f"{Path(name).stem}.png" for product in PRODUCTS]
    return [scaled(path) for path in (ROOT / "samples" / name, *made)]


def main() -> None:
    """A row for each sample: photo, matte, cutout, composite."""
    rows = [row(name, Path(sys.argv[1])) for name in NAMES]
    width = max(sum(image.width + GAP for image in images) - GAP for images in rows)
    sheet = Image.new("RGB", (width, (HEIGHT + GAP) * len(rows) - GAP), "white")
    for i, images in enumerate(rows):
        left = (width - sum(image.width + GAP for image in images) + GAP) // 2
        for image in images:
            sheet.paste(image, (left, i * (HEIGHT + GAP)))
            left += image.width + GAP
    target = ROOT / "man" / "guide" / "pictures" / "before-after.jpg"
    target.parent.mkdir(exist_ok=True)
    sheet.save(target, quality=88, optimize=True)


if __name__ == "__main__":
    main()
