"""Pixels to the bytes of a file.

PNG and TIFF are written here because Pillow cannot write 16 bits a channel in colour, and OpenCV
writes neither colour profiles nor resolution. Both are the plain baseline of their format, packed
in strips that cores share.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import accumulate, chain

import cv2
import numpy as np
from PIL import Image

from birefcli.errors import Message, Option, PhotoError
from birefcli.images import deflate, image_data, stamp
from birefcli.images.codecs import takes_aom
from birefcli.images.formats import png, tiff
from birefcli.images.metadata import (
    EXIF_HEAD,
    IPTC_TAG,
    XMP_HEAD,
    XMP_TAG,
    Fitted,
    Metadata,
    fitted,
)
from birefcli.images.photo import Pixels
from birefcli.images.tags import exif, iptc
from birefcli.options import Compress, Format
from birefcli.system import cpu

# Level 9 takes four times as long as 7 to gain three percent.
ZLIB_LEVEL = {Compress.FAST: 1, Compress.BALANCED: 4, Compress.SMALL: 7}
WEBP = {  # effort (method) and quality, which is effort again for a lossless file
    Compress.FAST: (0, 0),
    Compress.BALANCED: (3, 50),
    Compress.SMALL: (4, 90),  # (6, 100) takes five times as long, for a hundredth
}
ALPHA = 0x10  # bit of a WebP that has transparency
STRIP = 1 << 20  # bytes of pixels that are packed at once
QUALITY = {
    Format.JPG: {Compress.FAST: 95, Compress.BALANCED: 92, Compress.SMALL: 85},
    Format.AVIF: {Compress.FAST: 85, Compress.BALANCED: 80, Compress.SMALL: 70},
}
HUFFMAN = {  # a JPEG's tables made for the picture, and its bytes in passes: the same pixels
    Compress.FAST: ((False, False),),
    Compress.BALANCED: ((True, False),),  # a tenth smaller at quality 95, for twice the time
    Compress.SMALL: ((True, False), (True, True)),  # which of them is smaller depends
}
JFIF_UNIT = 13  # where a JPEG's JFIF segment says what its density is in
ICC_PART = 65519  # bytes of a colour profile in one segment of a JPEG
LOSSY_METHOD = {Compress.FAST: 2, Compress.BALANCED: 4, Compress.SMALL: 6}  # effort of a WebP
AVIF_SPEED = {Compress.FAST: 8, Compress.BALANCED: 6, Compress.SMALL: 4}
LEAST_AVIF_ALPHA = 40  # quality of an AVIF's alpha: below, a haze lies over what is clear


def encode(
    pixels: Pixels,
    format_: Format,
    compress: Compress = Compress.FAST,
    *,
    quality: int | None = None,
    full_chroma: bool = True,
    alpha_quality: int = 100,
    metadata: Metadata | None = None,
) -> bytes:
    """Encode one picture.

    ``pixels``: H×W (grey), H×W×3 (RGB) or H×W×4 (RGBA, straight alpha) of uint8, or uint16 for PNG
    and TIFF; or H×W of bool, for PNG. JPEG and AVIF lose pixels, WebP where ``quality`` is given:
    1..100, None what ``compress`` says. ``full_chroma``: of JPEG and AVIF, colour is kept for each
    pixel, not for every second across and down. ``alpha_quality``: of a WebP with
    a quality, 0..100; of 100 nothing is lost. Raises ValueError for what the format cannot hold,
    and PhotoError for a picture that is too long for it. It leaves out what it cannot hold of
    ``metadata``: see :func:`.metadata.fitted`.
    """
    height, width = pixels.shape[:2]
    longest = format_.longest_side
    if longest is not None and max(height, width) > longest:
        raise PhotoError(
            f"{width}×{height} pixels: {format_.value} holds no more than {longest} on a side",
            hint=Message("use ", Option("format", "png")),
        )
    if pixels.dtype == np.uint16 and 16 not in format_.bits:
        raise ValueError(f"{format_.value} holds 8 bits a channel")
    if pixels.dtype == np.bool_ and (1 not in format_.bits or pixels.ndim != 2):
        raise ValueError("png alone holds 1 bit, of grey")
    metadata = metadata or Metadata()
    if pixels.ndim == 2:
        metadata = replace(metadata, icc=None)
    said = fitted(metadata, format_, width, height)
    match format_:
        case Format.PNG:
            return _png(pixels, ZLIB_LEVEL[compress], said.metadata)
        case Format.TIFF:
            return _tiff(pixels, ZLIB_LEVEL[compress], said)
        case Format.WEBP:
            lossy = None if quality is None else (quality, alpha_quality)
            return _webp(pixels, compress, lossy, said.metadata)
        case Format.JPG:
            best = quality or QUALITY[format_][compress]
            data = _smallest_jpeg(pixels, best, full_chroma, compress)
            return _described_jpeg(data, said.metadata)
        case Format.AVIF:
            best = quality or QUALITY[format_][compress]
            return _avif(pixels, best, AVIF_SPEED[compress], full_chroma, said.metadata)


def _webp(
    pixels: Pixels, compress: Compress, lossy: tuple[int, int] | None, metadata: Metadata
) -> bytes:
    """``lossy``: the quality of colour, and of alpha."""
    method, effort = WEBP[compress]
    how: dict[str, object] = {"lossless": True, "method": method, "quality": effort, "exact": True}
    if lossy is not None:
        method = LOSSY_METHOD[compress]
        how = {"method": method, "quality": lossy[0], "alpha_quality": lossy[1]}
    data = _pillow(pixels, "WEBP", metadata.icc, **how, **_boxed(metadata))
    return data if metadata.stamp is None else _stamped_webp(pixels, data, metadata.stamp)


def _avif(pixels: Pixels, quality: int, speed: int, full_chroma: bool, metadata: Metadata) -> bytes:
    how: dict[str, object] = {"quality": quality, "speed": speed}
    if pixels.ndim == 3:  # grey has none
        how["subsampling"] = "4:4:4" if full_chroma else "4:2:0"
    if pixels.ndim == 3 and pixels.shape[2] == 4 and quality < LEAST_AVIF_ALPHA and takes_aom():
        how["advanced"] = {"a:cq-level": str(round((100 - LEAST_AVIF_ALPHA) * 0.63))}
    data = _pillow(pixels, "AVIF", metadata.icc, **how, **_boxed(metadata))
    if metadata.stamp is None:
        return data
    found = image_data.of_bytes(data)
    whole = len(data) + len(stamp.avif_box(stamp.with_checksum(metadata.stamp, 0, found)))
    return data + stamp.avif_box(stamp.with_checksum(metadata.stamp, whole, found, times=0))


def _boxed(metadata: Metadata) -> dict[str, object]:
    """EXIF and XMP as Pillow takes them for WebP and AVIF."""
    options: dict[str, object] = {}
    if metadata.xmp is not None:
        options["xmp"] = metadata.xmp
    if metadata.exif is not None:
        options["exif"] = EXIF_HEAD + metadata.exif
    return options


def _stamped_webp(pixels: Pixels, data: bytes, text: str) -> bytes:
    """A WebP with a chunk behind all others that says how it was made, see :mod:`.stamp`.

    Only an extended file may have chunks that the format does not name, so one is made of it.
    """
    chunks = data[12:]
    if not chunks.startswith(b"VP8X"):
        width, height = ((side - 1).to_bytes(3, "little") for side in pixels.shape[1::-1])
        # Of the lossless chunk, it is the same bit; a lossy one without others has none.
        flags = chunks[12] & ALPHA if chunks.startswith(b"VP8L") else 0
        chunks = b"VP8X" + struct.pack("<II", 10, flags) + width + height + chunks
    found = image_data.of_bytes(data)
    whole = 12 + len(chunks) + len(stamp.webp_chunk(stamp.with_checksum(text, 0, found)))
    text = stamp.with_checksum(text, whole, found, times=0)
    head = b"RIFF" + struct.pack("<I", whole - 8) + b"WEBP"
    return b"".join([head, chunks, stamp.webp_chunk(text)])


def _smallest_jpeg(pixels: Pixels, quality: int, full_chroma: bool, compress: Compress) -> bytes:
    """A JPEG that says nothing of its pixels but a JFIF segment, as small as the effort makes it.

    By OpenCV: Pillow's buffer is too small for optimised tables of a grainy picture.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise ValueError("jpg holds no transparency")
    factors = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        if full_chroma
        else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    )
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors]
    ordered = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    tables, passes = cv2.IMWRITE_JPEG_OPTIMIZE, cv2.IMWRITE_JPEG_PROGRESSIVE
    made = [
        cv2.imencode(".jpg", ordered, [*how, tables, int(optimised), passes, int(progressive)])[1]
        for optimised, progressive in HUFFMAN[compress]
    ]
    return min(made, key=len).tobytes()


def _described_jpeg(data: bytes, metadata: Metadata) -> bytes:
    """A JPEG and what is said beside its pixels; ``data`` begins with its JFIF segment."""
    if metadata.dpi is not None:  # of JFIF: the unit, which is an inch, and dots across and down
        across, down = (min(65535, round(dots)) for dots in metadata.dpi)
        data = data[:JFIF_UNIT] + struct.pack(">BHH", 1, across, down) + data[JFIF_UNIT + 5 :]
    # Behind the JFIF segment, which must come first.
    at = stamp.jpeg_place(data)
    said = list(_segments(metadata))
    if metadata.stamp is not None:
        rest = len(data) + sum(map(len, said)) + len(_segment(0xFE, b""))
        text = stamp.with_checksum(metadata.stamp, rest, image_data.of_bytes(data))
        said.insert(0, _segment(0xFE, text.encode()))
    return b"".join([data[:at], *said, data[at:]])


def _segments(metadata: Metadata) -> Iterator[bytes]:
    """Segments of a JPEG for what is said beside its pixels, less its stamp."""
    if metadata.exif is not None:
        yield _segment(0xE1, EXIF_HEAD + metadata.exif)
    if metadata.xmp is not None:
        yield _segment(0xE1, XMP_HEAD + metadata.xmp)
    if metadata.iptc is not None:
        yield _segment(0xED, iptc.PHOTOSHOP + iptc.resource(metadata.iptc))
    if metadata.icc is not None:
        parts = [metadata.icc[i : i + ICC_PART] for i in range(0, len(metadata.icc), ICC_PART)]
        for n, part in enumerate(parts, 1):
            yield _segment(0xE2, b"ICC_PROFILE\0" + bytes([n, len(parts)]) + part)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _pillow(pixels: Pixels, format_: str, icc: bytes | None, **options: object) -> bytes:
    out = io.BytesIO()
    if icc is not None:
        options["icc_profile"] = icc
    Image.fromarray(pixels).save(out, format_, **options)
    return out.getvalue()


def _bytes_per_pixel(pixels: Pixels) -> int:
    return pixels.dtype.itemsize * (1 if pixels.ndim == 2 else pixels.shape[2])


def _png(pixels: Pixels, level: int, metadata: Metadata) -> bytes:
    """PNG, third edition: IHDR, what is said beside the pixels, an IDAT a strip, IEND."""
    height, width = pixels.shape[:2]
    colour = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    bits = 8 * pixels.dtype.itemsize
    if pixels.dtype == np.bool_:  # eight pixels a byte, the rest of a row's last one is 0
        bits, pixels = 1, np.packbits(pixels, axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packed = cpu.parallel_map(partial(_packed, pixels, level), _strips(pixels))
    tail = deflate.tail(part for part, _ in packed)
    chunks = [*_said_chunks(metadata), png.pieces(b"IDAT", deflate.HEAD)]
    chunks += [pieces for _, pieces in packed]
    chunks += [png.pieces(b"IDAT", tail), png.pieces(b"IEND", b"")]
    front, rest = [png.SIGNATURE, *png.pieces(b"IHDR", header)], list(chain(*chunks))
    if metadata.stamp is not None:
        parts = (header, deflate.HEAD, *(part.packed for part, _ in packed), tail)
        others = sum(map(len, chain(front, rest, png.pieces(b"tEXt", stamp.PNG_KEY))))
        text = stamp.with_checksum(metadata.stamp, others, image_data.of_parts(parts))
        front += png.pieces(b"tEXt", stamp.PNG_KEY + text.encode())
    return b"".join(front + rest)


def _said_chunks(metadata: Metadata) -> Iterator[list[bytes]]:
    """Chunks of a PNG for what is said beside its pixels: iCCP, pHYs, eXIf, iTXt, zTXt."""
    if metadata.icc is not None:
        yield png.pieces(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    if metadata.dpi is not None:
        across, down = (round(d / 0.0254) for d in metadata.dpi)  # dots per metre
        yield png.pieces(b"pHYs", struct.pack(">IIB", across, down, 1))
    if metadata.exif is not None:
        yield png.pieces(b"eXIf", metadata.exif)
    if metadata.xmp is not None:
        yield png.pieces(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", metadata.xmp)
    if metadata.iptc is not None:
        profile = iptc.raw_profile("iptc", iptc.resource(metadata.iptc))
        yield png.pieces(b"zTXt", b"Raw profile type iptc\0\0", zlib.compress(profile))


def _packed(pixels: Pixels, level: int, rows: slice) -> tuple[deflate.Part, list[bytes]]:
    """Rows of a picture, packed, and the chunk that holds them."""
    part = deflate.part(_filtered(pixels, rows), level)
    return part, png.pieces(b"IDAT", part.packed)


def _strips(pixels: Pixels) -> list[slice]:
    """Slices of rows to be packed at once."""
    rows = _strip_rows(pixels)
    return [slice(top, min(len(pixels), top + rows)) for top in range(0, len(pixels), rows)]


def _strip_rows(pixels: Pixels) -> int:
    row: int = pixels.shape[1] * _bytes_per_pixel(pixels)
    return max(1, STRIP // max(1, row))


def _filtered(pixels: Pixels, rows: slice) -> memoryview:
    """Rows behind their filter byte; filter 2 (Up) throughout: one subtraction, near the best."""
    first = max(0, rows.start - 1)
    part = pixels[first : rows.stop]
    ordered = part.astype(">u2") if part.dtype == np.uint16 else part
    raw = np.ascontiguousarray(ordered).view(np.uint8).reshape(len(part), -1)
    out = np.empty((rows.stop - rows.start, raw.shape[1] + 1), np.uint8)
    out[:, 0] = 2
    fresh = len(out) - (len(raw) - 1)  # 1 where there is no row above
    out[:fresh, 1:] = raw[:fresh]
    np.subtract(raw[1:], raw[:-1], out=out[fresh:, 1:])
    return out.reshape(-1).data


def _tiff(pixels: Pixels, level: int, said: Fitted) -> bytes:
    """TIFF 6.0, in the byte order of the EXIF block: strips of Deflate with differencing."""
    metadata, block, order = said.metadata, said.block.of_tiff(), said.block.order
    strips = cpu.parallel_map(
        lambda rows: deflate.whole(_differences(pixels[rows], order), level), _strips(pixels)
    )
    tags = _layout_tags(pixels, order) | _said_tags(metadata, order)
    if metadata.stamp is not None and exif.SOFTWARE not in block.directories.get(exif.MAIN, {}):
        tags[exif.SOFTWARE] = exif.plain(exif.ASCII, metadata.stamp.encode() + b"\0")
    lengths = [len(strip) for strip in strips]
    directories = exif.length(block.tree(tags | _strip_tags(order, lengths)))
    mark, end = _tiff_stamps(metadata.stamp, strips, directories)
    start = 8 + len(mark)
    tree = block.tree(tags | _strip_tags(order, lengths, len(mark) + directories))
    header = exif.header(order, start)
    return b"".join([header, mark, exif.to_bytes(tree, order, start), *strips, end])


def _tiff_stamps(text: str | None, strips: list[bytes], rest: int) -> tuple[bytes, bytes]:
    """What a TIFF has right behind its header, an even number of bytes, and where it ends.

    At both ends: found at once, and a file that was cut off is known by the lack of the second.
    ``rest``: bytes beside these and the strips.
    """
    if text is None:
        return b"", b""
    data = image_data.of_parts(strips)
    odd = len(stamp.with_checksum(text, 0, data)) % 2
    others = rest + data.length + len(stamp.END) + odd
    mark = stamp.with_checksum(text, others, data, times=2).encode()
    return mark + b"\0" * odd, stamp.END + mark


def _layout_tags(pixels: Pixels, order: str) -> exif.Directory:
    """What a TIFF must say of its pixels, less where they are."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags = {
        tiff.WIDTH: exif.longs(order, width),
        tiff.HEIGHT: exif.longs(order, height),
        tiff.BITS: exif.shorts(order, *[8 * pixels.dtype.itemsize] * channels),
        tiff.COMPRESSION: exif.shorts(order, 8),  # Deflate
        tiff.PHOTOMETRIC: exif.shorts(order, 2 if channels > 1 else 1),  # RGB, or black is zero
        tiff.SAMPLES: exif.shorts(order, channels),
        tiff.STRIP_ROWS: exif.longs(order, _strip_rows(pixels)),
        tiff.PREDICTOR: exif.shorts(order, 2),  # horizontal differencing
    }
    if channels == 4:
        tags[tiff.EXTRA_SAMPLES] = exif.shorts(order, 2)  # straight ("unassociated") alpha
    return tags


def _strip_tags(order: str, lengths: list[int], first: int = 0) -> exif.Directory:
    """Where the strips are, and how long; ``first``: place of the first of them."""
    places = list(accumulate(lengths, initial=first))[:-1]
    return {
        tiff.STRIPS: exif.longs(order, *places),
        tiff.STRIP_BYTES: exif.longs(order, *lengths),
    }


def _said_tags(metadata: Metadata, order: str) -> exif.Directory:
    """Tags for what is said beside the pixels; EXIF has directories of its own."""
    tags: exif.Directory = {}
    if metadata.dpi is not None:
        across, down = (exif.rational(order, Fraction(d)) for d in metadata.dpi)
        tags |= {282: across, 283: down, 296: exif.shorts(order, 2)}  # per inch
    if metadata.icc is not None:
        tags[34675] = exif.plain(exif.UNDEFINED, metadata.icc)
    if metadata.xmp is not None:
        tags[XMP_TAG] = exif.plain(exif.BYTE, metadata.xmp)
    if metadata.iptc is not None:
        tags[IPTC_TAG] = exif.plain(exif.UNDEFINED, metadata.iptc)
    return tags


def _differences(pixels: Pixels, order: str) -> bytes:
    rows = pixels.reshape(*pixels.shape[:2], -1)
    out = rows.copy()
    np.subtract(rows[:, 1:], rows[:, :-1], out=out[:, 1:])
    ordered: bytes = out.astype(out.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    return ordered
