"""Options of ``birefcli score`` that no other command has: one alias an option.

Unlike those of ``matte`` they are no environment variables: a BIREFCLI_MODEL that is meant for
every night's photos must not turn a comparison of files into a matting.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from birefcli.cli import completion, shared_options
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_file, local_path
from birefcli.system.paths import with_home

COMPARED, OUTPUT = "What is compared", "Output"

Predictions: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="PREDICTIONS",
        help="Masks or cutouts: a folder, or a file. With --model: photos.",
        show_default=False,
        parser=local_file,
    ),
]
Truths: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="TRUTHS",
        help="True mattes: a folder of the same names (or a_mask.png for a.png), or one file.",
        show_default=False,
        parser=local_file,
    ),
]
Trimaps: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--trimaps",
        metavar="DIR",
        rich_help_panel=Daily(COMPARED),
        help="Trimaps, whose unknown region is scored as well.",
        parser=local_path,
    ),
]
TrimapRadius: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--trimap-radius",
        metavar="N",
        min=0,
        rich_help_panel=Daily(COMPARED),
        help="Derive trimaps: unknown is N pixels around what is soft in the truth.",
    ),
]
Foregrounds: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--foregrounds",
        metavar="DIR",
        rich_help_panel=COMPARED,
        help="True foregrounds, to compare the colours of cutouts with.",
        parser=local_path,
    ),
]
Photos: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--photos",
        metavar="DIR",
        rich_help_panel=COMPARED,
        help="The photos, for the pictures of a report.",
        parser=local_path,
    ),
]
HoldOut: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        metavar="N",
        min=1,
        rich_help_panel=COMPARED,
        help="Score only every N-th photo, which training holds out.",
    ),
]
AllowMissing: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-missing",
        rich_help_panel=Daily(COMPARED),
        help="Score what has a partner and can be read; name the rest.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=Daily(OUTPUT), help="One JSON object, full precision."),
]
AsCsv: TypeAlias = Annotated[
    bool, typer.Option("--csv", rich_help_panel=Daily(OUTPUT), help="CSV with a header line.")
]
Each: TypeAlias = Annotated[
    bool, typer.Option("--each", rich_help_panel=Daily(OUTPUT), help="Every photo's figures.")
]
Report: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        rich_help_panel=Daily(OUTPUT),
        help="Write a page with tables, histograms, best and worst photos.",
        parser=local_path,
    ),
]
Quiet: TypeAlias = Annotated[
    bool,
    shared_options.reworded(shared_options.PlainQuiet, "Show only failures, and the scores."),
]
Permille: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--permille", rich_help_panel=OUTPUT, help="MSE, MAD and colour errors times 1000."
    ),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        rich_help_panel=Daily(shared_options.MODEL),
        help="Matte the photos with this model, and score that.",
        autocompletion=completion.model,
        parser=with_home,
        show_default=False,
    ),
]
Threads: TypeAlias = Annotated[
    str,
    typer.Option(
        "--threads",
        metavar="N",
        rich_help_panel=shared_options.SPEED,
        help="Photos scored at once, or auto: one a core.",
    ),
]
MaxMemory: TypeAlias = Annotated[
    str,
    typer.Option(
        "--max-memory",
        metavar="GB",
        rich_help_panel=shared_options.SPEED,
        help="Memory of photos in flight. auto: a quarter of the machine's, or the container's.",
    ),
]
