"""How near the network comes to a GPU's limit: ``python tests/benchmarks/gpu.py``.

Prints the tables of the README: photos a second of the network alone at each batch size, for plain
torch, with the fused kernels, and recorded as a graph; the share of the roofline (operations of one
photo against the rate of a large matrix product on the same card); memory; and end to end, through
the real command, from JPEGs of 12 megapixels.

``--profile`` prints where the time goes, kernel by kernel; ``--sweep`` times other ways to cut the
kernels' work; ``--author FOLDER`` runs the network of a checkout of
https://github.com/ZhengPeng7/BiRefNet beside (Swin-L). Weights are noise that keeps every layer in
a sensible range: a network's speed does not depend on them, but for where samples are gathered.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image
from support import known_image, known_network

from birefcli.birefnet import MINI, SWIN_L, SWIN_T, BiRefNet, Config, kernels
from birefcli.matting.cuda_graph import record
from birefcli.models import weights

CONFIGS = {"lite": SWIN_T, "large": SWIN_L, "mini": MINI}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
REPEATS = 7
Forward = Callable[[Tensor], Any]


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, after two that warm up."""
    for _ in range(2):
        call()
    wait(device)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def ceilings(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Operations and bytes a second: a large matrix product of noise, and a large copy."""
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = 2 * side**3 / median(lambda: a @ b, device)
    source = torch.empty(1 << (31 if device.type == "cuda" else 24), dtype=torch.uint8)
    source = source.to(device)
    target = torch.empty_like(source)
    return product, 2 * len(source) / median(lambda: target.copy_(source), device)


def operations(config: Config, size: int) -> float:
    """Floating-point operations of one photo, counted without computing any."""
    with torch.device("meta"), torch.inference_mode():
        network = BiRefNet(config).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, size, size))
    return float(counter.get_total_flops())


def variants(network: nn.Module, batch: Tensor) -> Iterable[tuple[str, Forward]]:
    """Ways to run one network, by name."""
    os.environ[kernels.SWITCH] = "plain"
    yield "plain", network
    if batch.is_cuda:
        del os.environ[kernels.SWITCH]
        yield "fused", network
        yield "recorded", record(network, batch)


def author(folder: str) -> nn.Module:
    """The network of the author's checkout, with the weights it starts training from."""
    sys.path.insert(0, folder)
    network: nn.Module = importlib.import_module("models.birefnet").BiRefNet(bb_pretrained=False)
    return network


def peak_memory(call: Callable[[], object], device: torch.device) -> float:
    """Bytes of the device that a call takes, with the weights."""
    if device.type != "cuda":
        return float("nan")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return float(torch.cuda.max_memory_allocated(device))


def network_table(name: str, asked: argparse.Namespace, device: torch.device) -> None:
    """Print photos a second of one network, alone."""
    dtype, size = DTYPES[asked.precision], asked.size
    rate, bandwidth = ceilings(device, dtype)
    cost = operations(CONFIGS[name], size)
    print(f"\n{name}, {size}×{size}, {asked.precision}: {cost / 1e9:.0f} GFLOP a photo;", end=" ")
    print(f"this card: {rate / 1e9:,.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s;", end=" ")
    print(f"limit {rate / cost:.1f} photos/s\n")
    print("| network | batch | photos/s | of the limit | memory, GB |\n|---|---|---|---|---|")
    ours = known_network(CONFIGS[name]).to(device, dtype).to(memory_format=torch.channels_last)
    networks = [("ours", ours)]
    if asked.author is not None and name == "large":
        networks.append(("author's", author(asked.author).to(device, dtype).eval()))
    for photos in asked.batch:
        image = known_image(size, size, 0).to(device, dtype).expand(photos, -1, -1, -1).contiguous()
        for whose, network in networks:
            for how, forward in variants(network, image) if whose == "ours" else [("", network)]:
                try:
                    seconds = median(lambda f=forward, i=image: f(i), device)
                except torch.OutOfMemoryError:
                    print(f"| {whose} {how} | {photos} | out of memory | | |")
                    continue
                taken = peak_memory(lambda f=forward, i=image: f(i), device)
                speed = photos / seconds
                print(f"| {whose} {how} | {photos} | {speed:.2f}", end=" | ")
                print(f"{speed * cost / rate:.0%} | {taken / 1e9:.2f} |", flush=True)


def profile(name: str, asked: argparse.Namespace, device: torch.device) -> None:
    """Print where one network's time goes, kernel by kernel."""
    dtype = DTYPES[asked.precision]
    network = known_network(CONFIGS[name]).to(device, dtype).to(memory_format=torch.channels_last)
    image = known_image(asked.size, asked.size, 0).to(device, dtype)
    image = image.expand(asked.batch[-1], -1, -1, -1).contiguous()
    network(image)
    wait(device)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiled:
        network(image)
        wait(device)
    by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(f"\n{name}, batch {asked.batch[-1]}:")
    print(profiled.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=70))


def sweep(asked: argparse.Namespace, device: torch.device) -> None:
    """Time other cuts of the kernels' work, at the sizes of Swin-L and its largest pyramid."""
    from birefcli.birefnet import fused_pyramid
    from birefcli.birefnet.aspp import DeformableASPP
    from birefcli.birefnet.kernels import attention, deformable

    dtype = DTYPES[asked.precision]
    print("\n| kernel | cut | ms |\n|---|---|---|")
    for size, side, heads in ((12, 256, 6), (12, 64, 24), (7, 256, 3)):
        rows, channels = side * side, 32 * heads
        qkv = torch.randn(rows, 3 * channels, device=device).to(dtype)
        padded = torch.randn(3 * channels, device=device).to(dtype)
        bias = torch.randn(heads, size**2, size**2, device=device).to(dtype)
        for queries, keys, warps in (
            *((64, 32, 4), (64, 64, 4), (32, 32, 2), (32, 64, 4)),
            *((16, 64, 2), (128, 32, 4), (128, 64, 8)),
        ):
            cut = attention.Launch(queries, keys, warps, 2)
            label = f"attention, windows of {size}, {heads} heads, {side}×{side} | {cut}"
            _time(
                label,
                lambda q=qkv, p=padded, b=bias, s=size, h=side, c=cut: attention.window_attention(
                    q, p, b, (1, h, h), s, s // 2, c
                ),
                device,
            )
    module = DeformableASPP(64, 256, (1, 3, 7)).to(device, dtype).eval()
    x = torch.randn(1, 64, 256, 256, device=device).to(dtype)
    pack = fused_pyramid._pack(module, x)
    moves = [fused_pyramid._predict(each, x) for each in pack.moves]
    start = torch.zeros(1, 64, device=device)
    _time(
        "offsets of a pyramid | ",
        lambda: [fused_pyramid._predict(m, x) for m in pack.moves],
        device,
    )
    for pixels, channels, warps, stages in (
        *((64, 64, 8, 2), (64, 32, 4, 2), (128, 32, 8, 2), (128, 64, 8, 2)),
        *((64, 64, 8, 1), (64, 32, 4, 3), (64, 64, 8, 3)),
    ):
        wide = deformable.Launch(pixels, channels, warps, stages)
        _time(
            f"pyramid 64→256, 256×256 | {wide}",
            lambda c=wide: deformable.pyramid(
                x, pack.branches, moves, start, pack.scale, pack.shift, c
            ),
            device,
        )


def _time(label: str, call: Callable[[], object], device: torch.device) -> None:
    try:
        print(f"| {label} | {median(call, device) * 1000:.3f} |", flush=True)
    except Exception as error:
        print(f"| {label} | {type(error).__name__} |", flush=True)


def end_to_end(name: str, asked: argparse.Namespace) -> None:
    """Print photos a second of the real command, from JPEGs to cutouts."""
    print(f"\n{name}, end to end, {asked.photos} photos of {asked.megapixels} megapixels\n")
    print("| batch | photos/s |\n|---|---|")
    with tempfile.TemporaryDirectory() as root:
        file = Path(root, "weights.safetensors")
        config = CONFIGS[name]
        weights.save(known_network(config), file, config=config, size=(asked.size, asked.size))
        photos = Path(root, "photos")
        photos.mkdir()
        for i in range(asked.photos):
            _photo(i, asked.megapixels).save(photos / f"{i}.jpg", quality=90)
        for batch in (*map(str, asked.batch), "auto"):
            words = ["matte", photos, "-o", Path(root, batch), "--model", file, "--json"]
            words += ["--batch", batch, "--device", asked.device, "--precision", asked.precision]
            done = subprocess.run(
                [sys.executable, "-m", "birefcli", *map(str, words)],
                stdout=subprocess.PIPE,
                check=True,
            )
            summary = json.loads(done.stdout.splitlines()[-1])["summary"]
            print(f"| {batch} | {summary['images_per_second']:.2f} |", flush=True)


def _photo(seed: int, megapixels: float) -> Image.Image:
    """Smooth colours and some grain, so that a JPEG is about as large as a photo's."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    noise = np.random.RandomState(seed)
    small = noise.randint(0, 256, (12, 16, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    grain = noise.randint(-6, 7, (height, width, 1))
    return Image.fromarray(np.clip(smooth.astype(np.int16) + grain, 0, 255).astype(np.uint8))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="How near the network comes to a GPU's limit.")
    parser.add_argument("--model", nargs="+", choices=CONFIGS, default=["large", "lite"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=DTYPES, default="fp16")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--photos", type=int, default=200, help="of the run end to end; 0: none")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--author", metavar="FOLDER", help="a checkout of the author's code")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --device cpu tries the script out")
    print(f"torch {torch.__version__} on", end=" ")
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU")
    with torch.inference_mode():
        for name in asked.model:
            network_table(name, asked, device)
            if asked.profile:
                profile(name, asked, device)
        if asked.sweep:
            sweep(asked, device)
    for name in asked.model if asked.photos else ():
        end_to_end(name, asked)
    print(*kernels.failed, sep="\n")


if __name__ == "__main__":
    main()
