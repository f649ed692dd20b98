"""The table of known models."""

import re

import pytest

from birefcli.errors import ModelError
from birefcli.models import zoo
from birefcli.options import PatchOrder

PUBLISHED = [model for model in zoo.ZOO.values() if not model.bundled]


def test_all_published_models_and_the_built_in_one_are_known():
    assert list(zoo.ZOO) == [
        *("portrait", "general", "matting", "hr", "hr-matting", "dynamic", "512"),
        *("lite", "lite-2k", "lite-matting", "mini"),
    ]
    assert all(name == model.name for name, model in zoo.ZOO.items())


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_published_model_can_be_fetched_verified_and_run(model):
    assert model.repo.startswith("ZhengPeng7/BiRefNet")
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert re.fullmatch("main|[0-9a-f]{40}", model.revision)
    assert all(side % 32 == 0 for side in model.size)


def test_checksums_and_repositories_are_all_different():
    assert len({model.sha256 for model in PUBLISHED}) == len(PUBLISHED)
    assert len({model.repo for model in PUBLISHED}) == len(PUBLISHED)


def test_file_size_agrees_with_backbone_and_precision():
    parameters = {"swin_large": 220_176_498, "swin_tiny": 44_313_720}
    for model in PUBLISHED:
        numbers = parameters[model.backbone] * {"fp16": 2, "fp32": 4}[model.precision]
        # The rest of the file is its header and the integer buffers.
        assert 0 < model.size_bytes - numbers < 5_000_000, model.name


def test_models_trained_before_the_change_of_patch_order_are_marked():
    old = {name for name, model in zoo.ZOO.items() if model.patch_order is PatchOrder.COLUMNS}
    assert old == {"portrait", "general", "matting", "lite", "lite-2k"}


def test_size_is_width_first():
    assert zoo.lookup("lite-2k").size == (2560, 1440)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("potrait", "portrait"),
        ("Portrait", "portrait"),
        ("lite2k", "lite-2k"),
        ("BiRefNet_HR", "hr"),
        ("ZhengPeng7/BiRefNet", "general"),
    ],
)
def test_unknown_name_gets_the_nearest_one(name, near):
    with pytest.raises(ModelError, match=f"did you mean {near}\\?"):
        zoo.lookup(name)


def test_name_unlike_any_other_gets_no_guess():
    with pytest.raises(ModelError, match="no model is called 'xyz'; `birefcli models list` shows"):
        zoo.lookup("xyz")


@pytest.mark.parametrize("text", ["a.safetensors", "A.PTH", "x.pt", "folder/weights", "b\\weights"])
def test_names_with_a_suffix_or_folder_are_files(text):
    assert zoo.is_file(text)


@pytest.mark.parametrize("text", ["portrait", "512", "potrait", "mini"])
def test_plain_names_are_no_files(text):
    assert not zoo.is_file(text)
