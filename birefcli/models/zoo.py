"""The known checkpoints: where each is published, how to recognise it, how to run it."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

from birefcli.errors import ModelError
from birefcli.models.files import read_notes
from birefcli.options import PatchOrder, Size

MINI_FILE = Path(__file__).parents[1] / "data" / "mini.safetensors"
"""The weights that ship inside the package."""

FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""What the names of weights files end in."""


@dataclass(frozen=True)
class Model:
    """One known checkpoint. ``size`` is the input's."""

    name: str
    repo: str | None
    """``owner/name`` on the Hugging Face Hub; None: the file ships inside the package."""
    revision: str
    """A commit, or ``main`` where none is pinned: then the checksum alone decides."""
    size_bytes: int | None
    """Of the file; None for the one that ships: what is installed is what counts."""
    sha256: str | None
    backbone: str
    size: Size
    patch_order: PatchOrder
    """``COLUMNS`` is the order of the author's code until November 2024, ``CHANNELS`` that of his
    code since, and of this program. The shapes are equal: nothing in a file tells them apart."""
    precision: str
    """Of the numbers in the file: fp16 or fp32."""
    purpose: str
    licence: str = "MIT"
    filename: str = "model.safetensors"

    @property
    def bundled(self) -> bool:
        """Whether the file ships inside the package and needs no download."""
        return self.repo is None

    @property
    def megabytes(self) -> int | None:
        """Size of the download in millions of bytes, rounded; None where nothing is downloaded."""
        return None if self.size_bytes is None else round(self.size_bytes / 1e6)


USUAL = Size(1024, 1024)

# Sizes of the published files, in bytes: the backbone and the precision determine them.
_LARGE_FP32, _LARGE_FP16 = 884_878_856, 444_473_596
_TINY_FP32, _TINY_FP16 = 177_634_392, 88_965_896


def _large(
    name: str,
    repo: str,
    sha256: str,
    order: PatchOrder,
    purpose: str,
    *,
    revision: str = "main",
    size: Size = USUAL,
    precision: str = "fp16",
) -> Model:
    size_bytes = _LARGE_FP32 if precision == "fp32" else _LARGE_FP16
    repo = f"ZhengPeng7/{repo}"
    return Model(
        name, repo, revision, size_bytes, sha256, "swin_large", size, order, precision, purpose
    )


def _tiny(
    name: str,
    repo: str,
    sha256: str,
    order: PatchOrder,
    purpose: str,
    *,
    size: Size = USUAL,
    precision: str = "fp32",
) -> Model:
    size_bytes = _TINY_FP32 if precision == "fp32" else _TINY_FP16
    repo = f"ZhengPeng7/{repo}"
    return Model(
        name, repo, "main", size_bytes, sha256, "swin_tiny", size, order, precision, purpose
    )


def _mini() -> Model:
    size, backbone = Size(512, 512), "-"
    try:
        with MINI_FILE.open("rb") as file:
            metadata = read_notes(file)
        width, height = json.loads(metadata["birefcli.size"])
        size = Size(int(width), int(height))
        backbone = str(json.loads(metadata["birefcli.config"])["backbone"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a broken installation: loading the file reports it, help must still work
    return Model(
        name="mini",
        repo=None,
        revision="",
        size_bytes=None,
        sha256=None,
        backbone=backbone,
        size=size,
        patch_order=PatchOrder.CHANNELS,
        precision="fp16",
        purpose="small, quick on a CPU, built in",
    )


_MODELS = [
    _large(
        "portrait",
        "BiRefNet-portrait",
        "4a4eb3a5469b75f0cccaec6772c22fc30e6c12ed429c2c0ba71b43e3d8d97182",
        PatchOrder.COLUMNS,
        "people: the default",
        revision="b6561965a70070d9143fd9e558f6ca3c481510db",
        precision="fp32",
    ),
    _large(
        "general",
        "BiRefNet",
        "9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154",
        PatchOrder.COLUMNS,
        "any subject",
        revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
    ),
    _large(
        "matting",
        "BiRefNet-matting",
        "a9875de5b1e6c8eb5fdaa8c727a82927ce442cdc87ba3abee6a77e6fa46c25bb",
        PatchOrder.COLUMNS,
        "soft edges, glass, hair",
        revision="eccde0a8cbdce7ac5fecfeb06340fe7b949e85d9",
        precision="fp32",
    ),
    _large(
        "hr",
        "BiRefNet_HR",
        "9d678bafec0b0019fbb073b7fd02f05ede25dc4b15254f23b2fb0be333200c0d",
        PatchOrder.CHANNELS,
        "any subject, fine detail",
        size=Size(2048, 2048),
    ),
    _large(
        "hr-matting",
        "BiRefNet_HR-matting",
        "a5a4de698739ea5e0e8bbab28e1b293dde95092b87a442d566cbc585c53cef55",
        PatchOrder.CHANNELS,
        "soft edges, fine detail",
        revision="5d6b6f8adcb5b417c871b1d84ceaae9871355b7f",
        size=Size(2048, 2048),
    ),
    _large(
        "dynamic",
        "BiRefNet_dynamic",
        "e3d2e4884e51ff30f0cd630edc6b1e41b06b7f23a0a2a5169f7b7cb33a711c2d",
        PatchOrder.CHANNELS,
        "any size from 256 to 2304",
    ),
    _large(
        "512",
        "BiRefNet_512x512",
        "d94ae0eefb2d2020192001e984ecd6b367478118257a3132e6a484bbf18b0f41",
        PatchOrder.CHANNELS,
        "any subject, quick",
        size=Size(512, 512),
    ),
    _tiny(
        "lite",
        "BiRefNet_lite",
        "4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
        PatchOrder.COLUMNS,
        "any subject, smaller network",
    ),
    _tiny(
        "lite-2k",
        "BiRefNet_lite-2K",
        "aa2e4a5af5eb3904694feb40f2b39ec5dd7cd9110906590cfeb982f09a46021d",
        PatchOrder.COLUMNS,
        "smaller network, wide photos",
        size=Size(2560, 1440),
    ),
    _tiny(
        "lite-matting",
        "BiRefNet_lite-matting",
        "ce8bcfc045e336322c0424a5863dcfb7e9ce8fed0a5fd4d1b2b20adf12d97243",
        PatchOrder.CHANNELS,
        "smaller network, soft edges",
        precision="fp16",
    ),
    _mini(),
]

ZOO: dict[str, Model] = {model.name: model for model in _MODELS}
"""Every model that can be asked for by name."""

DEFAULT = "portrait"
"""What is used where no model is named."""


def is_file(text: str) -> bool:
    """Whether a model's name means a file of the user's rather than a known name."""
    if text in ZOO:
        return False
    return text.lower().endswith(FILE_SUFFIXES) or "/" in text or "\\" in text


def lookup(name: str, *, option: str | None = None) -> Model:
    """The model called ``name``; ModelError with the nearest name, and the option that has it."""
    if name in ZOO:
        return ZOO[name]
    guess = by_repo(name)
    near = [guess.name] if guess else difflib.get_close_matches(name.lower(), ZOO, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    hint += (
        "`birefcli models list` shows all, and a file of your own ends in .safetensors, .pth or .pt"
    )
    value = None if option is None else name
    raise ModelError(f"no model is called {name!r}", option=option, value=value, hint=hint)


def by_repo(text: str) -> Model | None:
    """The model published as ``text``, with or without its owner; upper and lower case alike."""
    wanted = text.lower().rpartition("/")[2]
    for model in ZOO.values():
        if model.repo is not None and model.repo.lower().rpartition("/")[2] == wanted:
            return model
    return None
