"""What Python is shown of birefcli, for ``same_output.py``; the one argument is a folder."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

import birefcli
from birefcli import Model, Result, load

PRODUCTS = ("cutout", "mask", "composite", "foreground", "trimap")
FILES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("png", {}),
    ("webp", {}),
    ("tiff", {}),
    ("jpg", {}),
    ("16.png", {"bits": 16}),
    ("16.tif", {"bits": 16, "strip": True}),
    ("small.png", {"compress": "small", "strip": True}),
    ("blur.jpeg", {"background": "blur"}),
)


def told(call: Callable[[], object]) -> str:
    """What comes back, or what is raised: the names of its classes, and its text."""
    try:
        return repr(call())
    except Exception as error:
        kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
        return f"{kinds}: {error}"


def shown(pixels: Any) -> str:
    """Shape, type and digest of pixels."""
    array = np.asarray(pixels)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{array.shape} {array.dtype} {digest[:16]}"


def names() -> None:
    """Print what there is."""
    print(sorted(birefcli.__all__), birefcli.__version__)
    for kind in (Model, Result):
        print(kind.__name__, sorted(name for name in vars(kind) if not name.startswith("_")))


def results(model: Model, out: Path) -> None:
    """Print and save everything that can be had of a few photos."""
    for name in ("few/taken.jpg", "few/deep.png", "few/hole.png", "few/sub/cmyk.jpg"):
        result = model(name)
        print(name, result, result.coverage, result.notes, shown(result.alpha))
        for product in PRODUCTS:
            for bits in (8, 16):
                print(product, bits, shown(result.pixels(product, bits=bits)))
            for suffix, options in FILES:
                target = out / f"{Path(name).stem}-{product}.{suffix}"
                print(target, told(lambda: result.save(target, product, **options)))  # noqa: B023
        for behind in (
            "blur:2",
            "red",
            "wall.png",
            Image.open("wall.png"),
            np.zeros((4, 4, 3), "u1"),
        ):
            print(shown(result.composite(behind)))
        for picture in (result.cutout, result.mask, result.foreground, result.trimap):
            print(picture.mode, sorted(picture.info), shown(picture))


def sources(model: Model) -> None:
    """Print what comes of photos that are no files, and of several."""
    array = np.asarray(Image.open("samples/astronaut.png").convert("RGB"))[::4, ::4]
    see_through = array[:, :, [0, 1, 2, 0]]
    turned = Image.open("odd/everything.jpg")
    for photo in (array, array[..., 0], array.astype("u2") * 257, see_through, turned):
        print(shown(model(photo, refine=False).cutout), shown(model(photo).cutout))
    photos: list[str | Path] = [
        "odd/cut.jpg",
        "few/hole.png",
        "odd/text.jpg",
        "no-such.jpg",
        Path("few/deep.png"),
    ]
    for found in model.map(photos, return_errors=True, batch=2):
        print(repr(found))


def failures(model: Model, out: Path) -> None:
    """Print what is said of what cannot be."""
    result, wrong = model("few/hole.png"), cast(Any, "1")
    calls: tuple[Callable[[], object], ...] = (
        lambda: load("nonsense"),
        lambda: load("mini", size=33),
        lambda: load("mini", size=wrong),
        lambda: load("mini", device="gpu"),
        lambda: load("mini", device="cuda:7"),
        lambda: load("mini", precision="fp8"),
        lambda: load("mini", patch_order="x"),
        lambda: load("lite", offline=True),
        lambda: load("no.safetensors"),
        lambda: model("odd/cut.jpg"),
        lambda: model("no-such.jpg"),
        lambda: model(cast(Any, 5)),
        lambda: model(np.zeros(3)),
        lambda: model.map("few/hole.png"),
        lambda: model.map(["few/hole.png"], batch=0),
        lambda: result.pixels("x"),
        lambda: result.pixels(bits=9),
        lambda: result.composite("nonsense"),
        lambda: result.composite("walls"),
        lambda: result.save("a.gif"),
        lambda: result.save(out / "no" / "a.png"),
        lambda: birefcli.nothing,
    )
    for call in calls:
        print(told(call))


def main() -> None:
    """Print all of it."""
    out = Path(sys.argv[1])
    names()
    model = load("mini", device="cpu", size=128)
    print(model, model.name, model.size, model.device, model.precision)
    results(model, out)
    sources(model)
    failures(model, out)


if __name__ == "__main__":
    main()
