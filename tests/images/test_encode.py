"""Writing: what is encoded is what others read back, pixel by pixel."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms

from birefcli.errors import PhotoError
from birefcli.images import deflate
from birefcli.images import encode as encoder
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.tags.exif import EXIF_IFD, GPS_IFD
from birefcli.options import Compress, Format
from birefcli.system import cpu

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = [Format.PNG, Format.WEBP, Format.TIFF]


def pictures(depths=(np.uint8, np.uint16)):
    """Grey, RGB and RGBA of small, odd and extreme shapes."""
    sides = st.tuples(st.integers(1, 40), st.integers(1, 40))
    shapes = st.builds(lambda s, c: s if c == 1 else (*s, c), sides, st.sampled_from([1, 3, 4]))
    return st.sampled_from(depths).flatmap(
        lambda depth: hnp.arrays(depth, shapes, elements=hnp.from_dtype(np.dtype(depth)))
    )


def fits(pixels, format_):
    return pixels.dtype == np.uint8 or 16 in format_.bits


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def by_opencv(data):
    """Straight from OpenCV: grey, RGB or RGBA."""
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read.ndim == 3:
        read = cv2.cvtColor(read, cv2.COLOR_BGR2RGB if read.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return read


def random_pixels(height, width, channels=3, depth=np.uint8):
    shape = (height, width) if channels == 1 else (height, width, channels)
    peak = np.iinfo(depth).max
    return np.random.RandomState(0).randint(0, peak + 1, shape).astype(depth)


@pytest.fixture(params=["zlib", "isal.isal_zlib"])
def library(request, monkeypatch):
    """Each library that may do the fast level."""
    found = pytest.importorskip(request.param, reason="the extra 'fast' is not installed")
    monkeypatch.setattr(deflate, "FASTEST", found)
    return found


# One fixture for all examples is right: nothing of it changes.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


# Pixels


@given(pictures([np.uint8]), st.sampled_from(LOSSLESS), st.sampled_from(Compress))
def test_pillow_reads_the_8_bit_pixels_that_were_written(pixels, format_, compress):
    read = by_pillow(encode(pixels, format_, compress))
    if format_ is Format.WEBP and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, 2)  # it knows no grey
    elif format_ is Format.WEBP and pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        read = read.convert("RGBA")  # it leaves out a transparency that hides nothing
    assert np.array_equal(np.asarray(read), pixels)


@given(pictures(), st.sampled_from([Format.PNG, Format.TIFF]), st.sampled_from(Compress))
def test_opencv_reads_the_pixels_that_were_written(pixels, format_, compress):
    if format_ is Format.TIFF and pixels.dtype == np.uint8 and pixels.shape[2:] == (4,):
        pixels = pixels[:, :, :3]  # OpenCV multiplies such colours by alpha
    read = by_opencv(encode(pixels, format_, compress))
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


@given(pictures(), st.sampled_from(LOSSLESS), st.sampled_from(Compress))
def test_our_own_reader_reads_what_was_written(pixels, format_, compress):
    if not fits(pixels, format_):
        pixels = (pixels >> 8).astype(np.uint8)
    photo = decode_photo(encode(pixels, format_, compress), 10_000)
    colour = pixels[:, :, None].repeat(3, 2) if pixels.ndim == 2 else pixels[:, :, :3]
    assert photo.pixels.dtype == pixels.dtype
    assert np.array_equal(photo.pixels, colour)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        peak = np.iinfo(pixels.dtype).max
        alpha = np.full(photo.shape, peak) if photo.alpha is None else photo.alpha
        assert np.array_equal(alpha, pixels[:, :, 3])
    else:
        assert photo.alpha is None


def test_opencv_reads_webp():
    pixels = random_pixels(30, 40, 4)
    assert np.array_equal(by_opencv(encode(pixels, Format.WEBP)), pixels)


@pytest.mark.parametrize("compress", Compress)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_near_what_was_written(compress, channels):
    y, x = np.mgrid[0:40, 0:60]
    grey = (x * 2 + y * 3).astype(np.uint8)
    pixels = grey if channels == 1 else np.stack([grey, 255 - grey, grey // 2], -1)
    data = encode(pixels, Format.JPG, compress)
    for read in (np.asarray(by_pillow(data)), by_opencv(data)):
        assert read.shape == pixels.shape
        assert np.abs(read.astype(int) - pixels).max() <= 12


def test_jpeg_keeps_colour_at_full_resolution():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)
    pixels[:, 1::2] = (0, 0, 255)
    read = np.asarray(by_pillow(encode(pixels, Format.JPG))).astype(int)
    assert np.abs(read - pixels).max() < 60


@pytest.mark.parametrize("format_", Format)
def test_more_effort_makes_smaller_files(format_):
    y, x = np.mgrid[0:200, 0:300]
    noise = random_pixels(200, 300) % 4
    pixels = (np.stack([x, y, x + y], -1) // 3 + noise).astype(np.uint8)
    fast, balanced, small = (len(encode(pixels, format_, compress)) for compress in Compress)
    assert small < fast
    assert balanced <= 1.02 * fast


@pytest.mark.parametrize("format_", LOSSLESS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_extreme_sizes_are_written(format_, size, channels):
    pixels = random_pixels(*size, channels)
    photo = decode_photo(encode(pixels, format_), 10_000)
    assert np.array_equal(photo.pixels, pixels[..., None].repeat(3, 2)
                          if channels == 1 else pixels[:, :, :3])  # fmt: skip


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiff_of_many_strips_is_read_back(depth):
    pixels = random_pixels(700, 900, 4, depth)
    data = encode(pixels, Format.TIFF)
    with Image.open(io.BytesIO(data)) as image:
        assert len(image.tag_v2[273]) > 1
    photo = decode_photo(data, 1_000_000)
    assert np.array_equal(photo.pixels, pixels[:, :, :3])
    assert np.array_equal(photo.alpha, pixels[:, :, 3])


def test_pixels_that_are_not_contiguous_are_written_right():
    pixels = random_pixels(40, 60, 4)[::2, ::-3]
    for format_ in LOSSLESS:
        assert np.array_equal(np.asarray(by_pillow(encode(pixels, format_))), pixels)


def test_colour_under_full_transparency_is_kept():
    pixels = random_pixels(8, 8, 4)
    pixels[:, :, 3] = 0
    for format_ in LOSSLESS:
        assert np.array_equal(np.asarray(by_pillow(encode(pixels, format_))), pixels)


# In strips, by either library


@pytest.mark.parametrize("format_", [Format.PNG, Format.TIFF])
@shared
@given(pixels=pictures(), compress=st.sampled_from(Compress), strip=st.integers(1, 4000))
def test_any_strips_by_either_library_are_read_by_pillow_and_opencv(
    library, monkeypatch, format_, pixels, compress, strip
):
    monkeypatch.setattr(encoder, "STRIP", strip)
    data = encode(pixels, format_, compress)
    if pixels.dtype == np.uint8:
        assert np.array_equal(np.asarray(by_pillow(data)), pixels)
    if format_ is Format.TIFF and pixels.dtype == np.uint8 and pixels.shape[2:] == (4,):
        return  # OpenCV multiplies such colours by alpha
    assert np.array_equal(by_opencv(data), pixels)


@shared
@given(parts=st.lists(st.binary(max_size=300)), level=st.integers(1, 9))
def test_packed_parts_are_one_stream(library, parts, level):
    packed = [deflate.part(part, level) for part in parts]
    stream = deflate.HEAD + b"".join(part.packed for part in packed) + deflate.tail(packed)
    assert zlib.decompress(stream) == b"".join(parts)
    assert zlib.decompress(deflate.whole(b"".join(parts), level)) == b"".join(parts)


def test_adler_of_large_parts_is_zlibs(library):
    large = bytes([255]) * 10_000_000
    packed = [deflate.part(large, 1), deflate.part(b"", 1), deflate.part(large[:-3], 1)]
    assert deflate.tail(packed)[-4:] == zlib.adler32(large + large[:-3]).to_bytes(4, "big")


def test_a_large_picture_is_packed_in_strips_that_change_nothing(library):
    pixels = random_pixels(700, 900, 4) // 16
    data = encode(pixels, Format.PNG)
    assert data.count(b"IDAT") > 3
    assert np.array_equal(np.asarray(by_pillow(data)), pixels)


def test_isal_is_used_where_it_is_installed():
    isal = pytest.importorskip("isal.isal_zlib", reason="the extra 'fast' is not installed")
    assert deflate.FASTEST is isal


def test_work_is_spread_in_order_and_its_errors_come_back():
    assert cpu.parallel_map(lambda x: x * x, range(50)) == [x * x for x in range(50)]
    assert cpu.parallel_map(lambda x: x, []) == []
    with pytest.raises(ZeroDivisionError):
        cpu.parallel_map(lambda x: 1 // x, [1, 0])


# What a format cannot hold


@pytest.mark.parametrize("format_", [Format.WEBP, Format.JPG])
def test_16_bits_are_refused_where_the_format_has_8(format_):
    with pytest.raises(ValueError, match="8 bits"):
        encode(random_pixels(4, 4, 3, np.uint16), format_)


def test_transparency_in_a_jpeg_is_refused():
    with pytest.raises(ValueError, match="transparency"):
        encode(random_pixels(4, 4, 4), Format.JPG)


@pytest.mark.parametrize(
    ("format_", "longest"), [(Format.WEBP, 16383), (Format.JPG, 65500)], ids=["webp", "jpg"]
)
def test_picture_too_long_for_its_format_fails_with_the_way_out(format_, longest):
    encode(np.zeros((1, longest), np.uint8), format_)
    for size in ((1, longest + 1), (longest + 1, 1)):
        with pytest.raises(PhotoError, match="format=png"):
            encode(np.zeros(size, np.uint8), format_)


# What is said beside the pixels


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_profile_is_kept(format_, depth):
    pixels = random_pixels(5, 7, 3, depth)
    if not fits(pixels, format_):
        pytest.skip("holds 8 bits")
    read = by_pillow(encode(pixels, format_, metadata=Metadata(SRGB)))
    assert read.info["icc_profile"] == SRGB


@pytest.mark.parametrize("format_", Format)
def test_a_large_colour_profile_is_kept(format_):
    large = SRGB + bytes(200_000)
    assert by_pillow(encode(random_pixels(5, 7), format_, metadata=Metadata(large))).info[
        "icc_profile"
    ] == large  # fmt: skip


@pytest.mark.parametrize("format_", Format)
def test_grey_pictures_have_no_colour_profile(format_):
    read = by_pillow(encode(random_pixels(5, 7, 1), format_, metadata=Metadata(SRGB)))
    assert "icc_profile" not in read.info


@pytest.mark.parametrize("format_", [Format.PNG, Format.TIFF, Format.JPG])
@pytest.mark.parametrize("dpi", [(300.0, 150.0), (72.0, 72.0), (1200.5, 2400.0)])
def test_resolution_is_kept(format_, dpi):
    data = encode(random_pixels(5, 7), format_, metadata=Metadata(dpi=dpi))
    assert decode_photo(data, 100).dpi == pytest.approx(dpi, abs=0.6)


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("dpi", [(1.1, 1.1), (99_999.0, 99_999.0)])
def test_any_resolution_that_a_photo_can_have_can_be_written(format_, dpi):
    # The reader lets through what is above 1 and below 100,000.
    data = encode(random_pixels(5, 7), format_, metadata=Metadata(dpi=dpi))
    assert by_pillow(data).size == (7, 5)


def test_profile_and_resolution_do_not_disturb_the_pixels():
    pixels = random_pixels(30, 40, 4, np.uint16)
    for format_ in (Format.PNG, Format.TIFF):
        plain = decode_photo(encode(pixels, format_), 10_000)
        noted = decode_photo(encode(pixels, format_, metadata=Metadata(SRGB, (300, 300))), 10_000)
        assert np.array_equal(plain.pixels, noted.pixels)
        assert np.array_equal(plain.alpha, noted.alpha)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiff_says_that_its_alpha_is_straight(depth):
    with Image.open(io.BytesIO(encode(random_pixels(4, 4, 4, depth), Format.TIFF))) as image:
        assert image.tag_v2[338] == (2,)
    with Image.open(io.BytesIO(encode(random_pixels(4, 4, 3, depth), Format.TIFF))) as image:
        assert 338 not in image.tag_v2


def test_tiff_directory_is_sorted_and_in_place():
    data = encode(random_pixels(9, 5, 4), Format.TIFF, metadata=Metadata(SRGB, (300, 300)))
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    tags = [struct.unpack("<H", data[start + 2 + 12 * i :][:2])[0] for i in range(count)]
    assert start % 2 == 0
    assert tags == sorted(set(tags))


def test_png_chunks_are_whole_and_in_the_order_that_the_format_wants():
    data = encode(random_pixels(9, 5), Format.PNG, metadata=Metadata(SRGB, (300, 300)))
    at, names = 8, []
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body, check = data[at + 8 : at + 8 + length], data[at + 8 + length :][:4]
        assert struct.unpack(">I", check)[0] == zlib.crc32(name + body)
        names.append(name)
        at += 12 + length
    assert names[0] == b"IHDR"
    assert names[-2:] == [b"IDAT", b"IEND"]
    assert {b"iCCP", b"pHYs"} < set(names)


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("channels", [1, 3])
def test_exif_and_record_are_kept_and_do_not_disturb_the_pixels(format_, channels):
    block = Image.Exif()
    block[271] = "Maker"
    block[EXIF_IFD] = {36867: "2024:06:01 12:00:00", 33434: 0.01}
    block[GPS_IFD] = {1: "N", 2: (52.0, 30.0, 1.5)}
    exif = block.tobytes().removeprefix(b"Exif\0\0")
    pixels = random_pixels(9, 7, channels)
    data = encode(pixels, format_, metadata=Metadata(SRGB, (300, 300), exif, "made by a test"))
    plain = encode(pixels, format_)
    assert b"made by a test" in data
    photo = decode_photo(data, 100)
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[271] == "Maker"
    assert kept.get_ifd(EXIF_IFD)[36867] == "2024:06:01 12:00:00"
    assert kept.get_ifd(GPS_IFD)[2] == (52.0, 30.0, 1.5)
    assert np.array_equal(photo.pixels, decode_photo(plain, 100).pixels)


def test_an_exif_block_too_large_for_a_jpeg_is_left_out():
    block = Image.Exif()
    block[271] = "M" * 70_000
    exif = block.tobytes().removeprefix(b"Exif\0\0")
    photo = decode_photo(encode(random_pixels(9, 7), Format.JPG, metadata=Metadata(exif=exif)), 100)
    assert photo.exif is None
