"""Cut people out of photographs with BiRefNet: ``birefcli`` on the command line, and in Python.

>>> from birefcli import load
>>> model = load("mini")
>>> result = model("photo.jpg")
>>> result.alpha, result.cutout

Nothing heavy is imported before :func:`load` is used.
"""

TYPE_CHECKING = False  # as type checkers know it: typing takes its time
if TYPE_CHECKING:
    from birefcli.api import Model, Result, load
    from birefcli.errors import BirefcliError, DeviceError, ModelError, PhotoError
    from birefcli.images.image_like import ImageLike

__version__ = "0.1.0"
__all__ = [
    "BirefcliError",
    "DeviceError",
    "ImageLike",
    "Model",
    "ModelError",
    "PhotoError",
    "Result",
    "__version__",
    "load",
]
_ERRORS = ("BirefcliError", "DeviceError", "ModelError", "PhotoError")


def __getattr__(name: str) -> object:
    # Nothing here takes time before it is used: Ctrl-C comes whenever it comes.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("birefcli.errors" if name in _ERRORS else "birefcli.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
