"""Whose a file at a target is, when it carries no stamp."""

import dataclasses
from pathlib import Path

import pytest
from conftest import picture

from birefcli.batch import freshness
from birefcli.batch.targets import Job
from birefcli.options import (
    BatchOptions,
    Compress,
    Existing,
    Format,
    Margin,
    ModelOptions,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Size,
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    picture().save(tmp_path / "a.png")
    return Job(tmp_path / "a.png", {Product.CUTOUT: tmp_path / "made.jpg"}, Path("a.png"))


def reason(job: Job) -> str:
    return freshness.decide(job, Existing.UPDATE, {Product.CUTOUT: "0" * 16}, Precision.AUTO).reason


def test_picture_of_another_program_is_kept_whatever_follows_its_pixels(job, tmp_path):
    picture().save(tmp_path / "made.jpg")
    assert reason(job) == freshness.NOT_OURS
    with (tmp_path / "made.jpg").open("ab") as file:
        file.write(b"the film of a motion photo")
    assert reason(job) == freshness.NOT_OURS


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0"])
def test_what_cannot_be_read_is_damaged_and_made_again(job, tmp_path, content):
    (tmp_path / "made.jpg").write_bytes(content)
    assert reason(job) == freshness.DAMAGED


def test_picture_of_another_program_that_was_cut_off_is_damaged(job, tmp_path):
    picture().save(tmp_path / "made.jpg")
    whole = (tmp_path / "made.jpg").read_bytes()
    (tmp_path / "made.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(job) == freshness.DAMAGED


# Fingerprints

CROPPED = Rendering((Product.CUTOUT, Product.MASK, Product.COMPOSITE), crop=True)
OTHER = {
    "products": None,  # each product has a fingerprint of its own
    "format": Format.TIFF,
    "bits": 16,
    "compress": Compress.SMALL,
    "background": None,  # counts by what it comes to, see the test after the next
    "crop": False,
    "margin": Margin(20),
    "refine": False,
    "strip": True,
}
"""For each field of a rendering another value than that of ``CROPPED``."""


def fingerprints(rendering=CROPPED, identity="weights", behind="white", **model):
    options = BatchOptions(rendering, ModelOptions("mini", **model), None, 1, 10**6, 10**9)
    job = Job(Path("a.png"), dict.fromkeys(rendering.products, Path("out/a.png")), Path("a.png"))
    return freshness.fingerprints(options, identity, lambda _: behind)(job)


def test_every_field_of_a_rendering_shows_in_the_fingerprints():
    assert {field.name for field in dataclasses.fields(Rendering)} == set(OTHER), "a new field"
    for name, value in OTHER.items():
        if value is None:
            continue
        changed = fingerprints(dataclasses.replace(CROPPED, **{name: value}))
        differ = {kind for kind, digest in fingerprints().items() if changed[kind] != digest}
        coloured = {Product.CUTOUT, Product.COMPOSITE}
        assert differ == (coloured if name == "refine" else set(CROPPED.products)), name


def test_what_else_shows_in_products_shows_in_the_fingerprints():
    plain = fingerprints()
    assert len(set(plain.values())) == len(CROPPED.products), "one for each product"
    behind = fingerprints(behind="blur 3.0")
    assert {kind for kind in plain if plain[kind] != behind[kind]} == {Product.COMPOSITE}
    for changed in (
        fingerprints(identity="other weights"),
        fingerprints(size=Size(64, 32)),
        fingerprints(patch_order=PatchOrder.COLUMNS),
    ):
        assert not set(changed.values()) & set(plain.values())


def test_what_does_not_show_leaves_the_fingerprints_as_they_are():
    plain = fingerprints()
    assert fingerprints(device="cuda:3", precision=Precision.FP16, compile=True) == plain
    uncropped = dataclasses.replace(CROPPED, crop=False)
    wider = dataclasses.replace(uncropped, margin=Margin(20))
    assert fingerprints(wider) == fingerprints(uncropped), "a margin counts where there is a crop"


def test_fingerprints_are_those_of_earlier_versions():
    """Else an update would do everybody's photos again; raise ``ALGORITHM`` to mean it."""
    assert fingerprints()[Product.MASK] == "aa22ae79b66aefb1"
