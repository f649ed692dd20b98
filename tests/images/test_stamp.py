"""What a file says of its own making, in every format."""

import io
import re
import zlib

import cv2
import numpy as np
import pytest
from described import block, dataset, packet, said
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from birefcli.images import findings, stamp
from birefcli.images.encode import encode
from birefcli.images.findings import Findings
from birefcli.images.formats import png
from birefcli.images.image_data import ImageData
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format, Product
from birefcli.products.quality.defects import Defect

RECORDS = st.builds(
    Stamp,
    st.text("0123456789abcdef", min_size=16, max_size=16),
    st.sampled_from(["fp16", "bf16", "fp32"]),
    st.sampled_from([*(kind.value for kind in Product), stamp.SHEET]),
    st.integers(0, 2**60),
    st.integers(-(2**62), 2**62),
    st.booleans(),
)


@given(made=RECORDS)
@pytest.mark.parametrize("format_", list(Format))
def test_record_is_read_back_whatever_bytes_follow_it(tmp_path_factory, format_, made):
    path = tmp_path_factory.mktemp("r") / "a"
    path.write_bytes(
        encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=Metadata(stamp=made.text()))
    )
    assert stamp.read(path) == stamp.StampedFile(whole=True, stamp=made)


@pytest.mark.parametrize("format_", list(Format))
def test_record_is_found_beside_a_large_profile_and_exif(tmp_path, format_):
    made = Stamp("0" * 16, "fp32", "foreground", 123, 456)
    profile = bytes(36) + b"acsp" + np.random.RandomState(0).bytes(60_000)
    pixels = np.random.RandomState(1).randint(0, 256, (90, 80, 3)).astype(np.uint8)
    notes = Metadata(icc=profile, dpi=(300, 300), stamp=made.text())
    (tmp_path / "a").write_bytes(encode(pixels, format_, metadata=notes))
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=True, stamp=made)


@pytest.mark.parametrize("format_", list(Format))
def test_file_that_was_cut_off_anywhere_is_not_whole(tmp_path, format_):
    pixels = np.random.RandomState(1).randint(0, 256, (20, 20, 3)).astype(np.uint8)
    notes = Metadata(stamp=Stamp("f" * 16, "fp16", "mask", 1, 2).text())
    data = encode(pixels, format_, metadata=notes)
    for end in range(0, len(data), 7):
        (tmp_path / "a").write_bytes(data[:end])
        assert not stamp.read(tmp_path / "a").whole, end


@pytest.mark.parametrize("format_", list(Format))
def test_product_of_another_version_is_ours_and_tells_its_checksum_where_it_has_one(
    tmp_path, monkeypatch, format_
):
    monkeypatch.setattr(stamp, "with_checksum", lambda text, *_, **__: text)
    for text, checksum in {
        "birefcli:1 0123456789abcdef 12 -5;": None,
        "birefcli:2 0123456789abcdef fp32 mask 1 2;": None,
        "birefcli:34 whatever comes;": None,
        "birefcli:34 what comes 000000000123 000000000045 0000002a;": (123, (45, 42)),
    }.items():
        data = encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=Metadata(stamp=text))
        (tmp_path / "a").write_bytes(data)
        found = stamp.read(tmp_path / "a").stamp
        assert found is not None
        assert (found.fingerprint, found.product, found.checksum) == ("", "", checksum)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG", b"RIFF", b"II*\0", b"\xff\xd8"])
def test_what_is_no_picture_is_not_whole(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=False, stamp=None)


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("order", ["<", ">"])
def test_record_is_found_beside_exif_xmp_and_iptc(tmp_path, format_, order):
    made = Stamp("0" * 16, "fp32", "foreground", 123, 456)
    other = FAKE
    notes = Metadata(
        exif=block(order, {270: (2, other.encode())}, {37500: (7, bytes(50_000))}),
        xmp=packet(f"<dc:title>{other}</dc:title>", room=50_000),
        iptc=dataset(2, 120, other.encode()) + dataset(2, 120, bytes(32_000)),
        stamp=made.text(),
    )
    data = encode(np.zeros((5, 4, 3), np.uint8), format_, metadata=notes)
    (tmp_path / "a").write_bytes(data)
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=True, stamp=made)
    assert said(data)[1] == notes.xmp


LONG = Findings(
    0.25,
    tuple(Defect),
    0.0125,
    ("ä; b|c%, end of it", *("x" * 150 + str(n) for n in range(9))),
    {"foreground": "quality 100, 4:2:0, alpha 100"},
)


@pytest.mark.parametrize("found", [Findings(1.0), LONG])
@pytest.mark.parametrize("format_", list(Format))
def test_what_a_run_found_out_is_told_and_a_store_finds_it_in_one_window(tmp_path, format_, found):
    made = Stamp("0" * 16, "fp32", "foreground", 10**15, -(10**19), reframed=True, found=found)
    for xmp in (None, packet(room=50_000)):
        notes = Metadata(xmp=xmp, stamp=made.text())
        data = encode(np.zeros((5, 4, 3), np.uint8), format_, metadata=notes)
        (tmp_path / "a").write_bytes(data)
        there = stamp.read(tmp_path / "a")
        at_end = stamp.is_at_end(format_.suffix)
        window = data[-stamp.WINDOW :] if at_end else data[: stamp.WINDOW]
        read = [there.stamp, stamp.of_window(window, at_end=at_end), stamp.of_bytes(data)]
        assert [each.found for each in read] == [_read(found)] * 3
        assert read[0].found.notes[: len(found.notes[:1])] == found.notes[:1]
        with (tmp_path / "a").open("rb") as file:
            assert stamp.findings_of(file, there) == read[0].found


def _read(found):
    text = found.text("foreground").encode("ascii")
    return findings.parse("foreground", re.fullmatch(findings.PATTERN, text))


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "packed iTXt"])
def test_a_stamp_that_a_program_moved_behind_the_pixels_of_a_png_is_read(tmp_path, kind):
    """As ImageMagick does; and nothing there that looks like one is one."""
    made = Stamp("0" * 16, "fp32", "cutout", 123, 456)
    pixels = np.random.RandomState(1).randint(0, 256, (90, 80, 3)).astype(np.uint8)
    data = encode(pixels, Format.PNG, metadata=Metadata(stamp=made.text()))
    [chunk] = [each for each in png.chunks(data) if each.name == b"tEXt"]
    bare, text = data.replace(bytes(chunk.whole), b""), chunk.body.removeprefix(stamp.PNG_KEY)
    said = {
        "tEXt": stamp.PNG_KEY + text,
        "zTXt": stamp.PNG_KEY + b"\0" + zlib.compress(text),
        "iTXt": stamp.PNG_KEY + b"\0\0en\0\0" + text,
        "packed iTXt": stamp.PNG_KEY + b"\1\0\0\0" + zlib.compress(text),
    }[kind]
    name = kind.encode()[-4:]
    date, moved = png.packed(b"tEXt", b"date\0today"), png.packed(name, said)
    other = png.packed(name, said.replace(b"Software", b"Comment "))
    broken = moved[:-1] + bytes([moved[-1] ^ 1])
    for behind, found in {
        date + moved + date: made,
        other + date: None,
        broken: None,
        png.packed(b"tEXt", b"Comment\0" + moved): None,
    }.items():
        (tmp_path / "a").write_bytes(bare[:-12] + behind + bare[-12:])
        assert stamp.read(tmp_path / "a").stamp == found
        whole = (tmp_path / "a").read_bytes()
        assert stamp.of_bytes(whole) == found
        assert stamp.of_window(whole[-stamp.WINDOW :], at_end=True) == found


# Text that looks like a stamp and stands elsewhere

FAKE = stamp.with_checksum(Stamp("a" * 16, "fp32", "cutout", 1, 2).text(), 3, ImageData(1, 2))
LOOKALIKES = (FAKE, "birefcli:1 of another version;")
PIXELS = Image.new("RGB", (8, 6), "teal")


def exif(text: str) -> bytes:
    block = Image.Exif()
    block[0x010E] = text  # ImageDescription
    block[0x0131] = text  # Software
    return block.tobytes()


def xmp(text: str) -> bytes:
    """As a program writes it whose name a user may choose."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f' xmp:CreatorTool="{text}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def png_text(key: str, text: str, *, packed: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_text(key, text, zip=packed)
    return info


PLACES = {
    "PNG, EXIF": ("PNG", lambda text: {"exif": exif(text)}),
    "PNG, a description": ("PNG", lambda text: {"pnginfo": png_text("Description", text)}),
    "PNG, words around it": ("PNG", lambda text: {"pnginfo": png_text("Software", f"by {text}")}),
    "PNG, words behind it": ("PNG", lambda text: {"pnginfo": png_text("Software", f"{text} 2")}),
    "JPEG, EXIF": ("JPEG", lambda text: {"exif": exif(text)}),
    "JPEG, XMP": ("JPEG", lambda text: {"xmp": xmp(text)}),
    "JPEG, a comment behind EXIF": (
        "JPEG",
        lambda text: {"exif": exif("a"), "comment": text.encode()},
    ),
    "JPEG, words around it": ("JPEG", lambda text: {"comment": f"by {text}".encode()}),
    "WebP, EXIF": ("WEBP", lambda text: {"exif": exif(text), "lossless": True}),
    "WebP, XMP": ("WEBP", lambda text: {"xmp": xmp(text), "lossless": True}),
    "WebP, a profile": ("WEBP", lambda text: {"icc_profile": text.encode(), "lossless": True}),
    "TIFF, a description": ("TIFF", lambda text: {"description": text}),
    "TIFF, the program": ("TIFF", lambda text: {"software": text}),
}


@pytest.mark.parametrize("text", LOOKALIKES)
@pytest.mark.parametrize("place", PLACES)
def test_text_that_looks_like_a_stamp_is_none_elsewhere_than_at_its_place(tmp_path, place, text):
    format_, how = PLACES[place]
    PIXELS.save(tmp_path / "a", format_, **how(text))
    assert stamp.read(tmp_path / "a").stamp is None


@pytest.mark.parametrize("end", [b"", b" ", b"\n"])
def test_text_at_either_end_of_a_file_that_is_no_picture_is_no_stamp(tmp_path, end):
    for content in (FAKE.encode() + b" notes", b"notes " + FAKE.encode()):
        (tmp_path / "a").write_bytes(content + end)
        assert stamp.read(tmp_path / "a").stamp is None


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("text", LOOKALIKES)
def test_stamp_of_a_product_counts_whatever_its_photo_says(tmp_path, format_, text):
    made = Stamp("0" * 16, "fp32", "foreground", 123, 456)
    block = exif(text)[6:] if exif(text).startswith(b"Exif") else exif(text)
    notes = Metadata(exif=block, stamp=made.text())
    data = encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=notes)
    assert text.encode() in data
    (tmp_path / "a").write_bytes(data)
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=True, stamp=made)
    bare = encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=Metadata(exif=block))
    (tmp_path / "a").write_bytes(bare)
    assert stamp.read(tmp_path / "a").stamp is None


@pytest.mark.parametrize("channels", [3, 4, None])
@pytest.mark.parametrize("described", [False, True])
def test_webp_with_a_stamp_is_the_same_picture_to_every_reader(tmp_path, channels, described):
    shape = (7, 5) if channels is None else (7, 5, channels)
    pixels = np.random.RandomState(2).randint(0, 256, shape).astype(np.uint8)
    block = exif("a")[6:] if described else None
    notes = Metadata(exif=block, stamp=FAKE)
    stamped, plain = (
        encode(pixels, Format.WEBP, metadata=m) for m in (notes, Metadata(exif=block))
    )
    assert int.from_bytes(stamped[4:8], "little") + 8 == len(stamped)
    assert stamped[12:16] == b"VP8X", "only an extended file may have chunks of others"
    with Image.open(io.BytesIO(stamped)) as one, Image.open(io.BytesIO(plain)) as other:
        assert (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
        assert dict(one.getexif()) == dict(other.getexif())
    flag = cv2.IMREAD_UNCHANGED
    read = [cv2.imdecode(np.frombuffer(data, np.uint8), flag) for data in (stamped, plain)]
    assert np.array_equal(*read)


def test_webp_that_is_opaque_throughout_stays_without_alpha(tmp_path):
    pixels = np.full((7, 5, 4), 255, np.uint8)
    data = encode(pixels, Format.WEBP, metadata=Metadata(stamp=FAKE))
    assert not data[20] & 0x10
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("content", "blank"),
    [
        (b"", True),
        (bytes(9), True),
        (bytes(9999), True),
        (bytes(300_000), True),
        (b"a", False),
        (bytes(9999) + b"a", False),
        (bytes(9999) + b"a" + bytes(9999), False),
        (bytes(200_000) + b"a" + bytes(200_000), False),
    ],
)
def test_file_is_blank_where_all_of_it_is_zeros(tmp_path, content, blank):
    (tmp_path / "a").write_bytes(content)
    assert stamp.read(tmp_path / "a").blank == blank


def test_hole_is_blank_and_one_with_bytes_in_it_is_not(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(6 << 30)
    assert stamp.read(tmp_path / "a").blank
    with (tmp_path / "a").open("r+b") as file:
        file.seek(3 << 30)
        file.write(b"a")
    assert not stamp.read(tmp_path / "a").blank


@pytest.mark.parametrize("length", [1, 100, 5000, 300_000])
@pytest.mark.parametrize("given", [0, 1])
def test_file_that_gives_fewer_bytes_than_it_has_is_not_told(tmp_path, monkeypatch, length, given):
    class Short(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size)[: given if length > 1 else 0]

    monkeypatch.setattr(stamp, "open_regular", lambda _: Short(bytes(length)))
    with pytest.raises(OSError, match="fewer bytes"):
        stamp.read(tmp_path / "a")
