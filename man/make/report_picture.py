"""Make the README's picture of a report: ``python man/make/report_picture.py CHROMIUM``.

``mini`` mattes parts of the samples: its mattes at its own size stand in for the truths, those at
half of that are scored. A screenshot shows the page in light on the left, in dark on the right.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1200, 2960  # of the window, pixels
PART = 1500  # of that, shown
SHARES = {"whole": (0, 0, 1, 1), "left": (0, 0, 0.8, 0.9), "right": (0.2, 0, 1, 0.8)}


def photos(folder: Path) -> None:
    """Parts of each sample, and one mirrored."""
    for source in sorted((ROOT / "samples").glob("*.[jp][pn]g")):
        with Image.open(source) as image:
            photo = image.convert("RGB")
        for name, share in SHARES.items():
            sides = (photo.width, photo.height) * 2
            box = [round(s * side) for s, side in zip(share, sides, strict=True)]
            photo.crop((box[0], box[1], box[2], box[3])).save(folder / f"{source.stem}-{name}.png")
        ImageOps.mirror(photo).save(folder / f"{source.stem}-mirrored.png")


def birefcli(*words: object) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "birefcli", *map(str, words)], check=True, cwd=ROOT)


def shot(chromium: str, page: Path, target: Path, top: int, *more: str) -> Image.Image:
    """What a browser shows of the page from ``top``, at half the size."""
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *more]
    size = f"--window-size={WIDTH},{HEIGHT}"
    subprocess.run(
        [chromium, *words, size, f"--screenshot={target}", page.as_uri()],
        check=True,
        capture_output=True,
    )
    with Image.open(target) as image:
        part = image.convert("RGB").crop((0, top, WIDTH, top + PART))
    return part.resize((WIDTH // 2, PART // 2), Image.Resampling.LANCZOS)


def main() -> None:
    """Light on the left, dark on the right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("photos", "truths", "predictions"):
            (folder / part).mkdir()
        photos(folder / "photos")
        made = ("--model", "mini", "--write", "mask", "--no-progress")
        birefcli("matte", folder / "photos", "-o", folder / "truths", *made)
        birefcli("matte", folder / "photos", "-o", folder / "predictions", *made, "--size", "192")
        page = folder / "report.html"
        subprocess.run(
            [sys.executable, "-m", "birefcli", "score", "predictions", "truths", "--trimap-radius",
             "8", "--photos", "photos", "--report", page.name], check=True, cwd=folder,
        )  # fmt: skip
        light = shot(sys.argv[1], page, folder / "light.png", 0)
        dark = shot(sys.argv[1], page, folder / "dark.png", HEIGHT - PART, "--force-dark-mode")
    sheet = Image.new("RGB", (light.width * 2 + 8, light.height), "white")
    sheet.paste(light, (0, 0))
    sheet.paste(dark, (light.width + 8, 0))
    sheet.save(ROOT / "man" / "guide" / "pictures" / "report.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
