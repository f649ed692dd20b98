"""A contact sheet as a page that stands alone: look, mark good or bad, take the names along.

Small pictures are in the page; those of full size are the files themselves, by relative links, so
that ten thousand are not written twice. The page asks no server: its policy allows its own script,
and pictures of its own folder.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from birefcli.images.photo import to_depth
from birefcli.review.cutouts import Tile, small_size
from birefcli.review.tile_page import BY_RUN, NOT_JUDGED, Pixels8, percent
from birefcli.scoring.masks import Mask
from birefcli.scoring.report.html import document, inline, shown
from birefcli.scoring.report.page_mark import PageMark
from birefcli.scoring.report.style import BASE
from birefcli.scoring.thumbnails import webp

SUFFIXES = (".html", ".htm")
SHOWN_BY_BROWSERS = (".png", ".webp", ".jpg", ".jpeg", ".avif", ".gif", ".bmp")


def is_html(path: Path) -> bool:
    """Whether a sheet of this name is a page."""
    return path.suffix.lower() in SUFFIXES


def draw(found: Mask, photo: Pixels8 | None, side: int) -> list[bytes]:
    """A cutout with its transparency, or a mask as it is, and its photo, as files."""
    size = small_size(found.alpha.shape, side)
    alpha = to_depth(found.alpha, 8)
    small = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
    if found.colours is not None:
        small = np.dstack([_straight(to_depth(found.colours, 8), alpha, size), small])
    return [webp(each) for each in ([small] if photo is None else [small, photo])]


def _straight(colours: Pixels8, alpha: Pixels8, size: tuple[int, int]) -> Pixels8:
    """Colours of a smaller cutout: those under transparent pixels have no part in it."""
    weight = alpha.astype(np.float32) + 0.5
    sums = cv2.resize(colours * weight[..., None], size, interpolation=cv2.INTER_AREA)
    shares = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA))
    return np.asarray(np.rint(sums / shares[..., None]), np.uint8)


def is_page(path: Path) -> bool:
    """Whether a file says that it is a page of a sheet, edited or not. Raises OSError."""
    return _mark("").is_of_kind(path)


def is_page_of(path: Path, name: str) -> bool:
    """Whether a file is a page of the sheet of this name, as it was made. Raises OSError."""
    return _mark(name).is_on(path)


def render(
    tiles: Sequence[Tile], target: Path, name: str, fetch: Callable[[tuple[int, int]], bytes]
) -> bytes:
    """One page. ``target``: its file; ``name``: that of the sheet; ``fetch``: a tile's picture."""
    style, body, script = _parts()
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline';"
        f" script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv=Content-Security-Policy content="{policy}">{_mark(name).tag()}'
    shown_tiles = "".join(_article(tile, target.parent, fetch) for tile in tiles)
    flagged = sum(bool(tile.flags) for tile in tiles)
    filled = body.replace("<!--TITLE-->", shown(target.name)).replace(
        "<!--COUNTS-->", f"{len(tiles)} cutout{'s' * (len(tiles) != 1)}, {flagged} flagged"
    )
    # Names come last: one that is called as a place to fill is no place.
    before, after = filled.split("<!--TILES-->")
    page = f"{before}{shown_tiles}{after}<script>{script}</script>"
    return _mark(name).sealed(document(target.name, BASE + style, page, head))


@cache
def _parts() -> tuple[str, str, str]:
    """Style, body and script of ``page.html``."""
    text = resources.files("birefcli").joinpath("review", "page.html").read_text("utf-8")
    found = re.search(r"<style>(.*)</style>(.*)<script>(.*)</script>", text, re.DOTALL)
    assert found is not None, "the page has all three"
    return found[1], found[2], found[3]


def _mark(name: str) -> PageMark:
    """What a page says of its sheet, and of itself."""
    return PageMark("sheet", name)


def _article(tile: Tile, folder: Path, fetch: Callable[[tuple[int, int]], bytes]) -> str:
    entry, quality = tile.entry, tile.quality
    path, photo = entry.path, entry.photo
    kind = "composite" if entry.composite else "cutout"
    pictures = [_figure(kind, path, folder, fetch(tile.places[0]))]
    if len(tile.places) > 1 and photo is not None:
        pictures.insert(0, _figure("photo", photo.path, folder, fetch(tile.places[1])))
    words = " ".join(f"<b title='{shown(f.meaning)}'>{f.value}</b>" for f in tile.flags)
    coverage = NOT_JUDGED if quality is None else percent(quality.coverage)
    by = f" <i>{BY_RUN}</i>" if entry.shows_less_than_its_run else ""
    notes = "".join(f" <span class=note>{shown(note)}</span>" for note in entry.run_notes)
    listed = _listed(str(path)) if photo is None else _listed(photo.listed) + " data-paired"
    return (
        f"<article data-key='{shown(_key(path))}'{listed}"
        f"{' data-flagged' * bool(tile.flags)} tabindex=-1>"
        f"<div class=pictures>{''.join(pictures)}</div>"
        f"<h3>{shown(entry.label)}</h3><p class=caption>{coverage} {words}{by}{notes}</p>"
        "<div class=marks><button data-mark=good>good</button>"
        "<button data-mark=bad>bad</button></div></article>"
    )


def _figure(kind: str, path: Path, folder: Path, small: bytes) -> str:
    full = path.suffix.lower() in SHOWN_BY_BROWSERS
    link = f" href='{_address(path, folder)}'" if full else ""
    return (
        f"<a class={kind}{link} tabindex=-1><img loading=lazy alt='{kind} of {shown(path.name)}'"
        f" src='{inline(small)}'></a>"
    )


def _address(path: Path, folder: Path) -> str:
    """Of a file, from a page in a folder."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named
    try:
        below = os.path.relpath(absolute, os.path.abspath(folder))  # noqa: PTH100
    except ValueError:  # on another drive
        return absolute.as_uri()
    return quote(os.fsencode(Path(below).as_posix()), safe="/")


def _key(path: Path) -> str:
    """What a mark is kept under: a cutout that was made again has none."""
    changed = 0
    with suppress(OSError):
        changed = path.stat().st_mtime_ns
    return f"{Path(os.path.abspath(path))}@{changed}"  # noqa: PTH100


def _listed(name: str) -> str:
    """The name for a list, if a line of text can hold it."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return "" if "\n" in name or "\r" in name else f" data-list='{escape(name)}'"
