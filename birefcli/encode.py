"""Pixels to the bytes of a file.

PNG and TIFF are written here because Pillow cannot write 16 bits a channel in colour, and OpenCV
writes neither colour profiles nor resolution. Both are the plain baseline of their format.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefcli.errors import PhotoError
from birefcli.images import Pixels
from birefcli.options import Compress, Format

ZLIB_LEVEL = {Compress.FAST: 1, Compress.BALANCED: 4, Compress.SMALL: 9}
WEBP = {  # effort (method) and quality, which is effort again for a lossless file
    Compress.FAST: (0, 0),
    Compress.BALANCED: (3, 50),
    Compress.SMALL: (6, 100),
}
LONGEST = {Format.WEBP: 16383, Format.JPG: 65500}  # pixels on a side, where there is a limit
JPEG_QUALITY = {Compress.FAST: 95, Compress.BALANCED: 92, Compress.SMALL: 85}


def encode(
    pixels: Pixels,
    format_: Format,
    compress: Compress = Compress.FAST,
    *,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """Encode one picture.

    ``pixels``: H×W (grey), H×W×3 (RGB) or H×W×4 (RGBA, straight alpha) of uint8, or uint16 for PNG
    and TIFF. ``icc`` is dropped for grey pictures, whose values are no colours. All formats but
    JPEG are lossless. Raises ValueError for what the format cannot hold, and PhotoError for a
    picture that is too long for it.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > LONGEST.get(format_, height + width):
        raise PhotoError(
            f"{width}×{height} pixels: {format_.value} holds no more than {LONGEST[format_]} on a"
            " side; use --format png"
        )
    if pixels.dtype == np.uint16 and 16 not in format_.bits:
        raise ValueError(f"{format_.value} holds 8 bits a channel")
    if pixels.ndim == 2:
        icc = None
    match format_:
        case Format.PNG:
            return _png(pixels, ZLIB_LEVEL[compress], icc, dpi)
        case Format.TIFF:
            return _tiff(pixels, ZLIB_LEVEL[compress], icc, dpi)
        case Format.WEBP:
            method, quality = WEBP[compress]
            # WebP holds no resolution.
            return _pillow(
                pixels, "WEBP", icc, lossless=True, method=method, quality=quality, exact=True
            )
        case Format.JPG:
            if pixels.ndim == 3 and pixels.shape[2] == 4:
                raise ValueError("jpg holds no transparency")
            more: dict[str, object] = {} if dpi is None else {"dpi": dpi}
            return _pillow(
                pixels, "JPEG", icc, quality=JPEG_QUALITY[compress], subsampling=0, **more
            )


def _pillow(pixels: Pixels, format_: str, icc: bytes | None, **options: object) -> bytes:
    out = io.BytesIO()
    if icc is not None:
        options["icc_profile"] = icc
    Image.fromarray(pixels).save(out, format_, **options)
    return out.getvalue()


def _bytes_per_pixel(pixels: Pixels) -> int:
    return pixels.dtype.itemsize * (1 if pixels.ndim == 2 else pixels.shape[2])


def _png(pixels: Pixels, level: int, icc: bytes | None, dpi: tuple[float, float] | None) -> bytes:
    """PNG, third edition: IHDR, iCCP, pHYs, one IDAT, IEND."""
    height, width = pixels.shape[:2]
    colour = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, colour, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if icc is not None:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if dpi is not None:
        across, down = (round(d / 0.0254) for d in dpi)  # dots per metre
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    chunks.append(_chunk(b"IDAT", zlib.compress(_filtered(pixels).data, level)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
    )


def _filtered(pixels: Pixels) -> NDArray[np.uint8]:
    """Rows behind their filter byte; filter 2 (Up) throughout: one subtraction, near the best."""
    height = pixels.shape[0]
    rows = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(height, -1)
    out = np.empty((height, raw.shape[1] + 1), np.uint8)
    out[:, 0] = 2
    out[0, 1:] = raw[0]
    np.subtract(raw[1:], raw[:-1], out=out[1:, 1:])
    return out


def _tiff(pixels: Pixels, level: int, icc: bytes | None, dpi: tuple[float, float] | None) -> bytes:
    """TIFF 6.0, little endian: strips of Deflate with horizontal differencing."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = max(1, (1 << 20) // max(1, width * _bytes_per_pixel(pixels)))
    strips = [
        zlib.compress(_differences(pixels[top : top + rows], channels), level)
        for top in range(0, height, rows)
    ]
    out = bytearray(b"II*\0\0\0\0\0")
    offsets = []
    for strip in strips:
        offsets.append(len(out))
        out += strip
    short, long, rational, undefined = 3, 4, 5, 7
    bits = 8 * pixels.dtype.itemsize
    tags: list[tuple[int, int, list[int] | bytes]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [bits] * channels),
        (259, short, [8]),  # Deflate
        (262, short, [2 if channels > 1 else 1]),  # RGB, or black is zero
        (273, long, offsets),
        (277, short, [channels]),
        (278, long, [rows]),
        (279, long, [len(strip) for strip in strips]),
        (317, short, [2]),  # horizontal differencing
    ]
    if dpi is not None:
        tags[9:9] = [
            (282, rational, [round(dpi[0] * 1000), 1000]),
            (283, rational, [round(dpi[1] * 1000), 1000]),
            (296, short, [2]),  # per inch
        ]
    if channels == 4:
        tags.append((338, short, [2]))  # straight ("unassociated") alpha
    if icc is not None:
        tags.append((34675, undefined, icc))
    return bytes(_with_directory(out, tags))


def _with_directory(out: bytearray, tags: list[tuple[int, int, list[int] | bytes]]) -> bytearray:
    """Append the values that do not fit a directory entry, then the directory."""
    letter = {3: "H", 4: "I", 5: "I"}
    entries = b""
    for tag, kind, values in tags:
        body = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"<{len(values)}{letter[kind]}", *values)
        )
        count = len(values) // (2 if kind == 5 else 1)
        if len(body) > 4:
            out += b"\0" * (len(out) % 2)
            place = struct.pack("<I", len(out))
            out += body
        else:
            place = body.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + place
    out += b"\0" * (len(out) % 2)
    out[4:8] = struct.pack("<I", len(out))
    return out + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


def _differences(pixels: Pixels, channels: int) -> bytes:
    rows = pixels.reshape(pixels.shape[0], -1, channels)
    out = rows.copy()
    np.subtract(rows[:, 1:], rows[:, :-1], out=out[:, 1:])
    little: bytes = out.astype(out.dtype.newbyteorder("<")).tobytes()
    return little
