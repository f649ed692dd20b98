"""EXIF, XMP, IPTC, resolution and what else a file says beside its pixels."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from PIL import Image

from birefcli.images.formats.boxes import media_exif
from birefcli.images.tags import exif, iptc, xmp
from birefcli.options import Format


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; each format keeps what it can hold."""

    icc: bytes | None = None
    """Colour profile; left out of grey pictures, whose values are no colours."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, across and down; WebP and AVIF hold none."""
    exif: bytes | None = None
    """EXIF block, beginning with its TIFF header."""
    stamp: str | None = None
    """How the file was made: ASCII, one line, which its encoder completes with a checksum."""
    xmp: bytes | None = None
    """XMP packet in UTF-8."""
    iptc: bytes | None = None
    """Datasets of IPTC-IIM; WebP and AVIF hold none."""


@dataclass(frozen=True)
class Description:
    """What a photo says that its products say as well, and what was left out of it."""

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    notes: tuple[str, ...] = ()


XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377  # of TIFF
EXIF_HEAD = b"Exif\0\0"  # how a JPEG's segment of each begins
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
EXIF_HEADS = re.compile(rb"(?:Exif\0\0)*")  # some programs write two


class Limits(NamedTuple):
    """Bytes of each that a format holds; its readers refuse more."""

    exif: int
    xmp: int
    iptc: int


SEGMENT = 65_533  # bytes of a JPEG's segment behind its length
LIMITS = {
    Format.PNG: Limits(exif.MOST_BYTES, xmp.MOST_BYTES, iptc.MOST_BYTES),
    Format.TIFF: Limits(exif.MOST_BYTES, xmp.MOST_BYTES, iptc.MOST_BYTES),
    Format.WEBP: Limits(exif.MOST_BYTES, xmp.MOST_BYTES, 0),
    Format.AVIF: Limits(exif.MOST_BYTES, xmp.MOST_BYTES, 0),
    Format.JPG: Limits(SEGMENT - 6, SEGMENT - 29, SEGMENT - 28),  # less what each begins with
}


# Reading


def orientation_of(image: Image.Image, data: bytes) -> int:
    """Orientation by EXIF, else XMP, 1..8; 1 (upright) where there is none, or no such one.

    ``data``: the file, or nothing where it is not at hand.
    """
    if hasattr(image, "tag_v2"):  # Pillow turns those itself
        found = image.getexif().get(exif.ORIENTATION)
    else:
        found = exif.orientation(_pillow_exif(image, data))
        if found is None and (match := _XMP_ORIENTATION.search(_bytes(image.info.get("xmp")))):
            found = int(match[1])
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([0-9])")


def raw_exif(image: Image.Image, data: bytes) -> bytes:
    """EXIF block as a file has it, beginning with its TIFF header; empty for none.

    ``data``: the file, or nothing where it is not at hand. Of a TIFF it is the whole file.
    """
    if data[4:8] == b"ftyp":
        # Pillow writes that of an AVIF anew, where its orientation is not the picture's.
        block = media_exif(data, exif.MOST_BYTES)
        return _headless(block) if block else _pillow_exif(image, data)
    if not hasattr(image, "tag_v2"):
        return _pillow_exif(image, data)
    if data:
        return data
    try:
        return _headless(image.getexif().tobytes())
    except Exception:  # whatever stands there is no reason to lose the photo
        return b""


def _pillow_exif(image: Image.Image, data: bytes) -> bytes:
    """EXIF block of a picture that is no TIFF, as Pillow shows it."""
    if not data and image.format == "PNG" and "exif" not in image.info:
        image.load()  # it may stand behind the pixels, which it does not in files of `repaired`
    info = image.info
    return _headless(
        _bytes(info.get("exif")) or _profile(info, "exif") or _profile(info, "APP1") or b""
    )


def _headless(block: bytes) -> bytes:
    heads = EXIF_HEADS.match(block)
    return block[heads.end() :] if heads else block


def read_description(image: Image.Image, data: bytes, turned: bool) -> Description:
    """What products keep of EXIF, XMP and IPTC: who, when, where, with what, how, and for whom.

    Not the orientation (products are upright), thumbnails (they show another picture), and what a
    file says there of its own layout. ``data``: the file, or nothing where it is not at hand;
    ``turned``: whether the upright picture is another one than the stored one.
    """
    raw = _raw(image, data)
    notes: list[str] = ["extended XMP left out"] if _has_extended(image) else []
    return Description(
        _sound_exif(raw.exif, turned, notes),
        _sound_xmp(raw.xmp, turned, notes),
        _sound_iptc(raw.iptc, notes),
        tuple(notes),
    )


class _Raw(NamedTuple):
    """As the file has it; None where it has none, empty where it is damaged."""

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None


def _raw(image: Image.Image, data: bytes) -> _Raw:
    block = raw_exif(image, data) or None
    if data and hasattr(image, "tag_v2"):
        return _Raw(block, *_raw_of_tiff(data))
    info = image.info
    packet = _bytes(info.get("xmp")) or _profile(info, "xmp")
    if not packet and (segment := _profile(info, "APP1") or b"").startswith(XMP_HEAD):
        packet = segment.removeprefix(XMP_HEAD)
    return _Raw(block, packet or None, _raw_iptc(image))


def _raw_of_tiff(data: bytes) -> tuple[bytes | None, bytes | None]:
    """XMP and IPTC of a TIFF file."""
    found = exif.values(data, (XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG))
    packet, datasets = (found[tag] or b"" if tag in found else None for tag in (XMP_TAG, IPTC_TAG))
    if not datasets and (resources := found.get(PHOTOSHOP_TAG)):
        datasets = iptc.of_resources(resources)
    return packet, datasets


def _raw_iptc(image: Image.Image) -> bytes | None:
    # Of all segments together: Pillow looks at each alone, and a long one goes on in the next.
    segments = [body for name, body in getattr(image, "applist", ()) if name == "APP13"]
    parts = [s.removeprefix(iptc.PHOTOSHOP) for s in segments if s.startswith(iptc.PHOTOSHOP)]
    for name in ("iptc", "8bim") if not parts else ():
        if profile := _profile(image.info, name):
            if profile[:4] != b"8BIM":
                return profile
            parts.append(profile)
    return iptc.of_resources(b"".join(parts))


def _has_extended(image: Image.Image) -> bool:
    segments = getattr(image, "applist", ())
    return any(name == "APP1" and body.startswith(EXTENDED) for name, body in segments)


def _profile(info: dict[str | tuple[int, int], object], name: str) -> bytes | None:
    text = info.get(f"Raw profile type {name}")
    return iptc.of_raw_profile(text) if isinstance(text, str) else None


def _bytes(said: object) -> bytes:
    return said.encode() if isinstance(said, str) else said if isinstance(said, bytes) else b""


def _sound_exif(raw: bytes | None, turned: bool, notes: list[str]) -> bytes | None:
    if raw is None:
        return None
    block = exif.parse(raw)
    if block is None:
        notes.append("damaged EXIF left out")
        return None
    if block.lost:
        notes.append(f"{_counted(block.lost)} left out: damaged or too large")
    if turned:
        block = _without_subject(block)
    rest, large = block.within(exif.MOST_BYTES)
    if large:
        notes.append(f"{_counted(large)} left out: too large")
    return rest.to_bytes()


def _sound_xmp(raw: bytes | None, turned: bool, notes: list[str]) -> bytes | None:
    if raw is None:
        return None
    if len(raw) > xmp.MOST_BYTES:
        notes.append("XMP left out: too large")
        return None
    try:
        rules = (xmp.UNTRUE, xmp.IN_PICTURE) if turned else (xmp.UNTRUE,)
        return xmp.without(xmp.as_utf8(raw), *rules)
    except xmp.DamagedError:
        notes.append("damaged XMP left out")
        return None


def _sound_iptc(raw: bytes | None, notes: list[str]) -> bytes | None:
    if raw is None:
        return None
    if len(raw) > iptc.MOST_BYTES:
        notes.append("IPTC left out: too large")
        return None
    found = iptc.sound(raw)
    if not found.whole:
        notes.append("damaged IPTC left out")
    return found.data


def _counted(number: int) -> str:
    return f"{number:,} EXIF tag{'' if number == 1 else 's'}"


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


# Leaving out


def without_place(metadata: Metadata) -> Metadata:
    """Remove where the photo was taken from EXIF, XMP and IPTC.

    Makers' notes go too: some cameras write the place there as well. Free texts stay as they are.
    """
    return _changed(
        metadata,
        lambda block: block.without(
            lambda key, tag: (
                key == exif.GPS_IFD
                or (key == exif.EXIF_IFD and tag == exif.MAKER_NOTE)
                or (key == exif.MAIN and tag in exif.GEOGRAPHY)
            )
        ),
        xmp.PLACE,
        iptc.without_place,
    )


def without_subject(metadata: Metadata) -> Metadata:
    """Remove what says where something is within the picture, as it is no longer there."""
    return _changed(metadata, _without_subject, xmp.IN_PICTURE, lambda data: data)


def _without_subject(block: exif.Block) -> exif.Block:
    return block.without(
        lambda key, tag: (
            (key == exif.EXIF_IFD and tag in exif.IN_PICTURE)
            or (key == exif.MAIN and tag in exif.GEOGRAPHY)
        )
    )


def _changed(
    metadata: Metadata,
    of_exif: Callable[[exif.Block], exif.Block],
    of_xmp: xmp.Rules,
    of_iptc: Callable[[bytes], bytes | None],
) -> Metadata:
    block = metadata.exif and exif.parse(metadata.exif)
    return replace(
        metadata,
        exif=of_exif(block).to_bytes() if block else None,
        xmp=metadata.xmp and xmp.without(metadata.xmp, of_xmp),
        iptc=metadata.iptc and of_iptc(metadata.iptc),
    )


# What formats hold


@dataclass(frozen=True)
class Fitted:
    """What a format holds of metadata: ``block`` is its EXIF, with the size of the picture."""

    metadata: Metadata
    block: exif.Block = field(default_factory=exif.Block)
    notes: tuple[str, ...] = ()
    """What it cannot hold."""


def fitted(metadata: Metadata, format_: Format, width: int, height: int) -> Fitted:
    """What a format holds of metadata, for a picture of that size."""
    limits = LIMITS[format_]
    notes = []
    block = (exif.parse(metadata.exif) if metadata.exif else None) or exif.Block()
    block, large = block.sized(width, height).within(limits.exif)
    if large:
        notes.append(f"{_counted(large)} left out: too large for {format_.value}")
    held: dict[str, bytes | None] = {"exif": block.to_bytes()}
    for name, limit in (("xmp", limits.xmp), ("iptc", limits.iptc)):
        held[name] = said = getattr(metadata, name)
        if said is not None and len(said) > limit:
            held[name] = None
            why = f"too large for {format_.value}" if limit else f"{format_.value} holds none"
            notes.append(f"{name.upper()} left out: {why}")
    return Fitted(replace(metadata, **held), block, tuple(notes))  # type: ignore[arg-type]
