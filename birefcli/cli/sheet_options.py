"""The options that ``birefcli sheet`` alone has: one alias an option."""

from pathlib import Path
from typing import Annotated

import typer

from birefcli.cli import shared_options
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_name, local_path
from birefcli.options import SheetOrder

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="CUTOUT",
        help="Folders of cutouts, masks or composites, or single files.",
        show_default=False,
        parser=local_name,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The sheet: an HTML page, or a PNG, WebP, TIFF, JPEG or AVIF file.",
        show_default=False,
        parser=local_path,
        rich_help_panel=Daily("Options"),
    ),
]
Flagged = Annotated[
    bool,
    typer.Option(
        "--flagged", help="Show only cutouts with a flag.", rich_help_panel=Daily("Options")
    ),
]
Sorting = Annotated[
    SheetOrder,
    typer.Option(
        "--sort",
        metavar="BY",
        help="flagged (these first), name, or coverage (lowest first).",
        rich_help_panel=Daily("Options"),
    ),
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="PHOTOS",
        help="Folder of the photos: each is shown beside its cutout, and tells more of it.",
        parser=local_path,
        rich_help_panel=Daily("Options"),
    ),
]
Columns = Annotated[
    int | None,
    typer.Option(
        "--columns",
        metavar="N",
        min=1,
        max=100,
        help="Tiles in a row of a picture.  [default: 8; 4 with photos]",
        show_default=False,
        rich_help_panel=Daily("Options"),
    ),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="N",
        min=32,
        max=2048,
        help="Width and height of a tile, in pixels.  [default: 200; 320 in HTML]",
        show_default=False,
        rich_help_panel=Daily("Options"),
    ),
]
PerPage = Annotated[
    int | None,
    typer.Option(
        "--per-page",
        metavar="N",
        min=1,
        help="Tiles on a page.  [default: 120; 1000 in HTML]",
        show_default=False,
        rich_help_panel=Daily("Options"),
    ),
]
Face = Annotated[
    Path | None,
    typer.Option(
        "--font",
        metavar="FILE",
        help="TrueType or OpenType font for the names.",
        parser=local_path,
        rich_help_panel=Daily("Options"),
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a JSON line per cutout and a summary.",
        rich_help_panel=Daily("Options"),
    ),
]
Threads = Annotated[
    str, shared_options.reworded(shared_options.Threads, "Threads that read cutouts, or auto.")
]
