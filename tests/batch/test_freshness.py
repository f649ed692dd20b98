"""Whose a file at a target is, when it carries no record."""

from pathlib import Path

import pytest
from conftest import picture

from birefcli.batch import freshness
from birefcli.batch.targets import Job
from birefcli.options import Existing, Precision, Product


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
