"""Option values that are more than a word: sizes, margins, lists."""

import os
import re
import reprlib
from collections.abc import Sequence
from enum import Enum
from operator import index
from typing import TypeVar

from birefcli.errors import Message, Option, UsageError, no_choice
from birefcli.options import SUFFIXES, Canvas, Format, Margin, Resize, Size, check_size
from birefcli.system import machine

Choice = TypeVar("Choice", bound=Enum)

EMPTY = "is empty: is a variable not set?"
NUMBER = r"\d{1,9}(?:\.\d{1,20})?|\.\d{1,20}"
LONGEST_SIDE = 65_500  # pixels of a product; no JPEG has more
MOST_PIXELS = 100_000_000  # of a product that is laid out anew
MOST_TIMES = 10.0  # that a product may be enlarged
MILLIMETRES = {"mm": 1.0, "cm": 10.0, "in": 25.4}
LEAST_HEAD = 0.2  # share of a canvas's height: with less, all of a person is seen
LEAST_BYTES = 1000  # that a picture's file is allowed; what it says beside its pixels takes some
UNITS_OF_BYTES = {"": 1, "k": 1000, "kb": 1000, "m": 10**6, "mb": 10**6, "kib": 1 << 10}


def size(text: str | None) -> Size | None:
    """Read ``1024`` or ``1024x768``."""
    if text is None:
        return None
    width, by, height = text.lower().replace("×", "x").partition("x")
    if not width.isdigit() or not (height.isdigit() if by else True):
        wrong = "give N or WxH in pixels, like 1024 or 1024x768"
        raise UsageError(wrong, option="size", value=text)
    both = Size(int(width), int(height or width))
    check_size(both)
    return both


def margin(text: str, option: str = "margin") -> Margin:
    """Read ``20`` (pixels) or ``5%`` (of a longer side)."""
    relative = text.endswith("%")
    try:
        amount = float(text.removesuffix("%"))
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 100_000:
        wrong = "give pixels or a percentage, like 20 or 5%"
        raise UsageError(wrong, option=option, value=text)
    return Margin(amount / 100 if relative else amount, relative)


def resize(text: str) -> Resize:
    """Read ``1200`` (the longer side), ``1200x800`` (a box) or ``50%``."""
    if found := re.fullmatch(rf"({NUMBER})\s*%", text.strip()):
        share = float(found[1]) / 100
        if 0 < share <= MOST_TIMES:
            return Resize(share=share)
    elif found := re.fullmatch(r"(\d{1,6})(?:[x×](\d{1,6}))?", text.strip().lower()):
        box = Size(int(found[1]), int(found[2] or found[1]))
        if all(1 <= side <= LONGEST_SIDE for side in box):
            return Resize(box)
    wrong = f"give N, WxH or N%, like 1200, 1200x800 or 50%, up to {LONGEST_SIDE} pixels or 1000%"
    raise UsageError(wrong, option="resize", value=text)


def canvas_size(text: str) -> Canvas:
    """Read ``1200x1200`` in pixels or, with dots per inch, ``35x45mm@300dpi``; also cm and in."""
    pattern = rf"({NUMBER})[x×]({NUMBER})(mm|cm|in|px)?(?:@({NUMBER})(?:dpi)?)?"
    found = re.fullmatch(pattern, text.strip().lower().replace(" ", ""))
    wrong = "give WxH in pixels, or WxHmm@DPI, like 1200x1200, 1200x1200@72dpi or 35x45mm@300dpi"
    if found is None:
        raise UsageError(wrong, option="canvas", value=text)
    width, height, unit, dots = float(found[1]), float(found[2]), found[3], found[4]
    dpi = None if dots is None else float(dots)
    if unit in MILLIMETRES:
        if dpi is None:
            raise UsageError(
                "give dots per inch too, like 35x45mm@300dpi", option="canvas", value=text
            )
        width, height = (side * MILLIMETRES[unit] / 25.4 * dpi for side in (width, height))
    elif not (width.is_integer() and height.is_integer()):
        raise UsageError(wrong, option="canvas", value=text)
    if dpi is not None and not 1 < dpi < 1e5:
        raise UsageError("give dots per inch above 1", option="canvas", value=text)
    size = Size(round(width), round(height))
    if not all(1 <= side <= LONGEST_SIDE for side in size):
        text_ = f"give sides from 1 to {LONGEST_SIDE} pixels, not {size}"
        raise UsageError(text_, option="canvas", value=text)
    return Canvas(size, dpi=dpi)


def aspect(text: str) -> float:
    """Read ``4:5``: width by height."""
    found = re.fullmatch(rf"({NUMBER})\s*[:/]\s*({NUMBER})", text.strip())
    sides = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not min(sides) or not 0.01 <= sides[0] / sides[1] <= 100:
        raise UsageError("give W:H, like 4:5, up to 100:1", option="aspect", value=text)
    return sides[0] / sides[1]


def share(
    option: str, text: str, wrong: str = "give a share up to 1, or a percentage, like 0.85 or 85%"
) -> float:
    """Read ``0.85`` or ``85%``, above 0 and up to 1; ``wrong``: what is said of other texts."""
    found = re.fullmatch(rf"({NUMBER})\s*(%?)", text.strip())
    part = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < part <= 1:
        raise UsageError(wrong, option=option, value=text)
    return part


def head(text: str, canvas: Canvas | None) -> float:
    """Read ``0.6`` or ``60%`` of the canvas's height, or ``33mm`` (also cm, in), as 0.2 to 1 of it.

    ``canvas``: None where there is none; a length is read, and is no share of anything.
    """
    found = re.fullmatch(rf"({NUMBER})\s*(mm|cm|in)", text.strip().lower())
    if found is None:
        wrong = "give a share up to 1, a percentage or a length, like 0.6, 60% or 33mm"
        return _large_enough(share("head", text, wrong), text)
    inches = float(found[1]) * MILLIMETRES[found[2]] / 25.4
    if canvas is None:
        return 1.0
    if canvas.size is None or canvas.dpi is None:
        printed = Option("canvas", "35x45mm@300dpi")
        text_ = Message("a length takes a canvas in mm, cm or inches: ", printed)
        raise UsageError(text_, option="head", value=text)
    part = inches * canvas.dpi / canvas.size.height
    if not 0 < part <= 1:
        raise UsageError("give a length within the canvas's height", option="head", value=text)
    return _large_enough(part, text)


def _large_enough(head_: float, text: str) -> float:
    if head_ < LEAST_HEAD:
        wrong = f"a head takes {LEAST_HEAD:.0%} of the height or more; for a whole person use "
        raise UsageError(Message(wrong, Option("fill")), option="head", value=text)
    return head_


def threshold(text: str) -> float:
    """Read alpha above 0 and up to 1."""
    found = re.fullmatch(NUMBER, text.strip())
    share = float(text) if found else 0.0
    if not 0 < share <= 1:
        wrong = "give a number above 0 and up to 1, like 0.5"
        raise UsageError(wrong, option="threshold", value=text)
    return share


def max_bytes(text: str) -> int:
    """Read ``200k``, ``1.5M`` or a number of bytes; ``200KiB`` counts in 1024."""
    found = re.fullmatch(rf"({NUMBER})\s*([a-z]*)", text.strip().lower())
    unit = UNITS_OF_BYTES.get(found[2]) if found else None
    amount = float(found[1]) * unit if found and unit else 0.0
    if unit == 1 and 1 <= amount < LEAST_BYTES and found:
        wrong = f"{found[1]} bytes are too few for a picture; for kilobytes write {found[1]}k"
        raise UsageError(wrong, option="max_bytes", value=text)
    if not LEAST_BYTES <= amount < 1e10:
        wrong = "give bytes, like 200k or 1.5M, from 1k"
        raise UsageError(wrong, option="max_bytes", value=text)
    return int(amount)


def listed(option: str, texts: Sequence[str] | None) -> tuple[str, ...]:
    """The words of an option that takes several: given more than once, or with commas.

    Raises UsageError where it is given and there are none.
    """
    words = tuple(word.strip() for text in texts or () for word in text.split(",") if word.strip())
    if texts and not words:
        raise UsageError(EMPTY, option=option, value=",".join(texts) or None)
    return words


def patterns(option: str, texts: Sequence[str] | None) -> tuple[str, ...]:
    """The patterns of an option that is repeated for more: names may have commas and spaces.

    Raises UsageError for one that is empty.
    """
    found = tuple(texts or ())
    if "" in found:
        raise UsageError(EMPTY, option=option)
    return found


def choices(option: str, texts: Sequence[str], kind: type[Choice]) -> tuple[Choice, ...]:
    """The words of an option that takes several of ``kind``: each once. Raises UsageError."""
    known = {member.value: member for member in kind}
    words = listed(option, texts)
    wrong = next((word for word in words if word not in known), None)
    if wrong is not None:
        raise no_choice(option, wrong, known)
    return tuple(dict.fromkeys(known[word] for word in words))


def file_format(text: str | None) -> Format | None:
    """Read a format's name, or one of its file name extensions: ``jpeg`` is ``jpg``."""
    if text is None:
        return None
    found = SUFFIXES.get(f".{text.strip().lower().removeprefix('.')}")
    if found is None:
        raise no_choice("format", text, Format)
    return found


def automatic(option: str, text: str) -> int | None:
    """Read ``auto`` (None) or a number of 1 or more."""
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError("give auto or a whole number from 1", option=option, value=text)
    return int(text)


def seconds(option: str, text: str) -> float | None:
    """Read seconds; None for ``none`` and 0: no limit."""
    if text == "none":
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 1e9:
        raise UsageError("give none or seconds, like 600", option=option, value=text)
    return amount or None


def pixels(option: str, megapixels: object) -> int:
    """Pixels of a limit in megapixels, which must be a number above 0."""
    wanted = "a number above 0"
    amount = number(option, megapixels, wanted)
    if not 0 < amount < 1e6:
        raise UsageError(f"give {wanted}", option=option, value=f"{amount:g}")
    return int(amount * 1e6)


def megabytes(option: str, amount: float) -> int:
    """Bytes of a limit in megabytes, which must be above 0."""
    if not 0 < amount < 1e6:
        raise UsageError("give a number above 0", option=option, value=f"{amount:g}")
    return int(amount * 1e6)


def memory(option: str, text: str) -> int:
    """Read gigabytes, or ``auto``: a quarter of what this process may use. In bytes.

    That is at least one GB, but in a small container no more than half of it.
    """
    if text == "auto":
        total = machine.memory() or 8 << 30  # unknown: what a small machine has
        return max(total // 4, min(1 << 30, total // 2))
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < 1e6:
        raise UsageError("give auto or gigabytes, like 4", option=option, value=text)
    return int(amount * 1e9)


# Of Python's arguments, whose types nobody else checks


NO_NUMBER = (str, bytes, bool)
"""What Python would make a number of, and whoever gives it means something else."""


def wrong_type(option: str, value: object, wanted: str) -> UsageError:
    """The error for a value of another type: texts have quotes, as else they look like numbers."""
    return UsageError(f"give {wanted}", option=option, value=reprlib.repr(value))


def switch(option: str, value: object) -> bool:
    """Take True or False, also NumPy's; a text like ``no`` would be true. Raises UsageError."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise wrong_type(option, value, "True or False")
    return bool(value)


def whole(option: str, value: object, wanted: str) -> int:
    """Take a whole number of any library's; ``wanted``: what is to be given. Raises UsageError."""
    try:
        if not isinstance(value, bool):  # which Python counts among them
            return index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise wrong_type(option, value, wanted)


def number(option: str, value: object, wanted: str) -> float:
    """Take a number of any library's; ``wanted``: what is to be given. Raises UsageError."""
    try:
        if not isinstance(value, NO_NUMBER):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        pass
    raise wrong_type(option, value, wanted)


def text(option: str, value: object, wanted: str) -> str:
    """Take a text; ``wanted``: what is to be given. Raises UsageError."""
    if not isinstance(value, str):
        raise wrong_type(option, value, wanted)
    return value


def path(option: str, value: object, wanted: str) -> str:
    """Take a path, or a text. Raises UsageError."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise wrong_type(option, value, wanted)
    return found
