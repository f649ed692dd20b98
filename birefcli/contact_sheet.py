"""Contact sheets: many cutouts small, on a checkerboard, so that a person can look at all of them.

Find cutouts, read them, sort them, write the pages. Cutouts are read once. The tile of each is kept
in a file without a name: ten thousand take some hundred megabytes of disk, and memory holds one
page.
"""

import contextlib
import io
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from birefcli.batch.inputs import find_photos, split_missing
from birefcli.batch.places import PIPE, LocalFile
from birefcli.errors import Message, NoInputError, Option, OutputError, PhotoError, UsageError
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.opening import open_image
from birefcli.images.photo import to_depth
from birefcli.images.stamp import Stamp
from birefcli.images.text import Font, best_face, fit_text, load_font, missing_glyphs
from birefcli.options import SUFFIXES, Format, Selection, SheetOrder
from birefcli.products import quality
from birefcli.products.quality import Defect, Quality
from birefcli.scoring import masks
from birefcli.scoring.masks import NotAMaskError
from birefcli.system import atomic
from birefcli.system.paths import is_file, is_folder, names_in
from birefcli.system.prefetch import prefetch
from birefcli.system.regular_file import open_regular
from birefcli.system.temporary_store import TemporaryStore

PRODUCTS = ("cutout", "mask")  # folders of a run that wrote both; others show no matte
SHOWN = ("png", "webp", "tif", "tiff", "jpg", "jpeg")
"""Endings of names that are tried in folders."""
GAP = 8  # pixels between tiles
SQUARE = 8  # of the checkerboard
LIGHT, DARK = 255, 208
PAPER, INK, FAINT, ALARM = (246, 246, 246), (32, 32, 32), (110, 110, 110), (190, 30, 30)
Pixels8 = NDArray[np.uint8]


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
        return load_font(self.face, self.text)

    @property
    def cell(self) -> tuple[int, int]:
        """(width, height) of a tile with its two lines, and the gap after it."""
        return self.side + GAP, self.side + 2 * (self.text + 4) + 2 * GAP


@dataclass(frozen=True)
class SheetTask:
    """Which cutouts, where to, and what pages look like."""

    inputs: tuple[str, ...]
    output: Path
    format: Format
    layout: Layout
    per_page: int
    max_pixels: int
    threads: int
    flagged: bool = False
    """Show only cutouts with a flag."""
    sort: SheetOrder = SheetOrder.FLAGGED


@dataclass
class Sheet:
    """What was read, and the pages that were written."""

    tiles: list[Tile] = field(default_factory=list)
    """In the order of their names."""
    failed: int = 0
    not_mattes: int = 0
    """Files of folders that show no matte."""
    pages: list[Path] = field(default_factory=list)
    has_boxes: bool = False
    """Whether the font lacks a letter of a name."""


class SheetReporter(Protocol):
    """Follows a sheet while it is made."""

    def on_start(self, total: int) -> None:
        """So many cutouts are about to be read."""

    def on_failure(self, path: str, reason: str | Message) -> None:
        """A cutout cannot be shown."""

    def on_read(self, result: Tile | Unread) -> None:
        """A cutout was read, or could not be."""


def make_sheet(task: SheetTask, reporter: SheetReporter) -> Sheet:
    """Read every cutout and write the pages, once it is sure that they can be written.

    Raises UsageError, NoInputError, OutputError.
    """
    sheet = Sheet()
    entries = _find(task, sheet, reporter)
    if not entries:
        raise NoInputError(f"no cutout or mask found in {', '.join(task.inputs)}")
    _check_output(task, -(-len(entries) // task.per_page))
    with TemporaryStore() as store:
        _read(task, entries, store, sheet, reporter)
        shown = sorted_tiles(sheet.tiles, task.sort, flagged=task.flagged)
        names = "".join(tile.entry.name for tile in shown)
        layout = with_font_for(task.layout, names)
        sheet.pages = _write(replace(task, layout=layout), shown, store)
    sheet.has_boxes = missing_glyphs(layout.font, names) > 0
    return sheet


# Find and read


def _find(task: SheetTask, sheet: Sheet, reporter: SheetReporter) -> list[Entry]:
    """Cutouts in the order of their names; what cannot be looked at is reported."""
    roots = tuple(_products_folder(name) for name in task.inputs)
    patterns = tuple(f"*.{case}" for suffix in SHOWN for case in (suffix, suffix.upper()))
    search = find_photos(Selection(roots, PIPE, include=patterns, products=True))
    there, missing = split_missing(search.found)
    for name, reason in [*search.failed, *((str(photo.source), why) for photo, why in missing)]:
        sheet.failed += 1
        reporter.on_failure(str(name), reason)
    entries = []
    for photo in there:
        assert isinstance(photo.source, LocalFile), "others are refused as an input"
        path = photo.source.path
        if str(path) in roots or _may_be_matte(path):
            entries.append(Entry(path, str(photo.relative)))
        else:
            sheet.not_mattes += not stamp.is_sheet(path)
    return entries


def _products_folder(name: str) -> str:
    """The folder of cutouts or masks, where several products lie in a folder each."""
    if name == PIPE:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    inside = [Path(name, product) for product in PRODUCTS]
    return next((str(path) for path in inside if is_folder(path)), name)


def _may_be_matte(path: Path) -> bool:
    """Whether a file of a folder is tried: of ours cutouts and masks, of others no JPEG.

    A black and white photo that was put on white would pass for a mask.
    """
    try:
        made = stamp.read(path).stamp
    except OSError:
        return True  # reading it says why
    if made is None:
        return SUFFIXES[path.suffix.lower()] is not Format.JPG
    return made.product in (*PRODUCTS, "")  # another version's: reading it says what it is


def _read(
    task: SheetTask,
    entries: list[Entry],
    store: TemporaryStore,
    sheet: Sheet,
    reporter: SheetReporter,
) -> None:
    reporter.on_start(len(entries))
    for result in tiles(entries, store, task.layout, task.threads, task.max_pixels):
        reporter.on_read(result)
        if isinstance(result, Tile):
            sheet.tiles.append(result)
        # A folder may hold photos and composites too; whoever names one wants to see it.
        elif result.not_a_matte and str(result.entry.path) not in task.inputs:
            sheet.not_mattes += 1
        else:
            sheet.failed += 1
            reporter.on_failure(str(result.entry.path), result.error)


def tiles(
    entries: Iterable[Entry], store: TemporaryStore, layout: Layout, threads: int, max_pixels: int
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


# Sort


def sorted_tiles(tiles: list[Tile], sort: SheetOrder, *, flagged: bool) -> list[Tile]:
    """Tiles in the order of a sheet; only those with a flag where ``flagged``."""
    if flagged:
        tiles = [tile for tile in tiles if tile.findings.flags]
    if sort is SheetOrder.NAME:
        return sorted(tiles, key=lambda tile: tile.entry.name)
    if sort is SheetOrder.COVERAGE:
        return sorted(tiles, key=lambda tile: (tile.findings.coverage, tile.entry.name))
    return sorted(tiles, key=lambda tile: (_gravest(tile), tile.entry.name))


def _gravest(tile: Tile) -> int:
    """Rank of the gravest flag; without a flag, after all others."""
    order = list(Defect)
    return min((order.index(flag) for flag in tile.findings.flags), default=len(order))


# Draw


def with_font_for(layout: Layout, names: str) -> Layout:
    """The layout with that font of the machine's which has most letters, unless it names one."""
    face = layout.face or best_face(names, layout.text)
    return layout if face == layout.face else replace(layout, face=face)


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
        with open_image(io.BytesIO(fetch(tile))) as small:
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
    draw.text((x, y), fit_text(tile.entry.name, font, layout.side), INK, font)
    colour = ALARM if tile.findings.flags else FAINT
    below = fit_text(caption(tile.findings), font, layout.side)
    draw.text((x, y + layout.text + 2), below, colour, font)


def caption(findings: Quality) -> str:
    """Coverage and flags, as ``37% soft, parts``."""
    share = findings.coverage
    text = f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.2%}"
    return " ".join([text, ", ".join(flag.value for flag in findings.flags)]).strip()


# Write


def _check_output(task: SheetTask, pages: int) -> None:
    """Refuse to replace what is no earlier sheet of this name. Raises OutputError."""
    name, folder = task.output.name, task.output.parent
    for target in [task.output, *_page_names(task.output, pages)]:
        try:
            known = is_page_of(target, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
        if not known:
            raise OutputError(
                f"{target}: exists and is no page of an earlier {name}, or was edited since",
                hint=Message("name another ", Option("output")),
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    atomic.clear_stale({folder})


def _page_names(output: Path, pages: int) -> list[Path]:
    """``sheet.png``, or ``sheet-1.png`` and so on."""
    if pages == 1:
        return [output]
    digits = len(str(pages))
    return [output.with_stem(f"{output.stem}-{n:0{digits}}") for n in range(1, pages + 1)]


def _write(task: SheetTask, shown: Sequence[Tile], store: TemporaryStore) -> list[Path]:
    """Write all pages and remove those of an earlier, longer sheet; returns their names."""
    targets = _page_names(task.output, -(-len(shown) // task.per_page)) if shown else []
    for number, target in enumerate(targets):
        part = shown[number * task.per_page :][: task.per_page]
        pixels = page(part, task.layout, lambda tile: store.get(tile.place))
        try:
            atomic.replace_file(target, encode_page(pixels, task.format, task.output.name))
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
    _remove_old_pages(task.output, set(targets))
    return targets


def _remove_old_pages(output: Path, written: set[Path]) -> None:
    """Remove pages of an earlier sheet of this name that this one has not replaced."""
    pattern = re.compile(re.escape(output.stem) + r"(-\d+)?" + re.escape(output.suffix))
    for path in (output.parent / name for name in names_in(output.parent)):
        if not pattern.fullmatch(path.name) or path in written or not is_file(path):
            continue
        with contextlib.suppress(OSError):  # what cannot be read stays
            if is_page_of(path, output.name):  # sheet-1.png may be a sheet that was called so
                path.unlink()


def is_page_of(path: Path, name: str) -> bool:
    """Whether a file is a page of the sheet of this name, as it was made. Raises OSError."""
    found = stamp.read(path).stamp
    if found is None or found != _page_stamp(name) or found.checksum is None:
        return False
    with open_regular(path) as file:
        return stamp.has_own_pixels(file, found.checksum)


def encode_page(pixels: Pixels8, format_: Format, name: str) -> bytes:
    """A page as a file, with a stamp that names its sheet."""
    return encode(pixels, format_, metadata=Metadata(stamp=_page_stamp(name).text()))


def _page_stamp(name: str) -> Stamp:
    return Stamp(f"{zlib.crc32(os.fsencode(name)):016x}", "none", stamp.SHEET, 0, 0)
