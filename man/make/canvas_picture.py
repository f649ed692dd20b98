"""Make the guide's picture of canvases: ``python man/make/canvas_picture.py``, with ``mini``."""

from pathlib import Path

from PIL import Image

from birefcli import load

ROOT = Path(__file__).parents[2]
HEIGHT = 240  # pixels of each picture
GAP = 8
SHOWN = (
    ("astronaut.png", {"preset": "square", "background": "#f4f4f4"}),
    (
        "astronaut.png",
        {"canvas": "600x480", "fill": "80%", "align": "bottom", "background": "#e9c46a"},
    ),
    (
        "astronaut.png",
        {"canvas": "480x480", "fill": "70%", "shadow": "soft", "background": "#f4f4f4"},
    ),
    ("grace_hopper.jpg", {"preset": "id-35x45"}),
    ("grace_hopper.jpg", {"canvas": "900x600", "background": "blur"}),
)
"""Samples, and how their composites are laid out."""


def main() -> None:
    """A row of composites, all of one height."""
    model = load("mini", device="cpu")
    images = []
    for name, words in SHOWN:
        pixels = model(ROOT / "samples" / name).pixels("composite", **words)
        image = Image.fromarray(pixels)
        size = (round(image.width * HEIGHT / image.height), HEIGHT)
        images.append(image.resize(size, Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (sum(i.width + GAP for i in images) + GAP, HEIGHT + 2 * GAP), "#888")
    left = GAP
    for image in images:
        sheet.paste(image, (left, GAP))
        left += image.width + GAP
    sheet.save(ROOT / "man/guide/pictures/canvas.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
