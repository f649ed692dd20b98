"""Bytes of photos: the header first, and no more than a photo may have."""

import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images import opening, reading
from birefcli.images.decode import decode_photo
from birefcli.images.files import open_photo
from birefcli.images.formats import png, tiff
from birefcli.images.opening import read_header
from birefcli.images.reading import read_file, read_photo, read_stream

LIMIT = 1_000_000  # pixels


def picture(format_: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A grey ramp."""
    out = io.BytesIO()
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[::-1]).astype(np.uint8)
    Image.fromarray(ramp).convert("RGB").save(out, format_)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE", 20_000)
    monkeypatch.setattr(reading, "CHUNK", 1_000)


class Endless(io.RawIOBase):
    """A start, and then one byte for ever; it counts what was read."""

    def __init__(self, start: bytes, then: bytes = b"\0") -> None:
        self.start, self.then, self.given = start, then, 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "read to an end that never comes"
        part, self.start = self.start[:size], self.start[size:]
        part += self.then * (size - len(part))
        self.given += len(part)
        return part


@pytest.mark.parametrize("start", [b"", b"hello", picture("GIF")[:4]])
def test_a_stream_that_does_not_begin_as_a_photo_is_not_read_on(start: bytes) -> None:
    stream = Endless(start)
    with pytest.raises(PhotoError, match=r"not an image|damaged"):
        read_stream(stream, LIMIT)  # type: ignore[arg-type]
    assert stream.given <= reading.LARGE + 2 * reading.CHUNK


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "BMP", "GIF", "PPM"])
def test_a_photo_that_goes_on_without_end_is_left_where_no_photo_can_be_longer(
    format_: str,
) -> None:
    stream = Endless(picture(format_))
    with pytest.raises(PhotoError, match=r"no photo of 0\.0012 megapixels"):
        read_stream(stream, LIMIT)  # type: ignore[arg-type]
    assert stream.given < reading.LARGE + 16 * 1200 + 2 * reading.CHUNK


@pytest.mark.parametrize(
    "start",
    [
        b"\0",
        b"text ",
        b"\x7fELF",
        b"BM",
        b"GIF8",
        b"\xff\xd8\xff",
        b"II*\0\x08\0\0\0",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_an_endless_stream_that_is_no_photo_is_left_at_its_beginning(start: bytes) -> None:
    stream = Endless(start)
    with pytest.raises(PhotoError, match=r"not an image|damaged image"):
        read_stream(stream, 10**9)  # type: ignore[arg-type]
    assert stream.given <= reading.LARGE + 2 * reading.CHUNK


@pytest.mark.parametrize(
    ("start", "part"),
    [(b"P6 #", b"a"), (b"\xff\xd8", b"\xff\xfe\0\4ab"), (b"P5", b" "), (b"\xff\xd8", b"\xff")],
)
def test_a_header_of_too_many_parts_is_left(
    start: bytes, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_READS", 1000)
    file = io.BytesIO(start + part * 10_000)
    with pytest.raises(PhotoError, match="its header does not end"):
        read_header(file)


def test_a_stream_that_says_too_many_pixels_is_left_at_its_header() -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"\0\0\0\x0dIHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    stream = Endless(b"\x89PNG\r\n\x1a\n" + chunk + b"\xff\xff\xff\x00IDAT")
    with pytest.raises(PhotoError, match="30000×30000 pixels are more than the limit"):
        read_stream(stream, LIMIT)  # type: ignore[arg-type]
    assert stream.given <= reading.LARGE + 2 * reading.CHUNK


def test_a_stream_that_ends_is_read_whole() -> None:
    for data in (b"", b"x", picture(), picture("BMP", (200, 100))):
        assert read_stream(io.BytesIO(data), LIMIT) == data


def test_a_large_file_is_admitted_by_its_header_and_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    path.write_bytes(picture("BMP", (200, 100)))
    asked: list[tuple[int, int]] = []
    with path.open("rb", buffering=0) as file:

        def admit(pixels: int, length: int) -> None:
            asked.append((pixels, length))
            assert file.tell() < 1000

        assert read_photo(file, LIMIT, admit) == path.read_bytes()
    assert asked == [(20_000, 60_054)]


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif", "a.png"])
def test_a_long_file_that_is_no_photo_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(PhotoError, match="not an image"):
        read_file(path, LIMIT)
    with path.open("wb") as file:
        file.truncate(5_000_000_000)
    with pytest.raises(PhotoError, match="GB are no photo of 1 megapixels"):
        read_file(path, LIMIT)


@pytest.mark.parametrize("start", [*tiff.START, png.SIGNATURE])
def test_a_huge_file_without_a_header_is_not_read(tmp_path: Path, start: bytes) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(start + b"\x08\0\0\0")
        file.truncate(4 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(PhotoError, match="not an image"):
            read_file(tmp_path / "a", 10**9)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", tiff.START)
def test_size_of_a_tiff_is_read_wherever_its_directory_lies(start: bytes) -> None:
    order, big = tiff.START[start]
    place = 3000
    entry = "HHQHxxxxxx" if big else "HHIHxx"
    table = struct.pack(order + ("Q" if big else "H"), 2)
    table += struct.pack(order + entry, 256, 3, 1, 70) + struct.pack(order + entry, 257, 3, 1, 50)
    head = start + struct.pack(
        order + ("HHQ" if big else "I"), *((8, 0, place) if big else (place,))
    )
    file = io.BytesIO(head.ljust(place, b"x") + table)
    assert tiff.read_size(file) == (70, 50)
    for length in (100, place, place + 20):  # as much as has come through a pipe
        assert tiff.read_size(io.BytesIO(file.getvalue()[:length])) is None


@pytest.mark.parametrize("format_", ["TIFF", "BMP", "PNG"])
def test_a_long_photo_comes_through_a_pipe(format_: str) -> None:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(out, format_)
    data = out.getvalue()
    if format_ == "TIFF":  # many writers put the directory behind the pixels
        ordered = Image.open(io.BytesIO(data))
        place = len(data) + len(data) % 2
        found = tiff.read_directory(data)
        assert found is not None
        assert ordered.size == found.size
        data = tiff.with_directory(found, {})
        assert tiff.read_size(io.BytesIO(data[: place - 1])) is None
    assert len(data) > 3 * reading.LARGE
    assert read_stream(io.BytesIO(data), LIMIT) == data


def test_a_photo_with_gigabytes_behind_it_is_refused_by_its_header(tmp_path: Path) -> None:
    for format_ in ("PNG", "JPEG", "WEBP", "GIF"):
        path = tmp_path / f"a.{format_.lower()}"
        with path.open("wb") as file:
            file.write(picture(format_))
            file.truncate(15_000_000)
        with pytest.raises(PhotoError, match=r"no photo of 0\.0012 megapixels"):
            read_file(path, LIMIT)


def test_layers_of_a_tiff_are_no_reason_to_refuse_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    ramp = Image.open(io.BytesIO(picture()))
    ramp.save(path, tiffinfo={37724: b"\0" * 200_000})
    assert open_photo(path, LIMIT).shape == (30, 40)


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices of POSIX")
def test_a_pipe_and_a_device_in_the_place_of_a_photo_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name, kind in (("a.jpg", "a named pipe"), ("b.jpg", "a device")):
        with pytest.raises(PhotoError, match=f"{name}: is {kind}, not a regular file"):
            open_photo(tmp_path / name, LIMIT)


def _postscripts() -> Iterator[bytes]:
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    yield (
        b"\xc5\xd0\xd3\xc6"
        + struct.pack("<6IH", 32, len(head), 0, 0, 0, 0, 0xFFFF)
        + b"\0\0"
        + head
    )


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    Image.init()
    for name in ("Popen", "check_call", "run", "call"):
        monkeypatch.setattr(subprocess, name, start)
    for number, text in enumerate(_postscripts()):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(text)
        with pytest.raises(PhotoError, match=r"not an image .* \(it is PostScript\)"):
            open_photo(path, LIMIT)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\x0a" + bytes(range(1, 60)), "JPEG XL; save it as JPEG or PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL; save it as JPEG or PNG"),
        (b"8BPS\0\1", "a Photoshop document; save it as PNG or TIFF"),
        (b"gimp xcf v011\0", "a GIMP picture; export it as PNG or TIFF"),
        (b"v/1\1\2\0", "OpenEXR; save it as TIFF of 16 bits"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing: SVG"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"\n<HTML>", "a web page"),
        (b"\0\0\0\x18ftypisom\0\0\2\0", "a video, or HEIC of an unusual kind"),
        (b"PK\3\4\x14\0", "an archive or office document"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_what_is_no_photo_is_told_by_its_beginning(start: bytes, kind: str) -> None:
    with pytest.raises(
        PhotoError, match=re.escape(f"not an image that birefcli can read (it is {kind})")
    ):
        decode_photo(start * 4, LIMIT)


def test_formats_that_nobody_asked_for_are_not_tried(tmp_path: Path) -> None:
    for format_ in ("TGA", "PCX", "ICO", "SGI"):
        path = tmp_path / "a.jpg"
        Image.open(io.BytesIO(picture())).save(path, format_)
        with pytest.raises(PhotoError, match="not an image"):
            open_photo(path, LIMIT)


def test_a_header_is_read_without_the_rest() -> None:
    for format_ in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        file = io.BytesIO(picture(format_))
        header = read_header(file)
        assert (header.format, header.width, header.height, header.pixels) == (
            format_,
            *(40, 30, 1200),
        )
        assert file.tell() == 0
        assert not file.closed


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["cat a.png /dev/zero", "cat /dev/zero"])
def test_an_endless_photo_on_stdin_fails_by_name(tmp_path: Path, feed: str) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    line = f"{feed} | {sys.executable} -m birefcli matte - -o out.png --model mini"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "-: " in done.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("Liebe Anna,\r\n\tgrüße".encode(), "it looks like text"),
        (("ä" * 300).encode(), "it looks like text"),
        (b"\xff\xd8\x01\x02\x03", None),
        (b"\x7fELF\x02\x01\x01" * 9, None),
        (bytes(range(1, 256)), None),
    ],
)
def test_text_is_told_from_bytes(tmp_path: Path, start: bytes, told: str | None) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(start)
    with pytest.raises(PhotoError) as caught:
        open_photo(path, LIMIT)
    assert ("it looks like text" in str(caught.value)) is (told is not None)


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="takes AVIF's codec")
def test_a_damaged_avif_needs_no_other_codec(tmp_path: Path) -> None:
    data = picture("AVIF")
    (tmp_path / "a.avif").write_bytes(data[:200])
    with pytest.raises(PhotoError, match="damaged") as caught:
        open_photo(tmp_path / "a.avif", LIMIT)
    assert "pip install" not in str(caught.value)
