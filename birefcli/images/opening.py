"""Pictures opened by Pillow: which formats, and what a header says before any pixel is read."""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from PIL import Image, UnidentifiedImageError

from birefcli.errors import Message, Option, PhotoError, PhotoTooLargeError
from birefcli.images.formats import jpeg, jpeg2000, png, tiff
from birefcli.images.formats.raw import RAW, is_raw
from birefcli.system.process_settings import without_pillow_limit

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
"""Pillow's names of what is read. It knows forty more, and some start programs (PostScript)."""
KINDS = (
    (b"%PDF-", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xff\x0a", "JPEG XL; save it as JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "JPEG XL; save it as JPEG or PNG"),
    (b"8BPS", "a Photoshop document; save it as PNG or TIFF"),
    (b"gimp xcf", "a GIMP picture; export it as PNG or TIFF"),
    (b"v/1\1", "OpenEXR; save it as TIFF of 16 bits"),
    (b"#?RADIANCE", "Radiance HDR; save it as TIFF of 16 bits"),
    (b"PK\3\4", "an archive or office document"),
    (b"\x1f\x8b", "compressed"),
)
"""What files are that are taken for photos, by how they begin."""
HEIF_FORMATS = ("AVIF", "HEIF")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
AVIF_BRANDS = (b"avif", b"avis")
UTF8 = codecs.getincrementaldecoder("utf-8")
LONGEST_HEADER = 1 << 26  # bytes; a layered TIFF may have more, and that is no error
IN_SMALL_PARTS = (b"GIF8", *(b"P%d" % kind for kind in range(1, 8)), b"Pf", *jpeg2000.STARTS)
"""How files begin whose headers Pillow reads byte by byte, or box by box."""
PLAIN = (b"P1", b"P2", b"P3")  # whose pixels are digits, with comments between them
MOST_COMMENTS = 1000
LONGEST_SIDE = 1_000_000
"""Pixels. Work in squares takes a line for as many of them as there are pixels."""
MOST_READS = 1 << 19  # of a header's parts; a TIFF has 65,535 tags at most


@dataclass(frozen=True)
class Header:
    """What a picture's file says of itself before its pixels."""

    format: str
    """Pillow's name."""
    mode: str
    """Pillow's."""
    width: int
    """Pixels, as stored: not yet turned upright."""
    height: int
    transparent: bool
    """Whether the file can hold transparency."""

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height


class LongHeaderError(Exception):
    """A header goes on beyond :data:`LONGEST_HEADER`."""


def open_image(file: IO[bytes] | io.BufferedIOBase) -> "ImageFile":
    """Open a picture of a format that is read here. Raises PhotoError, and as Pillow does."""
    start = file.read(16)
    if start.startswith(jpeg.START):
        jpeg.check_header(file)
    file.seek(0)
    formats: tuple[str, ...] = FORMATS
    if is_heif(start):
        register_heif()
        formats = tuple(f for f in HEIF_FORMATS if _is_known(f))
    return Image.open(cast("IO[bytes]", file), formats=formats)


class Opened(NamedTuple):
    """A picture of which all that can be read is open."""

    image: "ImageFile"
    data: bytes
    """Its file, without what was left out."""
    notes: tuple[str, ...] = ()
    """What that was."""


def open_sound(data: bytes) -> Opened:
    """Open what can be read of a file.

    Raises PhotoError for what is known and not read here, and as Pillow does.
    """
    if is_raw(data):
        raise PhotoError(RAW)
    if data.startswith(jpeg.START):
        jpeg.check_scans(data)
    if data.startswith(png.SIGNATURE):
        return _open_png(data)
    if data[:4] in tiff.START:
        return Opened(_open_tiff(data), data)
    if data.startswith(IN_SMALL_PARTS):
        _check_parts(data)
    if kind := jpeg2000.unread_kind(data):
        raise PhotoError(kind)
    return Opened(open_image(io.BytesIO(data)), data)


def _check_parts(data: bytes) -> None:
    """Raises PhotoError for a header that does not end, and as Pillow does."""
    # Of each comment Pillow copies what follows.
    if data[:2] in PLAIN and data.count(b"#") > MOST_COMMENTS:
        raise PhotoError(f"damaged image: more than {MOST_COMMENTS} comments")
    with suppress(LongHeaderError):
        open_image(_LimitedReader(io.BytesIO(data), LONGEST_HEADER)).close()


def _open_png(data: bytes) -> Opened:
    sound = png.repaired(data)
    if sound is None:
        return Opened(open_image(io.BytesIO(data)), data)
    image = open_image(io.BytesIO(sound.data))
    if sound.profile is not None:
        image.info["icc_profile"] = sound.profile
    return Opened(image, sound.data, sound.notes)


def _open_tiff(data: bytes) -> "ImageFile":
    found = tiff.read_directory(data)
    if found is None:
        raise PhotoError("damaged image: its first directory is not whole")
    if kind := tiff.unread_kind(found):
        raise PhotoError(kind)
    try:
        return open_image(io.BytesIO(data))
    except UnidentifiedImageError:
        if (other := tiff.openable(found)) is not None:
            return open_image(io.BytesIO(other))
        if found.extra_count > 0:
            channels = f"{found.bits}-bit TIFF of {found.samples} channels"
            raise PhotoError(f"{channels}; save it as RGB or RGBA") from None
        if all(found.size):
            raise PhotoError("TIFF of an unusual layout; save it as RGB or RGBA") from None
        raise


def _is_known(format_: str) -> bool:
    if format_ not in Image.OPEN:
        Image.init()
    return format_ in Image.OPEN


def is_heif(start: bytes) -> bool:
    """Whether a file is HEIC or AVIF by its first bytes."""
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def register_heif() -> bool:
    """Teach Pillow HEIC where the extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def read_header(file: BinaryIO) -> Header:
    """What a picture says of itself; of a large file only the beginning is read.

    The position in ``file`` is 0 afterwards. Raises LongHeaderError, and what Pillow raises.
    """
    limited = _LimitedReader(file, LONGEST_HEADER)
    try:
        with without_pillow_limit(), _open_limited(limited) as image:
            transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            return Header(image.format or "", image.mode, image.width, image.height, transparent)
    finally:
        file.seek(0)


def _open_limited(limited: "_LimitedReader") -> "ImageFile":
    if limited.read(8) == png.SIGNATURE and not png.has_usual_header(limited):
        limited.seek(0)
        return open_sound(limited.read()).image
    limited.seek(0)
    try:
        return open_image(limited)
    except (LongHeaderError, PhotoError):
        raise
    except Exception:
        limited.seek(0)
        start = limited.read(16)
        limited.seek(0)
        # What Pillow alone does not read may be readable as a whole; what is no photo is not.
        if not start.startswith((png.SIGNATURE, *tiff.START, *jpeg2000.STARTS)):
            raise
        return open_sound(limited.read()).image


def stated_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height that a PNG or TIFF has, whatever else is wrong with its header.

    None for other files. Raises LongHeaderError where that is further on, and
    UnidentifiedImageError where it is missing.
    """
    file.seek(0)
    start = file.read(24)
    if start.startswith(png.SIGNATURE):
        size = png.read_size(start)
    elif start[:4] in tiff.START:
        found = tiff.read_size(file)
        if found is None:
            raise LongHeaderError
        size = found
    else:
        return None
    if not all(size):
        raise UnidentifiedImageError
    return size


class _LimitedReader(io.BufferedIOBase):
    """A file of which no more than so many bytes are read, and which stays open when closed."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._left, self._reads = file, limit, MOST_READS

    def read(self, size: int | None = -1) -> bytes:
        wanted = -1 if size is None else size
        data = self._file.read(min(self._left + 1, wanted if wanted >= 0 else self._left + 1))
        self._left -= len(data)
        self._reads -= 1
        if self._reads < 0:
            raise PhotoError("damaged image: its header does not end")
        if self._left < 0:
            raise LongHeaderError
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def refuse_bomb(width: int, height: int, max_pixels: int) -> None:
    """Raises PhotoTooLargeError for more pixels than are allowed, and for lines that are none."""
    if max(width, height) > LONGEST_SIDE:
        raise PhotoTooLargeError(
            f"{width}×{height} pixels are no photo: no side may be longer than {LONGEST_SIDE}"
        )
    if width * height > max_pixels:
        raise PhotoTooLargeError(
            Message(
                f"{width}×{height} pixels are more than the limit of"
                f" {max_pixels / 1e6:g} megapixels (raise ",
                Option("max_megapixels"),
                ")",
            )
        )


@contextmanager
def decoding_errors(start: bytes) -> Iterator[None]:
    """Whatever decoding raises, as PhotoError with the cause; ``start``: the file's first bytes."""
    try:
        yield
    except (PhotoError, LongHeaderError):
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"not an image that birefcli can read{_looks_like(start)}") from None
    except MemoryError:
        raise PhotoError("the photo does not fit into memory") from None
    except Exception as error:
        # A file that cannot be read has the system's own reason.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Decoders raise whatever a damaged byte makes of them: IndexError, struct.error, KeyError.
        raise PhotoError(f"damaged image: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    text = str(error).strip().rstrip(".") or "cannot be decoded"
    early = "the file ends too early: copy, download or send it again"
    return early if "truncated" in text.lower() else text


def _looks_like(start: bytes) -> str:
    """Say what a file is when its first bytes tell."""
    if is_raw(start):
        return f" ({RAW})"
    if is_heif(start):
        wanted = "AVIF" if start[8:12] in AVIF_BRANDS else "HEIF"
        if _is_known(wanted):
            return f" (it is {wanted}, and damaged)"
        return " (it is HEIC or AVIF: pip install 'birefcli[heif]' or pillow-heif)"
    if (kind := next((k for begin, k in KINDS if start.startswith(begin)), None)) is not None:
        return f" (it is {kind})"
    if start[4:8] == b"ftyp":
        return " (it is a video, or HEIC of an unusual kind)"
    if re.search(rb"<svg[\s>]", start):
        return " (it is a drawing: SVG)"
    if re.match(rb"\s*<(!doctype )?html", start, re.IGNORECASE):
        return " (it is a web page)"
    return " (it looks like text)" if _is_text(start) else ""


def _is_text(start: bytes) -> bool:
    try:
        text = UTF8().decode(start)  # of which the last letter may be cut in two
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char.isspace() for char in text)
