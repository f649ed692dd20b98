"""Fixtures shared by the tests: a tiny network in a file, photos, and the real command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from birefcli import weights
from birefcli.birefnet import BiRefNet, Config

TINY = Config(  # a Swin: timm costs seconds to import, in every subprocess
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=4,
    width=8, aspp_width=8, kernels=(1, 3), gradient_width=4,
)  # fmt: skip
Command = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of the family that is as small as can be; input 96×64."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights.save(BiRefNet(TINY), path, config=TINY, size=(96, 64))
    return path


@pytest.fixture(scope="session")
def command(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run ``birefcli`` as a user would; ``BIREFCLI_MODEL`` names the tiny weights."""
    home = tmp_path_factory.mktemp("hub")

    def run(*words: object, stdin: bytes = b"", **environment: str):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BIREFCLI", "HF_"))}
        return subprocess.run(
            [sys.executable, "-m", "birefcli", *map(os.fspath, map(_word, words))],
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
            env={
                **clean,
                "BIREFCLI_MODEL": str(tiny_weights),
                "HF_HOME": str(home),
                "HF_HUB_OFFLINE": "1",
                "XDG_CACHE_HOME": str(home),
                "COLUMNS": "80",
                **environment,
            },
        )

    return run


def _word(word: object) -> "str | os.PathLike[str]":
    return word if isinstance(word, (str, os.PathLike)) else str(word)


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    """Colour gradients with some noise: every pixel is different, every side too."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.RandomState(seed).randint(0, 20, (height, width))
    bands = [x * 230 // max(1, width), y * 230 // max(1, height), (x + y) * 3 % 200]
    return Image.fromarray(np.stack([b + noise for b in bands], -1).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos, one in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "sub/a.jpg")):
        picture(seed=i).save(folder / name)
    return folder
