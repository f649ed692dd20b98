"""Soft shadows: below a subject, darkest where it touches the ground."""

from pathlib import Path

import numpy as np
import pytest

from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.options import Product, Rendering, Shadow, Size
from birefcli.products.background import Colour
from birefcli.products.layout import Box
from birefcli.products.render import render_product
from birefcli.products.shadow import shadow_end, soft_shadow


def alpha_of(size, *boxes):
    """A matte that is all subject within boxes, and all background outside."""
    alpha = np.zeros((size.height, size.width), np.uint16)
    for box in boxes:
        alpha[box.top : box.bottom, box.left : box.right] = 65535
    return alpha


def drawn(kind, alpha, rendering):
    photo = Photo(np.full((*alpha.shape, 3), (200, 30, 60), np.uint8))
    matte = Matte(alpha, photo.pixels)
    white = Colour((255, 255, 255))
    return render_product(kind, photo, matte, rendering, white, Path("a.png"))


@pytest.mark.parametrize("kind", [Product.CUTOUT, Product.COMPOSITE])
def test_shadow_lies_below_the_subject_and_leaves_it_as_it_is(kind):
    alpha = alpha_of(Size(200, 200), Box(60, 20, 140, 150))
    plain = drawn(kind, alpha, Rendering())
    shaded = drawn(kind, alpha, Rendering(shadow=Shadow.SOFT))
    assert np.array_equal(plain[alpha > 0], shaded[alpha > 0])
    assert np.array_equal(plain[:100], shaded[:100])
    dark = shaded[153, 100].astype(int) - plain[153, 100]
    if kind is Product.CUTOUT:
        assert dark[3] > 40
        assert shaded[153, 100, :3].max() == 0
    else:
        assert dark.max() < -40
        assert len(set(shaded[153, 100])) == 1, "white becomes grey"
    # It fades: the further from the feet, the lighter.
    falling = shaded[151:195, 100, -1].astype(int) * (1 if kind is Product.CUTOUT else -1)
    assert (np.diff(falling) <= 1).all()


@pytest.mark.parametrize("kind", [Product.MASK, Product.TRIMAP, Product.FOREGROUND])
def test_shadow_is_no_part_of_a_matte(kind):
    alpha = alpha_of(Size(100, 100), Box(30, 10, 70, 75))
    shaded = drawn(kind, alpha, Rendering(shadow=Shadow.SOFT))
    assert np.array_equal(drawn(kind, alpha, Rendering()), shaded)


def test_empty_matte_has_no_shadow():
    alpha = np.zeros((20, 30), np.uint16)
    assert not drawn(Product.CUTOUT, alpha, Rendering(shadow=Shadow.SOFT)).any()


def test_cutout_with_its_shadow_over_a_colour_is_the_composite_over_it():
    y, x = np.mgrid[0:120, 0:100]
    soft = np.clip((30 - np.hypot(y - 50, x - 50)) / 5 + 0.5, 0, 1)
    alpha = np.rint(soft * 65535).astype(np.uint16)
    rendering = Rendering(shadow=Shadow.SOFT)
    cutout = drawn(Product.CUTOUT, alpha, rendering).astype(float)
    share = cutout[:, :, 3:] / 255
    over = cutout[:, :, :3] * share + 255 * (1 - share)
    assert np.abs(over - drawn(Product.COMPOSITE, alpha, rendering)).max() <= 2


def standing(scale=1, lift=30):
    """A body on two legs, of which the right one stands further back: its foot is higher."""
    body = Box(120, 20, 220, 250)
    left, right = Box(120, 250, 150, 500), Box(190, 250, 220, 500 - lift)
    boxes = (Box(*(side * scale for side in box)) for box in (body, left, right))
    return alpha_of(Size(340 * scale, 600 * scale), *boxes)


@pytest.mark.parametrize("scale", [1, 3])
def test_each_foot_is_on_its_own_ground(scale):
    alpha = standing(scale)
    dark = soft_shadow(alpha)
    seen = np.where(alpha > 0, 0, dark)
    for columns, sole in (((122, 148), 500), ((192, 218), 470)):
        below = seen[sole * scale :, columns[0] * scale : columns[1] * scale].mean(1)
        assert below[0] > 0.5, "dark at the sole"
        assert np.argmax(below) <= 2 * scale, "and nowhere darker: nothing hovers"
        assert (np.diff(below[2 * scale :]) <= 1e-3).all()
    # Between the legs, and beside the subject, it is far lighter than under them.
    assert dark[480 * scale, 60 * scale] < 0.2


def test_what_is_higher_than_feet_touches_no_ground():
    body = Box(120, 20, 220, 500)
    hand = Box(240, 200, 260, 400)
    with_hand = soft_shadow(alpha_of(Size(340, 600), body, Box(220, 200, 240, 220), hand))
    below = with_hand[400:440, 242:258].max()
    assert below < 0.15


def test_shadow_is_seen_down_to_where_it_is_said_to_end():
    alpha = standing()
    dark = soft_shadow(alpha)
    end = shadow_end(Box(120, 20, 220, 500))
    assert 500 < end < 600
    assert dark[end:].max() < 0.1
    assert dark[:15].max() < 0.01


def test_a_cutout_with_a_shadow_shows_no_matte_and_the_mask_beside_it_does():
    shaded = Rendering(shadow=Shadow.SOFT)
    assert not shaded.shows_matte(Product.CUTOUT)
    assert shaded.shows_matte(Product.MASK)
