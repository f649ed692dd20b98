"""``birefcli sheet``: a signature, options, one call, printing."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from birefcli import values
from birefcli.cli import shared_options, sheet_options
from birefcli.cli.spelling import spelling
from birefcli.cli.stderr import say
from birefcli.errors import ExitCode, Message, Option, Spell, UsageError, printable
from birefcli.options import SUFFIXES, SheetOrder
from birefcli.system import cpu
from birefcli.system.paths import is_folder
from birefcli.system.regular_file import regular_status
from birefcli.system.text import json_line

if TYPE_CHECKING:
    from birefcli.review.contact_sheet import Sheet
    from birefcli.review.cutouts import Tile, Unread
    from birefcli.review.tile_page import Layout

PAGE, TILE, COLUMNS, PAIRS = 120, 200, 8, 4
HTML_PAGE, HTML_TILE = 1000, 320
HTML = (".html", ".htm")
LARGEST = 100_000_000  # pixels of a page: more is opened by few programs


def sheet(
    context: typer.Context,
    inputs: sheet_options.Inputs,
    output: sheet_options.Output,
    pairs: sheet_options.Pairs = None,
    flagged: sheet_options.Flagged = False,
    sort: sheet_options.Sorting = SheetOrder.FLAGGED,
    columns: sheet_options.Columns = None,
    tile: sheet_options.Side = None,
    per_page: sheet_options.PerPage = None,
    font: sheet_options.Face = None,
    max_megapixels: shared_options.MaxMegapixels = 300.0,
    threads: sheet_options.Threads = "auto",
    json_: sheet_options.AsJson = False,
    progress: shared_options.Progress = True,
    debug: shared_options.Debug = False,
) -> None:
    """Look through many cutouts on one page, the doubtful ones first.

    birefcli sheet cutouts/ -o sheet.html --pairs photos/

    Each cutout is shown on a checkerboard, with its name and the share of the picture it covers.
    What birefcli made and nobody edited has the flags and notes of its run, composites too; all
    else is judged anew, older composites by the cutout or mask beside them (in out/mask). Doubtful
    ones come first, in a red frame, and are listed on stdout with their flags: empty, small, full,
    soft, cut, parts, steps; unsure, haze, translucent, islands; and with the photos background,
    gaps, missing, outline. On an HTML page a click or Enter shows the file itself, keys mark it as
    good or bad, and the names of the bad are there to copy, for --files-from of birefcli matte.
    Several pages are named sheet-1.png, sheet-2.png and so on. An earlier sheet of the same name is
    replaced; no other file is overwritten.
    """
    html = output.suffix.lower() in HTML
    format_ = SUFFIXES.get(output.suffix.lower())
    if (format_ is None and not html) or is_folder(output):
        wrong = f"name a file that ends in {', '.join((*HTML, *SUFFIXES))}"
        raise UsageError(wrong, option="output", value=output)
    if html:
        layout, most = _layout(1, tile or HTML_TILE, font), per_page or HTML_PAGE
    else:
        across = columns or (COLUMNS if pairs is None else PAIRS)
        layout, most = (
            _layout(across, tile or TILE, font, pairs=pairs is not None),
            per_page or PAGE,
        )
        _check_page(layout, most)

    from birefcli.review.contact_sheet import SheetTask, make_sheet

    max_pixels = values.pixels("max_megapixels", max_megapixels)
    workers = values.automatic("threads", threads) or cpu.count()
    task = SheetTask(
        inputs=tuple(inputs),
        output=output,
        format=format_,
        layout=layout,
        per_page=most,
        max_pixels=max_pixels,
        threads=workers,
        flagged=flagged,
        sort=sort,
        photos=pairs,
    )
    with _Reporter(spelling(context), flagged=flagged, as_json=json_, bar=progress) as reporter:
        made = make_sheet(task, reporter)
    _print(made, sort, as_json=json_)
    raise typer.Exit(ExitCode.SOME_FAILED if made.failed else ExitCode.OK)


def _check_page(layout: "Layout", per_page: int) -> None:
    """Raise UsageError for pages that are too large."""
    side = layout.side
    width, height = layout.columns * layout.width, -(-per_page // layout.columns) * side
    if width * height > LARGEST:
        raise UsageError(
            Message(
                f"{per_page} tiles of {side} pixels make a page of {width}x{height} pixels: use a"
                " smaller ",
                *(Option("tile"), " or ", Option("per_page")),
            )
        )


def _layout(columns: int, side: int, font: Path | None, *, pairs: bool = False) -> "Layout":
    """Raise UsageError for a font that cannot be used."""
    from birefcli.review.tile_page import Layout

    layout = Layout(columns, side, None if font is None else str(font), pairs)
    try:
        if font is not None:
            regular_status(font)  # a pipe would be waited for; a name is looked for elsewhere
        _ = layout.font
    except (OSError, ImportError):  # Pillow may have been built without FreeType
        wrong = "is not there, or no font that can be read"
        raise UsageError(wrong, option="font", value=font) from None
    return layout


class _Reporter:
    """A bar or now and then a line; failures always, JSON lines where they are wanted."""

    def __init__(self, spell: Spell, *, flagged: bool, as_json: bool, bar: bool) -> None:
        self.spell, self.flagged, self.as_json = spell, flagged, as_json
        from birefcli.cli.terminal import ProgressBar  # rich takes its time

        self._bar = ProgressBar(None, bar=bar)

    def __enter__(self) -> "_Reporter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def on_start(self, total: int) -> None:
        """Show the bar."""
        self._bar.begin("reading", total)
        self._bar.__enter__()

    def on_failure(self, path: str, reason: str | Message) -> None:
        """Name what cannot be shown, and why."""
        text = Message(reason).spelled(self.spell)
        self._bar.say(text if text.startswith(path) else f"{path}: {text}")
        if self.as_json:
            print(json_line({"input": path, "error": text}), flush=True)

    def on_note(self, text: str | Message) -> None:
        """Say it."""
        self._bar.say(Message(text).spelled(self.spell))

    def on_read(self, result: "Tile | Unread") -> None:
        """Count one cutout."""
        from birefcli.review.cutouts import Unread

        self._bar.advance()
        if not self.as_json or isinstance(result, Unread):
            return
        if result.flags or not self.flagged:
            print(_as_json(result), flush=True)


def _as_json(tile: "Tile") -> str:
    quality, photo = tile.quality, tile.entry.photo
    record = {
        "input": str(tile.entry.path),
        "photo": None if photo is None else photo.listed,
        "coverage": None if quality is None else round(quality.coverage, 5),
        "flags": [flag.value for flag in tile.flags],
        "doubt": None if quality is None else round(quality.doubt, 5),
        "by_alpha_alone": tile.by_alpha_alone,
        "by_run": tile.entry.shows_less_than_its_run,
        "notes": list(tile.entry.run_notes),
    }
    return json_line(record)


def _print(sheet: "Sheet", sort: SheetOrder, *, as_json: bool) -> None:
    """Print the flagged cutouts, or the summary as JSON; then what else there is to know."""
    from birefcli.review.contact_sheet import sorted_tiles

    shown, pages = len(sheet.tiles), sheet.pages
    flagged = sorted_tiles(sheet.tiles, sort, flagged=True)
    if as_json:
        counts = {"shown": shown, "flagged": len(flagged), "failed": sheet.failed}
        counts |= {"skipped": sheet.not_mattes, "beside": sheet.beside}
        counts["by_alpha_alone"] = sum(tile.by_alpha_alone for tile in sheet.tiles)
        counts["by_run"] = sum(tile.entry.shows_less_than_its_run for tile in sheet.tiles)
        print(json_line({"summary": {**counts, "pages": [str(page) for page in pages]}}))
    else:
        for tile in flagged:
            words = ", ".join(flag.value for flag in tile.flags)
            print(f"{printable(str(tile.entry.path))}\t{words}")
    if sheet.not_mattes:
        say(f"{sheet.not_mattes} skipped: neither cutouts, masks nor composites of birefcli")
    if sheet.beside:
        say(f"{sheet.beside} not shown: other products of photos whose cutout or mask is shown")
    if sheet.has_boxes:
        say("the font lacks letters of the names, and draws boxes; --font FILE takes another")
    where = ", ".join(map(str, pages[:1])) + (f" to {pages[-1]}" if len(pages) > 1 else "")
    say(f"{shown} read, {len(flagged)} flagged{_rest(sheet)}: {where or 'no sheet written'}")


def _rest(sheet: "Sheet") -> str:
    """What the summary tells of cutouts that were not judged as others are."""
    counts = {
        "not judged (no alpha)": sum(tile.quality is None for tile in sheet.tiles),
        "judged by their run": sum(tile.entry.shows_less_than_its_run for tile in sheet.tiles),
        "judged by alpha alone (cropped, on a canvas or with a shadow)": sum(
            tile.by_alpha_alone for tile in sheet.tiles
        ),
        "failed": sheet.failed,
    }
    return "".join(f", {count} {words}" for words, count in counts.items() if count)
