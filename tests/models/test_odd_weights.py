"""Files that are no weights, or odd ones: refused in one line, in seconds and little memory."""

import io
import json
import os
import pickle
import random
import socket
import struct
import time
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from birefcli.birefnet import BiRefNet, Config
from birefcli.errors import ModelError
from birefcli.models import files, weights

SMALL = Config(
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=2,
    width=8, aspp_width=8, kernels=(1,), gradient_width=4,
)  # fmt: skip
PATCHES = "decoder.ipt_blk4.conv1.weight"
QUICK = 10  # seconds of a processor; most take milliseconds


@pytest.fixture(autouse=True)
def small_published(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(weights, "_PUBLISHED", {8: SMALL})


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return dict(BiRefNet(SMALL).state_dict())


def opened(path):
    return weights.load_network(weights.resolve(str(path)))


def refusal(path):
    """The one line that tells why a file is refused, soon."""
    began = time.process_time()
    with pytest.raises(ModelError) as error:
        opened(path)
    assert time.process_time() - began < QUICK
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < 1500
    return text


# Names that lead to no file


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def socketed(path):
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(path))


def nothing(path):
    path.touch()


def sparse(path):
    with path.open("wb") as file:
        file.truncate(100 << 30)


def sparse_with_a_header(path):
    with path.open("wb") as file:
        header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(100 << 30)


ODD = [pipe, device, socketed, nothing, sparse, sparse_with_a_header]


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices of POSIX")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_of_weights_is_refused_at_once(tmp_path, kind, suffix):
    path = tmp_path / f"a{suffix}"
    kind(path)
    refusal(path)


def test_names_that_cannot_be_followed_are_told_with_the_systems_reason(tmp_path):
    (tmp_path / "circle.pth").symlink_to("circle.pth")
    (tmp_path / "file").touch()
    for name, reason in (
        ("circle.pth", "Too many levels of symbolic links"),
        ("file/a.pth", "Not a directory"),
        ("x" * 300 + ".pth", "File name too long"),
        ("a/" * 3000 + "a.pth", "File name too long"),
        ("\0.pth", "null"),
        ("no/a.pth", "no such weights file"),
    ):
        with pytest.raises(ModelError, match=reason) as error:
            weights.resolve(f"{tmp_path}/{name}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", ["stat", "open", "listdir"])
def test_folder_that_may_not_be_entered_is_told(tmp_path, monkeypatch, function):
    folder = tmp_path / "forbidden"
    folder.mkdir()
    (folder / "a.pth").write_bytes(b"x")
    real = getattr(os, function)

    def refuse(path, *args, **more):
        if str(path).startswith(str(folder / "a.pth" if function == "stat" else folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(os, function, refuse)
    with pytest.raises(ModelError, match="Permission denied"):
        weights.resolve(str(folder if function == "listdir" else folder / "a.pth"))


# Folders


@pytest.mark.parametrize(
    "names",
    [
        ["model.safetensors", "config.json", "README.md"],
        ["mine.safetensors", ".hidden.safetensors", "._mine.safetensors"],
        ["mine.SAFETENSORS", "optimizer.bin", "checkpoint.pt"],
        ["model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"],
        ["mine.pth"],
        ["pytorch_model.bin", "training_args.bin"],
        ["epoch_244.ckpt"],
    ],
)
def test_folder_that_holds_one_weights_file_stands_for_it(state, tmp_path, names):
    for name in names[1:]:
        (tmp_path / name).write_bytes(b"{}")
    if names[0].lower().endswith("safetensors"):
        save_file(state, tmp_path / names[0])
    else:
        torch.save(state, tmp_path / names[0])
    checkpoint = weights.resolve(str(tmp_path))
    assert checkpoint.path == tmp_path / names[0]
    assert torch.equal(weights.load_network(checkpoint).state_dict()[PATCHES], state[PATCHES])


def test_folder_is_found_by_a_plain_name_too(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    save_file(state, tmp_path / "net" / "a.safetensors")
    assert weights.resolve("net").name == "a.safetensors"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "is a folder without a weights file"),
        (["config.json"], "is a folder without"),
        (["a.safetensors", "b.safetensors", "c.pth"], r"\(a.safetensors, b.safetensors\); name"),
        (["b.pth", "a.pth"], r"several weights files \(a.pth, b.pth\); name one of them"),
        ([f"{i}.pth" for i in range(9)], "4.pth and 4 more"),
    ],
)
def test_folder_with_none_or_several_is_refused_with_their_names(tmp_path, names, told):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=told) as error:
        weights.resolve(str(tmp_path))
    assert str(error.value).startswith(str(tmp_path))


# Prefixes


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        *((f"{name}.", ".safetensors") for name in ("model", "net", "network", "birefnet")),
        *((f"{name}.", ".pth") for name in ("module", "_orig_mod", "state_dict")),
        *(("model.module.", ".pth"), ("module.model.", ".safetensors")),
        *(("_orig_mod.model.net.", ".safetensors"), ("model._orig_mod.module.", ".pth")),
    ],
)
def test_prefixes_in_front_of_the_names_are_taken_off(state, tmp_path, prefix, suffix):
    named = {prefix + key: value for key, value in state.items()}
    path = tmp_path / f"a{suffix}"
    save_file(named, path) if suffix == ".safetensors" else torch.save({"state_dict": named}, path)
    loaded = opened(path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_checkpoint_of_a_training_is_told_from_its_weights(state, tmp_path):
    content = {"network": state, "averaged": state, "optimiser": {}, "step": 3, "notes": {}}
    torch.save(content, tmp_path / "checkpoint.pt")
    text = refusal(tmp_path / "checkpoint.pt")
    assert "what a training goes on from, not its weights" in text
    assert "best.safetensors" in text


# safetensors


def header_and_body(state):
    buffer = io.BytesIO()
    table, at = {}, 0
    for key, value in state.items():
        raw = value.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        table[key] = {
            "dtype": kind,
            "shape": list(value.shape),
            "data_offsets": [at, at + len(raw)],
        }
        at += len(raw)
        buffer.write(raw)
    return table, buffer.getvalue()


def packed(header, body=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def test_header_that_is_made_here_is_read(state, tmp_path):
    """What the tests below change is sound before they do."""
    (tmp_path / "a.safetensors").write_bytes(packed(*header_and_body(state)))
    assert torch.equal(opened(tmp_path / "a.safetensors").state_dict()[PATCHES], state[PATCHES])


def with_entry(**change):
    def changed(table):
        return {**table, PATCHES: {**table[PATCHES], **change}}

    return changed


def with_notes(notes):
    return lambda table: {"__metadata__": notes, **table}


DEEP = 200_000
HEADERS = {
    "metadata a list": with_notes([1, 2]),
    "metadata a text": with_notes("birefcli"),
    "metadata of numbers": with_notes({"birefcli.size": [512, 512]}),
    "metadata of null": with_notes({"birefcli.size": None}),
    "dtype unknown": with_entry(dtype="F33"),
    "dtype a number": with_entry(dtype=32),
    "shape of 2^40": with_entry(shape=[1 << 40]),
    "shape that overflows": with_entry(shape=[1 << 40, 1 << 40]),
    "shape with zero": with_entry(shape=[0, 8]),
    "shape negative": with_entry(shape=[-8, 8]),
    "shape a text": with_entry(shape="8"),
    "shape nested": with_entry(shape=[[8]]),
    "offsets reversed": with_entry(data_offsets=[100, 0]),
    "offsets negative": with_entry(data_offsets=[-4, 0]),
    "offsets overlapping": with_entry(data_offsets=[0, 4]),
    "offsets huge": with_entry(data_offsets=[1 << 62, 1 << 63]),
    "offsets missing": lambda table: {**table, PATCHES: {"dtype": "F32", "shape": [1]}},
    "entry a list": lambda table: {**table, PATCHES: []},
    "a list": lambda table: list(table),
    "a number": lambda table: 7,
    "null": lambda table: None,
    "empty": lambda table: {},
    "no text": lambda table: b"\xff\xfe{}",
    "nested lists": lambda table: b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nested tables": lambda table: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "nested metadata": lambda t: b'{"__metadata__":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "a huge number": lambda table: b'{"a":' + b"9" * 100_000 + b"}",
    "not closed": lambda table: b'{"a": 1',
    "NaN": lambda table: b'{"__metadata__": NaN}',
    "a name twice": lambda t: json.dumps(t).encode()[:-1] + b',"bb.norm0.weight":{},"bb":[]}',
}


@pytest.mark.parametrize("odd", HEADERS)
def test_odd_header_is_refused(state, tmp_path, odd):
    table, body = header_and_body(state)
    (tmp_path / "a.safetensors").write_bytes(packed(HEADERS[odd](table), body))
    refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 20, 99_999_999, 1 << 31, 1 << 40, (1 << 64) - 1])
def test_header_of_a_wrong_length_is_refused(state, tmp_path, length):
    table, body = header_and_body(state)
    (tmp_path / "a.safetensors").write_bytes(packed(table, body, length))
    refusal(tmp_path / "a.safetensors")


def test_header_of_a_million_tensors_is_refused(tmp_path):
    entries = (f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(10**6))
    raw = ("{" + ",".join(entries) + "}").encode()
    (tmp_path / "a.safetensors").write_bytes(packed(raw))
    assert "too long a header" in refusal(tmp_path / "a.safetensors")


def test_very_many_tensors_are_refused(tmp_path):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    (tmp_path / "a.safetensors").write_bytes(packed({f"t{i}": empty for i in range(20_000)}))
    assert "too many tensors" in refusal(tmp_path / "a.safetensors")


def test_names_of_tensors_are_repeated_on_one_line_and_not_in_full(state, tmp_path):
    save_file({**state, "a\nb": torch.zeros(1), "c" * 10_000: torch.zeros(1)}, tmp_path / "a.pt")
    assert r"2 unexpected: a\nb, ccc" in refusal(tmp_path / "a.pt")


SIZES = [
    *("[1e999, 512]", "[NaN, 512]", "[-512, 512]", "[0, 0]", "[8224, 512]", "[512.0, 512]"),
    *("[true, 512]", "[512]", "[512, 512, 512]", "{}", "null", "512", '"512x512"', "[[512], 512]"),
    *("[" + "9" * 5000 + ", 512]", "[1e9, 1e9]", "[1000000000000, 512]", "[" * DEEP, "", "\n"),
]
CONFIGS = [
    {"backbone": "swin", "kernels": [3] * 1_000_000},
    {"backbone": "swin", "kernels": [10**9]},
    {"backbone": "swin", "kernels": 3},
    {"backbone": "swin", "kernels": "333"},
    {"backbone": "swin", "kernels": [True]},
    {"backbone": "swin", "depths": [10**6, 1, 1, 1], "heads": [1, 1, 1, 1], "channels": 8},
    {"backbone": "swin", "channels": 10**9, "depths": [1] * 4, "heads": [1] * 4, "window": 7},
    {"backbone": "swin", "channels": 7, "depths": [1] * 4, "heads": [2] * 4, "window": 7},
    {"backbone": "swin", "channels": 8, "depths": [1] * 4, "heads": [1] * 4, "window": 10**6},
    {"backbone": "swin", "depths": [1] * 10**5},
    {"backbone": "swin", "depths": None},
    {"backbone": "swin"},
    {"backbone": None},
    {"backbone": ["swin"]},
    {"backbone": "../../etc/passwd"},
    {"backbone": "resnet18", "width": 10**12},
    {"backbone": "resnet18", "width": 1e999},
    {"backbone": "resnet18", "aspp_width": float("nan")},
    {"backbone": "vit_base_patch16_224"},
    {"backbone": "x" * 100_000},
    [],
    None,
    "swin",
    7,
]


@pytest.mark.parametrize("size", SIZES, ids=lambda text: text[:12])
def test_size_that_is_none_is_refused(state, tmp_path, size):
    save_file(state, tmp_path / "a.safetensors", {weights.SIZE_KEY: size})
    assert "input size" in refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config)[:60])
def test_architecture_that_is_none_or_without_measure_is_refused(state, tmp_path, config):
    save_file(state, tmp_path / "a.safetensors", {weights.CONFIG_KEY: json.dumps(config)})
    refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "9" * 5000, ""])
@pytest.mark.parametrize("key", [weights.CONFIG_KEY, weights.SIZE_KEY, weights.PATCH_ORDER_KEY])
def test_metadata_that_is_no_json_is_refused(state, tmp_path, key, text):
    save_file(state, tmp_path / "a.safetensors", {key: text})
    refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(state, tmp_path, number, dtype):
    odd = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    odd[PATCHES] = odd[PATCHES].clone()
    odd[PATCHES][3, 2, 1, 0] = number
    save_file(odd, tmp_path / "a.safetensors")
    assert f"not finite ({PATCHES})" in refusal(tmp_path / "a.safetensors")


# torch.save


class Code:
    """A pickle that would run a command."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


SAVED = {
    "no tensors": lambda s: {"a": 1},
    "a list": lambda s: list(s.values()),
    "itself": lambda s: _itself(),
    "keys of numbers": lambda s: dict(enumerate(s.values())),
    "keys of both": lambda s: {**s, 1: torch.zeros(1)},
    "values of text": lambda s: {**s, PATCHES: "weights"},
    "sparse": lambda s: {**s, PATCHES: s[PATCHES].flatten(1).to_sparse()},
    "on no device": lambda s: {**s, PATCHES: s[PATCHES].to("meta")},
    "complex": lambda s: {**s, PATCHES: s[PATCHES].to(torch.complex64)},
    "quantised": lambda s: {
        **s, PATCHES: torch.quantize_per_tensor(s[PATCHES], 0.1, 0, torch.qint8)
    },
    "wrong shape": lambda s: {**s, PATCHES: torch.zeros(0)},
    "expanded to a terabyte": lambda s: {**s, PATCHES: torch.zeros(1).expand(1 << 38)},
    "not finite": lambda s: {**s, PATCHES: s[PATCHES] * float("nan")},
    "a module": lambda s: torch.nn.Linear(1, 1),
    "a command": lambda s: {"model": Code(os.system, "touch broken_in")},
    "code": lambda s: {"model": Code(eval, "open('broken_in', 'w')")},
    "arrays": lambda s: {key: value.numpy() for key, value in s.items()},
}  # fmt: skip


def _itself():
    content = OrderedDict()
    content["model"] = content
    return content


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("odd", SAVED)
def test_odd_content_of_torch_save_is_refused(state, tmp_path, monkeypatch, odd, old):
    monkeypatch.chdir(tmp_path)
    content = SAVED[odd](state)
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    refusal(tmp_path / "a.pth")
    assert not (tmp_path / "broken_in").exists()


def archive(pickled, packing=zipfile.ZIP_STORED, **more):
    """A zip as torch writes it, around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as made:
        made.writestr("archive/data.pkl", pickled)
        made.writestr("archive/version", "3\n")
        for name, body in more.items():
            made.writestr(f"archive/{name}", body)
    return buffer.getvalue()


def many_entries(count):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number in range(count):
            made.writestr(f"archive/data/{number}", b"")
    return buffer.getvalue()


def packed_bomb():
    """Much in a few bytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("archive/data.pkl", "w") as file,
    ):
        for _ in range(64):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
_TWICE = b"q\x00h\x00\x86"  # a pair of the same value
PICKLES = {
    "nested tuples as a key": b"\x80\x02}N" + b"\x85" * 1_000_000 + b"K\x01s.",
    "pairs of pairs as a key": b"\x80\x02}N" + _TWICE * 60 + b"K\x01s.",
    "nested lists": b"\x80\x02" + b"](" * 1_000_000 + b"e" * 1_000_000 + b".",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "nothing": b"",
    "no end": b"\x80\x02}",
    "takes from nothing": b"\x80\x02s.",
    "closes nothing": b"\x80\x02t.",
    "gets nothing": b"\x80\x02h\x07.",
    "unknown operation": b"\x80\x02\xfe.",
    "persistent nonsense": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "operations without end": b"\x80\x02" + b"N0" * 3_000_000 + b".",
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("odd", PICKLES)
def test_odd_pickle_is_refused(tmp_path, odd, old):
    raw = _OLD + PICKLES[odd] if old else archive(PICKLES[odd])
    (tmp_path / "a.pth").write_bytes(raw)
    refusal(tmp_path / "a.pth")


ZIPS = {
    "packed": lambda: archive(pickle.dumps({}, 2), zipfile.ZIP_DEFLATED),
    "a bomb": packed_bomb,
    "no pickle": lambda: many_entries(3),
    "very many files": lambda: many_entries(40_000),
    "empty": lambda: archive(b"")[:0] + b"PK\x05\x06" + bytes(18),
    "start alone": lambda: b"PK\x03\x04",
    "start and noise": lambda: b"PK\x03\x04" + random.Random(1).randbytes(10_000),
    "half": lambda: archive(pickle.dumps({"a": 1}, 2))[:150],
    "a tar": lambda: b"storages" + bytes(257 - 8) + b"ustar\x0000" + bytes(1000),
    "a script": lambda: b"import os\n",
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("odd", ZIPS)
def test_odd_zip_is_refused(tmp_path, odd):
    (tmp_path / "a.pth").write_bytes(ZIPS[odd]())
    refusal(tmp_path / "a.pth")


def test_library_that_is_broken_is_none_of_the_files_faults(tmp_path):
    with pytest.raises(ImportError), files.naming(tmp_path):
        raise ImportError("libtorch.so: cannot open shared object file")
    with pytest.raises(ModelError, match="not enough memory"), files.naming(tmp_path):
        raise MemoryError


# Mutations


def mutated(raw, chance):
    """A copy with a few bytes changed, cut out or added, mostly where a header would be."""
    out = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        near = min(len(out), chance.choice((16, 300, 5000, len(out))))
        at = (
            chance.randrange(near)
            if chance.random() < 0.7
            else len(out) - 1 - chance.randrange(near)
        )
        match chance.randrange(5):
            case 0:
                out[at] = chance.randrange(256)
            case 1:
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.choice((1, 8, 100))]
            case 3:
                out[at:at] = chance.choice(
                    (b"[", b"9", b"-", b"\0\0", b"\xff" * 8, b"1e999", b'""')
                )
            case _:
                out[at : at + 8] = struct.pack("<q", chance.choice((-1, 0, 1 << 40, 1 << 62)))
        if not out:
            out += b"\0"
    return bytes(out)


def kinds_of_files(state, folder):
    few = {
        "bb.patch_embed.proj.weight": state["bb.patch_embed.proj.weight"],
        PATCHES: state[PATCHES],
    }
    notes = {weights.SIZE_KEY: "[64, 64]", weights.PATCH_ORDER_KEY: '"channels"'}
    save_file(few, folder / "few.safetensors", notes)
    torch.save(few, folder / "few.pth")
    torch.save({"model": few, "lr": 0.1}, folder / "old.pt", _use_new_zipfile_serialization=False)
    return [folder / name for name in ("few.safetensors", "few.pth", "old.pt")]


@pytest.mark.parametrize(
    "tries", [200, pytest.param(6000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_mutated_files_are_refused_or_loaded_and_nothing_else(state, tmp_path, tries):
    chance = random.Random(16)
    sound = [(path, path.read_bytes()) for path in kinds_of_files(state, tmp_path)]
    for number in range(tries):
        path, raw = sound[number % len(sound)]
        path.write_bytes(mutated(raw, chance))
        try:
            refusal(path)
        except Exception as error:
            raise AssertionError(f"mutation {number} of {path.name}") from error
