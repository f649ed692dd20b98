"""Products: known values of each, exact at both ends of alpha, and backgrounds of every kind."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms
from support import levels_apart

from birefcli.errors import PhotoError, UsageError
from birefcli.images.colour import to_srgb8
from birefcli.images.encode import encode
from birefcli.images.photo import Photo, to_depth
from birefcli.matting import predictor
from birefcli.matting.matte import Matte
from birefcli.options import Format, Margin, Product, Rendering
from birefcli.products import compose
from birefcli.products.background import Blur, blurred, cover, parse_background
from birefcli.products.compose import BLEED, crop_box, cutout, over, thresholded, trimap
from birefcli.products.render import render_product

LIMIT = 10_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


def flat(height, width, colour, dtype=np.uint8):
    return np.full((height, width, 3), colour, dtype)


def matte(alpha, colour=RED, dtype=np.uint8):
    alpha = np.atleast_2d(np.asarray(alpha, np.uint16))
    return Matte(alpha, flat(*alpha.shape, colour, dtype))


def disc(height, width, soft=1.0):
    """A disc in the middle: alpha of 16 bits."""
    y, x = np.mgrid[0:height, 0:width]
    far = np.hypot(y - height / 2, x - width / 2)
    inside = np.clip((min(height, width) / 3 - far) / soft + 0.5, 0, 1)
    return np.rint(inside * 65535).astype(np.uint16)


# Depth


@pytest.mark.parametrize(
    ("threshold", "bits", "white"),
    [
        *((1, bits, [65535, 65407]) for bits in (1, 8)),  # the second is 254.502 of 255
        (1, 16, [65535]),
        *((0.5, bits, [65535, 65407, 65406, 32768]) for bits in (1, 8, 16)),
        *((1 / 255, bits, [65535, 65407, 65406, 32768, 32767, 129]) for bits in (1, 8)),
    ],
)
def test_a_threshold_compares_alpha_as_the_mask_without_it_shows_it(threshold, bits, white):
    alpha = np.array([[65535, 65407, 65406, 32768, 32767, 129, 128, 0]], np.uint16)
    made = thresholded(alpha, threshold, bits)
    full = {1: True, 8: 255, 16: 65535}[bits]
    assert made.dtype == {1: np.bool_, 8: np.uint8, 16: np.uint16}[bits]
    assert sorted({*made.ravel().tolist()}) == [0, full]
    assert alpha[made == full].tolist() == white


def test_8_bits_become_16_and_back_exactly():
    values = np.arange(256, dtype=np.uint8)
    deep = to_depth(values, 16)
    assert deep.dtype == np.uint16
    assert (deep[0], deep[-1]) == (0, 65535)
    assert np.array_equal(to_depth(deep, 8), values)


def test_every_16_bit_value_becomes_the_nearest_of_8_bits():
    values = np.arange(65536, dtype=np.uint16)
    flat_ = to_depth(values, 8)
    assert flat_.dtype == np.uint8
    assert np.abs(flat_ - values * (255 / 65535)).max() <= 0.5
    assert (flat_[0], flat_[-1]) == (0, 255)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_a_depth_that_is_there_already_changes_nothing(dtype, bits):
    values = np.arange(200, dtype=dtype)
    assert np.array_equal(to_depth(values, bits), values)


# Cutout


@pytest.mark.parametrize("bits", [8, 16])
def test_cutout_is_exact_at_both_ends_of_alpha(bits):
    peak = 2**bits - 1
    rgba = cutout(matte([[65535, 32768, 0]]), bits)
    assert rgba.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert rgba[0, :, 3].tolist() == [peak, 128 if bits == 8 else 32768, 0]
    assert rgba[0, 0].tolist() == [peak, 0, 0, peak]


def test_cutout_has_straight_alpha():
    rgba = cutout(matte([[20_000]], (200, 100, 50)), 8)
    assert rgba[0, 0].tolist() == [200, 100, 50, 78]


def test_cutout_keeps_colour_near_the_subject_and_none_far_from_it():
    alpha = np.zeros((1, 40), np.uint16)
    alpha[0, 0] = 65535
    rgba = cutout(matte(alpha, (9, 9, 9)), 8)
    kept = rgba[0, :, :3].max(1) > 0
    assert kept.tolist() == [True] * (BLEED + 1) + [False] * (39 - BLEED)
    assert rgba[0, 1:, 3].max() == 0


# Composite


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ground", [np.uint8, np.uint16])
def test_composite_is_the_subject_where_opaque_and_the_background_where_transparent(
    bits, dtype, ground
):
    everything = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    subject = np.repeat(everything[None, :, None], 3, 2)
    back = np.repeat(np.arange(np.iinfo(ground).max + 1, dtype=ground)[None, :, None], 3, 2)
    opaque = Matte(np.full(subject.shape[:2], 65535, np.uint16), subject)
    assert np.array_equal(over(opaque, flat(1, 1, BLUE), bits), to_depth(subject, bits))
    clear = Matte(np.zeros(back.shape[:2], np.uint16), flat(1, back.shape[1], RED, dtype))
    assert np.array_equal(over(clear, back, bits), to_depth(back, bits))


@given(
    hnp.arrays(np.uint16, (7, 3)),
    hnp.arrays(np.uint8, (7, 3, 3)),
    hnp.arrays(np.uint8, (7, 3, 3)),
    st.sampled_from([8, 16]),
)
def test_composite_is_the_mixture_rounded_once(alpha, front, back, bits):
    out = over(Matte(alpha, front), back, bits)
    a = alpha[:, :, None] / 65535
    exact = (front / 255 * a + back / 255 * (1 - a)) * (2**bits - 1)
    assert np.abs(out - exact).max() <= 0.5 + (1e-4 if bits == 8 else 0.02)


@pytest.mark.parametrize("shape", [(1, 70_000), (70_000, 1), (1, 1)])
@pytest.mark.parametrize("bits", [8, 16])
def test_cutout_of_extreme_size_is_put_together(shape, bits):
    alpha = np.full(shape, 65535, np.uint16)
    alpha.reshape(-1)[40:] = 0
    pixels = np.random.RandomState(0).randint(1, 256, (*shape, 3)).astype(np.uint8)
    rgba = cutout(Matte(alpha, pixels), bits)
    assert np.array_equal(rgba[..., 3], to_depth(alpha, bits))
    seen = rgba.reshape(-1, 4)[:, :3]
    assert np.array_equal(seen[:48], to_depth(pixels, bits).reshape(-1, 3)[:48])
    assert not seen[48:].any()


def test_large_composite_is_put_together_without_seams(monkeypatch):
    alpha, front = disc(50, 30, 9), np.random.RandomState(0).randint(0, 256, (50, 30, 3))
    back = np.random.RandomState(1).randint(0, 256, (50, 30, 3)).astype(np.uint8)
    whole = over(Matte(alpha, front.astype(np.uint8)), back, 8)
    monkeypatch.setattr("birefcli.images.photo.BLOCK", 7)
    assert np.array_equal(over(Matte(alpha, front.astype(np.uint8)), back, 8), whole)


def test_large_cutout_and_its_file_are_put_together_without_seams(monkeypatch):
    noise = np.random.RandomState(0)
    own = noise.randint(0, 65536, (50, 30)).astype(np.uint16)
    photo = Photo(noise.randint(0, 65536, (50, 30, 3)).astype(np.uint16), own, SRGB)

    def made():
        alpha = predictor._times(predictor._whole(torch.linspace(0, 1, 1500).view(50, 30)), own)
        pixels = [cutout(Matte(alpha, photo.pixels), bits) for bits in (8, 16)]
        return [to_srgb8(photo), *pixels, *(encode(p, Format.PNG) for p in pixels)]

    whole = made()
    monkeypatch.setattr("birefcli.images.photo.BLOCK", 7)
    for one, other in zip(whole, made(), strict=True):
        assert np.array_equal(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8))


def test_composite_of_a_photo_of_one_row_takes_the_whole_background():
    back = np.arange(15, dtype=np.uint8).reshape(1, 5, 3)
    assert np.array_equal(over(matte([[0] * 5]), back, 8), back)


# Trimap


def test_trimap_is_sure_inside_sure_outside_and_unsure_between():
    alpha = disc(300, 400)
    found = trimap(Matte(alpha, flat(300, 400, RED)))
    assert set(np.unique(found)) == {0, 128, 255}
    assert (alpha[found == 255] == 65535).all()
    assert (alpha[found == 0] == 0).all()
    # 1% of the longer side each way from the edge.
    edge = cv2.morphologyEx((alpha > 32767).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    assert (found[edge > 0] == 128).all()
    middle = found[150]
    assert 2 * 7 <= (middle == 128).sum() <= 2 * 10


def test_trimap_calls_all_soft_alpha_unsure():
    alpha = disc(200, 200, 40)
    found = trimap(Matte(alpha, flat(200, 200, RED)))
    assert (found[(alpha > 3000) & (alpha < 62000)] == 128).all()


@pytest.mark.parametrize(("level", "sure"), [(0, 0), (65535, 255), (30_000, 128)])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (60, 80)])
def test_trimap_of_an_even_matte_is_even_up_to_the_border(size, level, sure):
    even = matte(np.full(size, level, np.uint16))
    assert np.array_equal(trimap(even), np.full(size, sure, np.uint8))


def test_trimap_widens_with_the_photo():
    def unsure(side):
        return (trimap(Matte(disc(side, side), flat(side, side, RED))) == 128).mean()

    assert unsure(800) == pytest.approx(unsure(200), rel=0.25)


def by_dilation(alpha):
    """The unknown band as morphology has it, at a cost that grows with its radius squared."""
    radius = max(1, round(0.01 * max(alpha.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    sure = cv2.erode((alpha >= 250 * 257).astype(np.uint8), disc)
    possible = cv2.dilate((alpha > 5 * 257).astype(np.uint8), disc)
    return np.where(sure > 0, 255, np.where(possible > 0, 128, 0))


@pytest.mark.parametrize("size", [(90, 70), (300, 500), (800, 600), (40, 1500)])
def test_trimap_is_that_of_a_dilation_but_for_single_pixels_of_its_border(size):
    alpha = disc(*size, 3)
    found = trimap(Matte(alpha, flat(*size, RED)))
    assert (found != by_dilation(alpha)).mean() < 0.002


@pytest.mark.parametrize("size", [(120, 400), (400, 120), (1, 500), (500, 1)])
def test_trimap_hangs_on_no_strip(size, monkeypatch):
    noise = np.random.RandomState(0).rand(*size)
    alpha = Matte((65535 * (noise > 0.995)).astype(np.uint16), flat(*size, RED))
    whole = trimap(alpha)
    monkeypatch.setattr(compose, "STRIP", 7)
    assert np.array_equal(trimap(alpha), whole)


@pytest.mark.parametrize("size", [(1, 400_000), (400_000, 1), (3, 200_000)])
def test_trimap_of_a_thin_photo_has_its_whole_band(size):
    level = np.zeros(size, np.uint16)
    level.flat[0] = 65535
    found = trimap(Matte(level, flat(*size, RED)))
    line = found[0] if size[1] > size[0] else found[:, 0]
    assert (line == 128).sum() == max(size) // 100 + 1
    assert not (found == 255).any()


# Crop


def shape(box):
    rows, columns = box
    return rows.start, rows.stop, columns.start, columns.stop


def with_subject(rows, columns, height=100, width=200, level=65535):
    alpha = np.zeros((height, width), np.uint16)
    alpha[rows, columns] = level
    return alpha


@pytest.mark.parametrize(
    ("margin", "box"),
    [
        (Margin(), (30, 50, 60, 100)),
        (Margin(5), (25, 55, 55, 105)),
        (Margin(0.1, relative=True), (26, 54, 56, 104)),  # 10% of 40 pixels
        (Margin(40), (0, 90, 20, 140)),
        (Margin(1000), (0, 100, 0, 200)),
    ],
)
def test_crop_box_holds_the_subject_and_its_margin(margin, box):
    alpha = with_subject(slice(30, 50), slice(60, 100))
    assert shape(crop_box(alpha, margin)) == box


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 1), slice(0, 1)), (slice(99, 100), slice(199, 200)), (slice(0, 100), slice(5, 6))],
)
def test_crop_box_at_the_border_of_the_photo(rows, columns):
    found = crop_box(with_subject(rows, columns), Margin())
    assert shape(found) == (rows.start, rows.stop, columns.start, columns.stop)


@pytest.mark.parametrize("level", [0, 1000])
def test_crop_box_is_the_whole_photo_where_there_is_no_subject(level):
    alpha = with_subject(slice(3, 4), slice(3, 4), level=level)
    assert shape(crop_box(alpha, Margin(5))) == (0, 100, 0, 200)


def test_crop_box_overlooks_faint_noise_far_from_the_subject():
    alpha = with_subject(slice(30, 50), slice(60, 100))
    alpha[0, 0] = 600
    assert shape(crop_box(alpha, Margin())) == (30, 50, 60, 100)


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)),
       st.integers(0, 20))  # fmt: skip
def test_crop_never_cuts_the_subject_or_leaves_the_photo(seen, room):
    rows, columns = crop_box(seen.astype(np.uint16) * 65535, Margin(room))
    outside = np.ones_like(seen)
    outside[rows, columns] = False
    assert not seen[outside].any()
    assert 0 <= rows.start < rows.stop <= seen.shape[0]
    assert 0 <= columns.start < columns.stop <= seen.shape[1]


# Backgrounds


def ground(text, size=(4, 6), relative="a.jpg", icc=None):
    photo = Photo(flat(*size, (10, 20, 30)), icc=icc)
    return parse_background(str(text), LIMIT).pixels(photo, matte(np.zeros(size)), Path(relative))


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("Red", RED),
        ("green", GREEN),
        ("#00f", BLUE),
        ("#0000ff", BLUE),
        ("#0000ffff", BLUE),
        ("rgb(0, 128, 0)", GREEN),
        ("rgb(0%,0%,100%)", BLUE),
        ("rgb(0,0,999)", BLUE),
        ("hsl(240,500%,50%)", BLUE),
        ("hsl(240, 100%, 50%)", BLUE),
    ],
)
def test_css_colours_are_known(text, colour):
    assert ground(text).reshape(-1, 3).tolist() == [list(colour)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no-such-colour", "no CSS colour, image"),
        ("#12345", "no CSS colour, image"),
        ("rgba(0,0,0,128)", "opaque"),
        ("#ff000080", "opaque"),
        ("blur:", None),
        ("blur:0", "above 0"),
        ("blur:-3", "above 0"),
        ("blur:nan", "above 0"),
        ("blur:inf", "above 0"),
        ("blur:wide", "above 0"),
        ("x" * 5000, "no CSS colour, image"),
    ],
)
def test_what_is_no_background_is_refused_by_name(text, told):
    if told is None:
        assert isinstance(parse_background(text, LIMIT), Blur)
        return
    with pytest.raises(UsageError, match=told) as error:
        parse_background(text, LIMIT)
    assert str(error.value).startswith(f"background={text}: ")


def test_picture_as_background_fills_the_photo(tmp_path):
    Image.fromarray(flat(3, 3, GREEN)).save(tmp_path / "g.png")
    out = ground(tmp_path / "g.png", (5, 9))
    assert out.shape == (5, 9, 3)
    assert np.abs(out.astype(int) - GREEN).max() <= 1


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_broken_picture_as_background_is_refused_before_the_run(tmp_path, content):
    (tmp_path / "g.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"g\.png"):
        parse_background(str(tmp_path / "g.png"), LIMIT)


@pytest.fixture
def grounds(tmp_path):
    """A folder of backgrounds: a.png green, sub/a.png blue, b.JPG red, c.txt."""
    (tmp_path / "sub").mkdir()
    Image.fromarray(flat(4, 4, GREEN)).save(tmp_path / "a.png")
    Image.fromarray(flat(4, 4, BLUE)).save(tmp_path / "sub" / "a.png")
    Image.fromarray(flat(4, 4, RED)).save(tmp_path / "b.JPG", quality=100)
    (tmp_path / "c.txt").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize(
    ("relative", "colour"),
    [
        ("a.jpg", GREEN),
        ("a.tiff", GREEN),
        ("sub/a.jpg", BLUE),
        ("other/a.jpg", GREEN),
        ("b.png", RED),
    ],
)
def test_each_photo_finds_its_background_in_a_folder(grounds, relative, colour):
    out = ground(grounds, relative=relative)
    assert np.abs(out.astype(int) - colour).max() <= 2


@pytest.mark.parametrize("relative", ["c.jpg", "A.jpg", "aa.jpg"])
def test_photo_without_a_background_in_the_folder_fails_alone(grounds, relative):
    with pytest.raises(PhotoError, match="no background called"):
        ground(grounds, relative=relative)


def test_broken_background_in_the_folder_is_named(grounds):
    (grounds / "d.png").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=r"d\.png: not an image"):
        ground(grounds, relative="d.jpg")


def test_background_is_converted_to_the_photos_colour_space():
    swapped = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    anonymous = swapped.replace(b"s\0R\0G\0B", b"n\0o\0n\0e").replace(b"sRGB", b"none")
    red, green, blue = ground("red", icc=anonymous)[0, 0].tolist()
    assert green > 200 > 60 > red, "in this profile red and green have changed places"
    assert blue < 60
    assert ground("red", icc=SRGB)[0, 0].tolist() == list(RED)


def test_background_over_the_limit_is_refused(grounds):
    with pytest.raises(UsageError, match="max_megapixels"):
        parse_background(str(grounds / "a.png"), 15)


# Scaling of backgrounds


def test_cover_keeps_the_middle_and_the_proportions():
    # Three vertical stripes: green, red, blue; a square photo sees the middle one.
    wide = np.concatenate([flat(30, 30, c) for c in (GREEN, RED, BLUE)], 1)
    assert np.abs(cover(wide, (30, 30)).astype(int) - RED).max() <= 8
    tall = wide.swapaxes(0, 1)
    assert np.abs(cover(tall, (60, 60)).astype(int)[4:-4] - RED).max() <= 8


def test_cover_of_the_right_size_changes_nothing():
    picture = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
    assert np.array_equal(cover(picture, (20, 30)), picture)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400), st.integers(1, 400))
def test_cover_fills_any_size_from_any_size(height, width, to_height, to_width):
    out = cover(flat(height, width, GREEN), (to_height, to_width))
    assert out.shape == (to_height, to_width, 3)
    # A mean of equal values may be rounded, by instructions of this processor or of another.
    assert levels_apart(out, flat(to_height, to_width, GREEN)) <= 1


@pytest.mark.parametrize(
    ("size", "to"), [((164, 176), (190, 381)), ((378, 248), (140, 398)), ((388, 107), (171, 216))]
)
def test_cover_survives_sizes_whose_rounding_leaves_the_picture(size, to):
    assert cover(flat(*size, GREEN), to).shape == (*to, 3)


# Blur


def portrait(alpha, colour, behind, dtype=np.uint8):
    """A photo of one colour before another, and its matte."""
    share = alpha[:, :, None] / 65535
    photo = np.rint(np.array(colour) * share + np.array(behind) * (1 - share)).astype(dtype)
    return photo, Matte(alpha, flat(*alpha.shape, colour, dtype))


def unseen(photo, level=0):
    """A matte of one level everywhere."""
    return Matte(np.full(photo.shape[:2], level, np.uint16), photo)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("radius", [0, 0.1, 3, 24, 500])
@pytest.mark.parametrize("soft", [1, 40])
def test_blurred_background_holds_nothing_of_the_subject(dtype, radius, soft):
    peak = np.iinfo(dtype).max
    alpha = disc(120, 160, soft)
    photo, matted = portrait(alpha, (peak, 0, 0), (0, 0, peak // 2), dtype)
    out = blurred(photo, matted, radius)
    assert out.dtype == dtype
    assert out.shape == photo.shape
    seen = (1 - alpha / 65535) * out[:, :, 0]
    assert seen.max() <= peak * 0.01, "the subject is red"
    behind = alpha < 60_000
    assert np.abs(out[behind][:, 2] / peak - 0.5).max() < 0.03


def test_blurred_background_is_smooth_and_keeps_its_brightness():
    noise = np.random.RandomState(0).randint(0, 256, (200, 300, 3)).astype(np.uint8)
    out = blurred(noise, unseen(noise), 20)
    assert out.std() < 0.15 * noise.std()
    assert out.mean() == pytest.approx(noise.mean(), abs=2)


def test_a_larger_radius_blurs_more():
    noise = np.random.RandomState(0).randint(0, 256, (200, 300, 3)).astype(np.uint8)
    contrast = [blurred(noise, unseen(noise), radius).std() for radius in (1, 4, 16, 64)]
    assert contrast == sorted(contrast, reverse=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
@pytest.mark.parametrize("level", [0, 30_000, 65535])
def test_blur_of_extreme_photos_has_no_wild_colours(size, level):
    photo = flat(*size, (100, 100, 100))
    out = blurred(photo, unseen(photo, level), 0)
    assert out.shape == photo.shape
    if level < 65535:
        assert np.abs(out.astype(int) - 100).max() <= 1


def test_blur_by_name_uses_the_photo_behind_the_subject():
    alpha = disc(60, 80)
    photo, matted = portrait(alpha, RED, BLUE)
    out = parse_background("blur:5", LIMIT).pixels(Photo(photo), matted, Path("a.jpg"))
    assert np.abs(out[alpha < 60_000].astype(int) - BLUE).max() <= 3


# All of them


def test_every_product_has_the_photos_size_and_its_own_channels(tmp_path):
    alpha = disc(30, 40, 5)
    photo = Photo(flat(30, 40, (10, 20, 30)))
    white = parse_background("white", LIMIT)
    channels = {"cutout": 4, "mask": 1, "composite": 3, "foreground": 3, "trimap": 1}
    for kind in Product:
        for bits, dtype in ((8, np.uint8), (16, np.uint16)):
            how = Rendering(bits=bits)
            out = render_product(kind, photo, Matte(alpha, photo.pixels), how, white, tmp_path)
            assert out.shape[:2] == (30, 40)
            assert (1 if out.ndim == 2 else out.shape[2]) == channels[kind.value]
            assert out.dtype == dtype


@pytest.mark.parametrize("bits", [8, 16])
def test_mask_is_exact_at_both_ends(bits, tmp_path):
    photo = Photo(flat(1, 3, RED))
    out = render_product(
        Product.MASK, photo, matte([[0, 32768, 65535]]), Rendering(bits=bits), None, tmp_path
    )
    assert out.tolist() == [[0, 128, 255] if bits == 8 else [0, 32768, 65535]]


def test_coverage_is_the_share_that_the_subject_covers():
    assert matte([[0, 65535, 65535, 0]]).coverage == 0.5
    assert matte(np.full((500, 500), 65535)).coverage == 1.0


def test_one_background_has_one_identity_however_it_is_written():
    def identity(text):
        return parse_background(text, 10**6).identity(Path("a.png"))

    assert len({identity(text) for text in ("white", "#fff", "#FFFFFF", "rgb(255, 255, 255)")}) == 1
    assert identity("blur:5") == identity("blur:5.0")
    others = {identity(text) for text in ("white", "black", "blur", "blur:5", "blur:6")}
    assert len(others) == 5
