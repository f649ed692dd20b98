"""Cut people out of photographs with BiRefNet: ``birefcli`` on the command line, and in Python.

>>> from birefcli import load
>>> model = load("mini")
>>> result = model("photo.jpg")
>>> result.alpha, result.cutout

Nothing heavy is imported before :func:`load` is used.
"""

from typing import TYPE_CHECKING, Any

from birefcli.errors import BirefcliError, DeviceError, ModelError, PhotoError

if TYPE_CHECKING:
    from birefcli.api import Model, Result, Source, load

__version__ = "0.1.0"
__all__ = [
    "BirefcliError",
    "DeviceError",
    "Model",
    "ModelError",
    "PhotoError",
    "Result",
    "Source",
    "__version__",
    "load",
]
_LAZY = ("Model", "Result", "Source", "load")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what is in birefcli.api, once it is used
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from birefcli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
