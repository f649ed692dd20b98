"""A contact sheet from folders to pages: find cutouts, read them, sort them, write the pages."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from birefcli.batch.inputs import PIPE, Stdin, find_photos, split_missing
from birefcli.cli.sheet_options import Sort
from birefcli.contact_sheet import (
    Entry,
    Layout,
    Store,
    Tile,
    Unread,
    encode_page,
    is_page_of,
    missing_glyphs,
    page,
    tiles,
    with_font_for,
)
from birefcli.errors import Message, NoInputError, Option, OutputError, UsageError
from birefcli.images import stamp
from birefcli.options import SUFFIXES, Format, Selection
from birefcli.products.quality import Defect
from birefcli.system import atomic

PRODUCTS = ("cutout", "mask")  # folders of `matte --write cutout,mask`; others show no matte
SHOWN = ("png", "webp", "tif", "tiff", "jpg", "jpeg")


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
    sort: Sort = Sort.FLAGGED


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
    with Store() as store:
        _read(task, entries, store, sheet, reporter)
        shown = sorted_tiles(sheet.tiles, task.sort, flagged=task.flagged)
        names = "".join(tile.entry.name for tile in shown)
        layout = with_font_for(task.layout, names)
        sheet.pages = _write(replace(task, layout=layout), shown, store)
    sheet.has_boxes = missing_glyphs(layout, names) > 0
    return sheet


# Find and read


def _find(task: SheetTask, sheet: Sheet, reporter: SheetReporter) -> list[Entry]:
    """Cutouts in the order of their names; what cannot be looked at is reported."""
    roots = tuple(_products_folder(name) for name in task.inputs)
    patterns = tuple(f"*.{case}" for suffix in SHOWN for case in (suffix, suffix.upper()))
    search = find_photos(Selection(roots, PIPE, include=patterns, products=True))
    there, missing = split_missing(search.found)
    for path, reason in [*search.failed, *((photo.source, reason) for photo, reason in missing)]:
        sheet.failed += 1
        reporter.on_failure(str(path), reason)
    entries = []
    for photo in there:
        assert not isinstance(photo.source, Stdin), "refused as an input"
        if str(photo.source) in roots or _may_be_matte(photo.source):
            entries.append(Entry(photo.source, str(photo.relative)))
        else:
            sheet.not_mattes += not stamp.is_sheet(photo.source)
    return entries


def _products_folder(name: str) -> str:
    """The folder of cutouts or masks, where several products lie in a folder each."""
    if name == PIPE:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    inside = [Path(name, product) for product in PRODUCTS]
    return next((str(path) for path in inside if path.is_dir()), name)


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
    task: SheetTask, entries: list[Entry], store: Store, sheet: Sheet, reporter: SheetReporter
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


# Sort


def sorted_tiles(tiles: list[Tile], sort: Sort, *, flagged: bool) -> list[Tile]:
    """Tiles in the order of a sheet; only those with a flag where ``flagged``."""
    if flagged:
        tiles = [tile for tile in tiles if tile.findings.flags]
    if sort is Sort.NAME:
        return sorted(tiles, key=lambda tile: tile.entry.name)
    if sort is Sort.COVERAGE:
        return sorted(tiles, key=lambda tile: (tile.findings.coverage, tile.entry.name))
    return sorted(tiles, key=lambda tile: (_gravest(tile), tile.entry.name))


def _gravest(tile: Tile) -> int:
    """Rank of the gravest flag; without a flag, after all others."""
    order = list(Defect)
    return min((order.index(flag) for flag in tile.findings.flags), default=len(order))


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
                f"{target}: exists and is no page of an earlier {name}",
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


def _write(task: SheetTask, shown: Sequence[Tile], store: Store) -> list[Path]:
    """Write all pages and remove those of an earlier, longer sheet; returns their names."""
    targets = _page_names(task.output, -(-len(shown) // task.per_page)) if shown else []
    for number, target in enumerate(targets):
        part = shown[number * task.per_page :][: task.per_page]
        pixels = page(part, task.layout, lambda tile: store.get(tile.place))
        try:
            atomic.write_file(target, encode_page(pixels, task.format, task.output.name))
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
    _remove_old_pages(task.output, set(targets))
    return targets


def _remove_old_pages(output: Path, written: set[Path]) -> None:
    """Remove pages of an earlier sheet of this name that this one has not replaced."""
    pattern = re.compile(re.escape(output.stem) + r"(-\d+)?" + re.escape(output.suffix))
    for path in output.parent.iterdir():
        if not pattern.fullmatch(path.name) or path in written or not path.is_file():
            continue
        with contextlib.suppress(OSError):  # what cannot be read stays
            if is_page_of(path, output.name):  # sheet-1.png may be a sheet that was called so
                path.unlink()
