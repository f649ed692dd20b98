"""Whose a file at a target is, when it carries no stamp."""

import dataclasses
import errno
import io
import os
import tracemalloc
from pathlib import Path

import pytest
from conftest import picture

from birefcli.batch import freshness
from birefcli.batch.fingerprints import of_products
from birefcli.batch.freshness import Verdict
from birefcli.batch.places import LocalFile
from birefcli.batch.targets import Job
from birefcli.options import (
    BatchOptions,
    Canvas,
    Compress,
    Edges,
    Existing,
    Format,
    Margin,
    ModelOptions,
    PatchOrder,
    Precision,
    Product,
    Rendering,
    Resize,
    Shadow,
    Size,
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    picture().save(tmp_path / "a.png")
    return Job(
        LocalFile(tmp_path / "a.png"),
        {Product.CUTOUT: LocalFile(tmp_path / "made.jpg")},
        Path("a.png"),
    )


def reason(job: Job) -> str:
    return freshness.decide(job, Existing.UPDATE, {Product.CUTOUT: "0" * 16}, Precision.AUTO).reason


def test_picture_of_another_program_is_kept_whatever_follows_its_pixels(job, tmp_path):
    picture().save(tmp_path / "made.jpg")
    assert reason(job) == Verdict.NOT_OURS.message
    with (tmp_path / "made.jpg").open("ab") as file:
        file.write(b"the film of a motion photo")
    assert reason(job) == Verdict.NOT_OURS.message


@pytest.mark.parametrize("content", [b"", b"\0", bytes(100), bytes(10_000)])
def test_what_a_power_cut_leaves_is_damaged_and_made_again(job, tmp_path, content):
    (tmp_path / "made.jpg").write_bytes(content)
    assert reason(job) == Verdict.DAMAGED.message


@pytest.mark.parametrize(
    "content",
    [
        b"text",
        b"\xff\xd8\xff\xe0",
        bytes(5000) + b"x",
        b"x" + bytes(5000),
        b" ",
        b"RIFF" + bytes(8),
    ],
)
def test_what_holds_anything_and_is_not_ours_is_kept(job, tmp_path, content):
    (tmp_path / "made.jpg").write_bytes(content)
    assert reason(job) == Verdict.NOT_OURS.message


def test_picture_of_another_program_that_was_cut_off_is_kept(job, tmp_path):
    picture().save(tmp_path / "made.jpg")
    whole = (tmp_path / "made.jpg").read_bytes()
    (tmp_path / "made.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(job) == Verdict.NOT_OURS.message


# A look that fails

FAULTS = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.EACCES)


def failing(number: int):
    def fail(*_: object, **__: object):
        raise MemoryError if number == 0 else OSError(number, os.strerror(number))

    return fail


def decided(job: Job, existing: Existing) -> freshness.Decision:
    return freshness.decide(job, existing, {Product.CUTOUT: "0" * 16}, Precision.AUTO)


@pytest.mark.parametrize("number", [*FAULTS, 0])
def test_file_that_cannot_be_read_fails_its_photo_and_is_replaced_on_request_alone(
    job, tmp_path, monkeypatch, number
):
    (tmp_path / "made.jpg").write_bytes(b"somebody's")
    monkeypatch.setattr("birefcli.batch.places.open_regular", failing(number))
    found = decided(job, Existing.UPDATE)
    assert found.job.targets == {}
    assert found.trouble is not None
    assert "made.jpg: cannot be read, and stays: " in str(found.trouble)
    assert (os.strerror(number) if number else "out of memory") in str(found.trouble)
    assert decided(job, Existing.SKIP).reason == Verdict.EXISTS.message
    assert decided(job, Existing.OVERWRITE).reason == Verdict.OVERWRITE.message


@pytest.mark.parametrize("number", [*FAULTS, errno.ELOOP])
@pytest.mark.parametrize("existing", Existing)
def test_target_that_cannot_be_looked_at_fails_its_photo_whatever_the_policy(
    job, monkeypatch, number, existing
):
    monkeypatch.setattr(Path, "stat", failing(number))
    found = decided(job, existing)
    assert found.job.targets == {}
    assert str(found.trouble) == f"{job.targets[Product.CUTOUT]}: {os.strerror(number)}"


def test_second_of_two_reads_that_fails_is_a_failed_look_too(job, tmp_path, monkeypatch):
    (tmp_path / "made.jpg").write_bytes(b"x" * 9000)

    class Worn(io.FileIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size) if self.reads == 1 else failing(errno.EIO)()

    monkeypatch.setattr("birefcli.batch.places.open_regular", Worn)
    assert decided(job, Existing.UPDATE).trouble is not None


def test_file_that_is_there_and_is_said_not_to_be_is_not_missing(job, tmp_path, monkeypatch):
    monkeypatch.setattr("birefcli.batch.places.open_regular", failing(errno.ENOENT))
    (tmp_path / "made.jpg").write_bytes(b"somebody's")
    assert decided(job, Existing.UPDATE).trouble is not None


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices of POSIX")
def test_what_is_no_regular_file_is_never_opened_and_fails_its_photo(job, tmp_path, monkeypatch):
    def refuse(*_: object):
        pytest.fail("opened")

    monkeypatch.setattr(os, "open", refuse)
    target = tmp_path / "made.jpg"
    os.mkfifo(tmp_path / "pipe")
    links = {"pipe": "a named pipe", "/dev/full": "a device", "/dev/zero": "a device"}
    for leads_to, kind in links.items():
        target.symlink_to(leads_to)
        for existing in Existing:
            trouble = str(decided(job, existing).trouble)
            assert trouble.startswith(f"{target}: is {kind}, not a regular file; ")
            assert ("output=-" in trouble) == (kind == "a named pipe")
        target.unlink()


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_link_to_nothing_is_missing_and_a_link_to_itself_is_a_failure(job, tmp_path):
    (tmp_path / "made.jpg").symlink_to("nothing")
    assert decided(job, Existing.UPDATE).reason == Verdict.MISSING.message
    (tmp_path / "made.jpg").unlink()
    (tmp_path / "made.jpg").symlink_to("made.jpg")
    assert decided(job, Existing.UPDATE).trouble is not None


@pytest.mark.parametrize("start", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_look_at_a_huge_file_takes_two_short_reads(job, tmp_path, start):
    """A file of 6 GB, all of it a hole but for its start."""
    with (tmp_path / "made.jpg").open("wb") as file:
        file.write(start)
        file.truncate(6 << 30)
    tracemalloc.start()
    try:
        assert reason(job) == (Verdict.NOT_OURS.message if start else Verdict.DAMAGED.message)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# Fingerprints

KINDS = (Product.CUTOUT, Product.MASK, Product.COMPOSITE, Product.TRIMAP)
CROPPED = Rendering(KINDS, crop=True)
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
    "metadata": False,
    "resize": Resize(Size(64, 64)),
    "quality": 80,
    "max_bytes": 1000,
    "threshold": 0.5,
    "trimap_width": Margin(3),
    "canvas": Canvas(Size(64, 64)),
    "shadow": Shadow.SOFT,
}
"""For each field of a rendering another value than that of ``CROPPED``."""


def fingerprints(rendering=CROPPED, identity="weights", behind="white", **model):
    options = BatchOptions(rendering, ModelOptions("mini", **model), None, 1, 10**6, 10**9)
    job = Job(
        LocalFile(Path("a.png")),
        dict.fromkeys(rendering.products, LocalFile(Path("out/a.png"))),
        Path("a.png"),
    )
    return of_products(options, identity, lambda _: behind)(job)


def test_every_field_of_a_rendering_shows_in_the_fingerprints():
    assert {field.name for field in dataclasses.fields(Rendering)} == set(OTHER), "a new field"
    for name, value in OTHER.items():
        if value is None:
            continue
        changed = fingerprints(dataclasses.replace(CROPPED, **{name: value}))
        differ = {kind for kind, digest in fingerprints().items() if changed[kind] != digest}
        coloured = {Product.CUTOUT, Product.COMPOSITE}
        shown = {
            "refine": coloured,
            "shadow": coloured,
            "threshold": {Product.MASK},
            "trimap_width": {Product.TRIMAP},
        }
        assert differ == shown.get(name, set(CROPPED.products)), name


def test_what_else_shows_in_products_shows_in_the_fingerprints():
    plain = fingerprints()
    assert len(set(plain.values())) == len(CROPPED.products), "one for each product"
    behind = fingerprints(behind="blur 3.0")
    assert {kind for kind in plain if plain[kind] != behind[kind]} == {Product.COMPOSITE}
    for changed in (
        fingerprints(identity="other weights"),
        fingerprints(size=Size(64, 32)),
        fingerprints(patch_order=PatchOrder.COLUMNS),
        fingerprints(edges=Edges.NONE),
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
    assert fingerprints()[Product.MASK] == "0e1bd02321733e1f"
