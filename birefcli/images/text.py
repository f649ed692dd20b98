"""Names drawn on pictures: fonts that have their letters, and text that fits a width."""

import contextlib
import sys
from functools import lru_cache
from typing import TypeAlias

from PIL import ImageFont

from birefcli.errors import printable

FACES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc"),
    *("Arial Unicode.ttf", "arial.ttf", "msyh.ttc"),
)
"""Fonts of Linux, macOS and Windows for names that Pillow's own cannot draw."""

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=8)
def load_font(face: str | None, size: int) -> Font:
    """A font of ``size`` pixels from a file; None for Pillow's own.

    Pillow's own is the same everywhere, and knows little beyond ASCII. Raises OSError, or
    ImportError without FreeType.
    """
    return ImageFont.load_default(size) if face is None else ImageFont.truetype(face, size)


def best_face(text: str, size: int) -> str | None:
    """File of that font of the machine's which has most of a text; None for Pillow's own."""
    best, least = None, missing_glyphs(load_font(None, size), text)
    for face in FACES if least else ():
        with contextlib.suppress(OSError):  # it is not on this machine
            if (number := missing_glyphs(load_font(face, size), text)) < least:
                best, least = face, number
    return best


def missing_glyphs(font: Font, text: str) -> int:
    """Count the different characters of a text that a font draws as boxes."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return 0  # what it cannot draw is written in letters
    box = bytes(font.getmask(chr(sys.maxunicode)))
    return sum(bytes(font.getmask(char)) == box for char in set(printable(text)) - {" "})


def fit_text(text: str, font: Font, width: int, *, from_start: bool = False) -> str:
    """Shorten a text to ``width`` pixels; the end stays, where names differ.

    ``from_start``: its start stays, as of a sentence.
    """
    shown = _drawable(text, font)
    if font.getlength(shown) <= width:
        return shown

    def cut(letters: int) -> str:
        return shown[:letters] + "..." if from_start else "..." + shown[len(shown) - letters :]

    # Halving: how many letters fit.
    fits, too_many = 0, len(shown)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if font.getlength(cut(middle)) <= width:
            fits = middle
        else:
            too_many = middle
    return cut(fits)


def _drawable(text: str, font: Font) -> str:
    """Text that the font can draw: without FreeType it knows Latin letters alone."""
    shown = printable(text)
    if isinstance(font, ImageFont.FreeTypeFont):
        return shown
    return shown.encode("latin-1", "backslashreplace").decode("latin-1")
