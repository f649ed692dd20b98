"""Colours, by whatever a file says them: LittleCMS is the judge of what is kept and shown."""

import io
import struct
import zlib
from itertools import product as every

import cv2
import numpy as np
import pytest
import support
from PIL import Image, ImageCms, TiffImagePlugin
from support import (
    curve_of_power,
    grey_profile,
    icc_profile,
    levels_apart,
    matrix_profile,
    png,
    s15,
)

from birefcli.images import colour
from birefcli.images.colour import from_srgb, to_srgb8
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.photo import Photo, to_depth
from birefcli.images.profiles import profile
from birefcli.images.profiles.cicp import Cicp
from birefcli.matting.matte import Matte
from birefcli.options import Format, Product, Rendering
from birefcli.products.background import parse_background
from birefcli.products.render import encode_product, render_product

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
AVIF = ".avif" in Image.registered_extensions()


def para(kind, *numbers):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(s15, numbers))


# As published, adapted to D50.
BT709_XYZ = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
P3_XYZ = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_XYZ = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
BT2020_XYZ = (
    (0.67348, 0.27904, -0.00193),
    (0.16566, 0.67535, 0.02998),
    (0.12505, 0.04561, 0.79685),
)
SRGB_CURVE = para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = para(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
P3 = matrix_profile(*P3_XYZ, SRGB_CURVE)
ADOBE = matrix_profile(*ADOBE_XYZ, 563 / 256)
BT2020 = matrix_profile(*BT2020_XYZ, BT709_CURVE)
LINEAR = matrix_profile(*BT709_XYZ, 1.0)
GAMMA_18 = matrix_profile(*BT709_XYZ, 1.8)
P3_CHRM = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)

CUBE = np.array(list(every((0, 51, 102, 153, 204, 255), repeat=3)), np.uint8).reshape(12, 18, 3)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
EVENLY = np.full((16, 16, 3), (200, 90, 40), np.uint8)


def opened(icc):
    return ImageCms.getOpenProfile(io.BytesIO(icc))


def seen(pixels, icc, exact=True):
    """8-bit sRGB of 8-bit pixels by LittleCMS; ``exact``: without its own tables of 33 nodes."""
    exact = ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.NONE
    image = Image.fromarray(pixels)
    shown = ImageCms.profileToProfile(
        image, opened(icc), ImageCms.createProfile("sRGB"), outputMode="RGB", flags=exact
    )
    return np.asarray(shown)


def kept_and_seen(photo):
    """A photo as LittleCMS shows it by its own profile."""
    pixels = to_depth(photo.pixels, 8)
    return pixels if photo.icc is None else seen(pixels, photo.icc)


def read(data):
    return decode_photo(data, 1 << 20)


def saved(pixels, format_, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def png_of(pixels, *chunks):
    """A PNG of 8 or 16 bits, grey or RGB, with chunks before its pixels."""
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    return png(8 * pixels.itemsize, kind, pixels, width, height, before=chunks)


def gama(number):
    return b"gAMA", struct.pack(">I", number)


def chrm(numbers):
    return b"cHRM", struct.pack(">8I", *(round(n * 100_000) for n in numbers))


def cicp(primaries, transfer, full=1):
    return b"cICP", bytes([primaries, transfer, 0, full])


def iccp(icc):
    return b"iCCP", b"x\0\0" + zlib.compress(icc)


def exif_of(space=None, interoperability=None):
    exif = Image.Exif()
    exif[271] = "Camera"
    if space is not None:
        exif.get_ifd(0x8769)[0xA001] = space
    if interoperability is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: interoperability}
    return exif


# What files say


def avif(pixels, primaries, transfer):
    data = saved(pixels, "AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def jpeg_2000(pixels, icc):
    data = saved(pixels, "JPEG2000")
    old = b"\0\0\0\x0fcolr\1\0\0\0\0\0\x10"
    new = struct.pack(">I4s3B", 11 + len(icc), b"colr", 2, 0, 0) + icc
    at = data.index(b"jp2h") - 4
    length = int.from_bytes(data[at : at + 4], "big") + len(new) - len(old)
    return data[:at] + struct.pack(">I", length) + data[at + 4 :].replace(old, new)


def bmp(pixels, kind, ends=(0,) * 9, gammas=(0, 0, 0), icc=b""):
    """A BMP of version 5."""
    height, width = pixels.shape[:2]
    rows = pixels[::-1, :, ::-1].reshape(height, -1)
    body = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    header = struct.pack(
        "<IiiHHIIiiII16xI9i3IIIII", 124, width, height, 1, 24, 0, len(body), 0, 0, 0, 0,
        kind, *(round(e * (1 << 30)) for e in ends), *(round(g * 65536) for g in gammas),
        4, 124 + len(body) if icc else 0, len(icc), 0,
    )  # fmt: skip
    return (
        struct.pack("<2sIHHI", b"BM", 138 + len(body) + len(icc), 0, 0, 138) + header + body + icc
    )


def tiff(pixels, points=None, white=(0.3127, 0.329), table=None, **options):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if points is not None:
        tags[318], tags[319] = white, points
    if table is not None:
        tags[301] = table
        tags.tagtype[301] = 3
    return saved(pixels, "TIFF", tiffinfo=tags, **options)


def tiff_of_a_camera(pixels):
    """With an EXIF directory that says R03 in one of its own."""
    height, width = pixels.shape[:2]
    at = len(support.tiff(8, 2, 3, pixels, width, height, exif=1))
    data = support.tiff(8, 2, 3, pixels, width, height, exif=at)
    data += struct.pack("<H2H2I2H2II", 2, 0xA001, 3, 1, 65535, 0xA005, 4, 1, at + 30, 0)
    return data + struct.pack("<H2HI4sI", 1, 1, 2, 4, b"R03\0", 0)


LINEAR_TABLE = tuple(range(0, 65536, 257))
P3_ENDS = (0.4866, 0.2290, 0.0, 0.2657, 0.6917, 0.0451, 0.1982, 0.0793, 1.0439)  # of D65

SAID = {
    "PNG: cICP of Display P3": lambda p: (png_of(p, cicp(12, 13)), P3),
    "PNG: cICP of BT.2020": lambda p: (png_of(p, cicp(9, 14)), BT2020),
    "PNG: cICP before a profile": lambda p: (png_of(p, cicp(12, 13), iccp(ADOBE)), P3),
    "PNG: a profile before gAMA": lambda p: (png_of(p, iccp(P3), gama(100_000)), P3),
    "PNG: a profile before sRGB": lambda p: (png_of(p, (b"sRGB", b"\0"), iccp(ADOBE)), ADOBE),
    "PNG: cICP that is not known": lambda p: (png_of(p, cicp(77, 13), iccp(ADOBE)), ADOBE),
    "PNG: sRGB before gAMA": lambda p: (png_of(p, (b"sRGB", b"\0"), gama(100_000)), SRGB),
    "PNG: cICP of sRGB": lambda p: (png_of(p, cicp(1, 13), gama(100_000)), SRGB),
    "PNG: gamma 1.0": lambda p: (png_of(p, gama(100_000)), LINEAR),
    "PNG: gamma 1.8": lambda p: (png_of(p, gama(55_556)), GAMMA_18),
    "PNG: gAMA of sRGB": lambda p: (png_of(p, gama(45_455)), SRGB),
    "PNG: gAMA and cHRM": lambda p: (
        png_of(p, gama(45_455), chrm(P3_CHRM)), matrix_profile(*P3_XYZ, para(0, 2.2))
    ),
    "PNG: cHRM alone": lambda p: (png_of(p, chrm(P3_CHRM)), P3),
    "PNG: cHRM of nothing": lambda p: (png_of(p, chrm((0,) * 8)), SRGB),
    "PNG: gAMA of nothing": lambda p: (png_of(p, gama(0)), SRGB),
    "JPEG 2000: a profile": lambda p: (jpeg_2000(p, ADOBE), ADOBE),
    "BMP: sRGB": lambda p: (bmp(p, 0x73524742), SRGB),
    "BMP: a profile": lambda p: (bmp(p, 0x4D424544, icc=P3), P3),
    "BMP: calibrated": lambda p: (
        bmp(p, 0, P3_ENDS, (2.2,) * 3), matrix_profile(*P3_XYZ, para(0, 2.2))
    ),
    "BMP: calibrated, nothing said": lambda p: (bmp(p, 0), SRGB),
    "TIFF: primaries": lambda p: (
        tiff(p, P3_CHRM[2:]), matrix_profile(*P3_XYZ, para(0, 2.2))
    ),
    "TIFF: primaries of sRGB": lambda p: (tiff(p, (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)), SRGB),
    "TIFF: a curve": lambda p: (tiff(p, table=LINEAR_TABLE), LINEAR),
    "TIFF: a curve for each": lambda p: (
        tiff(p, P3_CHRM[2:], table=LINEAR_TABLE * 3), matrix_profile(*P3_XYZ, 1.0)
    ),
    "PNG: EXIF R03": lambda p: (saved(p, "PNG", exif=exif_of(65535, "R03")), ADOBE),
    "WebP: EXIF R03": lambda p: (
        saved(p, "WEBP", exif=exif_of(65535, "R03"), lossless=True), ADOBE
    ),
    "TIFF: EXIF R03": lambda p: (tiff_of_a_camera(p), ADOBE),
    "PNG: EXIF of space 2": lambda p: (saved(p, "PNG", exif=exif_of(2)), ADOBE),
    "PNG: EXIF R03 without a space": lambda p: (saved(p, "PNG", exif=exif_of(None, "R03")), ADOBE),
    "PNG: EXIF of sRGB": lambda p: (saved(p, "PNG", exif=exif_of(1, "R98")), SRGB),
    "PNG: EXIF uncalibrated": lambda p: (saved(p, "PNG", exif=exif_of(65535)), SRGB),
    "PNG: a profile before EXIF": lambda p: (
        saved(p, "PNG", icc_profile=P3, exif=exif_of(65535, "R03")), P3
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_colours_are_kept_and_shown_as_littlecms_sees_them(said):
    data, true = SAID[said](CUBE)
    photo = read(data)
    expected = seen(CUBE, true)
    assert levels_apart(kept_and_seen(photo), expected) <= 2
    assert levels_apart(to_srgb8(photo), expected) <= 2
    assert np.array_equal(photo.pixels, CUBE)
    known = "unknown colours left out: CICP 77/13"
    assert photo.notes == ((known,) if "not known" in said else ())
    if true is SRGB:
        assert photo.icc is None


@pytest.mark.skipif(not AVIF, reason="Pillow has no codec")
@pytest.mark.parametrize(
    ("points", "true"), [((12, 13), P3), ((9, 14), BT2020), ((1, 13), SRGB), ((2, 2), SRGB)]
)
def test_code_points_of_avif_are_kept(points, true):
    photo = read(avif(EVENLY, *points))
    assert (photo.icc is None) == (true is SRGB)
    expected = seen(photo.pixels, true)
    assert levels_apart(kept_and_seen(photo), expected) <= 2
    assert levels_apart(to_srgb8(photo), expected) <= 2


@pytest.mark.parametrize("space", [65535, None])
def test_adobe_rgb_that_a_camera_says_in_exif_is_kept(space):
    data = saved(EVENLY, "JPEG", quality=100, exif=exif_of(space, "R03"))
    photo = read(data)
    assert levels_apart(kept_and_seen(photo), seen(photo.pixels, ADOBE)) <= 1


def test_exif_that_says_adobe_rgb_is_outweighed_on_the_product_where_pixels_are_srgb():
    data = png_of(CUBE, (b"sRGB", b"\0"), (b"eXIf", exif_of(65535, "R03").tobytes()[6:]))
    photo = read(data)
    assert levels_apart(kept_and_seen(photo), CUBE) <= 1
    again = read(encode(photo.pixels, Format.PNG, metadata=Metadata(photo.icc, exif=photo.exif)))
    assert levels_apart(to_srgb8(again), CUBE) <= 1


@pytest.mark.parametrize("primaries", [1, 4, 5, 6, 8, 9, 11, 12, 22])
@pytest.mark.parametrize("transfer", [1, 4, 5, 7, 8, 9, 10, 13])
def test_profile_of_code_points_makes_white_of_white_and_black_of_black(primaries, transfer):
    icc = Cicp(primaries, transfer).profile()
    shown = seen(np.array([[[255] * 3, [0] * 3, [128] * 3]], np.uint8), icc)[0]
    assert levels_apart(shown[0], np.uint8([255] * 3)) <= 1
    assert levels_apart(shown[1], np.uint8([0] * 3)) <= 1
    assert np.ptp(shown[2].astype(int)) <= 1


def test_narrow_range_of_png_is_widened():
    greys = np.array([[[16] * 3, [235] * 3, [0] * 3, [255] * 3]], np.uint8)
    shown = kept_and_seen(read(png_of(greys, cicp(1, 13, 0))))[0, :, 1].tolist()
    assert shown == pytest.approx([0, 255, 0, 255], abs=1)


# Grey


def values(linear):
    numbers = np.rint(np.asarray(linear) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(numbers)) + numbers.tobytes()


def dot_gain(share):
    """Curve of a press of 256 values, as image editors write it."""
    ink = 1 - np.linspace(0, 1, 256)
    return values(1 - (ink + 4 * share * ink * (1 - ink)) * 0.99)


GREY = {
    "linear": grey_profile(1.0),
    "gamma 1.8": grey_profile(1.8),
    "gamma 2.2": grey_profile(2.2),
    "dot gain of 20 %": grey_profile(dot_gain(0.2)),
    "dot gain of 15 %": grey_profile(dot_gain(0.15)),
    "a formula": grey_profile(SRGB_CURVE),
    "by lightness": grey_profile(values(np.linspace(0, 1, 256) ** 1.2), b"Lab "),
}
CARRIERS = {
    "PNG": lambda icc: saved(GREYS, "PNG", icc_profile=icc),
    "TIFF": lambda icc: saved(GREYS, "TIFF", icc_profile=icc),
    "16-bit PNG": lambda icc: png_of(GREYS.astype(np.uint16) * 257, iccp(icc)),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", GREY)
def test_grey_profile_is_kept_as_one_of_rgb(kind, carrier):
    photo = read(CARRIERS[carrier](GREY[kind]))
    expected = seen(GREYS, GREY[kind])
    assert levels_apart(kept_and_seen(photo), expected) <= 2
    assert levels_apart(to_srgb8(photo), expected) <= 2
    assert np.array_equal(to_depth(photo.pixels, 8)[:, :, 0], GREYS), "masks are grey, and no light"
    assert photo.notes == ()
    assert (photo.icc is None) == (kind == "a formula")


def test_grey_jpeg_with_transparency_and_profile_is_kept():
    two = np.dstack([GREYS, np.full_like(GREYS, 255)])
    photo = read(saved(two, "PNG", icc_profile=GREY["gamma 1.8"]))
    assert levels_apart(kept_and_seen(photo), seen(GREYS, GREY["gamma 1.8"])) <= 2


def lut8(channels_in, channels_out, table, grid):
    """A ``mft1`` element whose only part that does anything is its table."""
    matrix = b"".join(s15(float(i == j)) for i in range(3) for j in range(3))
    straight = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes([channels_in, channels_out, grid, 0]) + matrix
    return head + straight * channels_in + bytes(table) + straight * channels_out


def test_grey_profile_that_goes_by_tables_is_kept_as_one_of_rgb():
    lightness = [(round(255 * (i / 15) ** 0.7), 128, 128) for i in range(16)]
    icc = icc_profile(
        b"prtr", b"GRAY", b"Lab ", {b"A2B0": lut8(1, 3, np.ravel(lightness).tolist(), 16)}
    )
    photo = read(saved(GREYS, "PNG", icc_profile=icc))
    assert levels_apart(kept_and_seen(photo), seen(GREYS, icc)) <= 2


# 16 bits


@pytest.mark.parametrize("icc", [P3, ADOBE, BT2020, LINEAR], ids=["P3", "Adobe", "2020", "linear"])
def test_16_bits_are_shown_as_8_are(icc):
    photo = read(png_of(CUBE.astype(np.uint16) * 257, iccp(icc)))
    assert photo.icc == icc
    assert levels_apart(to_srgb8(photo), seen(CUBE, icc)) <= 1


def test_16_bits_of_linear_shadows_are_shown_between_the_steps_of_8():
    dark = np.arange(0, 514, 2, dtype=np.uint16).reshape(1, -1, 1).repeat(3, 2)
    shown = to_srgb8(read(png_of(dark, gama(100_000))))[0, :, 1].astype(int)
    light = dark[0, :, 0] / 65535
    true = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light) * 255
    assert np.abs(shown - true).max() < 0.6


@pytest.mark.parametrize("icc", [P3, ADOBE, LINEAR, GAMMA_18])
def test_srgb_comes_back_from_any_space_in_16_bits(icc):
    dark_too = np.concatenate([CUBE.reshape(1, -1, 3), GREYS.reshape(1, -1, 1).repeat(3, 2)], 1)
    there = from_srgb(dark_too, icc, 16)
    assert there.dtype == np.uint16
    assert levels_apart(to_srgb8(Photo(there, icc=icc)), dark_too) <= 1


# HDR


def by_pq(light):
    """PQ of candela a square metre, as SMPTE ST 2084 has it."""
    m = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * m) / (1 + 18.6875 * m)) ** 78.84375


@pytest.mark.parametrize("depth", [8, 16])
def test_pq_becomes_srgb_and_says_so(depth):
    peak = (1 << depth) - 1
    light = np.array([0, 2, 20, 101.5, 203, 1000, 10_000])
    stored = np.rint(by_pq(light) * peak).astype(f"u{depth // 8}").reshape(1, -1, 1).repeat(3, 2)
    photo = read(png_of(stored, cicp(9, 16)))
    assert photo.icc is None
    assert photo.notes == ("HDR (PQ): converted to sRGB, cut at white",)
    share = (light / 203).clip(0, 1)
    true = np.where(share > 0.0031308, 1.055 * share ** (1 / 2.4) - 0.055, 12.92 * share)
    assert to_depth(photo.pixels, 8)[0, :, 1] == pytest.approx(true * 255, abs=3)
    assert photo.pixels.itemsize == depth // 8


def test_hlg_becomes_srgb_with_white_where_white_is():
    stored = np.array([[[0] * 3, [128] * 3, [191] * 3, [255] * 3]], np.uint8)
    photo = read(png_of(stored, cicp(9, 18)))
    assert photo.notes == ("HDR (HLG): converted to sRGB, cut at white",)
    black, middle, white, beyond = photo.pixels[0, :, 1].tolist()
    assert (black, beyond) == (0, 255)
    assert 100 < middle < 180
    assert white == pytest.approx(255, abs=3)


# Profiles that are too large, or broken


def padded(icc):
    return icc + bytes(1_200_000)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("icc", [P3, ADOBE], ids=["P3", "Adobe"])
def test_profile_that_is_too_large_to_be_carried_is_applied(format_, icc):
    photo = read(saved(EVENLY, format_, icc_profile=padded(icc), quality=100))
    assert photo.icc is None
    assert photo.notes == ("colour profile of 1.2 MB: converted to sRGB",)
    plain = read(saved(EVENLY, format_, icc_profile=icc, quality=100))
    assert levels_apart(photo.pixels, seen(plain.pixels, icc)) <= 1


def deep_tiff(pixels, icc):
    return encode(pixels, Format.TIFF, metadata=Metadata(icc))


def test_too_large_a_profile_is_applied_to_16_bits():
    photo = read(deep_tiff(CUBE.astype(np.uint16) * 257, padded(ADOBE)))
    assert photo.icc is None
    assert photo.notes == ("colour profile of 1.2 MB: converted to sRGB",)
    assert photo.pixels.dtype == np.uint16
    assert levels_apart(to_depth(photo.pixels, 8), seen(CUBE, ADOBE)) <= 1
    assert len(np.unique(photo.pixels % 257)) > 10, "more than 8 bits"


def by_tables():
    """A profile of a scanner: RGB as Lab by a table, its lightness the mean of the three."""
    nodes = [(sum(n) * 255 // 24, 96 + n[0] * 8, 96 + n[1] * 8) for n in every(range(9), repeat=3)]
    return icc_profile(
        b"scnr", b"RGB ", b"Lab ", {b"A2B0": lut8(3, 3, np.ravel(nodes).tolist(), 9)}
    )


@pytest.mark.parametrize("deep", [False, True])
def test_too_large_a_profile_of_tables_is_applied_and_says_where_depth_is_lost(deep):
    icc = padded(by_tables())
    stored = CUBE.astype(np.uint16) * 257 if deep else CUBE
    photo = read(deep_tiff(stored, icc))
    lost = ", at 8 bits a channel" if deep else ""
    assert photo.notes == (f"colour profile of 1.2 MB: converted to sRGB{lost}",)
    assert levels_apart(to_depth(photo.pixels, 8), seen(CUBE, by_tables(), exact=False)) <= 1


def test_exif_of_a_converted_photo_does_not_make_it_adobe_rgb_again():
    exif = exif_of(65535, "R03")
    photo = read(saved(EVENLY, "JPEG", icc_profile=padded(P3), exif=exif, quality=100))
    again = read(encode(photo.pixels, Format.PNG, metadata=Metadata(photo.icc, exif=photo.exif)))
    assert levels_apart(to_srgb8(again), photo.pixels) <= 1


@pytest.mark.parametrize(
    ("icc", "note"),
    [
        (b"junk", "colour profile damaged, left out"),
        (bytes(200), "colour profile damaged, left out"),
        (P3[:132] + b"\xff" * (len(P3) - 132), "colour profile damaged, left out"),
        (P3[:200], "colour profile damaged, left out"),
        (SRGB[:16] + b"\x1b[1m" + SRGB[20:], "colour profile damaged, left out"),
        (GREY["linear"], "colour profile for GRAY left out"),
        (SRGB[:16] + b"CMYK" + SRGB[20:], "colour profile for CMYK left out"),
    ],
)
@pytest.mark.parametrize("depth", [8, 16])
def test_profile_that_says_nothing_of_the_pixels_is_left_out_and_noted(icc, note, depth):
    photo = read(deep_tiff(CUBE if depth == 8 else CUBE.astype(np.uint16) * 257, icc))
    assert (photo.icc, photo.notes) == (None, (note,))
    assert np.array_equal(to_depth(photo.pixels, 8), CUBE)


def test_damaged_profile_leaves_the_word_to_what_else_is_said():
    photo = read(png_of(CUBE, iccp(P3[:200]), gama(55_556)))
    assert photo.notes == ("colour profile damaged, left out",)
    assert levels_apart(kept_and_seen(photo), seen(CUBE, GAMMA_18)) <= 2


@pytest.mark.parametrize("icc", [P3, ADOBE, SRGB, by_tables(), P3 + bytes(900_000)])
def test_profile_that_can_be_carried_is_kept_byte_by_byte(icc):
    assert read(saved(CUBE, "TIFF", icc_profile=icc)).icc == icc


def test_space_is_told_by_trial_and_not_by_name():
    liar = LINEAR.replace(b"wide", b"sRGB")
    assert liar != LINEAR
    photo = read(saved(CUBE, "PNG", icc_profile=liar))
    assert levels_apart(to_srgb8(photo), seen(CUBE, LINEAR)) <= 1
    anonymous = matrix_profile(*BT709_XYZ, SRGB_CURVE)
    same = read(saved(CUBE, "PNG", icc_profile=anonymous))
    assert to_srgb8(same) is same.pixels


def test_what_is_remembered_of_profiles_is_bounded_and_holds_none_of_them():
    asked = []

    @colour.by_digest(3)
    def length(icc):
        asked.append(icc)
        return len(icc)

    assert [length(bytes(n)) for n in (1, 2, 3, 4, 4, 3, 2)] == [1, 2, 3, 4, 4, 3, 2]
    assert len(asked) == 4
    assert length(bytes(1)) == 1
    assert len(asked) == 5, "the oldest was forgotten"
    held = [cell.cell_contents for cell in length.__closure__]
    (known,) = [each for each in held if isinstance(each, dict)]
    assert all(len(key) == 32 for key in known)


# Curves and boxes that are no such


@pytest.mark.parametrize(
    "curve",
    [
        b"", b"junk" + bytes(20), b"curv\0\0\0\0\xff\xff\xff\xff", b"para\0\0\0\0\0\3",
        para(7, 1.0), b"curv\0\0\0\0\0\0\0\x09ab", para(0, -3.0),
    ],
)  # fmt: skip
def test_what_is_no_curve_is_told(curve):
    with pytest.raises(ValueError, match=r"curve|formula"):
        profile.evaluate(curve, np.linspace(0, 1, 5))


@pytest.mark.parametrize(
    "curve",
    [
        para(0, 2.2), para(1, 2.0, 0.9, 0.1), para(2, 2.0, 0.8, 0.1, 0.1), SRGB_CURVE,
        para(4, 2.0, 0.9, 0.05, 0.1, 0.2, 0.05, 0.02), curve_of_power(1.8), dot_gain(0.2),
        b"curv" + bytes(8),
    ],
)  # fmt: skip
def test_curves_are_evaluated_as_littlecms_does(curve):
    ours = profile.rgb_profile("x", profile.BT709, curve)
    levels = profile.evaluate(curve, np.linspace(0, 1, 256))
    levels = (levels - levels[0]) / (1 - levels[0])  # black is made black
    stored = np.where(levels > 0.0031308, 1.055 * levels ** (1 / 2.4) - 0.055, 12.92 * levels)
    shown = seen(GREYS.reshape(1, -1, 1).repeat(3, 2), ours)[0, :, 1]
    assert shown == pytest.approx(stored * 255, abs=1.1)


def test_published_matrices_are_met():
    for primaries, xyz in (
        (profile.BT709, BT709_XYZ),
        (profile.P3, P3_XYZ),
        (profile.ADOBE, ADOBE_XYZ),
    ):
        assert np.abs(primaries.to_xyz().T - np.array(xyz)).max() < 2e-4


@pytest.mark.skipif(not AVIF, reason="Pillow has no codec")
def test_boxes_that_are_cut_off_or_bent_say_nothing_and_raise_nothing():
    from birefcli.images.formats.boxes import media_colour

    data = avif(EVENLY, 12, 13)
    head = data.index(b"mdat")
    assert media_colour(data) == Cicp(12, 13)
    for at in range(head):
        media_colour(data[:at])
        for value in (0, 1, 255):
            media_colour(data[:at] + bytes([value]) + data[at + 1 :])


# Products


def photo_of(kind):
    data, true = SAID[kind](CUBE)
    return read(data), true


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize(
    "said", ["PNG: gamma 1.8", "PNG: EXIF R03", "PNG: cICP of Display P3", "TIFF: primaries"]
)
@pytest.mark.parametrize("kind", [Product.CUTOUT, Product.FOREGROUND, Product.COMPOSITE])
def test_products_have_the_colours_of_the_photo(said, kind, format_):
    if format_ is Format.JPG and kind is Product.CUTOUT:
        pytest.skip("holds no transparency")
    photo, true = photo_of(said)
    matte = Matte(np.full(photo.shape, 65535, np.uint16), photo.pixels)
    matte.alpha[0] = 0  # where the background is seen
    ground = parse_background("#c83c14", 100)
    pixels = render_product(kind, photo, matte, Rendering(), ground, "a")
    product = read(encode_product(pixels, photo, Rendering(format=format_)).data)
    shown = kept_and_seen(product)
    lossy = format_ in (Format.JPG, Format.AVIF)
    away = 60 if lossy else 2  # the colours of the cube share no block
    assert levels_apart(shown[3:], seen(CUBE, true)[3:]) <= away
    mean = np.abs(shown[3:].astype(int) - seen(CUBE, true)[3:]).mean()
    assert mean < (8 if lossy else 1)
    if kind is Product.COMPOSITE and not lossy:
        assert levels_apart(shown[0, 0], np.uint8([0xC8, 0x3C, 0x14])) <= 2


def test_background_of_another_space_is_shown_in_its_own_colours(tmp_path):
    data, true = SAID["PNG: EXIF R03"](EVENLY)
    (tmp_path / "wide.png").write_bytes(data)
    ground = parse_background(str(tmp_path / "wide.png"), 1000)
    photo, _ = photo_of("PNG: cICP of Display P3")
    clear = Matte(np.zeros(photo.shape, np.uint16), photo.pixels)
    pixels = render_product(Product.COMPOSITE, photo, clear, Rendering(), ground, "a")
    expected = seen(np.full_like(CUBE, EVENLY[0, 0]), true)
    assert levels_apart(seen(pixels, photo.icc), expected) <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_dark_background_is_kept_under_a_linear_profile_of_16_bits(bits):
    photo = read(png_of(CUBE.astype(np.uint16) * 257, gama(100_000)))
    clear = Matte(np.zeros(photo.shape, np.uint16), photo.pixels)
    pixels = render_product(
        Product.COMPOSITE, photo, clear, Rendering(bits=16), parse_background("#0a1e03", 1), "a"
    )
    shown = to_srgb8(Photo(pixels, icc=photo.icc))[0, 0]
    assert cv2.absdiff(shown, np.uint8([0x0A, 0x1E, 0x03])).max() <= 1
