"""Files with EXIF, XMP and IPTC made byte by byte, and readers that are not the command's."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from birefcli.images.formats.boxes import media_exif

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
AVIF = ".avif" in Image.registered_extensions()
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def block(order, main, exif=None, gps=None, interop=None, *, before=b"", after=0):
    """A block of directories, each {tag: (type, bytes)}; ``before`` stands behind the header.

    ``after``: what the first directory says is the place of the next.
    """
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0) + before)
    out += bytes(len(out) % 2)

    def write(directory, following=0):
        values = {}
        for tag, (_, value) in sorted(directory.items()):
            if len(value) > 4:
                values[tag] = struct.pack(order + "I", len(out))
                out.extend(value + bytes(len(value) % 2))
            else:
                values[tag] = value.ljust(4, b"\0")
        place = len(out)
        out.extend(struct.pack(order + "H", len(directory)))
        for tag, (kind, value) in sorted(directory.items()):
            number = len(value) // WIDTHS.get(kind, 1)
            out.extend(struct.pack(order + "HHI", tag, kind, number) + values[tag])
        out.extend(struct.pack(order + "I", following))
        return 4, struct.pack(order + "I", place)

    exif = dict(exif or {})
    if interop:
        exif[INTEROP_IFD] = write(interop)
    main = dict(main)
    if exif:
        main[EXIF_IFD] = write(exif)
    if gps:
        main[GPS_IFD] = write(gps)
    out[4:8] = write(main, after)[1]
    return bytes(out)


def entries(data):
    """Entries of a block or TIFF file, {(directory, tag): (type, bytes)}, and its byte order."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    assert struct.unpack_from(order + "H", data, 2) == (42,)
    found = {}

    def walk(key, place):
        (count,) = struct.unpack_from(order + "H", data, place)
        tags = []
        for at in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, at)
            size = WIDTHS[kind] * number
            value_at = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
            assert value_at + size <= len(data)
            tags.append(tag)
            if tag in POINTERS:
                walk(tag, struct.unpack_from(order + "I", data, at + 8)[0])
            else:
                found[key, tag] = kind, data[value_at : value_at + size]
        assert tags == sorted(set(tags))
        assert struct.unpack_from(order + "I", data, place + 2 + 12 * count) == (0,)

    walk(0, struct.unpack_from(order + "I", data, 4)[0])
    return found, order


def said(data):
    """EXIF (block), XMP and IPTC (bytes) of a product; None where it has none."""
    if data[:2] in (b"II", b"MM"):
        found, _ = entries(data)
        return data, found.get((0, 700), (0, None))[1], found.get((0, 33723), (0, None))[1]
    if data.startswith(b"\x89PNG"):
        return of_png(data)
    if data.startswith(b"\xff\xd8"):
        return of_jpeg(data)
    if data[4:8] == b"ftyp":  # Pillow would write its EXIF anew
        with Image.open(io.BytesIO(data)) as image:
            return media_exif(data, len(data)), image.info.get("xmp"), None
    parts = dict(riff(data))
    exif = parts.get(b"EXIF")
    return exif and exif.removeprefix(b"Exif\0\0"), parts.get(b"XMP "), None


def riff(data):
    assert data[:4] + data[8:12] == b"RIFFWEBP"
    at = 12
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def of_png(data):
    at, exif, xmp, iptc = 8, None, None, None
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if name == b"eXIf":
            exif = body
        elif name == b"iTXt":
            xmp = body.removeprefix(b"XML:com.adobe.xmp\0\0\0\0\0")
        elif name == b"zTXt" and body.startswith(b"Raw profile type iptc\0\0"):
            text = zlib.decompress(body.removeprefix(b"Raw profile type iptc\0\0"))
            assert len(text) < 1 << 20, "Pillow refuses it"
            iptc = resource(bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode()))
        at += 12 + size
    return exif, xmp, iptc


def of_jpeg(data):
    at, exif, xmp, iptc = 2, None, None, None
    while data[at + 1] != 0xDA:
        _, marker, size = struct.unpack_from(">BBH", data, at)
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = body[6:]
        elif marker == 0xE1 and body.startswith(XMP_HEAD):
            xmp = body.removeprefix(XMP_HEAD)
        elif marker == 0xED:
            iptc = resource(body.removeprefix(b"Photoshop 3.0\0"))
        at += 2 + size
    return exif, xmp, iptc


def resource(data):
    assert data[:8] == b"8BIM\x04\x04\0\0"
    return data[12 : 12 + int.from_bytes(data[8:12], "big")]


# Photos


def jpeg(exif=None, xmp=None, iptc=None, *, more=()):
    """``more``: (marker, body) of other segments."""
    segments = [(0xE1, b"Exif\0\0" + exif)] if exif else []
    if xmp:
        segments.append((0xE1, XMP_HEAD + xmp))
    if iptc:
        head = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc))
        segments.append((0xED, b"Photoshop 3.0\0" + head + iptc + bytes(len(iptc) % 2)))
    data = pillow("JPEG")
    written = b"".join(
        struct.pack(">BBH", 255, marker, len(body) + 2) + body
        for marker, body in (*segments, *more)
    )
    return data[:2] + written + data[2:]


def pillow(format_, size=(12, 8), **options):
    out = io.BytesIO()
    pixels = np.random.RandomState(3).randint(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, format_, **options)
    return out.getvalue()


def png(exif=None, xmp=None, iptc=None, *, bits=8):
    raw = np.random.RandomState(3).bytes(8 * 12 * 3 * bits // 8)
    line = 12 * 3 * bits // 8
    rows = b"".join(b"\0" + raw[i * line : (i + 1) * line] for i in range(8))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 12, 8, bits, 2, 0, 0, 0))]
    if exif:
        chunks.append((b"eXIf", exif))
    if xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    chunks.append((b"IDAT", zlib.compress(rows)))
    if iptc:
        head = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc))
        profile = head + iptc + bytes(len(iptc) % 2)
        text = b"\niptc\n%8d\n%s\n" % (len(profile), profile.hex().encode())
        chunks.append((b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(text)))
    chunks.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(described=None, xmp=None, iptc=None, *, order="<", bits=8, **directories):
    """A TIFF; ``described``: more entries of its first directory."""
    pixels = np.random.RandomState(3).bytes(8 * 12 * 3 * bits // 8)
    short = lambda *n: (3, struct.pack(f"{order}{len(n)}H", *n))  # noqa: E731
    long = lambda n: (4, struct.pack(order + "I", n))  # noqa: E731
    main = {
        **{256: long(12), 257: long(8), 258: short(bits, bits, bits), 259: short(1)},
        **{262: short(2), 273: long(8), 277: short(3), 278: long(8), 279: long(len(pixels))},
        **(described or {}),
    }
    if xmp:
        main[700] = (1, xmp)
    if iptc:
        main[33723] = (7, iptc)
    return block(order, main, before=pixels, **directories)


def webp(exif=None, xmp=None):
    options = {"exif": exif} if exif else {}
    return pillow("WEBP", lossless=True, **options, **({"xmp": xmp} if xmp else {}))


def packet(body="", attributes="", spaces="", room=200):
    """An XMP packet, with the room behind it that programs leave."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="by hand">\n <rdf:RDF xmlns:rdf='
        f'"http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n  <rdf:Description rdf:about=""\n'
        f'    xmlns:dc="http://purl.org/dc/elements/1.1/" {spaces}\n   dc:source="Zoë"{attributes}>'
        f"\n{body}  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n{' ' * room}\n"
        '<?xpacket end="w"?>'
    ).encode()


def dataset(record, number, value):
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value
