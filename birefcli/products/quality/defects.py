"""Reasons to look at a matte, by name, and what they mean. Nothing here looks at pixels."""

from collections.abc import Collection
from enum import StrEnum

EMPTY = 0.0005  # a matte that covers less of the photo than this shows no subject
SMALL = 0.01
FULL = 0.95
UNSURE = (0.1, 0.9)  # alpha between these is neither subject nor background
SOFT = 0.35  # hair and blur alike stay below; a network that is not sure does not
EDGE = 0.5  # less is a person close to the camera as often as a wall that is kept
MAIN = 0.8


class Defect(StrEnum):
    """A reason to look at a matte; its ``meaning`` is a line of the manual."""

    EMPTY = "empty"
    SMALL = "small"
    FULL = "full"
    SOFT = "soft"
    CUT = "cut"
    PARTS = "parts"
    STEPS = "steps"
    UNSURE = "unsure"
    HAZE = "haze"
    TRANSLUCENT = "translucent"
    ISLANDS = "islands"
    BACKGROUND = "background"
    GAPS = "gaps"
    MISSING = "missing"
    OUTLINE = "outline"

    @property
    def meaning(self) -> str:
        """What the flag means, in one line."""
        return _MEANINGS[self]


_MEANINGS = {
    Defect.EMPTY: f"nothing was found (less than {EMPTY:.2%} of the picture is kept)",
    Defect.SMALL: f"less than {SMALL:.0%} of the picture is kept",
    Defect.FULL: f"more than {FULL:.0%} of the picture is kept",
    Defect.SOFT: f"more than {SOFT:.0%} of what is kept is neither subject nor background"
    f" (alpha between {UNSURE[0]:g} and {UNSURE[1]:g})",
    Defect.CUT: f"the subject meets all four edges, each along {EDGE:.0%} or more",
    Defect.PARTS: f"the largest connected part is less than {MAIN:.0%} of the subject",
    Defect.STEPS: "the outline is cut in steps, as of a small mask made large",
    Defect.UNSURE: "the outline is soft along more of its length than hair and blur make it",
    Defect.HAZE: "something faint is kept away from the subject",
    Defect.TRANSLUCENT: "the subject lets the background through, well within its outline",
    Defect.ISLANDS: "small pieces lie apart from the subject",
    Defect.BACKGROUND: "a part at the outline has the colours of the background around it",
    Defect.GAPS: "a place within the subject has the colours of the background beside it",
    Defect.MISSING: "the photo goes on beyond the outline in the subject's colours",
    Defect.OUTLINE: "the outline runs where the photo has no edge",
}


def defects(words: Collection[str]) -> tuple[Defect, ...]:
    """Those that words name, gravest first: anybody may have written a stamp."""
    return tuple(flag for flag in Defect if flag.value in words)
