"""XMP packets (ISO 16684-1): RDF in XML, from which properties are cut.

A real parser finds what goes; all other bytes of a packet stay as they are, prefixes, order and
spaces included.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from xml.parsers import expat

MOST_BYTES = 1_000_000  # of a packet; PNG readers refuse longer texts

_ADOBE, _GOOGLE = "http://ns.adobe.com/", "http://ns.google.com/photos/1.0/"
XML = "http://www.w3.org/XML/1998/namespace"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF, EXIF, XMP = _ADOBE + "tiff/1.0/", _ADOBE + "exif/1.0/", _ADOBE + "xap/1.0/"
MEDIA, PHOTOSHOP = XMP + "mm/", _ADOBE + "photoshop/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmp"

Names: TypeAlias = frozenset[str] | None
"""Local names of properties; None for all of a namespace."""
Rules: TypeAlias = dict[str, Names]
"""What goes, by namespace."""


def _names(text: str) -> Names:
    return frozenset(text.split())


UNTRUE: Rules = {
    TIFF: _names(
        "Orientation ImageWidth ImageLength BitsPerSample Compression PhotometricInterpretation"
        " SamplesPerPixel PlanarConfiguration YCbCrSubSampling YCbCrPositioning YCbCrCoefficients"
        " ReferenceBlackWhite TransferFunction WhitePoint PrimaryChromaticities XResolution"
        " YResolution ResolutionUnit NativeDigest"
    ),
    EXIF: _names("PixelXDimension PixelYDimension NativeDigest"),
    XMP: _names("Thumbnails PageInfo"),
    XMP + "g/img/": None,
    MEDIA: _names("InstanceID"),
    PHOTOSHOP: _names("LegacyIPTCDigest ColorMode ICCProfile"),
    "http://purl.org/dc/elements/1.1/": _names("format"),
    "http://ns.adobe.com/xmp/note/": _names("HasExtendedXMP"),
    # Gain maps, depth maps and films behind the picture, which products do not have.
    _ADOBE + "hdr-gain-map/1.0/": None,
    **{_GOOGLE + name: None for name in ("container/", "container/item/", "camera/", "depthmap/")},
    **{_GOOGLE + name: None for name in ("image/", "audio/", "dynamicdepth/1.0/container/")},
    "http://ns.apple.com/HDRGainMap/1.0/": None,
    "http://ns.apple.com/pixeldatainfo/1.0/": None,
}
"""What is no longer true of any product: its layout, orientation, thumbnails, digests."""
IN_PICTURE: Rules = {
    EXIF: _names("SubjectArea SubjectLocation"),
    _ADOBE + "camera-raw-settings/1.0/": None,
    "http://www.metadataworkinggroup.com/schemas/regions/": None,
    "http://ns.microsoft.com/photo/1.2/": _names("RegionInfo"),
    "http://ns.acdsee.com/regions/": None,
    IPTC + "Ext/2008-02-29/": _names("ImageRegion"),
    _GOOGLE + "panorama/": None,
}
"""What has its place within the picture, and loses it where that is turned or cropped."""
PLACE: Rules = {
    PHOTOSHOP: _names("City State Country LegacyIPTCDigest"),
    IPTC + "Core/1.0/xmlns/": _names("Location CountryCode"),
    IPTC + "Ext/2008-02-29/": _names(
        "LocationCreated LocationShown City Sublocation ProvinceState CountryName CountryCode"
        " WorldRegion LocationId"
    ),
    "http://www.w3.org/2003/01/geo/wgs84_pos#": None,
}
"""What says where the photo was taken; names that tell of GPS or a latitude go in any namespace."""
_GEOGRAPHIC = re.compile(r"(?i)^gps|latitude|longitude|geotag")
_OURS = re.compile(r"birefcli:\d")  # how the CreatorTool of a product of ours begins


class DamagedError(ValueError):
    """A packet that is no XML, or that defines entities of its own."""


def without(packet: bytes, *rules: Rules) -> bytes | None:
    """Cut properties from a packet in UTF-8; the very same bytes where it has none of them.

    None where no property is left. Raises DamagedError.
    """
    cutter = _Cutter(packet, rules, geographic=PLACE in rules)
    if not cutter.kept:
        return None
    parts, at = [], 0
    for start, end in cutter.cuts:
        parts.append(packet[at:start])
        at = end
    return b"".join([*parts, packet[at:]])


def as_utf8(packet: bytes) -> bytes:
    """A packet in UTF-8, which alone may stand in a PNG. Raises DamagedError."""
    encoding = _encoding(packet[:4])
    if encoding is None:
        return packet.rstrip(b"\0")
    try:
        return packet.decode(encoding).rstrip("\0").encode()
    except UnicodeError as error:
        raise DamagedError(str(error)) from None


def _encoding(head: bytes) -> str | None:
    """The encoding of a packet by its first four bytes: a mark, or a letter; None for UTF-8."""
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = "".join("0" if byte == 0 else "x" for byte in head)
    known = {"000x": "utf-32-be", "x000": "utf-32-le", "0x0x": "utf-16-be", "x0x0": "utf-16-le"}
    return known.get(zeros)


class _Name(NamedTuple):
    space: str
    local: str


@dataclass
class _Open:
    """An element whose end is not yet seen."""

    name: _Name
    start: int
    goes: bool


_TAG = re.compile(rb"<[^\s/>]+((?:\s+[^\s=<>/]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(/?)>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=<>/]+)\s*=\s*(\"[^\"]*\"|'[^']*')")


@dataclass
class _Cutter:
    """One way through a packet: what is cut, and how many properties stay."""

    packet: bytes
    rules: tuple[Rules, ...]
    geographic: bool
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Pieces that go, in order, apart from each other."""
    kept: int = 0
    _open: list[_Open] = field(default_factory=list)
    _alone: bool = False
    """Whether the tag seen last is an element's only one."""

    def __post_init__(self) -> None:
        # What defines entities can be larger than any machine, and no program writes such packets.
        if b"<!DOCTYPE" in self.packet or b"<!ENTITY" in self.packet:
            raise DamagedError("it has a document type")
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(self.packet, True)
        except expat.ExpatError as error:
            raise DamagedError(str(error)) from None

    def _start(self, name: str, attributes: list[str]) -> None:
        at = self._parser.CurrentByteIndex
        this = _name(name)
        inside = self._open[-1] if self._open else None
        goes = inside is not None and (inside.goes or self._is_cut(this, ""))
        self._open.append(_Open(this, at, goes))
        tag = _TAG.match(self.packet, at)
        assert tag is not None, "the parser has seen a tag there"
        self._alone = bool(tag[2])
        if goes:
            return
        if inside is not None and inside.name == (RDF, "Description"):
            self.kept += 1
        if attributes:
            self._cut_attributes(this, attributes, tag)

    def _cut_attributes(
        self, element: _Name, attributes: list[str], tag: "re.Match[bytes]"
    ) -> None:
        written = _ATTRIBUTE.finditer(self.packet, *tag.span(1))
        places = [m.span() for m in written if not re.match(rb"xmlns(:|$)", m[1])]
        pairs = zip(attributes[::2], attributes[1::2], places, strict=True)
        for name, value, place in pairs:
            this = _name(name)
            if self._is_cut(this, value):
                self.cuts.append(place)
            elif element == (RDF, "Description") and this.space not in (RDF, "", XML):
                self.kept += 1

    def _end(self, _: str) -> None:
        at = self._parser.CurrentByteIndex
        this = self._open.pop()
        # Of an element that is one tag alone, the parser stands behind it already.
        end = at if self._alone else self.packet.index(b">", at) + 1
        self._alone = False
        if this.goes and not (self._open and self._open[-1].goes):
            self.cuts.append((this.start, end))

    def _is_cut(self, name: _Name, value: str) -> bool:
        if name == (XMP, "CreatorTool") and _OURS.match(value):
            return True
        if self.geographic and _GEOGRAPHIC.search(name.local):
            return True
        for rules in self.rules:
            if name.space in rules:
                names = rules[name.space]
                if names is None or name.local in names:
                    return True
        return False


def _name(text: str) -> _Name:
    space, _, local = text.rpartition(" ")
    return _Name(space, local)
