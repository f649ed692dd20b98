"""Options of ``birefcli watch`` that are not those of ``birefcli matte``."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from birefcli.cli import shared_options
from birefcli.cli.help_page import Daily
from birefcli.cli.shared_options import declare, reworded
from birefcli.system.paths import named

WATCHING = "Watching"

Folders: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER",
        help="Folders of photos, or prefixes of object stores.",
        show_default=False,
        parser=named,
    ),
]
Output: TypeAlias = Annotated[
    str,
    reworded(
        shared_options.Output, "Output folder, or prefix of an object store.", metavar="FOLDER"
    ),
]
Every: TypeAlias = Annotated[
    float,
    declare(
        Daily(WATCHING),
        "--every",
        metavar="SECONDS",
        help="Look so often; file events only wake it earlier.",
        min=0.1,
        max=86_400,
    ),
]
Settle: TypeAlias = Annotated[
    float,
    declare(
        Daily(WATCHING),
        "--settle",
        metavar="SECONDS",
        help="Take a photo when its size and time have not changed for so long.",
        min=0,
        max=86_400,
    ),
]
Idle: TypeAlias = Annotated[
    str,
    declare(
        WATCHING,
        "--idle",
        metavar="SECONDS",
        help="Free the device's memory after so long without work, or none: keep the model.",
    ),
]
Events: TypeAlias = Annotated[
    bool,
    declare(
        WATCHING,
        "--events/--no-events",
        help="Look at once when the system tells of a change: needs the package watchfiles.",
    ),
]
Verbose: TypeAlias = Annotated[
    bool, reworded(shared_options.Verbose, "Say also what is waited for, and left as it is.")
]


@dataclass(frozen=True)
class WatchOptions:
    """The words of a command line, as Typer has read them."""

    folders: Folders = None
    output: Output = ""
    every: Every = 5.0
    settle: Settle = 2.0
    idle: Idle = "600"
    events: Events = True
    verbose: Verbose = False
