"""Reading: every kind of file a photo comes in, and what is said of those that are none."""

import dataclasses
import io
import random
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, UnidentifiedImageError, features
from support import matrix_profile, png, saved, tiff

from birefcli.errors import PhotoError
from birefcli.images import decode, metadata
from birefcli.images.colour import to_srgb8
from birefcli.images.decode import decode_photo, simplejpeg
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.photo import Photo
from birefcli.images.tags.exif import EXIF_IFD, GPS_IFD, ORIENTATION
from birefcli.options import Format

LIMIT = 10_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(height=6, width=9, channels=3):
    """Every pixel and every side different; smooth, so that JPEG keeps it."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [x * 200 / width + 20, y * 200 / height + 20, (x + y) * 90 / (height + width)]
    return np.stack([*bands, 255 - bands[0]][:channels], -1).astype(np.uint8)


def read(data):
    return decode_photo(data, LIMIT)


def refusal(data, limit=LIMIT):
    with pytest.raises(PhotoError) as error:
        decode_photo(data, limit)
    assert "\n" not in str(error.value)
    return str(error.value)


# Orientation


def as_seen(stored, orientation):
    """What EXIF 2.3 says of each tag: where its row 0 and column 0 are seen."""
    return {
        1: stored,  # top, left
        2: np.fliplr(stored),  # top, right
        3: np.rot90(stored, 2),  # bottom, right
        4: np.flipud(stored),  # bottom, left
        5: stored.swapaxes(0, 1),  # left, top
        6: np.rot90(stored, -1),  # right, top
        7: np.rot90(stored, 2).swapaxes(0, 1),  # right, bottom
        8: np.rot90(stored, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_rotated_photo_comes_out_upright(format_, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    stored = picture(16, 24)
    data = saved(stored, format_, exif=exif, **options.get(format_, {}))
    expected = as_seen(stored, orientation).astype(int)
    photo = read(data)
    assert photo.shape == expected.shape[:2]
    assert np.abs(photo.pixels - expected).max() <= (4 if format_ == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_rotated_16_bit_tiff_comes_out_upright_with_its_transparency(orientation, channels):
    stored = picture(4, 6, max(channels, 3)).astype(np.uint16)[:, :, :channels] * 257
    extra = {"extra": 2} if channels == 4 else {}
    photometric = 1 if channels == 1 else 2
    data = tiff(16, photometric, channels, stored, 6, 4, orientation=orientation, **extra)
    photo = read(data)
    colour = stored[:, :, :3] if channels > 1 else np.repeat(stored, 3, 2)
    assert np.array_equal(photo.pixels, as_seen(colour, orientation))
    if channels == 4:
        assert np.array_equal(photo.alpha, as_seen(stored[:, :, 3], orientation))


def test_rotated_transparency_follows_its_photo():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = picture(4, 6, 4)
    photo = read(saved(stored, "PNG", exif=exif))
    assert np.array_equal(photo.alpha, as_seen(stored[:, :, 3], 6))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_impossible_orientation_leaves_the_photo_as_it_is(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    photo = read(saved(picture(), "PNG", exif=exif, dpi=(100, 200)))
    assert np.array_equal(photo.pixels, picture())
    assert photo.dpi == pytest.approx((100, 200), abs=0.1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"nonsense",
        b"II*\0\x08\0\0\0\xff\xff",
        # Orientation as text.
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02a\0\0\0\0\0\0\0",
    ],
)
def test_broken_exif_costs_nothing_but_itself(exif):
    photo = read(saved(picture(16, 24), "JPEG", exif=b"Exif\0\0" + exif, quality=95))
    assert photo.shape == (16, 24)


# Kinds of pixels


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP", "WEBP", "PPM", "GIF", "JPEG2000"])
def test_lossless_colour_is_read_exactly(format_):
    stored = Image.fromarray(picture())
    if format_ == "GIF":
        stored = stored.quantize()
    photo = read(saved(stored, format_, **({"lossless": True} if format_ == "WEBP" else {})))
    assert np.array_equal(photo.pixels, np.asarray(stored.convert("RGB")))
    assert photo.pixels.dtype == np.uint8
    assert photo.alpha is None
    assert photo.icc is None
    assert photo.notes == ()


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_read_progressive_or_not(progressive):
    photo = read(saved(picture(16, 24), "JPEG", quality=100, progressive=progressive))
    assert np.abs(photo.pixels.astype(int) - picture(16, 24)).max() < 30


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_colour(format_):
    grey = picture()[:, :, 0]
    photo = read(saved(grey, format_))
    assert photo.pixels.shape == (6, 9, 3)
    assert np.abs(photo.pixels - grey[:, :, None].astype(int)).max() <= 3
    assert photo.alpha is None


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_grey_with_transparency_keeps_both(format_):
    grey, alpha = picture()[:, :, 0], picture()[:, :, 1]
    photo = read(saved(Image.fromarray(np.dstack([grey, alpha])), format_))
    assert np.array_equal(photo.pixels, np.repeat(grey[:, :, None], 3, 2))
    assert np.array_equal(photo.alpha, alpha)


def test_palette_with_transparency_is_read_as_colour_and_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    photo = read(saved(image, "PNG", transparency=1))
    assert photo.pixels.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert photo.alpha.tolist() == [[255, 0]]


def test_colour_under_a_hole_is_kept_as_stored():
    stored = picture(channels=4)
    stored[2:4, 3:5, 3] = 0
    photo = read(saved(stored, "PNG"))
    assert np.array_equal(photo.pixels, stored[:, :, :3])
    assert np.array_equal(photo.alpha, stored[:, :, 3])


@pytest.mark.parametrize("bits", [8, 16])
def test_transparency_that_hides_nothing_is_none(bits):
    values = np.full((2, 2, 4), 2**bits - 1)
    assert read(png(bits, 6, values, 2, 2)).alpha is None
    assert read(tiff(bits, 2, 4, values, 2, 2, extra=2)).alpha is None


RGB16 = [[1000, 2000, 3000], [65535, 0, 1]]


@pytest.mark.parametrize(
    "data",
    [
        png(16, 2, RGB16, 2, 1),
        tiff(16, 2, 3, RGB16, 2, 1),
        tiff(16, 2, 3, RGB16, 2, 1, order=">"),
        b"P6 2 1 65535\n" + np.array(RGB16, ">u2").tobytes(),
    ],
    ids=["png", "tiff", "tiff big endian", "ppm"],
)
def test_16_bit_colour_is_read_as_16_bits(data):
    photo = read(data)
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.tolist() == [RGB16]
    assert photo.alpha is None


@pytest.mark.parametrize(
    "data",
    [
        png(16, 0, [1000, 65535], 2, 1),
        tiff(16, 1, 1, [1000, 65535], 2, 1),
        tiff(16, 1, 1, [1000, 65535], 2, 1, order=">"),
        tiff(16, 0, 1, [64535, 0], 2, 1),
        b"P5 2 1 65535\n" + np.array([1000, 65535], ">u2").tobytes(),
    ],
    ids=["png", "tiff", "tiff big endian", "tiff where 0 is white", "pgm"],
)
def test_16_bit_grey_is_read_as_16_bits(data):
    photo = read(data)
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.tolist() == [[[1000] * 3, [65535] * 3]]


@pytest.mark.parametrize(
    ("data", "alpha"),
    [
        (png(16, 6, [1000, 2000, 3000, 4000, 9, 8, 7, 65535], 2, 1), [4000, 65535]),
        (tiff(16, 2, 4, [1000, 2000, 3000, 4000, 9, 8, 7, 65535], 2, 1, extra=2), [4000, 65535]),
        (
            png(16, 2, [1000, 2000, 3000, 9, 8, 7], 2, 1,
                before=[(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))]),
            [0, 65535],
        ),
    ],
    ids=["png", "tiff", "png with one transparent colour"],
)  # fmt: skip
def test_16_bit_transparency_is_read_as_16_bits(data, alpha):
    photo = read(data)
    assert photo.pixels.tolist() == [[[1000, 2000, 3000], [9, 8, 7]]]
    assert photo.alpha.dtype == np.uint16
    assert photo.alpha.tolist() == [alpha]


def test_16_bit_grey_with_one_transparent_grey_is_read():
    photo = read(png(16, 0, [1000, 5], 2, 1, before=[(b"tRNS", struct.pack(">H", 1000))]))
    assert photo.alpha.tolist() == [[0, 65535]]


def test_16_bit_grey_and_transparency_are_read():
    photo = read(png(16, 4, [1000, 20000, 65535, 65535], 2, 1))
    assert photo.pixels.tolist() == [[[1000] * 3, [65535] * 3]]
    assert photo.alpha.tolist() == [[20000, 65535]]


@pytest.mark.parametrize("bits", [8, 16])
def test_colour_stored_premultiplied_becomes_straight(bits):
    peak = 2**bits - 1
    half = (peak + 1) // 2
    values = [half // 2, half, 0, half, 1, 2, 3, peak]
    photo = read(tiff(bits, 2, 4, values, 2, 1, extra=1))
    first, second = photo.pixels[0].astype(int)
    assert np.abs(first - [peak // 2, peak, 0]).max() <= 1
    assert second.tolist() == [1, 2, 3]
    assert photo.alpha.tolist() == [[half, peak]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_channel_of_unknown_use_is_no_transparency(bits):
    photo = read(tiff(bits, 2, 4, [1, 2, 3, 0, 4, 5, 6, 9], 2, 1, extra=0))
    assert photo.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert photo.alpha is None


def test_grey_stored_premultiplied_becomes_straight():
    data = tiff(8, 1, 2, [64, 128, 7, 255], 2, 1, extra=1)
    try:
        Image.open(io.BytesIO(data)).close()
    except UnidentifiedImageError:
        pytest.skip("this Pillow knows no such TIFF")
    photo = read(data)
    assert photo.pixels[0, :, 0].tolist() in ([127, 7], [128, 7])
    assert photo.alpha.tolist() == [[128, 255]]


@pytest.mark.parametrize("peak", [1023, 4095])
def test_10_and_12_bit_greys_are_stretched_to_white(peak):
    data = b"P5 3 1 %d\n" % peak + np.array([0, peak, peak // 2], ">u2").tobytes()
    black, white, middle = read(data).pixels[0, :, 0].tolist()
    assert (black, white) == (0, 65535)
    assert abs(middle - 32767) < 40


def test_8_bit_colour_in_separate_planes_is_read():
    photo = read(tiff(8, 2, 3, [1, 4, 2, 5, 3, 6], 2, 1, planar=True))
    assert photo.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_16_bit_colour_in_separate_planes_is_read_and_not_misread():
    photo = read(tiff(16, 2, 3, [1000, 1, 2000, 2, 3000, 3], 2, 1, planar=True))
    assert photo.pixels.tolist() == [[[1000, 2000, 3000], [1, 2, 3]]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused_with_the_way_out(mode):
    assert "save 8 or 16 bits" in refusal(saved(Image.new(mode, (3, 2)), "TIFF"))


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb_and_says_so(format_):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    photo = read(saved(cyan, format_, icc_profile=b"no profile at all"))
    red, green, blue = photo.pixels[8, 8].tolist()
    assert red < 10 < 200 < min(green, blue)
    assert photo.icc is None
    assert photo.notes == ("CMYK converted to sRGB",)


def as_ycck(jpeg):
    """The same JPEG data, declared to be YCCK (Adobe's transform 2) and not CMYK."""
    at = jpeg.index(b"Adobe\0d")
    return jpeg[: at + 11] + b"\x02" + jpeg[at + 12 :]


def test_ycck_jpeg_is_read():
    # Neutral chroma: the three values turn to greys, whatever the fourth does.
    data = as_ycck(saved(Image.new("CMYK", (16, 16), (100, 127, 127, 255)), "JPEG", quality=100))
    photo = read(data)
    assert photo.shape == (16, 16)
    assert photo.notes == ("CMYK converted to sRGB",)
    assert np.ptp(photo.pixels[8, 8].astype(int)) <= 6


def test_lab_becomes_srgb():
    stored = picture(16, 24)
    to_lab = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    lab = ImageCms.profileToProfile(Image.fromarray(stored), *to_lab, outputMode="LAB")
    photo = read(saved(lab, "TIFF"))
    assert photo.icc is None
    assert photo.notes == ("Lab converted to sRGB",)
    assert np.abs(photo.pixels.astype(int) - stored).max() < 30


# Frames and sizes


@pytest.mark.parametrize("format_", ["GIF", "PNG", "TIFF", "WEBP"])
def test_first_frame_of_several_is_taken_and_said(format_):
    first, second = Image.new("RGB", (5, 4), (255, 0, 0)), Image.new("RGB", (5, 4), (0, 0, 255))
    options = {"WEBP": {"lossless": True}}.get(format_, {})
    data = saved(first, format_, save_all=True, append_images=[second], **options)
    photo = read(data)
    assert np.array_equal(photo.pixels, np.full((4, 5, 3), (255, 0, 0)))
    assert photo.notes == ("first of 2 frames or pages",)


def test_first_page_of_a_rotated_16_bit_tiff_stays_16_bit():
    photo = read(tiff(16, 2, 3, RGB16, 2, 1, orientation=3))
    assert photo.pixels.dtype == np.uint16


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_extreme_sizes_are_read(format_, size):
    stored = np.full((*size, 3), 90, np.uint8)
    photo = read(saved(stored, format_))
    assert photo.shape == size
    assert np.abs(photo.pixels.astype(int) - 90).max() < 4


def test_photo_over_the_limit_is_refused_before_it_is_decoded():
    told = refusal(png(8, 2, np.zeros(0), 20_000, 20_000), 100_000_000)
    assert "20000×20000" in told
    assert "100 megapixels" in told
    assert "max_megapixels" in told


def test_photo_at_the_limit_is_read():
    data = saved(np.zeros((10, 10, 3), np.uint8), "PNG")
    assert decode_photo(data, 100).shape == (10, 10)
    assert "limit" in refusal(data, 99)


# What is no photo


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"Dear diary, no photo today.\n", "looks like text"),
        (b"%PDF-1.7\n\0\0", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (bytes(1000), "not an image"),
        (b"\xff\xd8\xff", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
    ],
)
def test_what_is_no_photo_is_named_for_what_it_is(data, told):
    assert told in refusal(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("bits", [8, 16])
def test_truncated_file_is_damaged_and_not_half_a_photo(format_, bits):
    stored = np.random.RandomState(0).randint(0, 256, (40, 50, 3)).astype(np.uint8)
    if bits == 16 and format_ not in ("PNG", "TIFF"):
        pytest.skip("holds 8 bits")
    if bits == 16:
        data = encode(stored.astype(np.uint16) * 257, Format(format_.lower()))
    else:
        data = saved(stored, format_)
    for share in (0.3, 0.6, 0.9):
        refusal(data[: int(len(data) * share)])


def kinds():
    """One small file of each kind that has a decoder of its own."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "maker"
    noisy = np.random.RandomState(0).randint(0, 256, (24, 30, 4)).astype(np.uint8)
    colour = Image.fromarray(noisy[:, :, :3])
    deep = noisy[:, :, :3].astype(np.uint16) * 257
    yield saved(colour, "JPEG", exif=exif, icc_profile=SRGB, dpi=(300, 300))
    yield saved(colour, "JPEG", progressive=True)
    yield saved(colour.convert("CMYK"), "JPEG")
    yield saved(colour, "PNG", exif=exif, icc_profile=SRGB)
    yield saved(colour, "PNG", save_all=True, append_images=[colour.rotate(90)])
    yield saved(colour.quantize(16), "PNG", transparency=3)
    yield saved(noisy, "WEBP", exif=exif)
    yield saved(colour, "TIFF", compression="tiff_deflate", exif=exif)
    yield saved(colour.quantize(), "GIF", save_all=True, append_images=[colour.quantize(4)])
    yield saved(colour, "BMP")
    yield saved(colour, "JPEG2000")
    yield saved(colour, "PPM")
    yield encode(deep, Format.PNG)
    yield encode(deep, Format.TIFF, metadata=Metadata(SRGB, (72, 72)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_an_image_or_a_photo_error_and_nothing_else(seed):
    chance = random.Random(seed)
    told = []
    for data in kinds():
        for _ in range(30):
            harmed = bytearray(data)
            if chance.random() < 0.3:
                del harmed[chance.randrange(len(harmed)) :]
            for _ in range(chance.randrange(6)):
                reach = min(len(harmed), 400 if chance.random() < 0.5 else len(harmed))
                if reach:
                    harmed[chance.randrange(reach)] = chance.randrange(256)
            try:
                photo = decode_photo(bytes(harmed), 1_000_000)
            except PhotoError as error:
                told.append(str(error))
                continue
            assert photo.pixels.dtype in (np.uint8, np.uint16)
            assert photo.pixels.shape == (*photo.shape, 3)
            assert min(photo.shape) > 0
            if photo.alpha is not None:
                assert photo.alpha.shape == photo.shape
                assert photo.alpha.dtype == photo.pixels.dtype
            assert to_srgb8(photo).shape == photo.pixels.shape
    assert len(told) > 100
    assert all(told)


# Resolution and colour profile


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_resolution_turns_with_the_photo(format_, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo = read(saved(picture(16, 24), format_, exif=exif, dpi=(300, 150)))
    expected = (150, 300) if orientation >= 5 else (300, 150)
    assert photo.dpi == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("dpi", [(0, 0), (1, 1)])
def test_a_resolution_that_says_nothing_is_none(dpi):
    assert read(saved(picture(), "JPEG", dpi=dpi)).dpi is None


def test_no_resolution_is_none():
    assert read(saved(picture(), "PNG")).dpi is None


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_colour_profile_is_kept_byte_by_byte(format_):
    assert read(saved(picture(), format_, icc_profile=SRGB)).icc == SRGB


def test_colour_profile_of_a_16_bit_file_is_kept():
    assert (
        read(encode(picture().astype(np.uint16), Format.TIFF, metadata=Metadata(SRGB))).icc == SRGB
    )


@pytest.mark.parametrize("icc", [b"junk", SRGB[:16] + b"GRAY" + SRGB[20:], bytes(200)])
def test_profile_that_is_broken_or_not_for_rgb_is_dropped(icc):
    photo = read(saved(picture(), "TIFF", icc_profile=icc))
    assert photo.icc is None
    assert np.array_equal(photo.pixels, picture())


WIDE = matrix_profile((0.609, 0.311, 0.019), (0.205, 0.626, 0.061), (0.149, 0.063, 0.745))
"""About Adobe RGB (1998)."""


def test_wide_gamut_photo_is_shown_to_the_network_in_srgb_and_kept_as_stored():
    stored = np.full((4, 4, 3), (60, 200, 60), np.uint8)
    photo = read(saved(stored, "PNG", icc_profile=WIDE))
    assert photo.icc == WIDE
    assert np.array_equal(photo.pixels, stored)
    red, green, blue = to_srgb8(photo)[0, 0].tolist()
    assert red < 20, "the green is purer than sRGB has it"
    assert green == pytest.approx(200, abs=6)
    assert blue == pytest.approx(50, abs=20)


def test_wide_gamut_16_bit_photo_is_shown_to_the_network_in_srgb():
    stored = np.full((4, 4, 3), (60, 200, 60), np.uint16) * 257
    deep = read(encode(stored, Format.TIFF, metadata=Metadata(WIDE)))
    flat = read(saved((stored // 257).astype(np.uint8), "PNG", icc_profile=WIDE))
    assert np.array_equal(to_srgb8(deep), to_srgb8(flat))


def test_srgb_photo_is_shown_to_the_network_as_it_is():
    photo = read(saved(picture(), "PNG", icc_profile=SRGB))
    assert np.array_equal(to_srgb8(photo), picture())


def test_profile_whose_tags_are_broken_does_not_lose_the_photo():
    broken = WIDE[:132] + b"\xff" * (len(WIDE) - 132)
    photo = read(saved(picture(), "PNG", icc_profile=broken))
    assert np.array_equal(to_srgb8(photo), picture())


def test_network_sees_grey_where_the_photo_is_transparent():
    pixels = np.zeros((1, 3, 3), np.uint8)
    alpha = np.array([[0, 255, 51]], np.uint8)
    assert to_srgb8(Photo(pixels, alpha))[0, :, 0].tolist() == [128, 0, 102]
    deep = Photo(pixels.astype(np.uint16), alpha.astype(np.uint16) * 257)
    assert np.array_equal(to_srgb8(deep), to_srgb8(Photo(pixels, alpha)))


def test_16_bit_photo_is_shown_to_the_network_in_8_bits():
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16, 1).repeat(3, 2) * 257
    assert np.array_equal(to_srgb8(Photo(pixels)), (pixels // 257).astype(np.uint8))


# EXIF


@pytest.fixture
def exif():
    """What a camera writes: who and when, how, where, and how the photo is to be turned."""
    block = Image.Exif()
    block[ORIENTATION], block[271] = 6, "Maker"
    block[EXIF_IFD] = {36867: "2024:06:01 12:00:00"}
    block[GPS_IFD] = {1: "N"}
    return block


def told(exif):
    block = Image.Exif()
    block.load(exif)
    return block


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_is_kept_but_not_the_orientation(exif, format_):
    kept = told(read(saved(picture(16, 24), format_, exif=exif.tobytes())).exif)
    assert kept[271] == "Maker"
    assert kept.get_ifd(EXIF_IFD)[36867] == "2024:06:01 12:00:00"
    assert kept.get_ifd(GPS_IFD)[1] == "N"
    assert ORIENTATION not in kept


def test_where_a_photo_was_taken_can_be_left_out(exif):
    photo = read(saved(picture(16, 24), "JPEG", exif=exif))
    kept = told(metadata.without_place(Metadata(exif=photo.exif)).exif)
    assert kept[271] == "Maker"
    assert GPS_IFD not in kept
    assert metadata.without_place(Metadata()) == Metadata()


def test_no_exif_is_none():
    assert read(saved(picture(), "PNG")).exif is None
    assert read(encode(picture(), Format.TIFF, metadata=Metadata(dpi=(300, 300)))).exif is None


# JPEG by the library of the extra


@pytest.fixture
def both(monkeypatch):
    """Reads bytes by the extra's decoder and by Pillow alone; an error is its text."""
    pytest.importorskip("simplejpeg", reason="the extra 'fast' is not installed")

    def read(data):
        answers = []
        for library in (simplejpeg, None):
            with monkeypatch.context() as patch:
                patch.setattr(decode, "simplejpeg", library)
                try:
                    answers.append(decode_photo(data, 10**7))
                except PhotoError as error:
                    answers.append(str(error))
        return answers

    return read


TURBO = features.check("libjpeg_turbo")
"""Whether Pillow has the library that the extra has: its versions give the same pixels."""


def alike(quick, plain):
    if TURBO:
        return np.array_equal(quick, plain)
    return np.abs(quick.astype(int) - plain).mean() < 3  # another makes chroma large otherwise


def textured(size):
    noise = np.random.RandomState(1)
    small = Image.fromarray(noise.randint(0, 256, (40, 50, 3)).astype(np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def jpeg(size=(211, 133), mode="RGB", **options):
    out = io.BytesIO()
    textured(size).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[271] = "Maker"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (301, 1), (8, 9), (211, 133)])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 40},
        {"quality": 100, "optimize": True},
        {"progressive": True},
        {"restart_marker_blocks": 1},
        {"dpi": (300, 300), "icc_profile": PROFILE, "exif": EXIF},
    ],
)
def test_both_decoders_give_the_same_photo(both, subsampling, size, options):
    quick, plain = both(jpeg(size, subsampling=subsampling, **options))
    assert alike(quick.pixels, plain.pixels)
    assert dataclasses.replace(quick, pixels=plain.pixels) == plain


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_decoders_turn_a_photo_alike(both, orientation):
    block = Image.Exif()
    block[ORIENTATION] = orientation
    quick, plain = both(jpeg(exif=block.tobytes()))
    assert alike(quick.pixels, plain.pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_that_is_no_colour_photo_is_left_to_pillow(both, mode, monkeypatch):
    monkeypatch.setattr("simplejpeg.decode_jpeg", None)  # must not be called
    quick, plain = both(jpeg(mode=mode))
    assert np.array_equal(quick.pixels, plain.pixels)
    assert quick.notes == plain.notes


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_damaged_jpeg_is_the_same_to_both_decoders(both, data):
    whole = bytearray(jpeg((60, 40)))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    quick, plain = both(bytes(whole[:cut]))
    if TURBO and (isinstance(plain, str) or isinstance(quick, str)):
        assert quick == plain
    elif TURBO:
        assert np.array_equal(quick.pixels, plain.pixels)
