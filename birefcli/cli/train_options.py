"""Options of ``birefcli train``: one alias an option.

Unlike those of ``matte`` they are no environment variables: a BIREFCLI_SIZE that is meant for every
night's photos must not decide what a network is trained for.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from birefcli.cli import completion
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_file, local_path, local_text
from birefcli.cli.shared_options import DATA, HYPERPARAMETERS, MODEL, RUNNING, SPEED
from birefcli.options import LONGEST, STRIDE, PatchOrder, Precision
from birefcli.system.paths import with_home
from birefcli.training.plan import Loss


def _option(panel: str, *names: str, help: str, **more: object) -> typer.models.OptionInfo:  # noqa: A002
    info: typer.models.OptionInfo = typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        **more,  # type: ignore[arg-type]
    )
    return info


Folders: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DATA",
        help="Folders with photos in im/ and masks in gt/, in P3M's layout, or with "
        "a_mask.png beside a.jpg.",
        show_default=False,
        parser=local_file,
    ),
]
Output: TypeAlias = Annotated[
    str,
    _option(
        Daily(MODEL),
        "--output",
        "-o",
        metavar="FILE",
        help="Weights to write: a .safetensors file. Checkpoint, log and pictures go to a folder"
        " beside it, NAME.train.",
        show_default=False,
        parser=local_text,
    ),
]
HoldOut: TypeAlias = Annotated[
    int,
    _option(
        Daily(DATA), "--hold-out", metavar="N", help="Score on every N-th photo; 0: none.", min=0
    ),
]
Validate: TypeAlias = Annotated[
    list[Path] | None,
    _option(
        Daily(DATA),
        "--validate",
        metavar="FOLDER",
        help="Score on this folder instead; may be repeated.",
        parser=local_path,
    ),
]
Shares: TypeAlias = Annotated[
    list[str] | None,
    _option(
        DATA,
        "--shares",
        metavar="N,N,...",
        help="How often each folder of DATA is seen, beside the others: several with commas."
        " Default: by its photos.",
        show_default=False,
    ),
]
Backgrounds: TypeAlias = Annotated[
    list[Path] | None,
    _option(
        Daily(DATA),
        "--backgrounds",
        metavar="FOLDER",
        help="Pictures without people, to put subjects before; may be repeated.",
        parser=local_path,
    ),
]
Soften: TypeAlias = Annotated[
    bool,
    _option(DATA, "--soften/--no-soften", help="Soft edges, after the photo's, for binary masks."),
]
Cache: TypeAlias = Annotated[
    str,
    _option(
        DATA,
        "--cache",
        metavar="GB",
        help="Memory for decoded photos. auto: a quarter of the machine's, or the container's.",
    ),
]
From: TypeAlias = Annotated[
    str | None,
    _option(
        Daily(MODEL),
        "--from",
        metavar="NAME|FILE",
        help="Fine-tune these weights: portrait, mini, ... or a file."
        " Without it mini is trained from scratch.",
        show_default=False,
        autocompletion=completion.model,
        parser=with_home,
    ),
]
Backbone: TypeAlias = Annotated[
    Path | None,
    _option(
        MODEL,
        "--backbone",
        metavar="FILE",
        help="Weights of EfficientNet-Lite0, for the backbone of a mini from scratch.",
        show_default=False,
        parser=local_path,
    ),
]
Order: TypeAlias = Annotated[
    PatchOrder,
    _option(
        MODEL,
        "--patch-order",
        metavar="ORDER",
        help="How the weights of --from read patches: columns or channels. auto knows all published"
        " ones.",
    ),
]
Size: TypeAlias = Annotated[
    int | None,
    _option(
        Daily(MODEL),
        "--size",
        metavar="N",
        help="Input N×N the weights are for. Default: that of the last --stage, the model's own, or"
        " 384.",
        show_default=False,
        min=STRIDE,
        max=LONGEST,
    ),
]
Epochs: TypeAlias = Annotated[
    int | None,
    _option(
        Daily(HYPERPARAMETERS),
        "--epochs",
        metavar="N",
        help="Epochs: times that about every photo is seen. Default: 20 with --from, else 100.",
        show_default=False,
        min=1,
    ),
]
Batch: TypeAlias = Annotated[
    int | None,
    _option(
        Daily(HYPERPARAMETERS),
        "--batch",
        metavar="N",
        help="Batch size, in photos. Default: 4 for the published networks, 8 for small ones.",
        show_default=False,
        min=2,
    ),
]
Rate: TypeAlias = Annotated[
    float | None,
    _option(
        Daily(HYPERPARAMETERS),
        "--lr",
        metavar="RATE",
        help="Peak learning rate. Default: 1e-5 sqrt(batch/4) for the published networks;"
        " 1.5e-4 for small ones, 1.5e-3 from scratch.",
        show_default=False,
    ),
]
Edges: TypeAlias = Annotated[
    int | None,
    _option(
        HYPERPARAMETERS,
        "--edges",
        metavar="N",
        help="Last epochs that train edges: SSIM and IoU. Default: a tenth.",
        show_default=False,
        min=0,
    ),
]
LossName: TypeAlias = Annotated[
    Loss,
    _option(
        HYPERPARAMETERS,
        "--loss",
        metavar="NAME",
        help="matting: BCE, MAE and SSIM; segmentation adds IoU.",
    ),
]
Stages: TypeAlias = Annotated[
    list[str] | None,
    _option(
        HYPERPARAMETERS,
        "--stage",
        metavar="SIZExSTEPSxBATCH",
        help="Steps at one input size, instead of epochs; several with commas.",
    ),
]
Seed: TypeAlias = Annotated[
    int,
    _option(
        HYPERPARAMETERS, "--seed", metavar="N", help="The same seed, the same training.", min=0
    ),
]
Numbers: TypeAlias = Annotated[
    Precision,
    _option(
        SPEED,
        "--precision",
        metavar="TYPE",
        help="fp16, bf16, fp32 or auto: bf16 (fp16 on older GPUs) on CUDA, else fp32.",
    ),
]
Threads: TypeAlias = Annotated[
    str, _option(SPEED, "--threads", metavar="N", help="Threads of the network, or auto.")
]
Workers: TypeAlias = Annotated[
    str,
    _option(SPEED, "--workers", metavar="N", help="Threads that prepare photos, or auto."),
]
Every: TypeAlias = Annotated[
    float,
    _option(RUNNING, "--every", metavar="SECONDS", help="Between two checkpoints.", min=0),
]
Restart: TypeAlias = Annotated[
    bool,
    _option(Daily(RUNNING), "--restart", help="Start anew, and replace the weights at the end."),
]
