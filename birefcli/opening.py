"""From the options of a run and its weights to a network on a device."""

from collections.abc import Callable

from birefcli import devices, weights
from birefcli.matting import Matter
from birefcli.options import Options
from birefcli.weights import Checkpoint


def matter(options: Options, checkpoint: Checkpoint, tell: Callable[[str], None]) -> Matter:
    """Open the network on ``options.device``. Raises DeviceError, ModelError.

    ``tell`` hears what takes its time, in a few words, and ``""`` when it is over.
    """
    compute = devices.choose(options.device, options.precision)
    network = weights.load(checkpoint, patch_order=options.patch_order)
    size = options.size or checkpoint.size
    return Matter(network, size, compute, compiled=options.compiled, tell=tell)
