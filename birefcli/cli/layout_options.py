"""Options of how results are laid out, and how a file holds them."""

from typing import Annotated, TypeAlias

from birefcli.cli import completion, shared_options
from birefcli.cli.help_page import Daily
from birefcli.cli.shared_options import declare

Preset: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(shared_options.LAYOUT),
        "--preset",
        metavar="NAME",
        help="A set of these options (birefcli presets); those you type win.",
        show_default=False,
        autocompletion=completion.preset,
    ),
]
Canvas: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(shared_options.LAYOUT),
        "--canvas",
        metavar="WxH",
        help="Like 1200x1200, 1200x1200@72dpi or 35x45mm@300dpi.",
        show_default=False,
    ),
]
Aspect: TypeAlias = Annotated[
    str | None,
    declare(
        shared_options.LAYOUT,
        "--aspect",
        metavar="W:H",
        help="Proportions of the result, like 4:5, at the photo's own pixels.",
        show_default=False,
    ),
]
Fill: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(shared_options.LAYOUT),
        "--fill",
        metavar="N%",
        help="Share of the canvas that the subject takes in the tighter direction.",
        show_default=False,
    ),
]
Head: TypeAlias = Annotated[
    str | None,
    declare(
        shared_options.LAYOUT,
        "--head",
        metavar="N%|Nmm",
        help="From the top of the head to the chin: share of the height, or like 33mm.",
        show_default=False,
    ),
]
AlignTo: TypeAlias = Annotated[
    str,
    declare(
        shared_options.LAYOUT,
        "--align",
        metavar="WHERE",
        help="Where on the canvas: centre, top, bottom, left, right, top-left and so on.",
        autocompletion=completion.align,
    ),
]
ShadowHow: TypeAlias = Annotated[
    str,
    declare(
        shared_options.LAYOUT, "--shadow", metavar="HOW", help="Shadow on the ground: none or soft."
    ),
]
Resize: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(shared_options.LAYOUT),
        "--resize",
        metavar="N|WxH|N%",
        help="Scale results: longer side, box to fit, or percentage.",
        show_default=False,
    ),
]
Quality: TypeAlias = Annotated[
    int | None,
    declare(
        shared_options.OUTPUT,
        "--quality",
        metavar="N",
        help="Of jpg and avif, and of webp, which is lossless without it.",
        min=1,
        max=100,
        show_default=False,
    ),
]
MaxBytes: TypeAlias = Annotated[
    str | None,
    declare(
        shared_options.OUTPUT,
        "--max-bytes",
        metavar="N",
        help="Largest file, like 200k: finds the best quality within it, up to --quality.",
        show_default=False,
    ),
]
Threshold: TypeAlias = Annotated[
    str | None,
    declare(
        shared_options.OUTPUT,
        "--threshold",
        metavar="0-1",
        help="Masks without grey: white from this alpha on, like 0.5.",
        show_default=False,
    ),
]
TrimapWidth: TypeAlias = Annotated[
    str,
    declare(
        shared_options.OUTPUT,
        "--trimap-width",
        metavar="N|N%",
        help="Unknown band to either side: pixels, or of the longer side.",
    ),
]
