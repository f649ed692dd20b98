"""Option values that are more than a word: sizes, margins, lists."""

from enum import Enum
from typing import TypeVar

from birefcli.errors import UsageError
from birefcli.options import SUFFIXES, Format, Margin, Size, check_size
from birefcli.system import machine

Choice = TypeVar("Choice", bound=Enum)


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


def margin(text: str) -> Margin:
    """Read ``20`` (pixels) or ``5%`` (of the subject's longer side)."""
    relative = text.endswith("%")
    try:
        amount = float(text.removesuffix("%"))
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 100_000:
        wrong = "give pixels or a percentage, like 20 or 5%"
        raise UsageError(wrong, option="margin", value=text)
    return Margin(amount / 100 if relative else amount, relative)


def choices(option: str, text: str, kind: type[Choice]) -> tuple[Choice, ...]:
    """Read a list separated by commas, each of it a value of ``kind``."""
    known = {member.value: member for member in kind}
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise UsageError(f"choose from {', '.join(known)}", option=option, value=word)
    if not words:
        raise UsageError(f"choose from {', '.join(known)}", option=option)
    return tuple(dict.fromkeys(known[word] for word in words))


def file_format(text: str | None) -> Format | None:
    """Read a format's name, or one of its file name extensions: ``jpeg`` is ``jpg``."""
    if text is None:
        return None
    found = SUFFIXES.get(f".{text.strip().lower().removeprefix('.')}")
    if found is None:
        known = ", ".join(kind.value for kind in Format)
        raise UsageError(f"choose from {known}", option="format", value=text)
    return found


def automatic(option: str, text: str) -> int | None:
    """Read ``auto`` (None) or a number of 1 or more."""
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError("give auto or a number from 1", option=option, value=text)
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
        raise UsageError("give seconds, like 600, or none", option=option, value=text)
    return amount or None


def pixels(option: str, megapixels: float) -> int:
    """Pixels of a limit in megapixels, which must be above 0."""
    if not 0 < megapixels < 1e6:
        raise UsageError("give a number above 0", option=option, value=f"{megapixels:g}")
    return int(megapixels * 1e6)


def megabytes(option: str, amount: float) -> int:
    """Bytes of a limit in megabytes, which must be above 0."""
    if not 0 < amount < 1e6:
        raise UsageError("give megabytes above 0", option=option, value=f"{amount:g}")
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
