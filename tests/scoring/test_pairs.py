"""Which files belong together: by equal names, and by names with an ending."""

from pathlib import Path

import pytest
from PIL import Image

from birefcli.errors import NoInputError, UsageError
from birefcli.scoring.layouts import aligned, masks_lie_beside, photo_of
from birefcli.scoring.pairs import Sources, match, resolve


def fill(folder: Path, *names: str) -> Path:
    """Pictures of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 255).save(folder / name)
    return folder


def named(root: Path, sources: Sources, hold_out: int = 0) -> list[tuple[str, ...]]:
    """Truth, prediction and photo of each pair, below ``root``."""
    matched = match(resolve(sources, hold_out), hold_out)
    assert not matched.faults
    files = [(pair.truth, pair.prediction, pair.photo) for pair in matched.pairs]
    return [tuple(p.relative_to(root).as_posix() for p in each if p) for each in files]


@pytest.mark.parametrize(
    ("key", "photo"),
    [
        ("a_mask", "a"),
        ("a-mask", "a"),
        ("sub/a.Matte", "sub/a"),
        ("a b ALPHA", "a b"),
        ("a_gt", "a"),
        ("two\nlines_mask", "two\nlines"),
        ("mask", None),
        ("_mask", None),
        ("sub/_mask", None),
        ("amask", None),
        ("a_mask_2", None),
    ],
)
def test_what_ends_like_a_mask_belongs_to_a_photo(key: str, photo: str | None) -> None:
    assert photo_of(key) == photo


def test_one_photo_with_such_a_name_makes_no_folder_of_masks() -> None:
    assert masks_lie_beside({"a", "a_mask", "b", "b_mask", "c"})
    assert masks_lie_beside({"a", "a_mask"})
    assert not masks_lie_beside({"gas", "gas_mask", "b", "c"})
    assert not masks_lie_beside({"a_mask", "b_mask"})
    assert not masks_lie_beside(set())


def test_equal_names_come_before_endings() -> None:
    same = {"gas_mask": 1, "gas": 2}
    assert aligned(same, ["gas_mask", "gas"]) == same
    assert aligned({"a_mask": 1, "b_mask": 2, "x": 3}, ["a", "b"]) == {"a": 1, "b": 2, "x": 3}
    assert aligned({"a": 1, "b": 2}, ["a_gt", "b_gt"]) == {"a_gt": 1, "b_gt": 2}
    # Two for one photo: nobody knows which is meant.
    two = {"a_mask": 1, "a_gt": 2}
    assert aligned(two, ["a"]) == two


@pytest.mark.parametrize("truth", ["{}_mask.png", "{}-alpha.tif", "{}.matte.png"])
def test_truths_with_an_ending_are_paired_with_predictions(tmp_path: Path, truth: str) -> None:
    truths = fill(tmp_path / "t", *(truth.format(key) for key in ("a", "sub/b")))
    predictions = fill(tmp_path / "p", "a.png", "sub/b.png")
    assert named(tmp_path, Sources(predictions, truths)) == [
        (f"t/{truth.format(key)}", f"p/{key}.png") for key in ("a", "sub/b")
    ]


def test_predictions_with_an_ending_are_paired_with_truths(tmp_path: Path) -> None:
    truths = fill(tmp_path / "t", "a.png", "b.png")
    predictions = fill(tmp_path / "p", "a_mask.png", "b_mask.png")
    trimaps = fill(tmp_path / "tri", "a_gt.png", "b_gt.png")
    found = match(resolve(Sources(predictions, truths, trimaps=trimaps)))
    assert not found.faults
    assert [pair.trimap and pair.trimap.name for pair in found.pairs] == ["a_gt.png", "b_gt.png"]


def test_photos_beside_their_masks_are_no_truths(tmp_path: Path) -> None:
    flat = fill(tmp_path / "flat", "a.jpg", "a_mask.png", "b.jpg", "b_mask.png")
    predictions = fill(tmp_path / "p", "a.png", "b.png")
    both = [
        ("flat/a_mask.png", "p/a.png", "flat/a.jpg"),
        ("flat/b_mask.png", "p/b.png", "flat/b.jpg"),
    ]
    assert named(tmp_path, Sources(predictions, flat)) == both
    # As matte makes them of all that lies in the folder.
    fill(predictions, "a_mask.png", "b_mask.png")
    assert named(tmp_path, Sources(predictions, flat)) == both


def test_a_model_mattes_photos_that_lie_beside_their_masks(tmp_path: Path) -> None:
    flat = fill(tmp_path / "flat", "a.jpg", "a_mask.png", "b.jpg", "b_mask.png")
    both = [("flat/a_mask.png", "flat/a.jpg"), ("flat/b_mask.png", "flat/b.jpg")]
    assert named(tmp_path, Sources(None, flat, photos=flat)) == both
    assert named(tmp_path, Sources(None, flat, photos=flat), hold_out=2) == both[:1]
    with pytest.raises(UsageError, match="the same place"):
        match(Sources(flat, flat))


def test_one_prediction_finds_its_truth_by_an_ending(tmp_path: Path) -> None:
    truths = fill(tmp_path / "t", "a_mask.png", "b_mask.png")
    prediction = fill(tmp_path / "p", "b.png") / "b.png"
    assert named(tmp_path, Sources(prediction, truths)) == [("t/b_mask.png", "p/b.png")]
    with pytest.raises(NoInputError, match=r"no truth named c\.\*"):
        match(Sources(fill(tmp_path / "q", "c.png") / "c.png", truths))
