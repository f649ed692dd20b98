"""Where on a canvas a photo lies: arithmetic for every size, and pixels that show it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from birefcli.errors import PhotoError
from birefcli.images.photo import Photo
from birefcli.matting.matte import Matte
from birefcli.options import Align, Canvas, Margin, Product, Rendering, Resize, Size
from birefcli.products import layout as layouts
from birefcli.products.background import Blur, Colour, Picture
from birefcli.products.layout import Box, lay_out, subject_box
from birefcli.products.render import render_product

WHITE = Colour((255, 255, 255))
SUBJECT = (200, 30, 60)
GROUND = (0, 120, 0)


def alpha_of(size, box):
    """A matte that is all subject within a box, and all background outside."""
    alpha = np.zeros((size.height, size.width), np.uint16)
    alpha[box.top : box.bottom, box.left : box.right] = 65535
    return alpha


def photo_of(alpha):
    """A photo of one colour where the subject is, and of another elsewhere."""
    seen = (alpha > 0)[:, :, None]
    return Photo(np.where(seen, SUBJECT, GROUND).astype(np.uint8))


def drawn(kind, alpha, rendering, background=WHITE):
    photo = photo_of(alpha)
    matte = Matte(alpha, photo.pixels)
    return render_product(kind, photo, matte, rendering, background, Path("a.png"))


@st.composite
def subjects(draw, most=80):
    """A photo's size, and the box of a subject within it."""
    width, height = draw(st.integers(1, most)), draw(st.integers(1, most))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return Size(width, height), Box(left, top, right, bottom)


sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 300))
fills = st.floats(0.05, 1.0)
aligns = st.sampled_from(Align)


def laid_out(subject, rendering):
    """The layout of a photo, where it can have one."""
    size, box = subject
    try:
        found = lay_out(alpha_of(size, box), rendering)
    except PhotoError:
        assume(False)
    assert found is not None
    return found


# Arithmetic


@given(subjects(), sizes, fills, aligns)
def test_subject_is_inside_and_takes_its_share_to_a_pixel(subject, size, fill, align):
    found = laid_out(subject, Rendering(canvas=Canvas(size, fill=fill, align=align)))
    assert (found.size, found.content) == (size, subject[1])
    target = found.target
    assert target.left >= 0
    assert target.top >= 0
    assert target.right <= size.width
    assert target.bottom <= size.height
    shares = (target.size.width / size.width, target.size.height / size.height)
    tighter = max((0, 1), key=lambda n: subject[1].size[n] / size[n])
    assert abs(target.size[tighter] - fill * size[tighter]) <= 1, shares


@given(subjects(), sizes, fills, aligns)
def test_alignment_is_exact(subject, size, fill, align):
    found = laid_out(subject, Rendering(canvas=Canvas(size, fill=fill, align=align)))
    before = (found.target.left, found.target.top)
    after = (size.width - found.target.right, size.height - found.target.bottom)
    for share, near, far in zip(align.shares, before, after, strict=True):
        if share == 0:
            assert near == 0
        elif share == 1:
            assert far == 0
        else:
            assert far - near in (0, 1)


@given(subjects(), st.floats(0.2, 5), fills, aligns)
def test_proportions_alone_resample_nothing(subject, aspect, fill, align):
    found = laid_out(subject, Rendering(canvas=Canvas(aspect=aspect, fill=fill, align=align)))
    assert not found.is_resampled
    width, height = found.size
    assert abs(width - height * aspect) <= 1 + aspect or min(width, height) == 1
    box = subject[1].size
    tight = max(box.width / width, box.height / height)
    assert abs(tight - fill) * max(width, height) <= 1 + max(aspect, 1 / aspect)


@given(subjects(), st.floats(0.2, 5))
def test_proportions_without_a_share_hold_the_whole_photo(subject, aspect):
    found = laid_out(subject, Rendering(canvas=Canvas(aspect=aspect)))
    assert (found.content.size, found.target.size) == (subject[0], subject[0])
    assert found.size.width >= subject[0].width
    assert found.size.height >= subject[0].height


@given(subjects(), sizes, aligns)
def test_canvas_without_a_share_shrinks_what_is_too_large_and_nothing_else(subject, size, align):
    found = laid_out(subject, Rendering(canvas=Canvas(size, align=align)))
    whole = subject[0]
    if whole.width <= size.width and whole.height <= size.height:
        assert not found.is_resampled
    else:
        assert found.scale <= 1
        assert found.target.size.width <= size.width
        assert found.target.size.height <= size.height


@given(subjects(), st.floats(0.2, 5), fills, st.integers(1, 200))
def test_longer_side_of_a_resized_canvas_is_what_is_asked_for(subject, aspect, fill, side):
    resize = Resize(Size(side, side))
    found = laid_out(subject, Rendering(canvas=Canvas(aspect=aspect, fill=fill), resize=resize))
    assert max(found.size) == side
    assert found.target.right <= found.size.width
    assert found.target.bottom <= found.size.height


@given(subjects(), st.integers(1, 300), st.integers(1, 300))
def test_resized_products_fit_the_box_and_meet_it(subject, width, height):
    found = laid_out(subject, Rendering(resize=Resize(Size(width, height))))
    assert found.size.width <= width
    assert found.size.height <= height
    assert found.size.width == width or found.size.height == height
    smaller = laid_out(subject, Rendering(resize=Resize(Size(width, height), enlarge=False)))
    assert smaller.size.width <= subject[0].width


# Pixels


@given(subjects(40), sizes.filter(lambda s: max(s) <= 120), fills, aligns)
def test_padding_is_background_and_the_target_is_the_subject(subject, size, fill, align):
    rendering = Rendering(canvas=Canvas(size, fill=fill, align=align))
    target = laid_out(subject, rendering).target
    alpha = alpha_of(*subject)
    inside = np.zeros((size.height, size.width), bool)
    inside[target.top : target.bottom, target.left : target.right] = True
    mask = drawn(Product.MASK, alpha, replace(rendering, threshold=0.5, products=(Product.MASK,)))
    # Where a pixel of the photo becomes several, the edge is soft between two of them.
    blown = max(1, round(target.size.width / subject[1].size.width))
    tall = max(1, round(target.size.height / subject[1].size.height))
    seen = mask > 0
    core = np.zeros_like(inside)
    core[target.top + tall : target.bottom - tall, target.left + blown : target.right - blown] = 1
    assert seen[core].all()
    wide = np.zeros_like(inside)
    top, left = max(0, target.top - tall), max(0, target.left - blown)
    wide[top : target.bottom + tall, left : target.right + blown] = True
    assert not seen[~wide].any()
    composite = drawn(Product.COMPOSITE, alpha, rendering)
    far = np.zeros_like(inside)
    top, left = max(0, target.top - 3 * tall), max(0, target.left - 3 * blown)
    far[top : target.bottom + 3 * tall, left : target.right + 3 * blown] = True
    assert (composite[~far] == 255).all()
    cutout = drawn(Product.CUTOUT, alpha, rendering)
    assert (cutout[..., 3][~far] == 0).all()
    assert cutout.shape == (size.height, size.width, 4)


@given(subjects(40), st.floats(0.3, 3), fills, aligns)
def test_without_resampling_every_pixel_is_one_of_the_photo(subject, aspect, fill, align):
    rendering = Rendering(canvas=Canvas(aspect=aspect, fill=fill, align=align))
    found = laid_out(subject, rendering)
    noise = np.random.RandomState(0).randint(0, 65536, (subject[0].height, subject[0].width))
    alpha = np.where(alpha_of(*subject) > 0, np.maximum(noise, 2000), 0).astype(np.uint16)
    photo = photo_of(alpha)
    how = replace(rendering, bits=16)
    mask = render_product(
        Product.MASK, photo, Matte(alpha, photo.pixels), how, WHITE, Path("a.png")
    )
    box, target = found.content, found.target
    assert np.array_equal(
        mask[target.top : target.bottom, target.left : target.right],
        alpha[box.top : box.bottom, box.left : box.right],
    )
    assert mask.astype(np.int64).sum() == alpha.astype(np.int64).sum()


@pytest.mark.parametrize("scale", [0.3, 0.5, 2.0, 3.7])
def test_colour_of_the_background_is_not_mixed_into_the_subject(scale):
    y, x = np.mgrid[0:80, 0:60]
    soft = np.clip((22 - np.hypot(y - 40, x - 30)) / 6 + 0.5, 0, 1)
    alpha = np.rint(soft * 65535).astype(np.uint16)
    # The estimated colour is the subject's wherever there is any of it.
    colour = np.where(alpha[:, :, None] > 0, SUBJECT, GROUND).astype(np.uint8)
    photo = Photo(colour)
    rendering = Rendering(resize=Resize(share=scale))
    rgba = render_product(
        Product.CUTOUT, photo, Matte(alpha, colour), rendering, None, Path("a.png")
    )
    shown = rgba[rgba[:, :, 3] > 12][:, :3]
    assert np.abs(shown.astype(int) - SUBJECT).max() <= 8
    assert rgba.shape[:2] == (round(80 * scale), round(60 * scale))


def test_flat_colours_stay_what_they_are_at_every_scale():
    alpha = alpha_of(Size(50, 40), Box(10, 5, 40, 40))
    for share in (0.2, 0.77, 1.0, 1.5, 4.0):
        made = drawn(Product.FOREGROUND, alpha * 0 + 65535, Rendering(resize=Resize(share=share)))
        flat = Photo(np.full((40, 50, 3), SUBJECT, np.uint8))
        made = render_product(
            Product.FOREGROUND,
            flat,
            Matte(alpha, flat.pixels),
            Rendering(resize=Resize(share=share)),
            None,
            Path("a.png"),
        )
        assert np.abs(made.astype(int) - SUBJECT).max() <= 1, share


def test_trimap_on_a_canvas_has_three_levels_and_nothing_around():
    alpha = alpha_of(Size(300, 200), Box(100, 50, 200, 200))
    for canvas in (Canvas(Size(100, 100), fill=0.5), Canvas(Size(900, 900), fill=0.5)):
        made = drawn(Product.TRIMAP, alpha, Rendering(canvas=canvas))
        assert set(np.unique(made)) == {0, 128, 255}
        assert not made[:5].any()


def test_picture_covers_the_whole_canvas():
    alpha = alpha_of(Size(40, 40), Box(15, 15, 25, 25))
    rendering = Rendering(canvas=Canvas(Size(200, 60), fill=0.5))
    stripes = np.zeros((10, 100, 3), np.uint8)
    stripes[:, :50] = 255
    made = drawn(Product.COMPOSITE, alpha, rendering, Picture(stripes))
    assert made.shape == (60, 200, 3)
    assert (made[:, :60] == 255).all()
    assert (made[:, 140:] == 0).all()


def test_blur_covers_the_canvas_without_stripes_or_seams():
    noise = np.random.RandomState(0).randint(0, 256, (120, 80, 3)).astype(np.uint8)
    noise[:, :40] //= 2
    alpha = alpha_of(Size(80, 120), Box(25, 40, 55, 120))
    for depth in (1, 257):  # 8 and 16 bits
        photo = Photo(noise.astype(np.uint16) * 257 if depth > 1 else noise)
        matte = Matte(alpha, photo.pixels)
        for size in (Size(300, 120), Size(80, 240)):
            layout = lay_out(alpha, Rendering(canvas=Canvas(size)))
            soft = Blur(6.0).pixels(photo, matte, Path("a.png"), layout)
            assert soft.shape == (size.height, size.width, 3)
            assert soft.dtype == photo.pixels.dtype
            plane = soft[:, :, 0].astype(float) / depth
            steps = np.abs(np.diff(plane, axis=0)), np.abs(np.diff(plane, axis=1))
            for step in steps:
                assert step.max() < 12, "no seam"
            # Stripes: rows (or columns) that are equal to their neighbours over a third of them.
            for step, axis in zip(steps, (1, 0), strict=True):
                assert (step.max(axis) == 0).mean() < 0.2


def test_blur_that_the_photo_reaches_lies_where_the_photo_does():
    half = np.zeros((100, 100, 3), np.uint8)
    half[:, 30:] = 200
    alpha = alpha_of(Size(100, 100), Box(20, 20, 25, 25))
    alpha[70:80, 70:80] = 65535
    photo = Photo(half)
    layout = lay_out(alpha, Rendering(canvas=Canvas(Size(60, 60), fill=1.0)))
    soft = Blur(3.0).pixels(photo, Matte(alpha, photo.pixels), Path("a.png"), layout)
    assert np.argmax(np.abs(np.diff(soft[30, :, 0].astype(int)))) in range(5, 15)


def test_crop_with_a_canvas_is_cut_where_the_crop_ends():
    alpha = alpha_of(Size(60, 60), Box(20, 20, 40, 40))
    alpha[0:4, 0:4] = 65535 // 60  # too faint for a crop, and outside it
    rendering = Rendering(crop=True, margin=Margin(5), canvas=Canvas(Size(100, 80)))
    made = drawn(Product.MASK, alpha, replace(rendering, bits=16))
    assert made.shape == (80, 100)
    assert (made > 0).sum() == 400
    assert made[30:50, 40:60].min() == 65535


# The subject's box


def test_specks_do_not_count_and_hands_do():
    alpha = alpha_of(Size(200, 200), Box(50, 60, 150, 200))
    alpha[3:8, 3:8] = 65535  # 25 pixels of 14000
    assert subject_box(alpha) == Box(50, 60, 150, 200)
    alpha[20:40, 170:180] = 40000  # 200 pixels: more than a hundredth
    assert subject_box(alpha) == Box(50, 20, 180, 200)
    alpha[10:12, 50:150] = 65535 // 60  # fainter than two percent
    assert subject_box(alpha) == Box(50, 20, 180, 200)


@pytest.mark.parametrize("canvas", [Canvas(Size(9, 9), fill=0.8), Canvas(Size(9, 9), head=0.6)])
def test_empty_matte_cannot_be_filled(canvas):
    with pytest.raises(PhotoError, match=r"no subject found \(empty matte\): nothing for "):
        lay_out(np.zeros((5, 5), np.uint16), Rendering(canvas=canvas))


def test_empty_matte_without_a_share_is_an_empty_canvas():
    alpha = np.zeros((5, 5), np.uint16)
    made = drawn(Product.CUTOUT, alpha, Rendering(canvas=Canvas(Size(9, 7))))
    assert made.shape == (7, 9, 4)
    assert not made.any()


def test_canvas_on_which_a_subject_is_less_than_a_pixel_fails_the_photo():
    alpha = alpha_of(Size(400, 400), Box(200, 0, 201, 400))
    with pytest.raises(PhotoError, match="subject of 1x400 pixels would be less than a pixel"):
        lay_out(alpha, Rendering(canvas=Canvas(Size(50, 50), fill=0.9)))


@pytest.mark.parametrize(
    "rendering",
    [
        Rendering(canvas=Canvas(Size(1000, 500), fill=0.9)),
        Rendering(canvas=Canvas(aspect=1.0, fill=0.9), resize=Resize(Size(500, 500))),
        Rendering(resize=Resize(Size(1000, 1000))),
    ],
)
def test_photo_that_would_be_enlarged_more_than_ten_times_fails(rendering):
    alpha = alpha_of(Size(50, 80), Box(10, 20, 40, 60))
    with pytest.raises(PhotoError, match=r"would be enlarged 1\d(\.\d)? times: more than 10"):
        lay_out(alpha, rendering)
    assert lay_out(np.repeat(np.repeat(alpha, 2, 0), 2, 1), rendering) is not None


def test_canvas_that_would_be_enormous_fails_the_photo(monkeypatch):
    monkeypatch.setattr(layouts, "MOST_PIXELS", 10_000)
    alpha = alpha_of(Size(90, 90), Box(0, 0, 90, 90))
    assert lay_out(alpha, Rendering(resize=Resize(share=1.1))) is not None
    for rendering in (Rendering(resize=Resize(share=1.2)), Rendering(canvas=Canvas(aspect=2.0))):
        with pytest.raises(PhotoError, match="more than 0 megapixels; ask for less"):
            lay_out(alpha, rendering)
