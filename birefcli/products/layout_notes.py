"""What a person may want to look at where a photo is laid out, as notes."""

import numpy as np
from numpy.typing import NDArray

from birefcli.options import Align, Product, Rendering, Shadow, Size
from birefcli.products.layout import Box, Layout, lay_out, shown_box, subject_box
from birefcli.products.shadow import shadow_end

SOFT = 2.0  # times that a photo may be enlarged without a note
SOLID = 32768  # alpha from which on a pixel at the photo's edge is subject that is cut off
CUT = 0.02  # share of the subject's side that the photo's edge cuts, at least
SIDES = ("left", "upper", "right", "lower")
"""Of a box, in its order."""


def layout_notes(alpha: NDArray[np.uint16], rendering: Rendering) -> tuple[str, ...]:
    """Notes on a photo of that matte. Raises PhotoError as :func:`lay_out`."""
    shaded = rendering.shadow is not Shadow.NONE and any(
        kind in (Product.CUTOUT, Product.COMPOSITE) for kind in rendering.products
    )
    layout = lay_out(alpha, rendering)
    if layout is None and shaded:
        shown = shown_box(alpha, rendering)
        layout = Layout(shown.size, shown, Box(0, 0, *shown.size), shown)
    if layout is None:
        return ()
    notes = [*_enlarged(layout), *_head(layout)]
    if rendering.canvas is None and not shaded:
        return tuple(notes)
    subject = layout.subject or subject_box(alpha)
    if subject is None:
        return tuple(notes)
    notes += _cut(alpha, subject, layout, rendering)
    if shaded and shadow_end(layout.place(subject)) > layout.size.height:
        notes.append("the lower edge cuts the shadow off: it takes room below the subject")
    return tuple(notes)


def _enlarged(layout: Layout) -> list[str]:
    if layout.scale <= SOFT:
        return []
    return [f"enlarged {layout.scale:.1f} times: it will look soft"]


def _head(layout: Layout) -> list[str]:
    if layout.head is None or not layout.head.doubt:
        return []
    return [f"the head may have another size: {layout.head.doubt}"]


def _cut(
    alpha: NDArray[np.uint16], subject: Box, layout: Layout, rendering: Rendering
) -> list[str]:
    """Where the photo's edge cuts the subject off, and the canvas goes on."""
    photo = layout.place(Box(0, 0, alpha.shape[1], alpha.shape[0]))
    inside = _inside(photo, layout.size)
    cut = _touched(alpha, subject)
    sides = [side for side in SIDES if side in inside and side in cut]
    notes = []
    if layout.head is not None:
        end = layout.size.height - layout.place(subject).bottom
        if end > 0:
            notes.append(f"the body ends {end} pixels above the lower edge")
            sides = [side for side in sides if side != "lower"]
    if sides:
        names = " and ".join(filter(None, (", ".join(sides[:-1]), sides[-1])))
        which = "edges, which lie" if len(sides) > 1 else "edge, which lies"
        way = "; aligned there it would not show" if _would_hide(sides, rendering) else ""
        notes.append(f"cut off by the photo's {names} {which} on the canvas{way}")
    return notes


def _inside(photo: Box, size: Size) -> set[str]:
    """Which sides of the photo lie on the canvas, not at its edges or beyond."""
    canvas = Box(0, 0, *size)
    return {
        side
        for number, side in enumerate(SIDES)
        if (photo[number] > canvas[number] if number < 2 else photo[number] < canvas[number])
    }


def _touched(alpha: NDArray[np.uint16], subject: Box) -> set[str]:
    """Which edges of the photo cut its subject off."""
    edges = (alpha[:, 0], alpha[0], alpha[:, -1], alpha[-1])
    lengths = (subject.size.height, subject.size.width) * 2
    return {
        side
        for side, edge, length in zip(SIDES, edges, lengths, strict=True)
        if np.count_nonzero(edge >= SOLID) > CUT * length
    }


def _would_hide(sides: list[str], rendering: Rendering) -> bool:
    """Whether the subject may be put at the canvas's edge where it is cut off."""
    canvas = rendering.canvas
    free = canvas is not None and canvas.head is None and canvas.align is Align.CENTRE
    return free and len(sides) == 1
