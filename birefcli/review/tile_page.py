"""Contact sheets as pictures: many cutouts small, on a checkerboard, framed where doubtful."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from birefcli.images.encode import encode
from birefcli.images.opening import open_image
from birefcli.images.photo import to_depth
from birefcli.images.text import Font, best_face, fit_text, load_font
from birefcli.options import Format
from birefcli.review.cutouts import Tile, small_size
from birefcli.scoring.masks import Mask

GAP = 8  # pixels between tiles
PAIR_GAP = 2  # pixels between a photo and its cutout
SQUARE = 8  # of the checkerboard
LIGHT, DARK = 255, 208
PAPER, INK, FAINT, ALARM = (246, 246, 246), (32, 32, 32), (110, 110, 110), (190, 30, 30)
NOT_JUDGED = "not judged"  # a composite has no alpha
BY_RUN = "judged by its run"
Pixels8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Of a page. ``side``: of a tile's picture, in pixels; ``face``: file of the names' font."""

    columns: int
    side: int
    face: str | None = None
    pairs: bool = False
    """Whether each has its photo beside it."""

    @property
    def text(self) -> int:
        """Height of a line of text."""
        return max(10, min(18, self.side // 12))

    @property
    def font(self) -> Font:
        """What names are drawn with. Raises OSError, or ImportError without FreeType."""
        return load_font(self.face, self.text)

    @property
    def width(self) -> int:
        """Of a tile's pictures."""
        return 2 * self.side + PAIR_GAP if self.pairs else self.side

    @property
    def cell(self) -> tuple[int, int]:
        """(width, height) of a tile with its two lines, and the gap after it."""
        return self.width + GAP, self.side + 2 * (self.text + 4) + 2 * GAP


def draw(found: Mask, photo: Pixels8 | None, side: int) -> list[bytes]:
    """A cutout on a checkerboard, and its photo, as files."""
    pictures = [picture(found.alpha, found.colours, side)]
    if photo is not None:
        pictures.append(photo)
    # Without loss, and quick: they are read once more.
    return [encode(each, Format.WEBP) for each in pictures]


def picture(alpha: NDArray[Any], colours: NDArray[Any] | None, side: int) -> Pixels8:
    """A cutout over a checkerboard, or a mask as it is, at most ``side`` wide and high: h×w×3.

    ``alpha``: H×W, ``colours``: H×W×3, straight, both uint8 or uint16.
    """
    size = small_size(alpha.shape, side)
    share = _small(to_depth(alpha, 8), size)[..., None]
    if colours is None:
        return np.repeat(np.rint(share).astype(np.uint8), 3, 2)
    # Premultiplied before it is shrunk: what lies under transparent pixels is nobody's colour.
    shown = cv2.multiply(to_depth(colours, 8), cv2.merge([to_depth(alpha, 8)] * 3), scale=1 / 255)
    over = _small(shown, size) + (1 - share / 255) * _checkerboard(size)[..., None]
    return np.rint(over).clip(0, 255).astype(np.uint8)


def _small(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _checkerboard(size: tuple[int, int]) -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(size[0]) // SQUARE, np.arange(size[1]) // SQUARE)
    return np.where((x + y) % 2, LIGHT, DARK).astype(np.float32)


def with_font_for(layout: Layout, names: str) -> Layout:
    """The layout with that font of the machine's which has most letters, unless it names one."""
    face = layout.face or best_face(names, layout.text)
    return layout if face == layout.face else replace(layout, face=face)


def page(
    tiles: Sequence[Tile], layout: Layout, fetch: Callable[[tuple[int, int]], bytes]
) -> Pixels8:
    """One page: H×W×3. ``fetch``: a picture of a tile, by its place."""
    width, height = layout.cell
    rows = -(-len(tiles) // layout.columns)
    columns = min(layout.columns, len(tiles))
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    drawn = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, layout.columns)
        x, y = GAP + column * width, GAP + row * height
        for place, left in zip(tile.places, (x + layout.width - layout.side, x), strict=False):
            with open_image(io.BytesIO(fetch(place))) as small:
                box = _put(sheet, small, (left, y), layout.side)
            if tile.flags:
                drawn.rectangle(box, outline=ALARM, width=2)
        _write_below(drawn, tile, (x, y + layout.side + 4), layout)
    return np.asarray(sheet)


def _put(
    sheet: Image.Image, small: Image.Image, corner: tuple[int, int], side: int
) -> tuple[int, int, int, int]:
    """Put a picture into the middle of a square; returns where a frame around it is."""
    left, top = corner[0] + (side - small.width) // 2, corner[1] + (side - small.height) // 2
    sheet.paste(small, (left, top))
    return left - 2, top - 2, left + small.width + 1, top + small.height + 1


def _write_below(
    drawn: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], layout: Layout
) -> None:
    x, y = corner
    font = layout.font
    drawn.text((x, y), fit_name(tile.entry.label, font, layout.width), INK, font)
    colour = ALARM if tile.flags else FAINT
    below = fit_text(caption(tile), font, layout.width, from_start=True)
    drawn.text((x, y + layout.text + 2), below, colour, font)


def fit_name(name: str, font: Font, width: int) -> str:
    """Shorten a path to ``width`` pixels: its first folder stays where there is room, and its end.

    Cutouts of several folders often have the same names.
    """
    fitted = fit_text(name, font, width)
    folder, slash, rest = Path(name).as_posix().partition("/")
    start = fit_text(folder + slash, font, width)
    room = width - font.getlength(start)
    if not slash or not fitted.startswith("...") or room < width / 2:
        return fitted
    return start + fit_text(rest, font, int(room))


def caption(tile: Tile) -> str:
    """Coverage, flags and notes, as ``37% soft, parts; enlarged 2.1 times``."""
    quality, entry = tile.quality, tile.entry
    if quality is None:
        return NOT_JUDGED
    flags = ", ".join(flag.value for flag in quality.flags)
    by = BY_RUN if entry.shows_less_than_its_run else ""
    judged = f"{percent(quality.coverage)} {flags}".strip()
    return "; ".join(filter(None, (judged, *entry.run_notes, by)))


def percent(share: float) -> str:
    """A share of 0..1, with more digits where it is small."""
    return f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.2%}"
