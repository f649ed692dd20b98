"""Fused kernels against their plain twins: on a GPU, or on the CPU in Triton's interpreter.

The interpreter has to be chosen before Triton is imported, so the first test runs the others of
this file in a process of its own.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from support import known_image, known_network, known_weights

from birefcli.birefnet import Config, kernels
from birefcli.birefnet.aspp import DeformableASPP
from birefcli.birefnet.swin import WindowAttention

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(not kernels.find_spec("triton"), reason="Triton is not installed")
NETWORK = Config(
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=4,
    width=8, aspp_width=8, kernels=(1, 3), gradient_width=4,
)  # fmt: skip
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Of the result's scale."""


@pytest.fixture
def device():
    if not INTERPRETED and not torch.cuda.is_available():
        pytest.skip("no GPU; the interpreter runs this in a process of its own")
    torch.manual_seed(0)
    # Else the plain twins' convolutions round what they multiply to ten bits.
    exactly = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.inference_mode(), exactly:
        yield "cpu" if INTERPRETED else "cuda"


@pytest.fixture
def fused(monkeypatch):
    """The kernels take whatever they are given, wherever it is."""
    monkeypatch.setattr(kernels, "usable", lambda _: not torch.is_grad_enabled())
    kernels.forget_failures()


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="it would run itself")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU runs the kernels themselves")
def test_all_of_this_file_holds_in_tritons_interpreter():
    words = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        words, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()[-4000:]
    passed = re.search(rb"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 25


def distance(got, wanted):
    """Largest difference, as a share of the largest value wanted."""
    assert got.shape == wanted.shape
    difference = (got.double() - wanted.double()).abs().max() / wanted.double().abs().max()
    return difference.item()


def attention(size, shift, heads, dim, device, dtype):
    """Window attention with random weights, its plain twin in float32 of the same numbers."""
    module = WindowAttention(heads * dim, heads, size, shift)
    module.load_state_dict(known_weights(module.state_dict()))
    module = module.to(device, dtype).eval()
    twin = WindowAttention(heads * dim, heads, size, shift)
    twin.load_state_dict(module.state_dict())
    return module, twin.to(device).eval()


WINDOWS = [
    pytest.param(7, 3, 1, 32, (2, 9, 8), id="Swin-T, shifted, padded on both sides, two photos"),
    pytest.param(7, 0, 2, 32, (1, 7, 13), id="Swin-T, not shifted, padded on one side"),
    pytest.param(12, 6, 1, 32, (1, 13, 12), id="Swin-L, shifted, 144 tokens in several blocks"),
    pytest.param(4, 2, 2, 8, (3, 8, 9), id="tiny heads, one padded column"),
    pytest.param(4, 2, 1, 8, (1, 3, 2), id="a map smaller than its window"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("size", "shift", "heads", "dim", "shape"), WINDOWS)
def test_window_attention_is_that_of_plain_torch(
    device, fused, size, shift, heads, dim, shape, dtype
):
    if dtype == torch.bfloat16 and INTERPRETED:
        pytest.skip("Triton's interpreter multiplies bfloat16 as integers")
    module, twin = attention(size, shift, heads, dim, device, dtype)
    n, height, width = shape
    x = torch.randn(n * height * width, heads * dim, device=device).to(dtype)
    got = module(x, n, height, width)
    assert not kernels.failed
    assert got.dtype == dtype
    assert distance(got, twin._plain(x.float(), n, height, width)) < TOLERANCE[dtype]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, which the interpreter uses
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_token_that_is_no_number_spoils_its_window_and_no_other(device, fused, bad):
    module, _ = attention(4, 0, 1, 8, device, torch.float32)
    x = torch.randn(4 * 8, 8, device=device)
    x[1] = bad
    out = module(x, 1, 4, 8).view(4, 8, 8)
    assert not out[:, :4].isfinite().any()
    assert out[:, 4:].isfinite().all()


def test_large_logits_do_not_overflow_the_softmax(device, fused):
    module, twin = attention(4, 2, 1, 8, device, torch.float32)
    x = 300 * torch.randn(64, 8, device=device)
    got = module(x, 1, 8, 8)
    assert distance(got, twin._plain(x, 1, 8, 8)) < 1e-4


def pyramid(channels, width, taps, device, dtype, far=1):
    """Deformable pyramid with random weights, offsets ``far``, and its plain twin in float32."""
    module = DeformableASPP(channels, width, taps)
    module.load_state_dict(known_weights(module.state_dict()))
    for branch in [module.aspp1, *module.aspp_deforms]:
        branch.atrous_conv.offset_conv.weight.mul_(far)
    module = module.to(device, dtype).eval()
    twin = DeformableASPP(channels, width, taps)
    twin.load_state_dict(module.state_dict())
    return module, twin.to(device).eval()


PYRAMIDS = [
    pytest.param(8, 16, (1, 3), (2, 7, 9), 1, id="two photos, odd sides"),
    pytest.param(16, 32, (7,), (1, 8, 5), 1, id="7×7"),
    pytest.param(64, 256, (3,), (1, 5, 14), 1, id="the published widths"),
    pytest.param(20, 24, (3,), (1, 6, 6), 1, id="widths that are no power of two"),
    pytest.param(8, 16, (3,), (1, 6, 6), 30, id="offsets far outside the map"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("channels", "width", "taps", "shape", "far"), PYRAMIDS)
def test_the_pyramid_is_that_of_plain_torch(device, channels, width, taps, shape, far, dtype):
    from birefcli.birefnet import fused_pyramid

    module, twin = pyramid(channels, width, taps, device, dtype, far)
    n, height, columns = shape
    x = torch.randn(n, channels, height, columns, device=device).to(dtype)
    got = fused_pyramid.pyramid(module, x)
    assert got.dtype == dtype
    assert distance(got, twin._plain(x.float())) < TOLERANCE[dtype]


def test_half_precision_predicts_offsets_in_float32(device):
    from birefcli.birefnet import fused_pyramid

    module, twin = pyramid(16, 16, (3,), device, torch.float16, far=30)
    x = torch.randn(1, 16, 9, 9, device=device).half()
    moves = fused_pyramid._predict(fused_pyramid._moves(module.aspp1.atrous_conv), x)
    assert moves.dtype == torch.float32
    wanted, _ = twin.aspp1.atrous_conv.predict(x.float())
    assert distance(moves[..., :2], wanted.permute(0, 2, 3, 1)) < 1e-5


def test_an_offset_that_is_no_number_is_found_in_the_result(device):
    from birefcli.birefnet import fused_pyramid

    module, _ = pyramid(8, 8, (1,), device, torch.float32)
    for bad in (float("nan"), float("inf"), -float("inf")):
        module.aspp1.atrous_conv.offset_conv.bias[0] = bad
        out = fused_pyramid.pyramid(module, torch.randn(1, 8, 4, 4, device=device))
        assert out.isnan().all()


def test_weights_that_changed_are_packed_anew(device):
    from birefcli.birefnet import fused_pyramid

    with torch.inference_mode(False), torch.no_grad():
        module, _ = pyramid(8, 8, (1,), device, torch.float32)
        x = torch.randn(1, 8, 4, 4, device=device)
        before = fused_pyramid.pyramid(module, x)
        module.conv1.weight.mul_(2)
        assert distance(fused_pyramid.pyramid(module, x), module._plain(x)) < 1e-5
        assert distance(before, module._plain(x)) > 0.1


def test_a_whole_network_is_that_of_plain_torch(device, monkeypatch):
    network = known_network(NETWORK).to(device)
    image = torch.cat([known_image(64, 32, seed) for seed in (1, 2)]).to(device)
    plain = network(image)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "usable", lambda _: True)
        # What the CPU computes in tiles goes to the kernel too.
        patch.setattr(DeformableASPP, "forward", DeformableASPP._kernel)
        got = network(image)
    assert not kernels.failed
    assert distance(got, plain) < 1e-5


class BrokenError(Exception):
    pass


def test_a_kernel_that_fails_is_given_up_with_one_warning_in_the_log(caplog):
    kernels.forget_failures()

    def fails():
        raise BrokenError("no\ncompiler")

    x = torch.zeros(1)
    for _ in range(2):
        assert kernels.attempt("a thing", fails, lambda: x) is x
    (record,) = caplog.records
    assert re.match(r"a thing: .*BrokenError: no compiler", record.getMessage())
    assert kernels.failed == {"a thing"}
    kernels.forget_failures()


def test_lack_of_memory_is_no_reason_to_give_a_kernel_up():
    kernels.forget_failures()

    def fails():
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        kernels.attempt("a thing", fails, lambda: torch.zeros(1))
    assert kernels.attempt("a thing", lambda: torch.ones(1), lambda: torch.zeros(1)) == 1


def test_nothing_but_a_gpu_without_gradients_gets_a_kernel(monkeypatch):
    class OnGpu:
        is_cuda, device = True, torch.device("cuda", 0)

    monkeypatch.setattr(kernels, "_served", lambda _: True)
    with torch.inference_mode():
        assert kernels.usable(OnGpu())
        assert not kernels.usable(torch.zeros(1))
        monkeypatch.setenv(kernels.SWITCH, "plain")
        assert not kernels.usable(OnGpu())
        monkeypatch.delenv(kernels.SWITCH)
    assert not kernels.usable(OnGpu())


@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
def test_the_cpu_runs_without_triton_being_imported():
    code = (
        "import sys, torch; from birefcli.birefnet import BiRefNet, Config\n"
        "from birefcli.birefnet.inference import InferenceNetwork\n"
        f"network = InferenceNetwork(BiRefNet({NETWORK!r}).eval())\n"
        "with torch.inference_mode(): network(torch.zeros(1, 3, 32, 32))\n"
        "sys.exit('triton' in sys.modules)"
    )
    root = str(Path(kernels.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert done.returncode == 0


def compiled(kernel, capability, warps, stages, numbers, **types):
    """Compile for a GPU that need not be there; Triton brings its own assembler."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    pointers = [i for i, name in enumerate(names) if signature[name].startswith("*")]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in numbers.items()},
        {(i,): [["tt.divisibility", 16]] for i in pointers},
    )
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def spilled(binary, folder):
    """Bytes of the stack that registers were spilled to, as the assembler's own tool tells."""
    import triton

    file = folder / "kernel.cubin"
    file.write_bytes(binary.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    told = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True)
    return int(told.stdout.split("STACK:")[1].split()[0])


SHARED = {80: 166912, 89: 101376, 90: 232448, 120: 101376}
"""Bytes of shared memory that one block can have, by compute capability (CUDA C++ guide)."""


def versions(name):
    """Version of a package as numbers; of one that is not there, (0,)."""
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version(name))[:2])
    except PackageNotFoundError:
        return (0,)


@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
@pytest.mark.skipif(versions("triton") < (3, 3), reason="an older compiler is asked otherwise")
@pytest.mark.parametrize("capability", [90, pytest.param(89, marks=pytest.mark.slow)])
def test_the_kernels_compile_for_gpus_that_are_not_here(capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from birefcli.birefnet.kernels import attention, deformable

    half = torch.float16
    cut = attention.launch_of(144, half)
    integers = dict.fromkeys(("height", "width", "rows", "columns", "heads"), "i32")
    features = dict.fromkeys(("qkv", "padded", "bias", "out"), "*fp16")
    numbers = {"SIZE": 12, "SHIFT": 6, "DIM": 32}
    numbers |= {"BLOCK_Q": cut.queries, "BLOCK_K": cut.keys, "BLOCK_D": 32}
    attend = compiled(
        attention._attend, capability, cut.warps, cut.stages, numbers,
        **integers, **features, scale="fp32",
    )  # fmt: skip
    cut = deformable.launch_of(256, half)
    integers = dict.fromkeys(("pixels", "height", "width"), "i32")
    features = dict.fromkeys(("x", "weight", "project", "out"), "*fp16")
    floats = ("moves", "scale", "shift", "start", "sums", "last_scale", "last_shift")
    numbers = {"CHANNELS": 64, "WIDTH": 256, "OUT": 64, "KERNEL": 7, "STRIDE": 152}
    numbers |= {"FIRST": False, "LAST": True, "BLOCK_M": cut.pixels, "BLOCK_C": cut.channels}
    numbers |= {"BLOCK_W": 256, "BLOCK_O": 64}
    branch = compiled(
        deformable._branch, capability, cut.warps, cut.stages, numbers,
        **integers, **features, **dict.fromkeys(floats, "*fp32"),
    )  # fmt: skip
    for kernel in (attend, branch):
        assert kernel.metadata.shared <= SHARED[capability]
        # 16 were measured; another version of the compiler may take a few registers more.
        assert spilled(kernel, tmp_path) <= 64
