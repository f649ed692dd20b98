"""Products of ours that are named as photos: a list of cutouts, where one of photos was meant.

What is named is tried, whatever it is. The pictures would tell nobody, as a cutout of a cutout
looks much like it; so it is said before the work.
"""

from itertools import islice
from pathlib import Path

from birefcli.batch.inputs import FoundPhoto
from birefcli.batch.places import LocalFile
from birefcli.images import stamp
from birefcli.images.stamp import SHEET

MOST = 100  # files that are looked at: a list may name a million, over a network


def note_of_products(found: list[FoundPhoto]) -> str | None:
    """What to tell of named photos that birefcli made; None where none of the first is one."""
    paths = (
        photo.source.path
        for photo in found
        if not photo.searched and isinstance(photo.source, LocalFile)
    )
    looked_at = list(islice(paths, MOST))
    made = {path: kind for path in looked_at if (kind := _kind(path)) is not None}
    if not made:
        return None
    first, kinds = next(iter(made)), set(made.values())
    kind = kinds.pop() if len(kinds) == 1 else "product"
    if len(looked_at) == 1:
        return f"{first}: a {kind} that birefcli made; name its photo instead, if that was meant"
    named = f"first {MOST} named photos" if next(paths, None) is not None else "named photos"
    count, others = len(made), " …" if len(made) > 1 else ""
    are = f"are {kind}s" if count > 1 else f"is a {kind}"
    return (
        f"{count} of the {named} {are} that birefcli made ({first}{others}):"
        " name the photos instead, if those were meant"
    )


def _kind(path: Path) -> str | None:
    """What of ours a file is, in words; None for all else, and what cannot be looked at."""
    try:
        found = stamp.read(path).stamp
    except OSError:
        return None
    if found is None:
        return None
    return "contact sheet" if found.product == SHEET else found.product or "product"
