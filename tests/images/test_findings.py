"""What a run found out about a photo, as text in a stamp."""

import re

from hypothesis import given
from hypothesis import strategies as st

from birefcli.errors import printable
from birefcli.images import findings
from birefcli.images.findings import Findings, merged, notes_on_quality

SHARES = st.floats(0, 1)


def read(text):
    return findings.parse("mask", re.fullmatch(findings.PATTERN, text))


@given(SHARES, SHARES, st.lists(st.text(max_size=300), max_size=12))
def test_notes_of_any_letters_are_read_back_as_printable_text_within_the_room_they_have(
    coverage, doubt, notes
):
    lowered = {"mask": "quality 9, 4:2:0"}
    text = Findings(coverage, ("haze", "parts"), doubt, tuple(notes), lowered).text("mask")
    found = read(text.encode("ascii"))
    assert (text.isprintable(), ";" in text) == (True, False)
    assert abs(found.coverage - coverage) < 1e-5
    assert (found.flags, found.lowered) == (("haze", "parts"), lowered)
    told = [printable(note if len(note) <= 200 else f"{note[:199]}…") for note in notes]
    kept = [note for note in told if note]
    if list(found.notes) != kept:
        assert len("".join(kept)) > 50  # each letter is twelve bytes at most
        assert re.fullmatch(r"and \d+ more", found.notes[-1])
        assert set(found.notes[:-1]) <= set(kept)


@given(st.from_regex(findings.PATTERN, fullmatch=True))
def test_what_somebody_else_wrote_is_printable_and_short(text):
    found = read(text)
    assert 0 <= found.coverage <= 1
    assert 0 <= found.doubt <= 1
    assert all(note.isprintable() for note in found.notes)
    assert sum(map(len, found.notes)) < 5 * findings.ROOM
    assert all(re.match(r"quality \d", quality) for quality in found.lowered.values())


def test_a_note_that_has_no_room_costs_no_other_and_no_quality():
    long = tuple(f"{letter * 150}" for letter in "abcde")
    kept = Findings(0.5, notes=(*long, "short"), lowered={"mask": "quality 47, alpha 50"})
    assert kept.text("cutout").count("lowered") == 0
    found = read(kept.text("mask").encode())
    assert found.notes == (*long[:4], "short", "and 1 more")
    assert notes_on_quality(found.lowered, several=False) == ("lowered to quality 47, alpha 50",)


def test_products_of_one_photo_tell_each_note_once():
    one = Findings(0.5, ("haze",), 0.1, ("cut off", "old"), {"cutout": "quality 5"})
    both = merged([one, Findings(0.5, (), 0.1, ("cut off", "new"), {"mask": "quality 6"})])
    assert both == Findings(
        0.5, ("haze",), 0.1, ("cut off", "old", "new"), {"cutout": "quality 5", "mask": "quality 6"}
    )
    assert notes_on_quality(both.lowered, several=True) == (
        "cutout: lowered to quality 5",
        "mask: lowered to quality 6",
    )
    assert merged([]) is None
