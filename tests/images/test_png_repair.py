"""PNG with damaged or large chunks beside sound pixels, and its transparent colours."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from support import levels_apart, matrix_profile, png

from birefcli.errors import PhotoError
from birefcli.images.colour import to_srgb8
from birefcli.images.decode import decode_photo, decode_pil
from birefcli.images.formats import png as png_module
from birefcli.images.opening import read_header
from birefcli.images.photo import to_depth

LIMIT = 1 << 24
STORED = {
    8: np.random.RandomState(0).randint(0, 256, (6, 9, 3)),
    16: np.random.RandomState(0).randint(0, 65536, (6, 9, 3)),
}
LARGE = b"x" * (5 << 20)
ICC = matrix_profile((0.5, 0.3, 0.0), (0.3, 0.6, 0.1), (0.2, 0.1, 0.7))
XMP = b'<x:xmpmeta tiff:Orientation="3"/>'


def made(bits=8, before=(), after=(), stored=None):
    return png(
        bits, 2, STORED[bits] if stored is None else stored, 9, 6, before=before, after=after
    )


def broken(data, name, at=-1):
    """The same file with a wrong checksum of a chunk; ``at``: -1 its checksum, else its body."""
    start = data.index(name)
    (length,) = struct.unpack(">I", data[start - 4 : start])
    place = start + 4 + (length if at < 0 else at)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def read(data, bits=8, **turned):
    photo = decode_photo(data, LIMIT)
    expected = STORED[bits][::-1, ::-1] if turned.get("upside_down") else STORED[bits]
    assert np.array_equal(photo.pixels, expected)
    return photo


EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x0e\0\x02\0\0\0\x02a\0\0\0\0\0\0\0"
EXTRAS = {
    "text": (b"tEXt", b"Comment\0hello"),
    "packed text": (b"zTXt", b"Comment\0\0" + zlib.compress(b"hello")),
    "text in UTF-8": (b"iTXt", b"Comment\0\0\0en\0\0hello"),
    "profile": (b"iCCP", b"x\0\0" + zlib.compress(ICC)),
    "EXIF": (b"eXIf", EXIF),
    "gamma": (b"gAMA", struct.pack(">I", 45455)),
    "resolution": (b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
    "time": (b"tIME", bytes(7)),
    "private": (b"prVt", b"anything"),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", EXTRAS)
def test_wrong_checksum_beside_the_pixels_costs_the_chunk_alone(name, bits, place, capfd):
    data = broken(made(bits, **{place: [EXTRAS[name]]}), EXTRAS[name][0])
    assert read(data, bits).notes == ("1 damaged PNG chunk left out",)
    assert capfd.readouterr().err == ""


def test_what_is_sound_is_kept_beside_what_is_not():
    data = made(before=[EXTRAS["profile"], EXTRAS["text"], EXTRAS["EXIF"], EXTRAS["resolution"]])
    data = broken(broken(data, b"tEXt"), b"pHYs", at=0)
    photo = read(data)
    assert photo.notes == ("2 damaged PNG chunks left out",)
    assert photo.icc == ICC
    assert photo.exif is not None
    assert photo.dpi is None


TOLD = {
    "EXIF": (b"eXIf", EXIF),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "EXIF in digits": (b"tEXt", b"Raw profile type exif\0\nexif\n 26\n" + EXIF.hex().encode()),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_behind_the_pixels_counts_as_before_them(name, bits, monkeypatch):
    before, behind = made(bits, [TOLD[name]]), made(bits, after=[TOLD[name]])
    expected = decode_photo(before, LIMIT)
    if bits == 16:  # Pillow has no use for 16 bits, and its pixels would be decoded in vain
        monkeypatch.setattr(PngImageFile, "load", None)
    found = decode_photo(behind, LIMIT)
    assert (found.exif, found.xmp, found.notes) == (expected.exif, expected.xmp, expected.notes)
    assert found.exif is not None or np.array_equal(found.pixels, STORED[bits][::-1, ::-1])
    assert np.array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", [b"IHDR", b"tRNS"])
def test_wrong_checksum_of_what_pixels_need_fails(name, bits):
    data = made(bits, before=[(b"tRNS", bytes(6))])
    with pytest.raises(PhotoError, match=f"damaged image: wrong checksum in {name.decode()}"):
        decode_photo(broken(data, name), LIMIT)


def test_wrong_checksum_of_a_palette_fails():
    out = io.BytesIO()
    Image.new("P", (4, 4)).save(out, "PNG")
    with pytest.raises(PhotoError, match="wrong checksum in PLTE"):
        decode_photo(broken(out.getvalue(), b"PLTE"), LIMIT)


@pytest.mark.parametrize(
    ("name", "colour"), [(b"PLTE", 0), (b"PLTE", 2), (b"PLTE", 6), (b"tRNS", 4), (b"tRNS", 6)]
)
def test_wrong_checksum_of_a_palette_that_is_none_of_the_pixels_costs_it_alone(name, colour):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    pixels = np.random.RandomState(1).randint(0, 256, (6, 9, channels))
    data = png(8, colour, pixels, 9, 6, before=[(name, bytes(6))])
    photo = decode_photo(broken(data, name), LIMIT)
    assert photo.notes == ("1 damaged PNG chunk left out",)
    assert np.array_equal(photo.pixels[:, :, 0], pixels[:, :, 0])
    assert (photo.alpha is not None) == (colour >= 4)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"gAMA", b"\0"),
        (b"cHRM", bytes(31)),
        (b"sRGB", b""),
        (b"pHYs", bytes(8)),
        (b"acTL", bytes(7)),
        (b"fcTL", bytes(25)),
        (b"fdAT", b"\0"),
        (b"iCCP", b"no end"),
        (b"iCCP", b"x\0\7" + zlib.compress(ICC)),
        (b"iCCP", b"x\0\0no stream"),
        (b"iCCP", b"x\0\0" + zlib.compress(ICC)[:-20]),
        (b"zTXt", b"Comment\0\0no stream"),
        (b"iTXt", b"Comment\0\1\0\0\0no stream"),
        (b"fcTL", struct.pack(">7IHHBB", 5, 9, 6, 0, 0, 0, 0, 0, 0, 0, 0)[:26]),
    ],
    ids=lambda chunk: f"{chunk[0].decode()} {len(chunk[1])}",
)
@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_of_no_sense_are_left_out(chunk, bits, capfd):
    assert read(made(bits, before=[chunk]), bits).notes == ("1 damaged PNG chunk left out",)
    assert capfd.readouterr().err == ""


def test_damaged_animation_leaves_the_first_picture():
    frames = [Image.fromarray(np.full((6, 9, 3), n, np.uint8)) for n in (10, 20, 30)]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    photo = decode_photo(broken(out.getvalue(), b"fdAT"), LIMIT)
    assert photo.pixels.max() == photo.pixels.min() == 10
    assert photo.notes == ("6 damaged PNG chunks left out",)


# Large


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("chunk", "notes"),
    [
        ((b"tEXt", b"Comment\0" + LARGE), ()),
        ((b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)), ("1 oversized PNG chunk left out",)),
        ((b"iTXt", b"Comment\0\0\0\0\0" + LARGE), ()),
        (
            (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE)),
            ("1 oversized PNG chunk left out",),
        ),
    ],
    ids=["tEXt", "zTXt", "iTXt", "iTXt packed"],
)
def test_large_texts_are_no_reason_to_lose_the_photo(chunk, notes, bits, place):
    assert read(made(bits, **{place: [chunk]}), bits).notes == notes


def test_texts_of_more_than_all_memory_for_them_are_left_out():
    texts = [(b"tEXt", b"n%d\0" % n + LARGE) for n in range(20)]
    photo = read(made(before=texts, after=[EXTRAS["resolution"]]))
    assert photo.notes == ("17 oversized PNG chunks left out",)


def test_text_that_unpacks_without_end_takes_no_memory():
    bomb = zlib.compress(bytes(200 << 20), 9)
    assert read(made(before=[(b"zTXt", b"Comment\0\0" + bomb)])).notes == (
        "1 damaged PNG chunk left out",
    )


@pytest.mark.parametrize("size", [(1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("bits", [8, 16])
def test_large_profile_holds_as_a_small_one_does(bits, size):
    icc = ICC + np.random.RandomState(0).bytes(size - len(ICC))
    large, small = (
        decode_photo(made(bits, before=[(b"iCCP", b"x\0\0" + zlib.compress(each))]), LIMIT)
        for each in (icc, ICC)
    )
    (note,) = large.notes
    assert note.startswith(f"colour profile of {size / 1e6:.1f} MB: converted to sRGB")
    assert levels_apart(to_depth(large.pixels, 8), to_srgb8(small)) <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_large_packed_xmp_is_read(bits):
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP + LARGE)
    assert read(made(bits, before=[(b"iTXt", body)]), bits, upside_down=True).metadata_notes == (
        "XMP left out: too large",
    )


def test_many_chunks_are_left_out_quickly():
    text = struct.pack(">I", 1) + b"prVta" + struct.pack(">I", zlib.crc32(b"prVta"))
    data = made()
    at = data.index(b"IDAT") - 4
    assert read(data[:at] + text * 20_000 + data[at:]).notes == (
        "10000 oversized PNG chunks left out",
    )


def test_endless_chunks_are_refused(monkeypatch):
    monkeypatch.setattr(png_module, "_MOST_CHUNKS", 100)
    with pytest.raises(PhotoError, match="more than 100 PNG chunks"):
        decode_photo(made(before=[EXTRAS["private"]] * 101), LIMIT)


# Cut off


@pytest.mark.parametrize("bits", [8, 16])
def test_file_that_ends_within_a_text_is_whole_but_for_it(bits):
    data = made(bits, after=[EXTRAS["text"], EXTRAS["private"]])
    assert read(data[: data.index(b"prVt") + 6], bits).notes == ("1 damaged PNG chunk left out",)
    assert read(data[: data.index(b"prVt") - 4], bits).notes == ()


@pytest.mark.parametrize("bits", [8, 16])
def test_file_that_ends_within_its_pixels_fails(bits, capfd):
    data = made(bits)
    start = data.index(b"IDAT")
    for cut in (start, start + 4, start + 20, data.index(b"IEND") - 40):
        with pytest.raises(PhotoError):
            decode_photo(data[:cut], LIMIT)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("bits", [8, 16])
def test_header_of_a_file_with_damaged_chunks_is_read(bits):
    header = read_header(io.BytesIO(broken(made(bits, before=[EXTRAS["text"]]), b"tEXt")))
    assert (header.width, header.height) == (9, 6)


# 16 bits without a word of libpng's


def rewritten(stored, change, interlaced=False):
    """A PNG of 16 bits whose unpacked or packed rows are changed."""
    data = made(16, stored=stored)
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    body = change(data[start + 4 : start + 4 + length])
    header = bytearray(data[: start - 4])
    return bytes(header) + png_module.packed(b"IDAT", body) + png_module.packed(b"IEND", b"")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body[: len(body) // 2], "ends too early"),
        (lambda body: zlib.compress(zlib.decompress(body)[:-7]), "ends too early"),
        (lambda body: body[:-4] + b"abcd", "broken data stream"),
        (lambda body: body[:20] + bytes(30) + body[50:], "damaged image"),
        (
            lambda body: zlib.compress(b"\x09" + zlib.decompress(body)[1:]),
            "damaged image",
        ),
        (lambda _body: b"", "damaged image"),
    ],
)
def test_damaged_16_bits_are_told_once(change, told, capfd):
    with pytest.raises(PhotoError, match=told):
        decode_photo(rewritten(STORED[16], change), LIMIT)
    assert capfd.readouterr() == ("", "")


def test_more_pixels_than_there_are_places_for_are_no_harm(capfd):
    data = rewritten(STORED[16], lambda body: zlib.compress(zlib.decompress(body) + bytes(99)))
    read(data, 16)
    assert capfd.readouterr() == ("", "")


PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


@pytest.mark.parametrize("size", [(6, 9), (1, 1), (2, 3), (17, 5)])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_interlaced_16_bits_are_read(colour, size):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    stored = np.random.RandomState(1).randint(0, 65536, (*size, channels)).astype(">u2")
    rows = b"".join(
        b"\0" + row.tobytes()
        for x, y, right, down in PASSES
        for row in stored[y::down, x::right]
        if row.size
    )
    header = struct.pack(">IIBBBBB", size[1], size[0], 16, colour, 0, 0, 1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    photo = decode_photo(
        png_module.SIGNATURE + b"".join(itertools.starmap(png_module.packed, parts)), LIMIT
    )
    colours = stored[:, :, : 3 if channels > 2 else 1]
    assert np.array_equal(photo.pixels, np.broadcast_to(colours, photo.pixels.shape))
    if channels in (2, 4):
        assert np.array_equal(photo.alpha, stored[:, :, -1])


# One transparent colour


def grey_png(bits, levels, width, **chunks):
    """One row of levels of so many bits."""
    line = sum(level << (bits * (width - 1 - n)) for n, level in enumerate(levels))
    line <<= -bits * width % 8
    body = line.to_bytes(-(-bits * width // 8), "big")
    header = struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)
    middle = [(name.encode(), value) for name, value in chunks.items()]
    parts = [(b"IHDR", header), *middle, (b"IDAT", zlib.compress(b"\0" + body)), (b"IEND", b"")]
    return png_module.SIGNATURE + b"".join(itertools.starmap(png_module.packed, parts))


@pytest.mark.parametrize(
    ("bits", "level"),
    [(b, n) for b in (1, 2, 4) for n in range(1 << b)] + [(8, 0), (8, 77), (8, 255)],
)
def test_transparent_grey_of_few_bits_is_that_grey_alone(bits, level):
    levels = list(range(1 << bits))
    peak = (1 << bits) - 1
    for beyond in (0, 0xFFFF & ~peak) if bits > 1 else (0,):  # bits that count for nothing
        data = grey_png(bits, levels, len(levels), tRNS=struct.pack(">H", level | beyond))
        check_grey_is_transparent(data, levels, level, peak)


def check_grey_is_transparent(data, levels, level, peak):
    for photo in (decode_photo(data, LIMIT), decode_pil(Image.open(io.BytesIO(data)))):
        assert photo.pixels[0, :, 0].tolist() == [n * 255 // peak for n in levels]
        assert photo.alpha[0].tolist() == [0 if n == level else 255 for n in levels]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_grey_that_is_nowhere_is_none(bits):
    levels = [1] * 8
    data = grey_png(bits, levels, 8, tRNS=struct.pack(">H", 0))
    assert decode_photo(data, LIMIT).alpha is None


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_colour_needs_all_three_channels(bits):
    white = (1 << bits) - 1
    pixels = np.array([[[9, 8, 7], [9, 8, 6], [9, 0, 7], [0, 8, 7], [white, 8, 7]]])
    data = png(bits, 2, pixels, 5, 1, before=[(b"tRNS", struct.pack(">3H", 9, 8, 7))])
    photo = decode_photo(data, LIMIT)
    assert photo.pixels.tolist() == pixels.tolist()
    assert photo.alpha[0].tolist() == [0, *[white] * 4]


@pytest.mark.parametrize("level", [0, 300, 65535])
def test_transparent_grey_of_16_bits_is_that_grey_alone(level):
    levels = [0, 1, 300, 301, 65534, 65535, 44, 300 & 255]
    data = png(16, 0, levels, 8, 1, before=[(b"tRNS", struct.pack(">H", level))])
    alpha = decode_photo(data, LIMIT).alpha
    assert alpha[0].tolist() == [0 if n == level else 65535 for n in levels]


@pytest.mark.parametrize("shares", [[0], [255, 0], [10, 255, 128], [255, 255, 255, 0]])
def test_palette_has_a_transparency_for_each_colour_or_the_first(shares):
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3])
    image.putdata([0, 1, 2, 3])
    out = io.BytesIO()
    image.save(out, "PNG", transparency=bytes(shares))
    photo = decode_photo(out.getvalue(), LIMIT)
    assert photo.alpha[0].tolist() == (shares + [255] * 4)[:4]
    assert photo.pixels[0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90], [1, 2, 3]]
