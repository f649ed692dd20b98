"""EXIF, XMP and IPTC from photo to product: the same bytes, less what is no longer true."""

import contextlib
import io
import random
import re
import struct
import time

import numpy as np
import pytest
from described import (
    AVIF,
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    XMP_HEAD,
    block,
    dataset,
    entries,
    jpeg,
    packet,
    pillow,
    png,
    said,
    tiff,
    webp,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from birefcli.images import metadata
from birefcli.images.decode import decode_photo, decode_pil
from birefcli.images.encode import encode
from birefcli.images.formats import boxes
from birefcli.images.metadata import Metadata, fitted, without_place, without_subject
from birefcli.images.tags import exif, iptc, xmp
from birefcli.options import Format

BOTH = pytest.mark.parametrize("order", ["<", ">"])
ORIENTATION = 274


def main(order):
    """What describes the picture, of all kinds of types."""
    return {
        270: (2, "Größe, in UTF-8\0".encode()),
        271: (2, b"Maker\0"),
        305: (2, b"Ver. 1.0\0"),
        315: (2, "Zoë, in Latin-1\0".encode("latin-1")),
        316: (2, b"PC\0"),
        18246: (3, struct.pack(order + "H", 4)),
        33432: (2, b"\xa9 2024\0"),
        40091: (1, "Tïtle\0".encode("utf-16-le")),
        50000: (12, struct.pack(order + "2d", 0.1, -2.5)),
        50001: (11, struct.pack(order + "f", 0.1)),
        50002: (13, struct.pack(order + "I", 12345)),
        50003: (8, struct.pack(order + "3h", -1, 2, -3)),
        50004: (6, b"\xff\xfe"),
        50005: (9, struct.pack(order + "i", -70000)),
        50006: (129, "ë".encode()),
    }


def camera(order):
    return {
        33434: (5, struct.pack(order + "II", 1, 250)),
        36864: (7, b"0232"),
        37380: (10, struct.pack(order + "ii", -1, 3)),
        37510: (7, b"UNICODE\0" + "ë 日本".encode("utf-16-le" if order == "<" else "utf-16-be")),
        37500: (7, b"Nikon\0\2\x10" + random.Random(5).randbytes(3001)),
        0xEA00: (7, b"\0\1\2"),
    }


GPS = {0: (1, b"\2\3\0\0"), 1: (2, b"N\0"), 27: (7, b"ASCII\0\0\0GPS")}
INTEROP = {1: (2, b"R98\0"), 2: (7, b"0100")}


def whole(order):
    """A block of everything, and what of it is to be seen in a product."""
    parts = (main(order), camera(order), GPS, INTEROP)
    names = (0, EXIF_IFD, GPS_IFD, INTEROP_IFD)
    expected = {
        (k, tag): v for k, part in zip(names, parts, strict=True) for tag, v in part.items()
    }
    return block(order, *parts), expected


def read(data):
    return decode_photo(data, 10_000)


def product(photo, format_, bits=8):
    pixels = photo.pixels if bits == 16 else photo.pixels.astype(np.uint8)
    notes = Metadata(photo.icc, photo.dpi, photo.exif, "made;", photo.xmp, photo.iptc)
    return encode(pixels, format_, metadata=notes)


LAYOUT = {256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 296, 317, 700, 33723}


def seen(data):
    """Entries of a product's EXIF, less a TIFF's own layout."""
    found, order = entries(said(data)[0])
    return {key: v for key, v in found.items() if key[0] or key[1] not in LAYOUT}, order


# EXIF

SOURCES = ["jpeg", "png", "png16", "webp", "tiff", "tiff16", *(["avif"] if AVIF else [])]


def source(kind, order, parts=None, **more):
    """A photo of a kind with a block of these directories."""
    parts = parts or (main(order), camera(order), GPS, INTEROP)
    if kind.startswith("tiff"):
        names = ("exif", "gps", "interop")
        inner = dict(zip(names, parts[1:], strict=False))
        return tiff(parts[0], order=order, bits=16 if kind == "tiff16" else 8, **inner, **more)
    data = block(order, *parts)
    if kind == "avif":
        return pillow("AVIF", exif=data, **more)
    if kind.startswith("png"):
        return png(data, bits=16 if kind == "png16" else 8, **more)
    return {"jpeg": jpeg, "webp": webp}[kind](data, **more)


@BOTH
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("format_", Format)
def test_every_entry_comes_through_as_bytes(kind, format_, order):
    _, expected = whole(order)
    photo = read(source(kind, order))
    assert photo.metadata_notes == ()
    bits = 16 if 16 in format_.bits and photo.pixels.dtype == np.uint16 else 8
    data = product(photo, format_, bits)
    in_tiff = expected | {(0, 50006): (2, "ë".encode())}  # TIFF knows no type of UTF-8
    assert seen(data) == (in_tiff if format_ is Format.TIFF else expected, order)
    again = read(data)
    assert np.array_equal(again.pixels, photo.pixels) or format_ is Format.JPG or bits == 8
    assert seen(product(again, Format.TIFF)) == (in_tiff, order), "a second time"


@BOTH
@pytest.mark.parametrize("format_", [Format.PNG, Format.TIFF])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_pixels_are_the_same_in_either_byte_order(order, format_, channels):
    shape = (9, 7) if channels == 1 else (9, 7, channels)
    pixels = np.random.RandomState(1).randint(0, 65536, shape).astype(np.uint16)
    data = encode(pixels, format_, metadata=Metadata(exif=whole(order)[0]))
    if format_ is Format.TIFF:
        assert data[:2] == (b"II" if order == "<" else b"MM")
    photo = read(data)
    colour = pixels[:, :, None].repeat(3, 2) if channels == 1 else pixels[:, :, :3]
    assert np.array_equal(photo.pixels, colour)
    if channels == 4:
        assert np.array_equal(photo.alpha, pixels[:, :, 3])


@BOTH
def test_pillow_reads_what_was_kept(order):
    for format_ in Format:
        data = product(read(source("jpeg", order)), format_)
        with Image.open(io.BytesIO(data)) as image:
            kept = image.getexif()
            assert kept[271] == "Maker"
            assert kept.get_ifd(EXIF_IFD)[33434] == 1 / 250
            assert kept.get_ifd(EXIF_IFD)[37510].startswith(b"UNICODE\0")
            assert kept.get_ifd(GPS_IFD)[1] == "N"
            assert kept.get_ifd(INTEROP_IFD)[1] == "R98"


@BOTH
@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "avif"])
def test_orientation_thumbnail_layout_and_wrong_sizes_do_not_come_through(kind, order):
    short = lambda *n: (3, struct.pack(f"{order}{len(n)}H", *n))  # noqa: E731
    described = {271: (2, b"Maker\0"), ORIENTATION: short(6), 50341: (7, b"PrintIM\0")}
    described |= {37724: (7, b"layers"), 320: short(*range(9)), 301: short(0, 1)}
    told = {0xA002: short(12), 0xA003: short(8), 0x9214: short(1, 2, 3, 4), 33437: short(4, 1)}
    if kind.startswith("tiff"):
        del described[320], described[301]  # those would change the pixels here
    photo = read(source(kind, order, (described, told)))
    assert photo.shape == (12, 8)
    for format_ in Format:
        found, _ = seen(product(photo, format_))
        size = {(EXIF_IFD, 0xA002): 8, (EXIF_IFD, 0xA003): 12}
        expected = {key: (4, struct.pack(order + "I", number)) for key, number in size.items()}
        expected[EXIF_IFD, 33437] = told[33437]
        expected[0, 271] = described[271]
        stamp = {(0, 305): (2, b"made;\0")} if format_ is Format.TIFF else {}
        assert found == expected | stamp


@pytest.mark.skipif(not AVIF, reason="this Pillow has no AVIF")
@BOTH
def test_avif_is_turned_by_its_boxes_and_keeps_its_exif(order):
    mark = {273: (3, struct.pack(order + "H", 6)), 315: (2, "Zoë\0".encode())}
    data = pillow("AVIF", exif=block(order, mark, camera(order)))
    entry = struct.pack(order + "HHI", 273, 3, 1)
    assert data.count(entry) == 1
    turned = data.replace(entry, struct.pack(order + "HHI", ORIENTATION, 3, 1))
    photo = read(turned)
    assert photo.shape == (8, 12)
    found, _ = entries(photo.exif)
    inner = {(EXIF_IFD, tag): value for tag, value in camera(order).items()}
    assert found == {(0, 315): mark[315]} | inner


@pytest.mark.skipif(not AVIF, reason="this Pillow has no AVIF")
def test_avif_of_damaged_boxes_is_read():
    data = pillow("AVIF", exif=whole("<")[0])
    chance = random.Random(1)
    end = data.index(b"mdat")
    for _ in range(300):
        harmed = bytearray(data)
        harmed[chance.randrange(24, end)] = chance.randrange(256)
        boxes.media_exif(bytes(harmed), 1000)
        boxes.media_exif(bytes(harmed[: chance.randrange(len(harmed))]), 1000)


def test_the_directory_of_the_thumbnail_is_not_followed():
    data = whole("<")[0]
    small = block("<", {271: (2, b"Small\0")})
    at = struct.unpack_from("<I", data, 4)[0]
    link = at + 2 + 12 * struct.unpack_from("<H", data, at)[0]
    linked = data[:link] + struct.pack("<I", len(data)) + data[link + 4 :] + small[8:]
    assert b"Small" not in read(jpeg(linked)).exif
    assert read(jpeg(linked)).metadata_notes == ()


def test_software_of_a_product_of_ours_does_not_come_through():
    for text, kept in ((b"birefcli:2 0123 fp32 mask 1 2;\0", False), (b"Lightroom\0", True)):
        photo = read(jpeg(block("<", {305: (2, text), 271: (2, b"M\0")})))
        assert (text in photo.exif) == kept


# Damage


def damaged(order):
    """Blocks with good entries around one that is damaged, by what is wrong."""
    good = {271: (2, b"Maker\0"), 33432: (2, b"somebody, somewhere\0")}
    data = block(order, good | {315: (2, b"long enough\0")})
    at = struct.unpack_from(order + "I", data, 4)[0] + 2
    at = next(
        a for a in range(at, at + 36, 12) if struct.unpack_from(order + "H", data, a)[0] == 315
    )

    def changed(kind=2, number=12, place=None):
        entry = struct.pack(order + "HHI", 315, kind, number)
        entry += data[at + 8 : at + 12] if place is None else struct.pack(order + "I", place)
        return data[:at] + entry + data[at + 12 :]

    yield "offset out of range", changed(place=len(data))
    yield "offset far out of range", changed(place=2**32 - 1)
    yield "end out of range", changed(place=len(data) - 11)
    yield "a number of 2^32", changed(number=2**32 - 1)
    yield "a number of 2^31 doubles", changed(kind=12, number=2**31)
    yield "type 0", changed(kind=0)
    yield "type 14", changed(kind=14)
    yield "type 65535", changed(kind=65535)
    yield "an entry twice", data[:at] + data[at - 12 : at] + data[at + 12 :]
    for tag in (EXIF_IFD, GPS_IFD):
        for what, place in (("nowhere", 2**32 - 2), ("to itself", None), ("the header", 3)):
            linked = block(order, good | {tag: (4, struct.pack(order + "I", place or 0))})
            if place is None:
                (first,) = struct.unpack_from(order + "I", linked, 4)
                linked = linked.replace(
                    struct.pack(order + "HHII", tag, 4, 1, 0),
                    struct.pack(order + "HHII", tag, 4, 1, first),
                )
            yield f"{tag:#x} leads {what}", linked


@BOTH
def test_a_damaged_entry_costs_nothing_but_itself(order):
    for what, data in damaged(order):
        photo = read(png(data))
        found, _ = entries(photo.exif)
        names = {271: (2, b"Maker\0"), 33432: (2, b"somebody, somewhere\0")}
        assert found == {(0, tag): value for tag, value in names.items()}, what
        assert photo.metadata_notes == ("1 EXIF tag left out: damaged or too large",), what


@BOTH
def test_a_directory_that_was_cut_off_keeps_its_first_entries(order):
    small = {tag: (3, struct.pack(order + "H", tag)) for tag in range(40000, 40020)}
    data = block(order, small)
    assert len(data) == 8 + 2 + 20 * 12 + 4
    for kept in (0, 1, 7, 19):
        photo = read(png(data[: 8 + 2 + 12 * kept + 5]))
        found, _ = entries(photo.exif) if photo.exif else ({}, "")
        assert found == {(0, tag): small[tag] for tag in range(40000, 40000 + kept)}
        number = 20 - kept
        said_so = f"{number} EXIF tag{'s' if number > 1 else ''} left out: damaged or too large"
        assert photo.metadata_notes == (said_so,)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense, and more of it",
        b"II*\0" + struct.pack("<I", 2**32 - 1) + bytes(30),
        b"MM\0*" + bytes(30),
        b"II*\0\x08",
    ],
)
def test_a_block_without_a_directory_is_left_out(data):
    photo = read(webp(data))
    assert photo.exif is None
    assert photo.metadata_notes == ("damaged EXIF left out",)


@pytest.mark.parametrize("kind", ["tiff", "tiff16"])
def test_a_damaged_entry_of_a_tiff_costs_nothing_but_itself(kind):
    good = {271: (2, b"Maker\0"), 40091: (1, b"T\0\0\0"), 50000: (99, b"unknown")}
    photo = read(source(kind, "<", (good, camera("<"), GPS)))
    found, _ = entries(photo.exif)
    assert found[0, 271] == good[271]
    assert found[EXIF_IFD, 37500] == camera("<")[37500]
    assert (0, 50000) not in found
    assert photo.metadata_notes == ("1 EXIF tag left out: damaged or too large",)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.data())
def test_a_mutated_block_is_read_or_left_out(data):
    order = data.draw(st.sampled_from("<>"))
    harmed = bytearray(whole(order)[0])
    head = len(harmed) - 500  # directories stand at the end
    for _ in range(data.draw(st.integers(1, 12))):
        where = data.draw(st.one_of(st.integers(0, 20), st.integers(head, len(harmed) - 1)))
        harmed[where] = data.draw(st.integers(0, 255))
    found = exif.parse(bytes(harmed[: data.draw(st.integers(0, len(harmed)))]))
    exif.orientation(bytes(harmed))
    exif.values(bytes(harmed), (700, 37500))
    if found is not None and (kept := found.to_bytes()) is not None:
        assert exif.parse(kept).to_bytes() == kept, "what was kept is sound"
        assert exif.parse(kept).lost == 0
        entries(kept)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_block_or_a_sound_one(data):
    for head in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10" + bytes(7), b""):
        found = exif.parse(head + data)
        assert found is None or len(found.to_bytes() or b"") < 1_100_000


def test_many_entries_of_the_same_large_value_are_bounded():
    # 65,535 entries that share one megabyte would be 64 GB.
    count, size = 65535, 400_000
    table = b"".join(
        struct.pack("<HHII", tag, 7, size - tag % 7, 10 + 12 * count) for tag in range(count)
    )
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + table + bytes(size)
    started = time.process_time()
    found = exif.parse(data)
    rest, _ = found.within(exif.MOST_BYTES)
    assert len(rest.to_bytes()) <= exif.MOST_BYTES
    assert found.lost > 30_000
    assert time.process_time() - started < 5
    assert read(png(data)).pixels.shape == (8, 12, 3)


# What does not fit


def test_the_largest_entries_are_left_out_of_a_jpeg():
    note = {37500: (7, bytes(70_000)), 37510: (7, b"ASCII\0\0\0short")}
    photo = read(png(block("<", main("<"), note, GPS)))
    found, _ = seen(product(photo, Format.JPG))
    assert (EXIF_IFD, 37500) not in found
    assert found[EXIF_IFD, 37510] == note[37510]
    assert found[0, 271] == (2, b"Maker\0")
    assert found[GPS_IFD, 1] == GPS[1]
    fit = fitted(Metadata(exif=photo.exif), Format.JPG, 12, 8)
    assert fit.notes == ("1 EXIF tag left out: too large for jpg",)
    for format_ in (Format.PNG, Format.WEBP, Format.TIFF):
        assert seen(product(photo, format_))[0][EXIF_IFD, 37500] == note[37500]
        assert fitted(Metadata(exif=photo.exif), format_, 12, 8).notes == ()


@pytest.mark.parametrize("length", [65_499, 65_500, 65_501, 65_533])
def test_exif_at_the_limit_of_a_jpeg(length):
    data = block("<", {271: (2, bytes(length))})
    assert read(encode_plain(Format.JPG, exif=data)).exif == (
        data_of(data) if length <= 65_500 else None
    )


def data_of(data):
    return exif.parse(data).to_bytes()


def encode_plain(format_, **said_of_it):
    return encode(np.zeros((8, 12, 3), np.uint8), format_, metadata=Metadata(**said_of_it))


@pytest.mark.parametrize("more", [0, 1, 5000])
def test_xmp_and_iptc_at_the_limit_of_a_jpeg(more):
    text = packet(room=65_504 - len(packet(room=0)) + more)
    assert len(text) == 65_504 + more
    datasets = dataset(2, 120, bytes(30_000)) + dataset(2, 121, bytes(65_505 - 30_010 + more))
    assert len(datasets) == 65_505 + more
    data = encode_plain(Format.JPG, xmp=text, iptc=datasets)
    assert said(data)[1:] == ((text, datasets) if not more else (None, None))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    notes = fitted(Metadata(xmp=text, iptc=datasets), Format.JPG, 12, 8).notes
    assert notes == (
        ("XMP left out: too large for jpg", "IPTC left out: too large for jpg") if more else ()
    )


@pytest.mark.parametrize("format_", [Format.PNG, Format.TIFF, Format.WEBP])
def test_what_is_as_large_as_may_be_is_read_back_by_pillow_and_by_us(format_):
    datasets = dataset(2, 120, bytes(32_000)) * 12
    text = packet(room=999_000)
    values = {37500: (7, bytes(900_000))}
    data = encode_plain(format_, exif=block(">", {}, values), xmp=text, iptc=datasets)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    again = read(data)
    assert again.metadata_notes == ()
    assert again.xmp == text
    assert again.iptc == (None if format_ is Format.WEBP else datasets)
    assert entries(again.exif)[0][EXIF_IFD, 37500] == values[37500]


def test_too_much_is_left_out_with_a_note():
    text = packet(room=1_100_000)
    photo = read(png(block("<", {271: (2, b"M\0")}, {37500: (7, bytes(1_100_000))}), xmp=text))
    assert entries(photo.exif)[0] == {(0, 271): (2, b"M\0")}
    assert photo.xmp is None
    assert photo.metadata_notes == (
        "1 EXIF tag left out: damaged or too large",
        "XMP left out: too large",
    )
    photo = read(tiff(iptc=dataset(2, 120, bytes(32_000)) * 13))
    assert photo.iptc is None
    assert photo.metadata_notes == ("IPTC left out: too large",)


# XMP

SPACES = (
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"'
    ' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
    ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    ' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' xmlns:drone="http://www.dji.com/drone-dji/1.0/"'
)


def source_of_xmp(kind, text):
    if kind == "avif":
        return pillow("AVIF", xmp=text)
    made = {"jpeg": jpeg, "png": png, "png16": png, "webp": webp, "tiff": tiff, "tiff16": tiff}
    more = {"bits": 16} if kind.endswith("16") else {}
    return made[kind](xmp=text, **more)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("format_", Format)
def test_xmp_comes_through_byte_by_byte(kind, format_):
    text = packet("<dc:title>日本 &amp; é</dc:title>", ' photoshop:City="Köln"', SPACES)
    photo = read(source_of_xmp(kind, text))
    assert photo.metadata_notes == ()
    assert said(product(photo, format_))[1] == text
    again = read(product(photo, format_))
    assert said(product(again, Format.PNG))[1] == text, "a second time"


UNTRUE = [
    ('tiff:Orientation="6"', "<tiff:Orientation>6</tiff:Orientation>"),
    ("tiff:ImageWidth = '12'", "<tiff:ImageWidth>12</tiff:ImageWidth>"),
    ('exif:PixelXDimension="12"', "<exif:PixelXDimension >12</exif:PixelXDimension >"),
    ('xmpMM:InstanceID="xmp.iid:1"', "<xmpMM:InstanceID>xmp.iid:1</xmpMM:InstanceID>"),
    ('hdrgm:Version="1.0"', "<hdrgm:Version>1.0</hdrgm:Version>"),
    ('photoshop:LegacyIPTCDigest="00"', "<photoshop:LegacyIPTCDigest/>"),
    (
        "",
        "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><xmpGImg:image>/9j/"
        "</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>",
    ),
]


@pytest.mark.parametrize(("attribute", "element"), UNTRUE)
def test_what_is_untrue_of_products_is_cut_from_xmp_and_nothing_else(attribute, element):
    kept = "<dc:title> tiff:Orientation=&quot;6&quot; </dc:title><dc:rights/>"
    # The orientation that stays is a text, and turns nothing here.
    text = packet(f"  {kept}{element}\n", f" {attribute}" if attribute else "", SPACES)
    expected = packet(f"  {kept}\n", "", SPACES)
    assert xmp.without(text, xmp.UNTRUE) == expected
    assert xmp.without(expected, xmp.UNTRUE) == expected


@pytest.mark.parametrize("prefix", ["tiff", "t", "a.b-c"])
def test_properties_are_known_by_their_namespace_and_not_by_their_prefix(prefix):
    space = f'xmlns:{prefix}="http://ns.adobe.com/tiff/1.0/"'
    text = packet("", f' {prefix}:Orientation="6" {prefix}:Make="M"', space)
    assert xmp.without(text, xmp.UNTRUE) == packet("", f' {prefix}:Make="M"', space)
    other = packet("", f' {prefix}:Orientation="6"', f'xmlns:{prefix}="http://example.com/"')
    assert xmp.without(other, xmp.UNTRUE) == other


def test_photo_that_xmp_turns_is_turned_once():
    text = packet("", ' tiff:Orientation="6" crs:HasCrop="True"', SPACES)
    for kind in ("jpeg", "png", "webp", "tiff"):
        photo = read(source_of_xmp(kind, text))
        assert photo.shape == (12, 8), kind
        assert photo.xmp == packet("", "", SPACES)
        assert read(product(photo, Format.PNG)).shape == (12, 8)


def test_what_lies_within_the_picture_goes_where_that_is_turned_or_cropped():
    regions = "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:X>1</mwg-rs:X></mwg-rs:Regions>"
    text = packet(regions, ' crs:CropTop="0.1"', SPACES)
    taken = block("<", {33922: (12, bytes(48))}, {0x9214: (3, bytes(4)), 36864: (7, b"0232")})
    photo = read(jpeg(taken, text))
    assert photo.xmp == text
    cropped = without_subject(Metadata(exif=photo.exif, xmp=photo.xmp, iptc=b"as it is"))
    assert cropped.xmp == packet("", "", SPACES)
    assert entries(cropped.exif)[0] == {(EXIF_IFD, 36864): (7, b"0232")}
    assert cropped.iptc == b"as it is"


DOCTYPE = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
BAD = {
    "document type": DOCTYPE + packet().replace(b"Zo", b"&b;"),
    "no end": packet()[:-300],
    "no XML": b"nonsense",
    "a prefix of nothing": packet("<no:name/>"),
    "an entity of nothing": packet("<dc:title>&none;</dc:title>"),
    "a byte that is no UTF-8": packet("<dc:title>?</dc:title>").replace(b">?<", b">\xff<"),
    "half of UTF-16": b"\xff\xfe" + packet().decode().encode("utf-16-le")[:-1],
    "UTF-16 of nothing": b"\xfe\xff\xd8\x00\xd8\x00",
}


@pytest.mark.parametrize("what", BAD)
def test_damaged_xmp_is_left_out_with_a_note(what):
    for data in (png(xmp=BAD[what]), tiff(xmp=BAD[what]), webp(xmp=BAD[what])):
        photo = read(data)
        assert photo.xmp is None
        assert photo.metadata_notes == ("damaged XMP left out",)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_xmp_of_another_encoding_becomes_utf_8(coding):
    text = packet("<dc:title>é 日本</dc:title>").decode()
    photo = read(tiff(xmp=text.encode(coding)))
    assert photo.xmp.removeprefix("\ufeff".encode()) == text.encode()
    assert photo.metadata_notes == ()


def test_deep_xmp_costs_no_stack():
    deep = packet("<dc:a>" * 50_000 + "</dc:a>" * 50_000)
    assert read(png(xmp=deep)).xmp == deep


@pytest.mark.parametrize("text", [b"<a/>", packet().replace('dc:source="Zoë"'.encode(), b"")])
def test_a_packet_that_says_nothing_is_none(text):
    photo = read(webp(xmp=text))
    assert photo.xmp is None
    assert photo.metadata_notes == ()


def test_extended_xmp_is_noted_and_not_promised():
    space = 'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
    text = packet("", ' xmpNote:HasExtendedXMP="0123"', space)
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + b"<more/>"
    photo = read(jpeg(xmp=text, more=[(0xE1, extended)]))
    assert photo.xmp == packet("", "", space)
    assert photo.metadata_notes == ("extended XMP left out",)


def test_text_behind_a_tag_that_looks_like_an_attribute_is_none():
    spaces = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/"'
    )
    inner = '<rdf:Description rdf:about=""\n >dc:a="b"<dc:title>c</dc:title></rdf:Description>'
    whole = f"<rdf:RDF {spaces}>{inner}</rdf:RDF>".encode()
    assert xmp.without(whole, xmp.UNTRUE, xmp.PLACE) == whole


@given(st.data())
def test_mutated_xmp_is_cut_or_refused(data):
    harmed = bytearray(packet(*[element for _, element in UNTRUE[-1:]], "", SPACES))
    for _ in range(data.draw(st.integers(1, 6))):
        harmed[data.draw(st.integers(0, len(harmed) - 1))] = data.draw(
            st.sampled_from(b"<>/\"'= a&")
        )
    with contextlib.suppress(xmp.DamagedError):
        kept = xmp.without(bytes(harmed), xmp.UNTRUE, xmp.PLACE, xmp.IN_PICTURE)
        if kept is not None:
            assert xmp.without(kept, xmp.UNTRUE, xmp.PLACE, xmp.IN_PICTURE) == kept


# IPTC

CAPTION = [
    dataset(1, 90, b"\x1b%G"),
    dataset(2, 0, b"\0\4"),
    dataset(2, 80, "Zoë".encode()),
    dataset(2, 80, b"Zo\xeb"),
    dataset(2, 25, b""),
    struct.pack(">BBBHI", 0x1C, 2, 120, 0x8004, 40_000) + b"c" * 40_000,  # an extended one
]
DATASETS = b"".join(CAPTION)


@pytest.mark.parametrize("kind", ["jpeg", "png", "png16", "tiff", "tiff16"])
@pytest.mark.parametrize("format_", Format)
def test_iptc_comes_through_byte_by_byte(kind, format_):
    made = {"jpeg": jpeg, "png": png, "png16": png, "tiff": tiff, "tiff16": tiff}[kind]
    photo = read(made(iptc=DATASETS, **({"bits": 16} if kind.endswith("16") else {})))
    assert photo.metadata_notes == ()
    held = Metadata(iptc=photo.iptc)
    if format_ in (Format.WEBP, Format.AVIF):
        left_out = f"IPTC left out: {format_.value} holds none"
        assert fitted(held, format_, 12, 8).notes == (left_out,)
        assert said(product(photo, format_))[2] is None
        return
    assert said(product(photo, format_))[2] == DATASETS
    assert read(product(photo, format_)).iptc == DATASETS, "a second time"


def test_iptc_is_found_among_the_resources_of_photoshop():
    resources = b"8BIM\x03\xed\0\0" + struct.pack(">I", 16) + bytes(16)
    resources += b"8BIM\x04\x0c\x03abc" + struct.pack(">I", 3) + b"odd\0"
    resources += b"8BIM\x04\x04\0\0" + struct.pack(">I", len(DATASETS)) + DATASETS
    assert read(tiff({34377: (7, resources)})).iptc == DATASETS
    # A long one goes on in the next segment of a JPEG.
    parts = [b"Photoshop 3.0\0" + part for part in (resources[:30_000], resources[30_000:])]
    assert read(jpeg(more=[(0xED, part) for part in parts])).iptc == DATASETS


def test_iptc_that_was_written_as_words_of_the_other_order_is_read():
    padded = DATASETS + bytes(-len(DATASETS) % 4)
    swapped = np.frombuffer(padded, "<u4").astype(">u4").tobytes()
    assert read(tiff(iptc=swapped)).iptc == DATASETS


def test_orientation_and_previews_are_left_out_of_iptc():
    more = [dataset(2, 131, b"L"), dataset(2, 200, b"\0\1"), dataset(2, 202, b"pixels"),
            dataset(8, 10, b"object")]  # fmt: skip
    assert read(jpeg(iptc=DATASETS + b"".join(more))).iptc == DATASETS


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"nonsense", None),
        (b"\x1c", None),
        (CAPTION[2] + b"nonsense", CAPTION[2]),
        (CAPTION[2] + b"\x1c\2\5\0\x09short", CAPTION[2]),
        (CAPTION[2] + b"\x1c\2\5\xff\xff" + bytes(9), CAPTION[2]),
    ],
)
def test_damaged_iptc_is_kept_up_to_the_damage(data, kept):
    for made in (jpeg, png, tiff):
        photo = read(made(iptc=data))
        assert photo.iptc == kept
        assert photo.metadata_notes == ("damaged IPTC left out",)


@given(st.binary(max_size=80))
def test_random_bytes_are_iptc_or_not(data):
    found = iptc.sound(b"\x1c\2" + data)
    assert found.data is None or iptc.sound(found.data) == (found.data, True)
    iptc.of_resources(data)
    iptc.of_resources(b"8BIM" + data)
    iptc.of_raw_profile(data.decode("latin-1"))


# Where it was taken


def test_place_goes_from_all_three():
    text = packet(
        "<exif:GPSLatitude>48,8N</exif:GPSLatitude><dc:title>T</dc:title>"
        "<Iptc4xmpExt:LocationShown><rdf:Bag/></Iptc4xmpExt:LocationShown>",
        ' photoshop:City="K" photoshop:Credit="C" Iptc4xmpCore:Location="L"'
        ' exif:GPSAltitude="9" drone:GpsLongitude="1" drone:Latitude="2"',
        SPACES,
    )
    places = [dataset(2, number, b"here") for number in (26, 27, 90, 92, 95, 100, 101)]
    mixed = b"".join(CAPTION[:3] + places + CAPTION[3:])
    geo = {33922: (12, bytes(48)), 34737: (2, b"UTM\0")}
    photo = read(tiff(main("<") | geo, text, mixed, exif=camera("<"), gps=GPS, interop=INTEROP))
    assert photo.xmp == text
    assert photo.iptc == mixed
    less = without_place(Metadata(exif=photo.exif, xmp=photo.xmp, iptc=photo.iptc))
    expected = whole("<")[1]
    del expected[EXIF_IFD, 37500]
    assert entries(less.exif)[0] == {k: v for k, v in expected.items() if k[0] != GPS_IFD}
    assert less.xmp == packet("<dc:title>T</dc:title>", ' photoshop:Credit="C"', SPACES)
    assert less.iptc == DATASETS
    only = Metadata(exif=block("<", {}, None, GPS), iptc=places[0])
    assert without_place(only) == Metadata()


# Pictures of Pillow


def test_picture_that_pillow_has_opened_keeps_what_its_file_says():
    text = packet()
    for order in "<>":
        for data in (
            jpeg(whole(order)[0], text, DATASETS),
            png(whole(order)[0], text, DATASETS),
            webp(whole(order)[0], text),
        ):
            with Image.open(io.BytesIO(data)) as image:
                photo = decode_pil(image)
            assert entries(photo.exif) == (whole(order)[1], order)
            assert photo.xmp == text
            assert photo.iptc in (DATASETS, None)
    with Image.open(io.BytesIO(tiff({271: (2, b"Maker\0")}, text))) as image:
        photo = decode_pil(image)
    assert entries(photo.exif)[0][0, 271] == (2, b"Maker\0")
    assert photo.xmp == text


def test_profiles_that_imagemagick_writes_into_png_are_read():
    def profile(name, data):
        return f"\n{name}\n{len(data):8}\n" + re.sub("(.{72})", r"\1\n", data.hex()) + "\n"

    photos = {
        "exif": b"Exif\0\0" + whole(">")[0],
        "APP1": b"Exif\0\0" + whole(">")[0],
        "xmp": packet(),
        "iptc": DATASETS,
    }
    for name, data in photos.items():
        with Image.open(io.BytesIO(pillow("PNG"))) as image:
            image.info[f"Raw profile type {name}"] = profile(name, data)
            photo = decode_pil(image)
        if name in ("exif", "APP1"):
            assert entries(photo.exif) == (whole(">")[1], ">")
        assert photo.xmp == (packet() if name == "xmp" else None)
        assert photo.iptc == (DATASETS if name == "iptc" else None)
    assert metadata.iptc.of_raw_profile("\nxmp\n  4\nzz") is None


def test_what_pillow_wrote_as_the_head_of_xmp_is_its_segment():
    assert XMP_HEAD == metadata.XMP_HEAD


@BOTH
@pytest.mark.parametrize("kind", [4, 13, 16, 18])
def test_big_tiff_is_read(order, kind):
    """A block of BigTIFF, whose directories are led to by four or by eight bytes."""

    def entry(tag, kind, number, value):
        return struct.pack(order + "HHQ", tag, kind, number) + value.ljust(8, b"\0")

    def directory(*parts):
        return struct.pack(order + "Q", len(parts)) + b"".join(parts) + bytes(8)

    artist = b"somebody or other\0"
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 48)
    inner = 16 + 32 + 8 + 2 * 20 + 8
    lead = struct.pack(order + ("I" if kind in (4, 13) else "Q"), inner)
    first = directory(
        entry(315, 2, len(artist), struct.pack(order + "Q", 16)), entry(EXIF_IFD, kind, 1, lead)
    )
    second = directory(entry(36864, 7, 4, b"0232"), entry(36867, 2, 8, b"2024:06\0"))
    found = exif.parse(head + artist.ljust(32, b"\0") + first + second)
    assert found.lost == 0
    expected = {(0, 315): (2, artist), (EXIF_IFD, 36864): (7, b"0232")}
    assert entries(found.to_bytes())[0] == expected | {(EXIF_IFD, 36867): (2, b"2024:06\0")}
