"""Contact sheets: many cutouts small, on a checkerboard, so that a person can look at all of them.

Cutouts are read once. The tile of each is kept in a file without a name: ten thousand take some
hundred megabytes of disk, and memory holds one page.
"""

import contextlib
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from birefcli.errors import Message, PhotoError, printable
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.photo import to_depth
from birefcli.images.stamp import Stamp
from birefcli.options import Format
from birefcli.products import quality
from birefcli.products.quality import Quality
from birefcli.scoring import masks
from birefcli.scoring.masks import NotAMaskError
from birefcli.system.prefetch import prefetch

GAP = 8  # pixels between tiles
SQUARE = 8  # of the checkerboard
LIGHT, DARK = 255, 208
PAPER, INK, FAINT, ALARM = (246, 246, 246), (32, 32, 32), (110, 110, 110), (190, 30, 30)
FACES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc"),
    *("Arial Unicode.ttf", "arial.ttf", "msyh.ttc"),
)
"""Fonts of Linux, macOS and Windows for names that Pillow's own cannot draw."""

Pixels8 = NDArray[np.uint8]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Entry:
    """One cutout. ``name``: its path below the folder that was named."""

    path: Path
    name: str


@dataclass(frozen=True)
class Tile:
    """A cutout that was read: its figures, and where its small picture is."""

    entry: Entry
    findings: Quality
    place: tuple[int, int]
    """Offset and length in the store."""


@dataclass(frozen=True)
class Unread:
    """A cutout that cannot be shown, and why."""

    entry: Entry
    error: Message
    not_a_matte: bool
    """Whether it is a good picture, and only no matte."""


@dataclass(frozen=True)
class Layout:
    """Of a page. ``side``: of a tile's picture, in pixels; ``face``: file of the names' font."""

    columns: int
    side: int
    face: str | None = None

    @property
    def text(self) -> int:
        """Height of a line of text."""
        return max(10, min(18, self.side // 12))

    @property
    def font(self) -> Font:
        """What names are drawn with. Raises OSError, or ImportError without FreeType."""
        return _font(self.face, self.text)

    @property
    def cell(self) -> tuple[int, int]:
        """(width, height) of a tile with its two lines, and the gap after it."""
        return self.side + GAP, self.side + 2 * (self.text + 4) + 2 * GAP


class Store:
    """Tiles on disk, until it is left."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="birefcli-sheet-")  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def put(self, picture: bytes) -> tuple[int, int]:
        """Keep a picture; returns its place."""
        self._file.seek(self._end)
        self._file.write(picture)
        place = (self._end, len(picture))
        self._end += len(picture)
        return place

    def get(self, place: tuple[int, int]) -> bytes:
        """The picture of a place."""
        self._file.seek(place[0])
        return self._file.read(place[1])


def tiles(
    entries: Iterable[Entry], store: Store, layout: Layout, threads: int, max_pixels: int
) -> Generator[Tile | Unread, None, None]:
    """Read cutouts and masks, in order, ``threads`` at once."""

    def make(entry: Entry) -> tuple[Quality, bytes] | Unread:
        try:
            return _read_tile(entry.path, layout.side, max_pixels)
        except PhotoError as error:
            return Unread(entry, error.message, isinstance(error, NotAMaskError))

    listed = list(entries)
    with ThreadPoolExecutor(threads, "tile") as pool:
        calls = prefetch(pool, make, listed, threads + 1)
        for entry, future in zip(listed, calls, strict=True):
            made = future.result()
            yield made if isinstance(made, Unread) else Tile(entry, made[0], store.put(made[1]))


def _read_tile(path: Path, side: int, max_pixels: int) -> tuple[Quality, bytes]:
    """Figures of a cutout or mask, and its picture on a checkerboard, as a file."""
    found = masks.read(path, max_pixels)
    small = picture(found.alpha, found.colours, side)
    # Without loss, and quick: it is read once more.
    return quality.check(found.alpha), encode(small, Format.WEBP)


def picture(alpha: NDArray[Any], colours: NDArray[Any] | None, side: int) -> Pixels8:
    """A cutout over a checkerboard, or a mask as it is, at most ``side`` wide and high: h×w×3.

    ``alpha``: H×W, ``colours``: H×W×3, straight, both uint8 or uint16.
    """
    height, width = alpha.shape
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
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


def page(tiles: Sequence[Tile], layout: Layout, fetch: Callable[[Tile], bytes]) -> Pixels8:
    """One page: H×W×3."""
    width, height = layout.cell
    rows = -(-len(tiles) // layout.columns)
    columns = min(layout.columns, len(tiles))
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, layout.columns)
        corner = (GAP + column * width, GAP + row * height)
        with Image.open(io.BytesIO(fetch(tile))) as small:
            _put(sheet, draw, tile, small, corner, layout)
    return np.asarray(sheet)


def _put(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    small: Image.Image,
    corner: tuple[int, int],
    layout: Layout,
) -> None:
    x, y = corner
    left, top = x + (layout.side - small.width) // 2, y + (layout.side - small.height) // 2
    sheet.paste(small, (left, top))
    if tile.findings.flags:
        box = (left - 2, top - 2, left + small.width + 1, top + small.height + 1)
        draw.rectangle(box, outline=ALARM, width=2)
    font = layout.font
    y += layout.side + 4
    draw.text((x, y), fit_text(tile.entry.name, layout), INK, font)
    colour = ALARM if tile.findings.flags else FAINT
    below = fit_text(caption(tile.findings), layout)
    draw.text((x, y + layout.text + 2), below, colour, font)


def caption(findings: Quality) -> str:
    """Coverage and flags, as ``37% soft, parts``."""
    share = findings.coverage
    text = f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.2%}"
    return " ".join([text, ", ".join(flag.value for flag in findings.flags)]).strip()


def fit_text(text: str, layout: Layout) -> str:
    """Shorten a text to the width of a tile; the end stays, where names differ."""
    font = layout.font
    shown = _drawable(text, font)
    if font.getlength(shown) <= layout.side:
        return shown
    # Halving: how many of the last letters fit.
    fits, too_many = 0, len(shown)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if font.getlength("..." + shown[-middle:]) <= layout.side:
            fits = middle
        else:
            too_many = middle
    return "..." + shown[len(shown) - fits :]


def _drawable(text: str, font: Font) -> str:
    """Text that the font can draw: without FreeType it knows Latin letters alone."""
    shown = printable(text)
    if isinstance(font, ImageFont.FreeTypeFont):
        return shown
    return shown.encode("latin-1", "backslashreplace").decode("latin-1")


def missing_glyphs(layout: Layout, text: str) -> int:
    """Count the different characters of a text that a page's font draws as boxes."""
    font = layout.font
    if not isinstance(font, ImageFont.FreeTypeFont):
        return 0  # what it cannot draw is written in letters
    box = bytes(font.getmask(chr(sys.maxunicode)))
    return sum(bytes(font.getmask(char)) == box for char in set(printable(text)) - {" "})


def with_font_for(layout: Layout, text: str) -> Layout:
    """The layout with that font of the machine's which has most of a text."""
    least = 0 if layout.face is not None else missing_glyphs(layout, text)
    for face in FACES if least else ():
        with contextlib.suppress(OSError):  # it is not on this machine
            other = replace(layout, face=face)
            if (number := missing_glyphs(other, text)) < least:
                layout, least = other, number
    return layout


@lru_cache(maxsize=8)
def _font(face: str | None, size: int) -> Font:
    """A file's, or Pillow's own: that is the same everywhere, and knows little beyond ASCII."""
    return ImageFont.load_default(size) if face is None else ImageFont.truetype(face, size)


def is_page_of(path: Path, name: str) -> bool:
    """Whether a file is a page of the contact sheet of this name. Raises OSError."""
    found = stamp.read(path).stamp
    return found == _page_stamp(name)


def encode_page(pixels: Pixels8, format_: Format, name: str) -> bytes:
    """A page as a file, with a stamp that names its sheet."""
    return encode(pixels, format_, metadata=Metadata(stamp=_page_stamp(name).text()))


def _page_stamp(name: str) -> Stamp:
    return Stamp(f"{zlib.crc32(os.fsencode(name)):016x}", "none", stamp.SHEET, 0, 0)
