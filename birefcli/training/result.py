"""The weights that a training ends with: those of its best epoch, where photos are held out."""

import shutil
from contextlib import suppress
from pathlib import Path

from birefcli.birefnet import BiRefNet
from birefcli.errors import OutputError
from birefcli.options import Size
from birefcli.system import atomic
from birefcli.system.paths import is_file
from birefcli.training.plan import Plan
from birefcli.training.save_weights import save_weights
from birefcli.training.setup import BEST, LAST


def write_last(network: BiRefNet, plan: Plan, size: Size) -> None:
    """Write the weights that the training has ended with: they are the result. Raises OutputError.

    Those of an earlier end, which is gone on from, are no longer the last.
    """
    save_weights(network, plan.output, size)
    with suppress(OSError):
        (plan.folder / LAST).unlink(missing_ok=True)


def write_best(network: BiRefNet, plan: Plan, size: Size) -> bool:
    """Write the best epoch's weights as the result, and those of the last epoch beside it.

    False where the best epoch's are gone: nothing is written. Raises OutputError.
    """
    best = plan.folder / BEST
    if not is_file(best):
        return False
    save_weights(network, plan.folder / LAST, size)
    _copy(best, plan.output)
    return True


def _copy(source: Path, target: Path) -> None:
    try:
        with atomic.replacing(target) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from error
