"""``birefcli sheet``: many cutouts small on one picture, what is doubtful first."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefcli.batch.inputs import PIPE, find_photos, split_missing
from birefcli.cli import shared_options, values
from birefcli.errors import ExitCode, NoInputError, OutputError, UsageError, printable
from birefcli.options import SUFFIXES, Format, Selection
from birefcli.system import atomic, cpu

if TYPE_CHECKING:
    from birefcli.contact_sheet import Entry, Layout, Store, Tile, Unread

PAGE, TILE, COLUMNS = 120, 200, 8
LARGEST = 100_000_000  # pixels of a page: more is opened by few programs
PRODUCTS = ("cutout", "mask")  # folders of `matte --write cutout,mask`; others show no matte
SHOWN = ("png", "webp", "tif", "tiff", "jpg", "jpeg")


class Sort(str, Enum):
    """Which cutouts come first."""

    FLAGGED = "flagged"
    NAME = "name"
    COVERAGE = "coverage"


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="CUTOUT", help="Folders of cutouts or masks, or files.", show_default=False
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE", help="PNG, WebP, TIFF or JPEG.", show_default=False
    ),
]
Flagged = Annotated[bool, typer.Option("--flagged", help="Only cutouts with a flag.")]
Sorting = Annotated[
    Sort,
    typer.Option(
        "--sort", metavar="BY", help="flagged (first), name, or coverage (the least first)."
    ),
]
Columns = Annotated[
    int, typer.Option("--columns", metavar="N", min=1, max=100, help="Tiles beside each other.")
]
Side = Annotated[
    int,
    typer.Option("--tile", metavar="N", min=32, max=2048, help="Width and height, in pixels."),
]
PerPage = Annotated[
    int,
    typer.Option("--per-page", metavar="N", min=1, help="Tiles before a page of its own begins."),
]
Face = Annotated[
    Path | None,
    typer.Option(
        "--font", metavar="FILE", help="TrueType or OpenType font, for names of any script."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON line per cutout and a summary.")]


@dataclass(frozen=True)
class _Task:
    """What is wanted."""

    inputs: tuple[str, ...]
    output: Path
    format: Format
    flagged: bool
    sort: Sort
    layout: "Layout"
    per_page: int
    max_pixels: int
    threads: int
    as_json: bool
    bar: bool


@dataclass
class _Found:
    """What came of reading."""

    tiles: "list[Tile]" = field(default_factory=list)
    failed: int = 0
    foreign: int = 0


def sheet(
    inputs: Inputs,
    output: Output,
    flagged: Flagged = False,
    sort: Sorting = Sort.FLAGGED,
    columns: Columns = COLUMNS,
    tile: Side = TILE,
    per_page: PerPage = PAGE,
    font: Face = None,
    max_megapixels: shared_options.MaxMegapixels = 300.0,
    threads: shared_options.Threads = "auto",
    json_: AsJson = False,
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Show many cutouts on one picture, to be checked by eye.

    [bold]birefcli sheet cutouts/ -o sheet.png[/bold]

    Each is on a checkerboard, with its name and how much of the picture is kept. What its alpha
    makes doubtful comes first, in a red frame, and is listed on stdout: empty, small, full, soft,
    cut, parts. Where there is more than a page, pages are called sheet-1.png, sheet-2.png. An
    earlier sheet of that name is replaced, and nothing else is.
    """
    format_ = SUFFIXES.get(output.suffix.lower())
    if format_ is None or output.is_dir():
        raise UsageError(f"--output {output}: name a file, {', '.join(SUFFIXES)}")
    shape = (columns * tile, -(-per_page // columns) * tile)
    if shape[0] * shape[1] > LARGEST:
        raise UsageError(
            f"{per_page} tiles of {tile} pixels make a page of {shape[0]}x{shape[1]} pixels: use a"
            " smaller --tile or --per-page"
        )
    max_pixels = values.pixels("max_megapixels", max_megapixels)
    workers = values.automatic("threads", threads) or cpu.count()

    from birefcli.contact_sheet import Layout

    layout = Layout(columns, tile, None if font is None else str(font))
    try:
        _ = layout.font
    except (OSError, ImportError):  # Pillow may have been built without FreeType
        raise UsageError(f"--font {font}: is not there, or no font that can be read") from None
    task = _Task(
        tuple(inputs), output, format_, flagged, sort, layout, per_page, max_pixels, workers,
        json_, progress,
    )  # fmt: skip
    raise typer.Exit(_run(task))


def _run(task: _Task) -> ExitCode:
    """See that the sheet can be written, read every cutout, and write it."""
    from birefcli.contact_sheet import Store, suited

    found = _Found()
    entries = list(_entries(task, found))
    if not entries:
        raise NoInputError(f"no cutout or mask found in {', '.join(task.inputs)}")
    _check(task, -(-len(entries) // task.per_page))
    with Store() as store:
        _read(task, entries, store, found)
        shown = _sorted(task, found.tiles)
        names = "".join(tile.entry.name for tile in shown)
        task = replace(task, layout=suited(task.layout, names))
        pages = _write(task, shown, store)
    _tell(task, found, pages, names)
    return ExitCode.SOME_FAILED if found.failed else ExitCode.OK


def _entries(task: _Task, found: _Found) -> "Iterator[Entry]":
    """Cutouts in the order of their names; what cannot be looked at is told."""
    from birefcli.contact_sheet import Entry
    from birefcli.images import stamp

    roots = tuple(_entered(name) for name in task.inputs)
    patterns = tuple(f"*.{case}" for suffix in SHOWN for case in (suffix, suffix.upper()))
    search = find_photos(Selection(roots, PIPE, include=patterns, products=True))
    there, missing = split_missing(search.found)
    absent = [(photo.source, reason) for photo, reason in missing]
    for path, reason in [*search.failed, *absent]:
        _fail(task, found, str(path), reason)
    named = set(roots)
    for photo in there:
        assert photo.source is not None
        if str(photo.source) in named or _is_shown(photo.source):
            yield Entry(photo.source, str(photo.relative))
        else:
            found.foreign += not stamp.is_sheet(photo.source)


def _entered(name: str) -> str:
    """The folder of cutouts, where several products lie in a folder each."""
    if name == PIPE:
        raise UsageError("a sheet is made of files, and not of stdin (-)")
    inside = [Path(name, product) for product in PRODUCTS]
    return next((str(path) for path in inside if path.is_dir()), name)


def _is_shown(path: Path) -> bool:
    """Whether a file of a folder is tried: of ours cutouts and masks, of others no JPEG.

    A black and white photo that was put on white would pass for a mask.
    """
    from birefcli.images import stamp

    try:
        made = stamp.read(path).stamp
    except OSError:
        return True  # reading it says why
    if made is None:
        return SUFFIXES[path.suffix.lower()] is not Format.JPG
    return made.product in (*PRODUCTS, "")  # another version's: reading it says what it is


def _check(task: _Task, pages: int) -> None:
    """Refuse to replace what is no earlier sheet of this name. Raises OutputError."""
    from birefcli.contact_sheet import is_page_of

    folder = task.output.parent
    for target in [task.output, *_names(task.output, pages)]:
        try:
            known = is_page_of(target, task.output.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
        if not known:
            raise OutputError(
                f"{target}: exists and is no page of an earlier {task.output.name}; name another"
                " --output"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None


def _names(output: Path, pages: int) -> list[Path]:
    """``sheet.png``, or ``sheet-1.png`` and so on."""
    if pages == 1:
        return [output]
    digits = len(str(pages))
    return [output.with_stem(f"{output.stem}-{n:0{digits}}") for n in range(1, pages + 1)]


def _read(task: _Task, entries: "list[Entry]", store: "Store", found: _Found) -> None:
    from birefcli.cli.terminal import ProgressBar
    from birefcli.contact_sheet import Unread, tiles

    read = tiles(entries, store, task.layout, task.threads, task.max_pixels)
    with ProgressBar(len(entries), "reading", bar=task.bar) as ticker:
        for tile in read:
            ticker.advance()
            if isinstance(tile, Unread):
                _lose(task, found, tile)
                continue
            found.tiles.append(tile)
            if task.as_json and (tile.findings.flags or not task.flagged):
                print(_as_json(tile), flush=True)


def _lose(task: _Task, found: _Found, tile: "Unread") -> None:
    # A folder may hold photos and composites too; whoever names one wants to see it.
    if tile.foreign and str(tile.entry.path) not in task.inputs:
        found.foreign += 1
    else:
        _fail(task, found, str(tile.entry.path), tile.error)


def _fail(task: _Task, found: _Found, path: str, reason: str) -> None:
    found.failed += 1
    say(reason if reason.startswith(path) else f"{path}: {reason}")
    if task.as_json:
        print(json.dumps({"input": path, "error": reason}), flush=True)


def _as_json(tile: "Tile") -> str:
    flags = [flag.value for flag in tile.findings.flags]
    coverage = round(tile.findings.coverage, 5)
    return json.dumps({"input": str(tile.entry.path), "coverage": coverage, "flags": flags})


def _sorted(task: _Task, tiles: "list[Tile]") -> "list[Tile]":
    from birefcli.products.quality import Defect

    order = list(Defect)
    if task.flagged:
        tiles = [tile for tile in tiles if tile.findings.flags]
    if task.sort is Sort.NAME:
        return sorted(tiles, key=lambda t: t.entry.name)
    if task.sort is Sort.COVERAGE:
        return sorted(tiles, key=lambda t: (t.findings.coverage, t.entry.name))

    def gravest(tile: "Tile") -> int:
        return min((order.index(flag) for flag in tile.findings.flags), default=len(order))

    return sorted(tiles, key=lambda t: (gravest(t), t.entry.name))


def _write(task: _Task, tiles: "list[Tile]", store: "Store") -> list[Path]:
    """Write all pages and clear what an earlier, longer sheet left; returns their names."""
    from birefcli.contact_sheet import encoded, page

    targets = _names(task.output, -(-len(tiles) // task.per_page)) if tiles else []
    for number, target in enumerate(targets):
        part = tiles[number * task.per_page :][: task.per_page]
        pixels = page(part, task.layout, lambda tile: store.get(tile.place))
        try:
            atomic.write_file(target, encoded(pixels, task.format, task.output.name))
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror}") from None
    _clear(task.output, set(targets))
    return targets


def _clear(output: Path, kept: set[Path]) -> None:
    """Remove pages of an earlier sheet of this name that this one has not replaced."""
    from birefcli.contact_sheet import is_page_of

    page = re.compile(re.escape(output.stem) + r"(-\d+)?" + re.escape(output.suffix))
    for path in output.parent.iterdir():
        if not page.fullmatch(path.name) or path in kept or not path.is_file():
            continue
        with contextlib.suppress(OSError):  # what cannot be read stays
            if is_page_of(path, output.name):  # sheet-1.png may be a sheet that was called so
                path.unlink()


def _tell(task: _Task, found: _Found, pages: list[Path], names: str) -> None:
    from birefcli.contact_sheet import lacking

    flagged = [tile for tile in found.tiles if tile.findings.flags]
    if task.as_json:
        counts = {"shown": len(found.tiles), "flagged": len(flagged), "failed": found.failed}
        print(json.dumps({"summary": {**counts, "pages": [str(page) for page in pages]}}))
    else:
        for tile in _sorted(task, flagged):
            words = ", ".join(flag.value for flag in tile.findings.flags)
            _print(f"{printable(str(tile.entry.path))}\t{words}")
    if found.foreign:
        say(f"skipped, neither cutouts nor masks: {found.foreign}")
    if lacking(task.layout, names):
        say("the font lacks letters of the names, and draws boxes; --font FILE takes another")
    where = ", ".join(map(str, pages[:1])) + (f" to {pages[-1]}" if len(pages) > 1 else "")
    failed = f", {found.failed} failed" if found.failed else ""
    say(f"{len(found.tiles)} read, {len(flagged)} flagged{failed}: {where or 'no sheet written'}")


def _print(text: str) -> None:
    # Not every terminal can show every name.
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def say(text: str) -> None:
    """One line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)
