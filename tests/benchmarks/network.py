"""The network on a CPU beside the author's, or beside that of another checkout of birefcli.

``python tests/benchmarks/network.py --author FOLDER``: FOLDER is a checkout of
https://github.com/ZhengPeng7/BiRefNet; the backbone is the one its ``config.py`` names. Both
networks get the same weights, noise that keeps every layer in a sensible range.

``python tests/benchmarks/network.py --before FOLDER --model mini --size 384``: FOLDER is a checkout
of birefcli, which loads the same model. Each side runs what its predictor runs, on an image in the
layout that its predictor gives it.

Each side lives in a process of its own, set up as its own program sets itself up (ours: threads
that sleep while they wait, freed memory that is kept), and they take turns. Told are the medians
and their ratio, how far the mattes are apart, and the peak memory of both processes once their
weights are there. For ONNX Runtime, see ``birefcli bench --against``.
"""

import argparse
import importlib
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from torch import nn

    from birefcli.birefnet import BiRefNet

THEIRS, BEFORE, OURS = "author's", "before", "ours"


@dataclass(frozen=True)
class Side:
    """One of the two networks that are compared."""

    name: str
    checkout: str | None
    """Folder of the author's code, or of another birefcli; None is this one."""
    model: str | None
    """What birefcli loads; None where the author's backbone decides."""


def serve(orders: Connection, side: Side, asked: argparse.Namespace, stderr: str) -> None:
    """Matte one batch for each order, and answer with wall seconds, CPU seconds and alpha.

    Nothing of the author's is loaded for ours. The first message says, or asks, how many channels
    the author's backbone begins with. What goes to stderr goes to that file.
    """
    with Path(stderr).open("ab") as file:
        os.dup2(file.fileno(), 2)
    if side.name == BEFORE:
        assert side.checkout is not None
        sys.path.insert(0, side.checkout)
    if side.name != THEIRS:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch
    from support import known_image

    torch.set_num_threads(asked.threads)
    network = _network(side, orders)
    images = [known_image(asked.size, asked.size, seed) for seed in range(7, 7 + asked.batch)]
    image = torch.cat(images)
    if side.name != THEIRS:
        from birefcli.system import allocator

        image = image.contiguous(memory_format=torch.channels_last)
        allocator.keep_freed_memory()  # now: a command reads its weights from a file and makes none
    _forget_peak()
    with torch.inference_mode():
        while orders.recv():
            wall, cpu = time.perf_counter(), time.process_time()
            out = network(image)
            alpha = torch.sigmoid(out[-1] if isinstance(out, list | tuple) else out)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            orders.send((wall, cpu, _peak(), alpha.numpy()))


def _network(side: Side, orders: Connection) -> "nn.Module":
    if side.name == THEIRS:
        assert side.checkout is not None
        return _theirs(side.checkout, orders).eval()
    from birefcli.matting.device import parse_device
    from birefcli.matting.predictor import Predictor
    from birefcli.models import weights
    from birefcli.options import Precision, Size

    if side.model is None:
        network = _ours(orders.recv())
    else:
        network = weights.load_network(weights.resolve(side.model))
        orders.send(None)
    placement = parse_device("cpu", Precision.FP32)
    run: nn.Module = Predictor(network, Size(32, 32), placement).network
    return run


def _forget_peak() -> None:
    """Have the kernel count the peak of memory from now on: making the weights takes some too."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Largest resident memory of this process since then, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def _ours(channels: int) -> "BiRefNet":
    from support import known_network

    from birefcli.birefnet import SWIN_L, SWIN_T

    return known_network({192: SWIN_L, 96: SWIN_T}[channels])


def _theirs(folder: str, orders: Connection) -> "nn.Module":
    """The author's network with the known weights."""
    sys.path.insert(0, folder)
    theirs: nn.Module = importlib.import_module("models.birefnet").BiRefNet(bb_pretrained=False)
    channels = len(theirs.get_parameter("bb.patch_embed.proj.bias"))
    orders.send(channels)
    # The known weights leave out what a network computes itself, which the author's trusts.
    known = _ours(channels).state_dict()
    same = {k: v for k, v in known.items() if not k.endswith("position_index")}
    theirs.load_state_dict(same, assign=True, strict=False)
    return theirs


class Served:
    """One of the networks, in its process."""

    def __init__(self, side: Side, asked: argparse.Namespace, channels: int | None = None) -> None:
        """``channels``: of the author's backbone, for ours beside it."""
        here, there = multiprocessing.Pipe()
        self.name = side.name
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        self._stderr = Path(name)
        self.process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(there, side, asked, name), daemon=True
        )
        self.process.start()
        there.close()  # else a dead process's end would stay open, and be waited for
        self._orders, self._passes = here, asked.passes
        self.channels: int | None = channels
        if channels is None:
            self.channels = self._heard()
        else:
            self._tell(channels)
        self.seen: list[tuple[float, float]] = []
        _, _, self.peak, self.alpha = self._matte()  # the first pass is no measurement

    def measure(self) -> None:
        """Matte, and remember how long the last pass took."""
        for _ in range(self._passes):
            wall, cpu, self.peak, _ = self._matte()
        self.seen.append((wall, cpu))

    def _matte(self) -> tuple[float, ...]:
        self._tell(True)
        answer: tuple[float, ...] = self._heard()
        return answer

    def _tell(self, word: object) -> None:
        try:
            self._orders.send(word)
        except OSError:
            self._lost()

    def _heard(self) -> Any:
        try:
            return self._orders.recv()
        except (EOFError, OSError):
            self._lost()

    def _lost(self) -> NoReturn:
        """Say in one line how the process ended, and with which last word."""
        self.process.join()
        code = self.process.exitcode or 0
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        words = self._stderr.read_text(errors="replace").strip().splitlines()
        self._stderr.unlink()
        sys.exit(f"the {self.name} process {ended}: {words[-1] if words else 'it said nothing'}")

    @property
    def medians(self) -> list[float]:
        """Wall and CPU seconds."""
        return [statistics.median(times) for times in zip(*self.seen, strict=True)]

    def end(self) -> None:
        """Send the process home."""
        self._tell(False)
        self.process.join()
        self._stderr.unlink()


def alternate(served: dict[str, Served], rounds: int) -> None:
    """Let both take turns, the order changing from one to the next, and tell each."""
    for turn in range(rounds):
        for name in list(served)[:: 1 if turn % 2 else -1]:
            served[name].measure()
            wall, cpu = served[name].seen[-1]
            print(f"{name:8} {wall:7.3f} s, {cpu:7.3f} s of CPU", flush=True)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--author", metavar="FOLDER")
    other.add_argument("--before", metavar="FOLDER", help="a checkout of birefcli")
    parser.add_argument("--model", default="mini", help="a name or a file, for --before")
    parser.add_argument("--size", type=int, default=1024, help="of the input, in pixels")
    parser.add_argument("--batch", type=int, default=1, help="images at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--passes",
        type=int,
        default=1,
        help="of a turn, of which the last counts: after a pause the first one pays for memory that"
        " the machine has taken back",
    )
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    if asked.author:
        other_one = Served(Side(THEIRS, asked.author, None), asked)
        ours = Served(Side(OURS, None, None), asked, other_one.channels)
    else:
        other_one = Served(Side(BEFORE, asked.before, asked.model), asked)
        ours = Served(Side(OURS, None, asked.model), asked)
    served = {OURS: ours, other_one.name: other_one}
    alternate(served, asked.rounds)
    (wall_a, cpu_a), (wall_b, cpu_b) = other_one.medians, ours.medians
    name = other_one.name
    print(f"medians of {asked.rounds}: {name} {wall_a:.3f} s, ours {wall_b:.3f} s")
    print(f"{name} / ours: {wall_a / wall_b:.2f} of wall time, {cpu_a / cpu_b:.2f} of CPU time")
    print(f"alpha apart by {abs(ours.alpha - other_one.alpha).max():.1e} at most")
    print(f"peak memory: {name} {other_one.peak:.2f} GB, ours {ours.peak:.2f} GB")
    for one in served.values():
        one.end()


if __name__ == "__main__":
    main()
