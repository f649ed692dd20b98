"""EXIF, resolution and what else a file says beside its pixels."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; each format keeps what it can hold."""

    icc: bytes | None = None
    """Colour profile; left out of grey pictures, whose values are no colours."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, across and down; WebP holds none."""
    exif: bytes | None = None
    """EXIF block, beginning with its TIFF header."""
    stamp: str | None = None
    """How the file was made: ASCII, one line."""


ORIENTATION = 0x0112  # EXIF tag
EXIF_IFD, GPS_IFD = 0x8769, 0x8825  # tags of EXIF
MAKER_NOTE = 0x927C  # tag of EXIF_IFD
EXIF_TEXTS = (270, 271, 272, 306, 315, 33432)  # description, make, model, date, artist, copyright


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 (upright) where there is none, or one that does not exist."""
    orientation = image.getexif().get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def read_exif(image: Image.Image) -> bytes | None:
    """What a product keeps of the photo's EXIF: who, when, where, with what, and how.

    Not the orientation (products are upright), the thumbnail (it shows another picture), or what a
    TIFF says there of its own layout.
    """
    try:
        found = image.getexif()
        kept = Image.Exif()
        for tag in EXIF_TEXTS:
            if tag in found:
                kept[tag] = found[tag]
        for place in (EXIF_IFD, GPS_IFD):
            if inner := found.get_ifd(place):
                kept[place] = dict(inner)
        return kept.tobytes().removeprefix(b"Exif\0\0") if kept else None
    except Exception:  # whatever a camera wrote there is no reason to lose the photo
        return None


def without_gps(exif: bytes | None) -> bytes | None:
    """Remove where the photo was taken from an EXIF block."""
    if exif is None:
        return None
    block = Image.Exif()
    block.load(exif)
    block.pop(GPS_IFD, None)
    if inner := dict(block.get_ifd(EXIF_IFD)):
        inner.pop(MAKER_NOTE, None)  # some cameras write the place there as well
        block[EXIF_IFD] = inner
    return block.tobytes().removeprefix(b"Exif\0\0") if block else None


def read_dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """Dots per inch, across and down, of the upright picture; None where the file says none."""
    dpi = image.info.get("dpi")
    try:
        across, down = float(dpi[0]), float(dpi[1])  # type: ignore[index]
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    # A header can say anything, and one dot an inch is what "unknown" looks like.
    if not (1 < across < 1e5 and 1 < down < 1e5):
        return None
    return (down, across) if orientation >= 5 else (across, down)
