"""Options that commands share, and the names of all panels: one alias an option, declared once."""

import copy
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import typer

from birefcli.cli import completion
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_path
from birefcli.options import Compress, Edges, Existing, Lock, PatchOrder, Precision, RunOn
from birefcli.system.paths import named, with_home

VARIABLES: list[str] = []
"""Names of the environment variables of all options."""
NEGATABLE: list[str] = []
"""Those of options with a --no- form."""
LAYOUT = "Layout"
OUTPUT, MODEL, SPEED, RUNNING, SELECTION = "Output", "Model", "Speed", "Running", "Photos"
COMPARED, DATA, HYPERPARAMETERS = "What is compared", "Data", "Hyperparameters"
MEASURING = "Measuring"


def declare(panel: str, *names: str, help: str, **more: object) -> typer.models.OptionInfo:  # noqa: A002
    """Declare an option of ``panel``; the variable BIREFCLI_NAME sets it too."""
    variable = "BIREFCLI_" + names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    VARIABLES.append(variable)
    if "/" in names[0]:
        NEGATABLE.append(variable)
    info: typer.models.OptionInfo = typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        envvar=variable,
        show_envvar=False,
        **more,  # type: ignore[arg-type]
    )
    return info


Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO",
        help="Photos, folders of photos, URLs of either (s3://, gs://, az://), or - for stdin.",
        show_default=False,
        parser=named,
    ),
]
Output: TypeAlias = Annotated[
    str,
    declare(
        Daily(OUTPUT),
        "--output",
        "-o",
        metavar="PATH",
        help="Output folder or URL; for one photo also a file (its extension sets the format),"
        " or -.",
        show_default=False,
        parser=with_home,
    ),
]
Write: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(OUTPUT),
        "--write",
        metavar="LIST",
        help="cutout, mask, composite, foreground, trimap; several with commas. Default: cutout.",
        show_default=False,
        autocompletion=completion.products,
    ),
]
Background: TypeAlias = Annotated[
    str,
    declare(
        Daily(OUTPUT),
        "--background",
        metavar="WHAT",
        help="With --write composite: CSS colour, image, folder of images, URL, or blur[:RADIUS].",
        autocompletion=completion.background,
        parser=with_home,
    ),
]
FormatName: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(OUTPUT),
        "--format",
        metavar="FORMAT",
        help="png (default), webp, tiff, avif, or jpg (no cutouts).",
        show_default=False,
        autocompletion=completion.formats,
    ),
]
Bits: TypeAlias = Annotated[
    int,
    declare(
        OUTPUT,
        "--bits",
        metavar="8|16|1",
        help="Bits a channel: 8 or 16; 1 for masks with --threshold.",
        autocompletion=completion.bits,
    ),
]
Effort: TypeAlias = Annotated[
    Compress,
    declare(
        OUTPUT, "--compress", metavar="HOW", help="fast, balanced or small: time against file size."
    ),
]
Name: TypeAlias = Annotated[
    str,
    declare(
        OUTPUT,
        "--name",
        metavar="TEMPLATE",
        help="Output name; {name} keeps the photo's extension.",
        autocompletion=completion.name_template,
    ),
]
Crop: TypeAlias = Annotated[bool, declare(Daily(OUTPUT), "--crop", help="Crop to the subject.")]
Margin: TypeAlias = Annotated[
    str,
    declare(
        OUTPUT, "--margin", metavar="N|N%", help="Padding around the crop: pixels, or like 5%."
    ),
]
Refine: TypeAlias = Annotated[
    bool,
    declare(
        OUTPUT, "--refine/--no-refine", help="Estimate the subject's own colour at soft edges."
    ),
]
Strip: TypeAlias = Annotated[
    bool, declare(OUTPUT, "--strip", help="Remove the location from EXIF, XMP and IPTC.")
]
KeepMetadata: TypeAlias = Annotated[
    bool,
    declare(
        OUTPUT,
        "--metadata/--no-metadata",
        help="Keep the photo's EXIF, XMP and IPTC: names, dates, camera, place, texts.",
    ),
]
Recursive: TypeAlias = Annotated[
    bool, declare(SELECTION, "--recursive/--no-recursive", help="Walk folders recursively.")
]
Include: TypeAlias = Annotated[
    list[str] | None,
    declare(
        SELECTION,
        "--include",
        metavar="GLOB",
        help="In folders, only names that match; repeat it for several.",
    ),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    declare(
        SELECTION,
        "--exclude",
        metavar="GLOB",
        help="In folders, no files and no inner folders that match; repeat it for several.",
    ),
]
FilesFrom: TypeAlias = Annotated[
    str | None,
    declare(
        SELECTION,
        "--files-from",
        metavar="FILE",
        help="Read photo names from a file, a URL, or -.",
        parser=with_home,
    ),
]
Null: TypeAlias = Annotated[
    bool,
    declare(
        SELECTION,
        "--null",
        "-0",
        help="Names of --files-from, --failed-to, --orphans end in NUL.",
    ),
]
OneShard: TypeAlias = Annotated[
    str | None,
    declare(
        SELECTION,
        "--shard",
        metavar="I/N|auto|auto/N",
        help="Only part I (from 0) of N of the photos; auto asks the scheduler.",
        show_default=False,
    ),
]
MaxMegapixels: TypeAlias = Annotated[
    float, declare(SELECTION, "--max-megapixels", metavar="N", help="Refuse larger photos.")
]
Model: TypeAlias = Annotated[
    str,
    declare(
        Daily(MODEL),
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="Name (see birefcli models list), weights file, its URL, or folder with one.",
        autocompletion=completion.model,
        parser=with_home,
    ),
]
Size: TypeAlias = Annotated[
    str | None,
    declare(
        MODEL, "--size", metavar="N|WxH", help="Input size N or WxH instead of the model's own."
    ),
]
Order: TypeAlias = Annotated[
    PatchOrder,
    declare(
        MODEL,
        "--patch-order",
        metavar="ORDER",
        help="Patch order of your own weights: columns or channels. auto knows all published ones.",
    ),
]
EdgesHow: TypeAlias = Annotated[
    Edges,
    declare(
        MODEL,
        "--edges",
        metavar="HOW",
        help="Edges at the photo's size: matting, guided, none, or auto: matting where the photo"
        " is well above the input size.",
    ),
]
Offline: TypeAlias = Annotated[
    bool, declare(MODEL, "--offline", help="Use downloaded weights only.")
]
MaxMemory: TypeAlias = Annotated[
    str,
    declare(
        SPEED,
        "--max-memory",
        metavar="GB",
        help="Memory of photos in flight, at 32 bytes a pixel (64 for 16 bits, WebP, AVIF,"
        " scaled results or several products). auto: a quarter of the machine's, or the"
        " container's.",
    ),
]
Device: TypeAlias = Annotated[
    str,
    declare(
        Daily(SPEED),
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N, mps.",
        autocompletion=completion.device,
    ),
]
Devices: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(SPEED),
        "--device",
        metavar="LIST",
        help="auto, cpu, cuda, cuda:N, mps, or all GPUs: all; several with commas. Default: auto.",
        show_default=False,
        autocompletion=completion.devices,
    ),
]
Numbers: TypeAlias = Annotated[
    Precision,
    declare(
        SPEED,
        "--precision",
        metavar="TYPE",
        help="fp16, bf16, fp32 or auto: fp16 on CUDA, fp32 elsewhere.",
    ),
]
Batch: TypeAlias = Annotated[
    str,
    declare(
        SPEED, "--batch", metavar="N", help="Batch size: photos the network sees at once, or auto."
    ),
]
Compiled: TypeAlias = Annotated[
    bool,
    declare(
        SPEED,
        "--compile/--no-compile",
        help="Record the network as a CUDA graph at its second batch.",
    ),
]
Threads: TypeAlias = Annotated[
    str,
    declare(
        SPEED,
        "--threads",
        metavar="N",
        help="Threads that decode and encode photos, or auto; the variable OMP_NUM_THREADS sets"
        " those of the network.",
    ),
]
On: TypeAlias = Annotated[
    RunOn,
    declare(
        SPEED,
        "--on",
        metavar="WHERE",
        help="local: this machine; ray: the machines of the Ray cluster that it is in.",
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    declare(
        SPEED,
        "--workers",
        metavar="N",
        help="With --on ray, at most N workers. Default: one for each GPU, or machine without.",
        show_default=False,
        min=1,
    ),
]
Connections: TypeAlias = Annotated[
    int,
    declare(
        SPEED,
        "--connections",
        metavar="N",
        help="With an object store, fetch at most N photos at once, ahead of their turn, and send "
        "N products.",
        min=1,
        max=1024,
    ),
]
PhotoTimeout: TypeAlias = Annotated[
    str,
    declare(
        RUNNING,
        "--photo-timeout",
        metavar="SECONDS",
        help="Give up a device on which no photo gets any further for so long; none or 0: never.",
    ),
]
WhenThere: TypeAlias = Annotated[
    Existing,
    declare(
        Daily(RUNNING),
        "--existing",
        metavar="HOW",
        help="Existing results: update what is out of date, skip, overwrite, or error.",
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    declare(Daily(RUNNING), "--dry-run", help="Show what would be done and why, and do nothing."),
]
Orphans: TypeAlias = Annotated[
    bool,
    declare(
        RUNNING,
        "--orphans",
        help="List products whose photo is gone, a line each, and do nothing.",
    ),
]
WhenBusy: TypeAlias = Annotated[
    Lock,
    declare(
        RUNNING,
        "--lock",
        metavar="HOW",
        help="If another run writes there: leave (exit code 75), wait, or none (no lock).",
    ),
]
FailedTo: TypeAlias = Annotated[
    Path | None,
    declare(
        RUNNING,
        "--failed-to",
        metavar="FILE",
        help="Write the failed photos' names, for --files-from; replaces an earlier list.",
        parser=local_path,
    ),
]
MaxFailures: TypeAlias = Annotated[
    int | None,
    declare(RUNNING, "--max-failures", metavar="N", help="Stop after N failed photos.", min=1),
]
FailFast: TypeAlias = Annotated[
    bool, declare(RUNNING, "--fail-fast", help="Stop at the first photo that fails.")
]
FailIfEmpty: TypeAlias = Annotated[
    bool, declare(RUNNING, "--fail-if-empty", help="Fail photos with an empty matte.")
]
JsonLines: TypeAlias = Annotated[
    bool, declare(RUNNING, "--json", help="Print a JSON line per photo and a summary.")
]
Quiet: TypeAlias = Annotated[
    bool, declare(Daily(RUNNING), "--quiet", "-q", help="Show only failures.")
]
Verbose: TypeAlias = Annotated[
    bool,
    declare(
        RUNNING,
        "--verbose",
        "-v",
        help="Show each photo done, flagged or noted.",
    ),
]
Progress: TypeAlias = Annotated[
    bool, declare(RUNNING, "--progress/--no-progress", help="Show a progress bar.")
]
Debug: TypeAlias = Annotated[
    bool, declare(RUNNING, "--debug", help="Show a traceback when something fails.")
]


def reworded(alias: object, help: str, **more: object) -> typer.models.OptionInfo:  # noqa: A002
    """The option of an alias, with another help, for a command where it means a little less."""
    info: typer.models.OptionInfo = copy.copy(get_args(alias)[1])
    info.help = help
    for name, value in more.items():
        setattr(info, name, value)
    return info


# The same for commands that read no variables: what is set for every night's photos must not
# change, say, what a network is trained on.


def _without_variable(alias: object) -> typer.models.OptionInfo:
    """The option of an alias, but for its variable."""
    info: typer.models.OptionInfo = copy.copy(get_args(alias)[1])
    info.envvar = None
    return info


PlainDevice: TypeAlias = Annotated[str, _without_variable(Device)]
PlainQuiet: TypeAlias = Annotated[bool, _without_variable(Quiet)]
PlainProgress: TypeAlias = Annotated[bool, _without_variable(Progress)]
PlainDebug: TypeAlias = Annotated[bool, _without_variable(Debug)]
