"""``python -m birefcli.training DATA -o weights.safetensors``: train on photos with masks."""

import argparse
import sys
from pathlib import Path

import cv2
import torch

from birefcli.birefnet import MINI, STRIDE
from birefcli.errors import BirefcliError
from birefcli.training import data, export
from birefcli.training.loop import Recipe, Stage, Trainer, run


def stage(text: str) -> Stage:
    """``224x2000x16``: input size, steps, batch."""
    size, steps, batch = (int(part) for part in text.split("x"))
    if size < STRIDE or size % STRIDE or steps < 1 or batch < 2:
        raise ValueError
    return Stage(size, steps, batch)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m birefcli.training", description=__doc__)
    made.add_argument("data", type=Path, help="folder with im/ and gt/")
    made.add_argument("-o", "--output", type=Path, required=True, help="weights to write")
    made.add_argument(
        "--stage",
        type=stage,
        action="append",
        metavar="SIZExSTEPSxBATCH",
        help=f"may be repeated; SIZE a multiple of {STRIDE}, BATCH at least 2 [224x2000x16]",
    )
    made.add_argument("--lr", type=float, default=Recipe.lr)
    made.add_argument("--seed", type=int, default=Recipe.seed)
    made.add_argument("--hold-out", type=int, default=10, help="keep back every n-th photo [10]")
    made.add_argument("--size", type=int, help="input size to note in the weights [last stage's]")
    made.add_argument("--checkpoint", type=Path, help="to go on from [OUTPUT.ckpt]")
    made.add_argument("--every", type=float, default=180, help="seconds between checkpoints [180]")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    return made


def main(arguments: list[str] | None = None) -> int:
    """Train, or go on with an interrupted run; the exit code."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    recipe = Recipe(tuple(options.stage or [Stage(224, 2000, 16)]), options.lr, seed=options.seed)
    size = options.size or recipe.stages[-1].size
    checkpoint = options.checkpoint or options.output.with_suffix(".ckpt")
    try:
        examples, held_out = data.split(data.read_folder(options.data), options.hold_out)
        trainer = Trainer(MINI, recipe)
        if checkpoint.is_file():
            trainer.resume(checkpoint)
        print(f"{len(examples)} photos, {len(held_out)} held out, from step {trainer.step}")
        run(trainer, examples, checkpoint=checkpoint, every=options.every, told=_tell)
        export.save(trainer.averaged, options.output, (size, size))
    except BirefcliError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _tell(step: int, loss: float, seconds: float) -> None:
    print(f"step {step}  loss {loss:.3f}  {seconds:.2f} s/step", flush=True)


if __name__ == "__main__":
    sys.exit(main())
