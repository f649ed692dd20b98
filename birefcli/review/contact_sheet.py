"""Contact sheets: many cutouts small, so that a person can look at all of them.

Find cutouts, read them, sort them, write the pages. Cutouts are read once. The tile of each is kept
in a file without a name: ten thousand take some hundred megabytes of disk, and memory holds one
page.
"""

import contextlib
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from birefcli.errors import Message, NoInputError, Option, OutputError
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.images.text import missing_glyphs
from birefcli.options import Format, SheetOrder
from birefcli.products.quality.check import Defect
from birefcli.review import html_page, tile_page
from birefcli.review.cutout_search import find_cutouts
from birefcli.review.cutouts import Entry, Tile, Unread, read_tiles
from birefcli.review.photos import PhotoIndex, lonely
from birefcli.review.tile_page import Layout, Pixels8
from birefcli.system import atomic
from birefcli.system.paths import is_file, names_in
from birefcli.system.regular_file import is_free, open_regular
from birefcli.system.temporary_store import TemporaryStore


@dataclass(frozen=True)
class SheetTask:
    """Which cutouts, where to, and what pages look like."""

    inputs: tuple[str, ...]
    output: Path
    format: Format | None
    """Of pages that are pictures; None for HTML."""
    layout: Layout
    per_page: int
    max_pixels: int
    threads: int
    flagged: bool = False
    """Show only cutouts with a flag."""
    sort: SheetOrder = SheetOrder.FLAGGED
    photos: Path | None = None
    """Where the photo of each cutout is."""


@dataclass
class Sheet:
    """What was read, and the pages that were written."""

    tiles: list[Tile] = field(default_factory=list)
    """In the order of their names."""
    failed: int = 0
    not_mattes: int = 0
    """Pictures of folders that show no matte and are no composites of ours."""
    beside: int = 0
    """Other products of photos whose cutout or mask was found."""
    pages: list[Path] = field(default_factory=list)
    has_boxes: bool = False
    """Whether the font lacks a letter of a name."""


class SheetReporter(Protocol):
    """Follows a sheet while it is made."""

    def on_start(self, total: int) -> None:
        """So many cutouts are about to be read."""

    def on_failure(self, path: str, reason: str | Message) -> None:
        """A cutout cannot be shown."""

    def on_note(self, text: str | Message) -> None:
        """Something is not as it was asked for."""

    def on_read(self, result: Tile | Unread) -> None:
        """A cutout was read, or could not be."""


def make_sheet(task: SheetTask, reporter: SheetReporter) -> Sheet:
    """Read every cutout and write the pages, once it is sure that they can be written.

    Raises UsageError, NoInputError, OutputError.
    """
    sheet = Sheet()
    entries = _find(task, sheet, reporter)
    _check_output(task, -(-len(entries) // task.per_page))
    with TemporaryStore() as store:
        _read(task, entries, store, sheet, reporter)
        shown = sorted_tiles(sheet.tiles, task.sort, flagged=task.flagged)
        if task.format is not None:
            names = "".join(tile.entry.label for tile in shown)
            task = replace(task, layout=tile_page.with_font_for(task.layout, names))
            sheet.has_boxes = missing_glyphs(task.layout.font, names) > 0
        sheet.pages = _write(task, shown, store)
    return sheet


# Find and read


def _find(task: SheetTask, sheet: Sheet, reporter: SheetReporter) -> list[Entry]:
    """Cutouts in the order of their names; what cannot be looked at is reported."""
    found = find_cutouts(task.inputs)
    sheet.failed, sheet.not_mattes = len(found.failed), found.not_mattes
    sheet.beside = found.beside
    for name, reason in found.failed:
        reporter.on_failure(name, reason)
    if not found.entries:
        raise NoInputError(_nothing_found(task, sheet.not_mattes))
    if task.photos is None:
        return found.entries
    index = PhotoIndex(task.photos)
    sheet.failed += len(index.unread)
    for each in index.unread:
        reporter.on_failure(str(each.place), each.reason)
    return _paired(found.entries, task.photos, index, reporter)


def _nothing_found(task: SheetTask, left_out: int) -> str:
    """Why there is nothing to show, and the next step."""
    nothing = f"no cutout or mask found in {', '.join(task.inputs)}"
    if not left_out:
        return nothing
    return (
        f"{nothing}; left out: {left_out} without transparency that birefcli did not make;"
        " make cutouts of them with birefcli matte, or name a JPEG that is a mask itself"
    )


def _paired(
    entries: list[Entry], photos: Path, index: PhotoIndex, reporter: SheetReporter
) -> list[Entry]:
    """Cutouts with their photos; those without one are named. Raises NoInputError."""
    pairs = [(entry, index.of(*entry.names)) for entry in entries]
    without = [str(entry.path) for entry, of in pairs if not of]
    unclear = [str(entry.path) for entry, of in pairs if len(of) > 1]
    if len(without) == len(entries):
        raise NoInputError(
            f"{photos}: no photo of any cutout: {entries[0].names[0]} would be of a photo"
            f" named {Path(entries[0].names[0]).with_suffix('')}.*",
            option="pairs",
        )
    for names, several in ((without, False), (unclear, True)):
        if names:
            reporter.on_note(lonely(names, several))
    return [replace(entry, photo=of[0]) if len(of) == 1 else entry for entry, of in pairs]


def _read(
    task: SheetTask,
    entries: list[Entry],
    store: TemporaryStore,
    sheet: Sheet,
    reporter: SheetReporter,
) -> None:
    reporter.on_start(len(entries))
    draw = html_page.draw if task.format is None else tile_page.draw
    read = read_tiles(entries, store, draw, task.layout.side, task.threads, task.max_pixels)
    for result in read:
        reporter.on_read(result)
        if isinstance(result, Tile):
            sheet.tiles.append(result)
            for note in result.notes:
                reporter.on_note(note)
        # A folder may hold photos and composites too; whoever names one wants to see it.
        elif result.not_a_matte and str(result.entry.path) not in task.inputs:
            sheet.not_mattes += 1
        else:
            sheet.failed += 1
            reporter.on_failure(str(result.entry.path), result.error)
    if not sheet.tiles and not sheet.failed:
        raise NoInputError(_nothing_found(task, sheet.not_mattes))


# Sort


def sorted_tiles(tiles: list[Tile], sort: SheetOrder, *, flagged: bool) -> list[Tile]:
    """Tiles in the order of a sheet; only those with a flag where ``flagged``."""
    if flagged:
        tiles = [tile for tile in tiles if tile.flags]
    keys = {SheetOrder.NAME: _nothing, SheetOrder.COVERAGE: _coverage, SheetOrder.FLAGGED: _gravity}
    return sorted(tiles, key=lambda tile: (*keys[sort](tile), tile.entry.label))


def _nothing(_: Tile) -> tuple[float, ...]:
    """Names alone say the order."""
    return ()


def _coverage(tile: Tile) -> tuple[float, ...]:
    """Lowest first; what is not judged comes last."""
    return (2.0 if tile.findings is None else tile.findings.coverage,)


def _gravity(tile: Tile) -> tuple[float, ...]:
    """By the gravest flag, then by doubt; after all others what has no flag, then the unjudged.

    Flags whose limits are fitted have one rank: the doubt says which of them is worse.
    """
    order = list(Defect)
    if tile.findings is None:
        return (len(order) + 1, 0.0)
    fitted = order.index(Defect.UNSURE)
    ranks = (min(order.index(flag), fitted) for flag in tile.flags)
    return (min(ranks, default=len(order)), -tile.findings.doubt)


# Write


def _check_output(task: SheetTask, pages: int) -> None:
    """Refuse to replace what is no earlier sheet of this name. Raises OutputError."""
    name, folder = task.output.name, task.output.parent
    for target in [task.output, *_page_names(task.output, pages)]:
        try:
            known = is_free(target) or is_page_of(target, name)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
        if not known:
            raise OutputError(
                f"{target}: exists and {_whose(target, name)}",
                hint=Message("choose another ", Option("output")),
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    atomic.clear_stale({folder})


def _whose(target: Path, name: str) -> str:
    """Why a file is not replaced. Raises OutputError."""
    try:
        ours = stamp.is_sheet(target) or html_page.is_page(target)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from None
    if ours:
        return f"was edited since sheet made it, or belongs to another sheet than {name}"
    return "was not made by sheet"


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
        try:
            atomic.replace_file(target, _page_file(task, part, target, store))
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
    _remove_old_pages(task.output, set(targets))
    return targets


def _page_file(task: SheetTask, part: Sequence[Tile], target: Path, store: TemporaryStore) -> bytes:
    """One page as a file."""
    if task.format is None:
        return html_page.render(part, target, task.output.name, store.get)
    return encode_page(tile_page.page(part, task.layout, store.get), task.format, task.output.name)


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
    if html_page.is_html(Path(name)):
        return html_page.is_page_of(path, name)
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
