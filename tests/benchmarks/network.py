"""The network on a CPU beside the author's: ``python tests/benchmarks/network.py --author FOLDER``.

FOLDER is a checkout of https://github.com/ZhengPeng7/BiRefNet; the backbone is the one its
``config.py`` names. Both networks get the same weights, noise that keeps every layer in a sensible
range, and take turns in one process; the medians and their ratio are told, and how far the mattes
are apart. With ``--peak ours`` or ``--peak author`` one of them runs once, for its peak memory.
"""

import argparse
import importlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import known_image, known_network

from birefcli.birefnet import SWIN_L, SWIN_T

CONFIGS = {192: SWIN_L, 96: SWIN_T}
"""By the channels of the backbone's first stage."""


def authors(folder: str) -> nn.Module:
    """The network of the author's checkout."""
    sys.path.insert(0, folder)
    made: nn.Module = importlib.import_module("models.birefnet").BiRefNet(bb_pretrained=False)
    return made.eval()


def alpha(network: nn.Module, image: Tensor) -> Tensor:
    """Alpha of one pass; the author's network gives a list of logits, the last of which count."""
    out = network(image)
    return torch.sigmoid(out[-1] if isinstance(out, list | tuple) else out)


def timed(call: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Wall and CPU seconds of a call, and what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = call()
    return time.perf_counter() - wall, time.process_time() - cpu, out


def alternate(networks: dict[str, nn.Module], image: Tensor, rounds: int) -> None:
    """Print seconds of both networks in turns, and their ratio."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    mattes = {name: alpha(network, image) for name, network in networks.items()}
    for turn in range(rounds):
        for name in list(networks)[:: 1 if turn % 2 else -1]:
            wall, cpu, _ = timed(lambda n=networks[name]: alpha(n, image))
            seen[name].append((wall, cpu))
            print(f"{name:8} {wall:7.2f} s, {cpu:7.2f} s of CPU", flush=True)
    medians = {
        n: [statistics.median(t) for t in zip(*times, strict=True)] for n, times in seen.items()
    }
    (wall_a, cpu_a), (wall_b, cpu_b) = medians["author's"], medians["ours"]
    print(f"medians of {rounds}: author's {wall_a:.2f} s, ours {wall_b:.2f} s")
    print(f"author's / ours: {wall_a / wall_b:.2f} of wall time, {cpu_a / cpu_b:.2f} of CPU time")
    apart = (mattes["ours"] - mattes["author's"]).abs().max().item()
    print(f"alpha apart by {apart:.1e} at most")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--author", metavar="FOLDER", required=True)
    parser.add_argument("--size", type=int, default=1024, help="of the input, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", choices=("ours", "author"))
    asked = parser.parse_args()
    theirs = authors(asked.author)
    channels = len(theirs.get_parameter("bb.patch_embed.proj.bias"))
    ours = known_network(CONFIGS[channels]).eval()
    # The known weights leave out what a network computes by itself, which the author's trusts.
    same = {k: v for k, v in ours.state_dict().items() if not k.endswith("position_index")}
    theirs.load_state_dict(same, assign=True, strict=False)
    image = known_image(asked.size, asked.size, 7)
    with torch.inference_mode():
        if asked.peak is None:
            alternate({"ours": ours, "author's": theirs}, image, asked.rounds)
            return
        alpha(ours if asked.peak == "ours" else theirs, image)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory with {asked.peak}: {peak:.2f} GB")


if __name__ == "__main__":
    main()
