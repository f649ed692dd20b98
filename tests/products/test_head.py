"""Heads, by a matte's shape alone: what is found, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birefcli.errors import PhotoError
from birefcli.options import Canvas, Rendering, Size
from birefcli.products.head import find_head
from birefcli.products.layout import lay_out, subject_box

ABOVE = 40  # rows of these photos above the crown


def person(head=60, tall=1.36, neck=0.7, shoulders=2.6, size=400):
    """The outline of a person from the front: an oval with ears, a neck, sloping shoulders.

    All but ``head`` (pixels) are shares of a head's width, ``tall`` from crown to chin.
    """
    y, x = np.mgrid[0:size, 0:size]
    across, down = abs(x - size // 2), y - ABOVE
    tall = tall * head
    oval = np.hypot(across / (head / 2), (down - tall / 2) / (tall / 2)) <= 1
    throat = (across < neck * head / 2) & (down > tall / 2) & (down < 1.3 * tall)
    slope = neck * head / 2 + 1.5 * (down - 0.93 * tall)
    body = (across < np.minimum(slope, shoulders * head / 2)) & (down > 0.93 * tall)
    return ((oval | throat | body) * 65535).astype(np.uint16)


def found_in(alpha):
    return find_head(alpha, subject_box(alpha))


@pytest.mark.parametrize("head", [40, 60, 90])
def test_head_is_found_by_the_outline_alone(head):
    left, top, right, bottom, doubt = found_in(person(head))
    assert abs(top - ABOVE) <= 1
    assert abs((left + right) / 2 - 200) <= 2
    assert abs(right - left - head) <= 3
    assert abs(bottom - (ABOVE + 1.36 * head)) <= 0.1 * 1.36 * head
    assert doubt == ""


def test_strands_above_the_head_are_no_part_of_it():
    alpha = person()
    alpha[ABOVE - 25 : ABOVE + 5, 199:201] = 65535
    assert abs(found_in(alpha).top - ABOVE) <= 2


def test_wisp_on_top_is_no_head():
    alpha = person(90, neck=1.0, size=500)  # hair hides the neck
    alpha[ABOVE - 30 : ABOVE - 16, 246:256] = 65535  # a small head,
    alpha[ABOVE - 16 : ABOVE + 4, 249:252] = 65535  # and its neck
    with pytest.raises(PhotoError, match="no head above shoulders"):
        found_in(alpha)


def test_shoulders_may_end_at_the_photos_edges():
    alpha = person()[:170, 160:240]
    assert abs(found_in(alpha).bottom - (ABOVE + 82)) <= 9


def test_head_that_the_photo_cuts_off_is_refused():
    for alpha in (person()[ABOVE + 5 :], person()[:, 180:]):
        with pytest.raises(PhotoError, match="the photo cuts the head off"):
            found_in(alpha)


def test_raised_hand_is_no_head():
    alpha = person()
    alpha[2:160, 265:285] = 65535
    with pytest.raises(PhotoError, match="what is highest in the matte's shape is not the head"):
        found_in(alpha)


def test_hair_that_falls_from_the_crown_is_no_head():
    alpha = person(tall=1.6, neck=0.5, shoulders=3)
    y, x = np.mgrid[0:400, 0:400]
    hair = (abs(x - 200) < 0.55 * (y - ABOVE)) & (y > ABOVE) & (y < ABOVE + 80)
    alpha[hair] = 65535
    with pytest.raises(PhotoError, match="hair or clothes widen the head: no neck below it"):
        found_in(alpha)


@pytest.mark.parametrize(
    "alpha", [person(shoulders=1.0), person(neck=1.0), np.full((50, 50), 65535, np.uint16)]
)
def test_no_head_is_found_where_no_neck_or_no_shoulders_are(alpha):
    with pytest.raises(
        PhotoError, match="no head above shoulders in the matte's shape; take one"
    ) as no:
        lay_out(alpha, Rendering(canvas=Canvas(Size(100, 100), head=0.6)))
    assert "try another --model" in no.value.message.spelled(lambda option: f"--{option}")


def test_doubtful_heads_say_why():
    assert "nearly as wide" in found_in(person(neck=0.8)).doubt
    assert "from the side" in found_in(person(90, tall=1.0, neck=0.5)).doubt


@given(st.integers(60, 300), st.integers(60, 300), st.floats(0.3, 0.8))
def test_head_takes_its_share_of_the_height_in_the_middle(width, height, share):
    found = lay_out(person(), Rendering(canvas=Canvas(Size(width, height), head=share)))
    assert found is not None
    assert abs(found.target.size.height - share * height) <= 1
    assert abs(found.target.left + found.target.right - width) <= 1
    assert abs(found.target.top - 0.3 * (height - found.target.size.height)) <= 0.5
