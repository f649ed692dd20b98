"""Weights files: reading, strict loading, and what is refused."""

import dataclasses
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_hub import run, serving
from safetensors.torch import load_file, save_file

from birefcli.birefnet import SWIN_L, SWIN_T, BiRefNet, Config
from birefcli.errors import ModelError, OutputError
from birefcli.models import checksum, weights, zoo
from birefcli.options import PatchOrder, Size

SMALL = Config(
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=2,
    width=8, aspp_width=8, kernels=(1,), gradient_width=4,
)  # fmt: skip
PATCHES = "decoder.ipt_blk4.conv1.weight"


@pytest.fixture(autouse=True)
def small_published(monkeypatch, tmp_path):
    """A miniature in the place of the published Swin-T, so that files take kilobytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(weights, "_PUBLISHED", {8: SMALL})


@pytest.fixture
def network():
    torch.manual_seed(0)
    return BiRefNet(SMALL).eval()


@pytest.fixture
def state(network):
    return dict(network.state_dict())


def opened(path, *, patch_order=PatchOrder.AUTO, **options):
    checkpoint = weights.resolve(str(path)).run_with(patch_order=patch_order)
    return weights.load_network(checkpoint, **options)


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[key], b[key]) for key in a)


def refusal(path):
    """The one line that tells why a file is refused."""
    with pytest.raises(ModelError) as error:
        opened(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


# What loads


def test_loaded_network_computes_the_same_numbers(network, state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    loaded = opened(tmp_path / "a.safetensors")
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(loaded(image), network(image), atol=1e-5)


def test_loaded_network_is_whole_in_eval_mode_and_can_be_trained(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    loaded = opened(tmp_path / "a.safetensors")
    assert not loaded.training
    assert same(dict(loaded.state_dict()), state)
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    with torch.no_grad():
        for parameter in loaded.parameters():
            assert parameter.requires_grad
            parameter.add_(1)
    # The tensors are mapped from the file; changing them must not change it.
    assert (tmp_path / "a.safetensors").read_bytes() == before


@pytest.mark.parametrize("old_format", [False, True])
def test_pth_and_safetensors_give_the_same_network(state, tmp_path, old_format):
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_format)
    first, second = opened(tmp_path / "a.safetensors"), opened(tmp_path / "a.pth")
    assert same(dict(first.state_dict()), dict(second.state_dict()))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: {"module." + k: v for k, v in s.items()},
        lambda s: {"_orig_mod." + k: v for k, v in s.items()},
        lambda s: {"module._orig_mod." + k: v for k, v in s.items()},
        lambda s: {"_orig_mod.module." + k: v for k, v in s.items()},
        lambda s: {k.replace("bb.", "bb._orig_mod.", 1): v for k, v in s.items()},
        lambda s: {"model": s, "epoch": 3},
        lambda s: {"state_dict": {"module." + k: v for k, v in s.items()}, "lr": 1e-5},
        lambda s: {"epoch": 3, "model": {"state_dict": s, "note": "x"}},
    ],
)
def test_wrappers_and_prefixes_of_training_are_taken_off(state, tmp_path, wrapped):
    torch.save(wrapped(state), tmp_path / "a.pth")
    assert same(dict(opened(tmp_path / "a.pth").state_dict()), state)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_in_single_precision(state, tmp_path, stored):
    half = {k: v.to(stored) if v.is_floating_point() else v for k, v in state.items()}
    save_file(half, tmp_path / "a.safetensors")
    loaded = opened(tmp_path / "a.safetensors").state_dict()
    assert {v.dtype for v in loaded.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(loaded[k], half[k].float()) for k in half if k.endswith("weight"))


def test_network_can_be_had_in_half_precision(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    loaded = opened(tmp_path / "a.safetensors", dtype=torch.float16)
    assert {p.dtype for p in loaded.parameters()} == {torch.float16}


# Patch order


def test_patch_order_conversion_equals_moving_every_column_by_hand():
    grid, colours = 4, 3
    weight = torch.randn(5, colours * grid * grid, 3, 3)
    converted = weights.columns_to_channels(weight)
    for column in range(grid):
        for row in range(grid):
            for colour in range(colours):
                old = (column * grid + row) * colours + colour
                new = (colour * grid + row) * grid + column
                assert torch.equal(converted[:, new], weight[:, old])


def test_converted_weights_see_the_patches_as_the_trained_ones_did():
    """The two orders, made from a picture the way each code base cuts it, give one result."""
    grid, side = 8, 4
    image = np.random.RandomState(0).standard_normal((3, grid * side, grid * side))
    columns = [
        image[:, y : y + side, x : x + side]
        for x in range(0, grid * side, side)
        for y in range(0, grid * side, side)
    ]
    channels = [
        image[c, y : y + side, x : x + side][None]
        for c in range(3)
        for y in range(0, grid * side, side)
        for x in range(0, grid * side, side)
    ]
    old, new = (torch.tensor(np.concatenate(p))[None] for p in (columns, channels))
    weight = torch.randn(6, 3 * grid * grid, 3, 3, dtype=torch.float64)
    conv = torch.nn.functional.conv2d
    assert torch.allclose(
        conv(old, weight), conv(new, weights.columns_to_channels(weight)), atol=1e-12
    )


def test_only_the_four_patch_convolutions_are_converted(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    loaded = opened(tmp_path / "a.safetensors", patch_order=PatchOrder.COLUMNS).state_dict()
    changed = {key for key in state if not torch.equal(loaded[key], state[key])}
    assert changed == {f"decoder.ipt_blk{i}.conv1.weight" for i in (2, 3, 4, 5)}
    assert torch.equal(loaded[PATCHES], weights.columns_to_channels(state[PATCHES]))


def test_unknown_file_is_taken_as_channels_and_marked_as_a_guess(state, tmp_path):
    save_file(state, tmp_path / "mine.safetensors")
    checkpoint = weights.resolve(str(tmp_path / "mine.safetensors"))
    assert checkpoint.patch_order is PatchOrder.CHANNELS
    assert not checkpoint.patch_order_known
    assert (checkpoint.name, checkpoint.size) == ("mine.safetensors", (1024, 1024))
    assert torch.equal(weights.load_network(checkpoint).state_dict()[PATCHES], state[PATCHES])


def test_published_file_is_recognised_under_any_name(state, tmp_path, monkeypatch):
    path = tmp_path / "renamed.safetensors"
    save_file(state, path)
    plain = weights.resolve(str(path))
    known = dataclasses.replace(
        zoo.ZOO["lite-2k"], sha256=plain.sha256, size_bytes=path.stat().st_size
    )
    monkeypatch.setitem(zoo.ZOO, "lite-2k", known)
    checkpoint = weights.resolve(str(path))
    assert checkpoint.patch_order is PatchOrder.COLUMNS
    assert checkpoint.patch_order_known
    assert (checkpoint.name, checkpoint.size) == ("renamed.safetensors", (2560, 1440))
    converted = weights.columns_to_channels(state[PATCHES])
    assert torch.equal(weights.load_network(checkpoint).state_dict()[PATCHES], converted)
    assert checkpoint.run_with() == checkpoint
    other = checkpoint.run_with(size=Size(64, 32), patch_order=PatchOrder.CHANNELS)
    assert (other.size, other.patch_order) == ((64, 32), PatchOrder.CHANNELS)
    kept = weights.load_network(other)
    assert torch.equal(kept.state_dict()[PATCHES], state[PATCHES])


# What is refused


def test_missing_and_unexpected_tensors_are_listed(state, tmp_path):
    taken = [key for key in state if key.startswith("decoder.decoder_block1.")]
    for key in taken:
        del state[key]
    state["decoder.extra.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "a.safetensors")
    text = refusal(tmp_path / "a.safetensors")
    assert f"{len(taken)} missing: {', '.join(taken[:3])} and {len(taken) - 3} more" in text
    assert "1 unexpected: decoder.extra.weight" in text
    assert "wrong shape" not in text


def test_tensors_of_another_shape_are_listed(state, tmp_path):
    state[PATCHES] = state[PATCHES].transpose(0, 1).contiguous()
    save_file(state, tmp_path / "a.safetensors")
    told = f"1 of the wrong shape: {PATCHES} is 768×8×3×3 instead of 8×768×3×3"
    assert told in refusal(tmp_path / "a.safetensors")


def test_integers_in_the_place_of_weights_are_refused(state, tmp_path):
    state[PATCHES] = state[PATCHES].to(torch.int64)
    save_file(state, tmp_path / "a.safetensors")
    assert f"1 of the wrong type: {PATCHES} is torch.int64" in refusal(tmp_path / "a.safetensors")


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    save_file({"conv.weight": torch.zeros(3), "conv.bias": torch.zeros(1)}, tmp_path / "a.pt")
    assert "not a BiRefNet checkpoint" in refusal(tmp_path / "a.pt")
    assert "2 tensors" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"model": {"lr": 0.1}}, torch.zeros(2)])
def test_pth_without_a_table_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert "holds no table of tensors" in refusal(tmp_path / "a.pth")


def test_both_prefixed_and_plain_weights_are_refused(state, tmp_path):
    torch.save(state | {"module." + k: v for k, v in state.items()}, tmp_path / "a.pth")
    assert "two sets of weights" in refusal(tmp_path / "a.pth")


def test_an_exported_file_is_called_what_it_is(tmp_path):
    path = tmp_path / "mini.onnx"
    path.write_bytes(b"\x08\x0a\x12\x07pytorch")
    assert refusal(path) == (
        f"{path}: an ONNX file already; a model is given by the weights it was exported from"
    )


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_pth_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    torch.save({"model": Payload(str(tmp_path / "broken_in"))}, tmp_path / "a.pth")
    assert f"holds {os.mkdir.__module__}.mkdir besides tensors" in refusal(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Payload(str(tmp_path / "broken_in"))))
    assert "not written by torch.save" in refusal(tmp_path / "b.pth")
    assert not (tmp_path / "broken_in").exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_truncated_file_is_refused_with_the_reason(state, tmp_path, name, share):
    path = tmp_path / name
    if name == "a.pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    os.truncate(path, int(path.stat().st_size * share))
    text = refusal(path)
    assert ("empty file" if share == 0 else "truncated, damaged, or no weights file") in text
    assert "download or copy it again" in text


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt"])
@pytest.mark.parametrize(
    "content",
    [b"\xff\xd8\xff\xe0 JPEG", b"<html>Not Found</html>", b"\0" * 99],
    ids=["jpeg", "html", "zeros"],
)
def test_file_of_another_kind_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert "truncated, damaged, or no weights file" in refusal(tmp_path / name)


def test_git_lfs_pointer_is_recognised(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4a4eb3\nsize 884878856\n"
    (tmp_path / "a.safetensors").write_bytes(pointer)
    assert "git lfs pull" in refusal(tmp_path / "a.safetensors")


def test_missing_file_is_refused_and_a_repository_name_gets_a_hint(tmp_path):
    assert "no such weights file" in refusal(tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="`model=portrait` is that model"):
        weights.resolve("ZhengPeng7/BiRefNet-portrait")


def test_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    assert "is a folder without a weights file" in refusal(tmp_path / "a.safetensors")


# What this program saves


def test_saved_network_knows_how_it_wants_to_be_run(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    weights.save(network, path, config=SMALL, size=(768, 512), metadata={"steps": "100"})
    checkpoint = weights.resolve(str(path))
    assert checkpoint.size == (768, 512)
    assert checkpoint.patch_order is PatchOrder.CHANNELS
    assert checkpoint.patch_order_known
    loaded = weights.load_network(checkpoint)
    assert loaded.config == SMALL
    stored, metadata = weights.read(path)
    assert metadata["steps"] == "100"
    assert {v.dtype for v in stored.values()} == {torch.float16, torch.int64}
    for key, value in network.state_dict().items():
        assert torch.equal(stored[key], value.half() if value.is_floating_point() else value)


def test_single_precision_survives_saving_unchanged(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    weights.save(network, path, config=SMALL, size=(64, 64), dtype=torch.float32)
    assert same(load_file(path), dict(network.state_dict()))


def test_wrapped_network_is_saved_under_plain_names(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    weights.save(torch.nn.ModuleDict({"module": network}), path, config=SMALL, size=(64, 64))
    assert load_file(path).keys() == network.state_dict().keys()


def test_timm_backbone_named_in_the_file_is_built(tmp_path):
    config = Config("mobilenetv3_small_050", width=8, aspp_width=8, kernels=(1,))
    network = BiRefNet(config).eval()
    path = tmp_path / "mine.safetensors"
    weights.save(network, path, config=config, size=(64, 64), dtype=torch.float32)
    loaded = opened(path)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(loaded(image), network(image), atol=1e-5)


def test_saving_replaces_the_old_file_only_with_a_complete_one(network, tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"old")

    def fails(tensors, part, notes):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "save_file", fails)
    with pytest.raises(OutputError, match="No space left on device"):
        weights.save(network, path, config=SMALL, size=(64, 64))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_a_folder_that_is_not_there_is_told(network, tmp_path):
    with pytest.raises(OutputError, match=r"mine\.safetensors: cannot be written"):
        weights.save(network, tmp_path / "no" / "mine.safetensors", config=SMALL, size=(64, 64))


def test_saved_file_has_ordinary_permissions(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    weights.save(network, path, config=SMALL, size=(64, 64))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(("value", "dtype"), [(1e6, torch.float16), (float("nan"), torch.float32)])
def test_numbers_that_cannot_be_stored_are_not_saved(network, tmp_path, value, dtype):
    with torch.no_grad():
        network.get_parameter(PATCHES)[0, 0] = value
    path = tmp_path / "mine.safetensors"
    with pytest.raises(ModelError, match=f"{PATCHES} is not finite"):
        weights.save(network, path, config=SMALL, size=(64, 64), dtype=dtype)
    assert not path.exists()


@pytest.mark.parametrize(
    "notes",
    [
        {weights.CONFIG_KEY: "{"},
        {weights.CONFIG_KEY: '{"backbone": "swin", "novelty": 3}'},
        {weights.CONFIG_KEY: '{"backbone": "hf-hub:someone/else"}'},
        {weights.CONFIG_KEY: '{"backbone": "swin", "width": -8}'},
        {weights.CONFIG_KEY: '{"backbone": 7}'},
        {weights.CONFIG_KEY: '{"backbone": "no_such_network"}'},
        {weights.SIZE_KEY: "[1024]"},
        {weights.SIZE_KEY: "[100, 64]"},
        {weights.SIZE_KEY: '"big"'},
        {weights.PATCH_ORDER_KEY: '"rows"'},
        {weights.PATCH_ORDER_KEY: '"auto"'},
        {weights.PATCH_ORDER_KEY: "channels"},
    ],
)
def test_metadata_that_makes_no_sense_is_refused(state, tmp_path, notes):
    save_file(state, tmp_path / "a.safetensors", notes)
    refusal(tmp_path / "a.safetensors")


# Names


def test_identity_of_a_file_is_its_checksum_and_changes_with_it(state, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(state, path)
    first = weights.resolve(str(path)).sha256
    state[PATCHES] = state[PATCHES] + 1
    save_file(state, path)
    assert weights.resolve(str(path)).sha256 != first
    assert len(first) == 64


def test_shipped_model_needs_no_network(network, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "MINI_FILE", tmp_path / "mini.safetensors")
    with pytest.raises(ModelError, match="install birefcli again"):
        weights.resolve("mini")
    weights.save(network, zoo.MINI_FILE, config=SMALL, size=(64, 64))
    checkpoint = weights.resolve("mini", offline=True)
    assert (checkpoint.name, checkpoint.path) == ("mini", tmp_path / "mini.safetensors")
    assert same(dict(weights.load_network(checkpoint).state_dict()), load_and_widen(zoo.MINI_FILE))


def load_and_widen(path):
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}


def test_named_model_is_fetched_and_loaded(state, tmp_path):
    save_file(state, tmp_path / "net.safetensors")
    with serving((tmp_path / "net.safetensors").read_bytes()) as hub:
        body = """
from birefcli.models import weights
checkpoint = weights.resolve("tiny")
print(json.dumps([checkpoint.name, checkpoint.size, checkpoint.patch_order.value]))
"""
        done = run(hub, tmp_path, body, torch=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["tiny", [64, 32], "columns"]


# The published architectures


@pytest.fixture
def published(monkeypatch, small_published):
    monkeypatch.undo()


@pytest.mark.parametrize(("width", "missing"), [(192, 753), (96, 585)])
def test_architecture_is_read_from_the_shapes(published, tmp_path, width, missing):
    only = {"bb.patch_embed.proj.weight": torch.zeros(width, 3, 4, 4)}
    save_file(only, tmp_path / "a.safetensors")
    text = refusal(tmp_path / "a.safetensors")
    assert f"does not fit BiRefNet with swin of {width} channels: {missing} missing: " in text


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("lite-matting", torch.float16),
        pytest.param("portrait", torch.float32, marks=pytest.mark.slow),  # 0.9 GB
    ],
)
def test_file_of_published_shape_has_the_published_size_and_loads(published, tmp_path, name, dtype):
    model = zoo.ZOO[name]
    config = {"swin_large": SWIN_L, "swin_tiny": SWIN_T}[model.backbone]
    with torch.device("meta"):
        shapes = BiRefNet(config).state_dict()
    state = {
        key: torch.ones(value.shape, dtype=dtype if value.is_floating_point() else value.dtype)
        for key, value in shapes.items()
    }
    path = tmp_path / "a.safetensors"
    save_file(state, path, {"format": "pt"})
    # The length of the header is the library's.
    assert abs(path.stat().st_size - model.size_bytes) < 1000
    loaded = opened(path)
    assert loaded.config == config
    assert all(bool((value == 1).all()) for value in loaded.state_dict().values())


@pytest.mark.slow
def test_equal_weights_are_equal_files_in_any_process(tmp_path, monkeypatch):
    code = (
        "import sys, torch; from pathlib import Path; from birefcli.models import weights;"
        "from birefcli.birefnet import BiRefNet; from conftest import TINY; torch.manual_seed(0);"
        "weights.save(BiRefNet(TINY), Path(sys.argv[1]), config=TINY, size=(96, 64),"
        " metadata={'b': '1', 'a': 'ü'})"
    )
    made = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    words = [sys.executable, "-c", code, str(made[0])]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": path})
    with monkeypatch.context() as here:
        here.setattr(sys, "argv", ["-c", str(made[1])])
        exec(code, {})
    assert len({path.read_bytes() for path in made}) == 1
    tensors, notes = weights.read(made[0])
    assert (notes["a"], notes["b"]) == ("ü", "1")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("variable", ["~/cache", "", "/elsewhere/cache"])
def test_digests_lie_where_the_variable_means(monkeypatch, tmp_path, variable):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    base = variable.replace("~", "/home/me") or "/home/me/.cache"
    assert checksum._record_of(tmp_path / "a").is_relative_to(Path(base) / "birefcli" / "digests")
