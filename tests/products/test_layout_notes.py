"""Notes on what a person may want to look at."""

from dataclasses import replace

import numpy as np
import pytest
from test_head import person

from birefcli.options import Align, Canvas, Margin, Product, Rendering, Resize, Shadow, Size
from birefcli.products.layout_notes import layout_notes

FILLED = Rendering(canvas=Canvas(Size(100, 100), fill=0.8))


def alpha_of(rows, columns, shape=(100, 100)):
    alpha = np.zeros(shape, np.uint16)
    alpha[rows, columns] = 65535
    return alpha


WHOLE = alpha_of(slice(20, 90), slice(30, 70))


def test_subject_that_is_whole_and_small_enough_is_no_note():
    for rendering in (Rendering(), FILLED, Rendering(crop=True)):
        assert layout_notes(WHOLE, rendering) == ()
    assert layout_notes(np.zeros((9, 9), np.uint16), Rendering(canvas=Canvas(Size(5, 5)))) == ()


@pytest.mark.parametrize(
    ("rows", "columns", "sides"),
    [
        (slice(0, 90), slice(30, 70), "upper edge, which lies"),
        (slice(20, 100), slice(30, 70), "lower edge, which lies"),
        (slice(20, 90), slice(0, 100), "left and right edges, which lie"),
        (slice(0, 100), slice(0, 50), "left, upper and lower edges, which lie"),
    ],
)
def test_cut_subjects_are_noted_where_background_is_beyond_the_cut(rows, columns, sides):
    alpha = alpha_of(rows, columns)
    (note,) = layout_notes(alpha, FILLED)
    assert note.startswith(f"cut off by the photo's {sides} on the canvas")
    assert note.endswith("; aligned there it would not show") == ("edges" not in sides)
    assert layout_notes(alpha, Rendering()) == ()
    assert layout_notes(alpha, Rendering(canvas=Canvas(Size(100, 100)))) == ()


def test_cut_at_the_canvas_edge_is_no_note():
    alpha = alpha_of(slice(20, 100), slice(30, 70))
    bottom = Rendering(canvas=Canvas(Size(100, 100), fill=0.8, align=Align.BOTTOM))
    assert layout_notes(alpha, bottom) == ()


def test_body_that_ends_above_the_lower_edge_is_noted():
    bust = person()[:140]
    (note,) = layout_notes(bust, Rendering(canvas=Canvas(Size(200, 200), head=0.4)))
    assert note.startswith("the body ends ")
    assert note.endswith(" pixels above the lower edge")
    assert layout_notes(person(), Rendering(canvas=Canvas(Size(200, 200), head=0.6))) == ()


def test_doubtful_head_is_noted():
    notes = layout_notes(person(neck=0.8), Rendering(canvas=Canvas(Size(100, 120), head=0.6)))
    assert notes == (
        "the head may have another size: its neck is nearly as wide: hair, or a collar",
    )


def test_large_enlargement_is_noted():
    assert layout_notes(WHOLE, Rendering(canvas=Canvas(Size(170, 170), fill=0.8))) == ()
    notes = layout_notes(WHOLE, Rendering(canvas=Canvas(Size(700, 280), fill=0.85)))
    assert notes == ("enlarged 3.4 times: it will look soft",)


def test_enlargement_without_a_canvas_is_noted_too():
    twice = Rendering(resize=Resize(share=2.5))
    assert layout_notes(WHOLE, twice) == ("enlarged 2.5 times: it will look soft",)


def test_shadow_that_is_cut_off_is_noted_where_one_is_drawn():
    shaded = replace(FILLED, shadow=Shadow.SOFT)
    assert layout_notes(WHOLE, shaded) == ()
    bottom = Canvas(Size(100, 100), fill=0.8, align=Align.BOTTOM)
    cut = replace(shaded, canvas=bottom)
    wanted = ("the lower edge cuts the shadow off: it takes room below the subject",)
    assert layout_notes(WHOLE, cut) == wanted
    assert layout_notes(WHOLE, replace(cut, products=(Product.MASK,))) == ()
    # Without a canvas too, by the photo's edge or by that of its crop.
    assert layout_notes(WHOLE, Rendering(shadow=Shadow.SOFT)) == ()
    assert layout_notes(WHOLE[:92], Rendering(shadow=Shadow.SOFT)) == wanted
    assert layout_notes(WHOLE, Rendering(shadow=Shadow.SOFT, crop=True)) == wanted
    room = Rendering(shadow=Shadow.SOFT, crop=True, margin=Margin(8))
    assert layout_notes(WHOLE, room) == ()
