"""What a run found out about a photo, as text in a stamp."""

import re

from hypothesis import given
from hypothesis import strategies as st

from birefcli.errors import printable
from birefcli.images import findings
from birefcli.images.findings import Findings, merged

SHARES = st.floats(0, 1)


def read(text):
    groups = re.fullmatch(findings.PATTERN, text).groups()
    return findings.parse(*groups)


@given(SHARES, SHARES, st.lists(st.text(max_size=300), max_size=12))
def test_notes_of_any_letters_are_read_back_as_printable_text_within_the_room_they_have(
    coverage, doubt, notes
):
    text = Findings(coverage, ("haze", "parts"), doubt, tuple(notes)).text()
    found = read(text.encode("ascii"))
    assert (text.isprintable(), ";" in text) == (True, False)
    assert abs(found.coverage - coverage) < 1e-5
    assert found.flags == ("haze", "parts")
    told = [printable(note if len(note) <= 200 else f"{note[:199]}…") for note in notes]
    kept = [note for note in told if note]
    if list(found.notes) != kept:
        assert len("".join(kept)) > 50  # each letter is twelve bytes at most
        assert re.fullmatch(r"and \d+ more", found.notes[-1])
        assert list(found.notes[:-1]) == kept[: len(found.notes) - 1]


@given(st.from_regex(findings.PATTERN, fullmatch=True))
def test_what_somebody_else_wrote_is_printable_and_short(text):
    found = read(text)
    assert 0 <= found.coverage <= 1
    assert 0 <= found.doubt <= 1
    assert all(note.isprintable() for note in found.notes)
    assert sum(map(len, found.notes)) < 5 * findings.ROOM


def test_products_of_one_photo_tell_each_note_once():
    one = Findings(0.5, ("haze",), 0.1, ("cut off", "a: lowered"))
    assert merged([one, Findings(0.5, (), 0.1, ("cut off", "b: lowered"))]) == Findings(
        0.5, ("haze",), 0.1, ("cut off", "a: lowered", "b: lowered")
    )
    assert merged([]) is None
