"""The inputs of ``same_output.py``: files of many odd kinds, the same bytes every time.

Nothing of birefcli is imported here: its modules may move between the checkouts that are compared.
"""

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

Make = Callable[[Path], object]
SIZE = WIDTH, HEIGHT = 60, 80
WHEN = 1_700_000_000  # seconds: of the first file; the others are a second apart
ORIENTATION, MAKE, DATE, GPS = 0x0112, 0x010F, 0x0132, 0x8825
STORED = {  # how an upright picture is stored under each orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 exif:GPSLatitude="48,8.25N" exif:GPSLongitude="11,34.5E" dc:source="a camera"/></rdf:RDF>
</x:xmpmeta>"""
ADOBE = (1.0, 0.609, 0.311, 0.019), (2.0, 0.205, 0.626, 0.061), (3.0, 0.149, 0.063, 0.745)
"""Red, green and blue of about Adobe RGB: a number of the tag, and X, Y, Z."""


def make(folder: Path, checkout: Path) -> None:
    """Make every input in a folder; real photos and scores are copied from a checkout."""
    person = Image.open(checkout / "samples" / "astronaut.png").convert("RGB")
    person = person.crop((60, 0, 444, 512)).resize(SIZE, Image.Resampling.LANCZOS)
    for name, case in {**pictures(person), **falsehoods(person), **names(person)}.items():
        _put(folder / "odd" / os.fsdecode(name), case)
    _links(folder, person)
    for name, case in few(person).items():
        _put(folder / "few" / name, case)
    for name in ("a.jpg", "a.png", "sub/a.jpg"):
        _put(folder / "twins" / name, saved(person))
    _named(folder, person)
    _backgrounds(folder, person)
    _people(folder / "people")
    _wrong_data(folder, person)
    for name, place in (("samples", "samples"), ("scores", "tests/data/scores")):
        shutil.copytree(checkout / place, folder / name)
    (folder / "empty").mkdir()
    _set_times(folder)


def _put(path: Path, case: Make) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    case(path)


def _set_times(folder: Path) -> None:
    """Products hold when their photo was last modified."""
    files = sorted((p for p in folder.rglob("*") if not p.is_symlink()), key=os.fsencode)
    for number, path in enumerate(files):
        os.utime(path, (WHEN + number, WHEN + number))


# How files are made


def saved(image: Image.Image, format_: str | None = None, **options: Any) -> Make:
    """Save a picture with Pillow, in the format of the name where none is given."""
    return lambda path: image.save(path, format_, **options)


def data(content: bytes) -> Make:
    """Write bytes."""
    return lambda path: path.write_bytes(content)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    """Encode a picture with Pillow."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def deep(image: Image.Image) -> NDArray[np.uint16]:
    """Pixels of 16 bits, whose lower 8 say something too."""
    pixels = np.asarray(image).astype(np.uint16) * 256
    noise = np.random.RandomState(0).randint(0, 256, pixels.shape)
    return np.asarray(pixels + noise, np.uint16)


def png(colour: int, pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel; ``colour``: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return _png_of(struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0), rows)


def bomb() -> bytes:
    """A PNG that says it has 90,000×90,000 pixels."""
    return _png_of(struct.pack(">IIBBBBB", 90_000, 90_000, 1, 0, 0, 0, 0), bytes(1000))


def _png_of(header: bytes, rows: bytes) -> bytes:
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(
    pixels: NDArray[np.generic], *, order: str = "<", planar: bool = False, extra: int = 0
) -> bytes:
    """An uncompressed TIFF of RGB, or of RGBA where ``extra`` says what the alpha is."""
    height, width, channels = pixels.shape
    kind = f"{order}u{pixels.itemsize}"
    raw = (pixels.transpose(2, 0, 1) if planar else pixels).astype(kind).tobytes()
    planes = channels if planar else 1
    size = len(raw) // planes
    table: dict[int, tuple[int, Sequence[int]]] = {
        **{256: (4, [width]), 257: (4, [height]), 258: (3, [8 * pixels.itemsize] * channels)},
        **{259: (3, [1]), 262: (3, [2]), 273: (4, [8 + size * i for i in range(planes)])},
        **{277: (3, [channels]), 278: (4, [height]), 279: (4, [size] * planes)},
        284: (3, [2 if planar else 1]),
        **({338: (3, [extra])} if extra else {}),
    }
    body, entries = raw + b"\0" * (len(raw) % 2), b""
    for tag, (type_, numbers) in sorted(table.items()):
        packed = struct.pack(f"{order}{len(numbers)}{'HI'[type_ == 4]}", *numbers)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = struct.pack(order + "I", 8 + len(body))
            body += packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(order + "HHI", tag, type_, len(numbers)) + place
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body))
    return start + body + struct.pack(order + "H", len(table)) + entries + bytes(4)


def srgb_profile() -> bytes:
    """Pillow's sRGB profile without the moment at which it was made."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    return bytes(profile)


def wide_profile() -> bytes:
    """The same with other primaries, and another name."""
    profile = bytearray(srgb_profile().replace(b"\0s\0R\0G\0B", b"\0w\0i\0d\0e"))
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, offset = struct.unpack_from(">4sI", profile, entry)
        for colour, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE, strict=True):
            if name == colour:
                fixed = [round(value * 65536) for value in xyz[1:]]
                struct.pack_into(">3i", profile, offset + 8, *fixed)
    return bytes(profile)


def exif(orientation: int = 1, *, gps: bool = False) -> bytes:
    """What a camera writes: how to turn the photo, its maker, when, and where."""
    block = Image.Exif()
    block[ORIENTATION], block[MAKE], block[DATE] = orientation, "Maker", "2024:06:01 12:00:00"
    if gps:
        block[GPS] = {1: "N", 2: (48.0, 8.0, 15.0), 3: "E", 4: (11.0, 34.0, 30.0)}
    return block.tobytes()


def with_hole(image: Image.Image) -> Image.Image:
    """RGBA, of which a part is see-through and a part half so."""
    holed = image.convert("RGBA")
    holed.paste((0, 0, 0, 0), (20, 20, 40, 40))
    holed.paste((200, 30, 30, 128), (10, 50, 30, 60))
    return holed


# The odd folder


def pictures(person: Image.Image) -> "dict[str | bytes, Make]":
    """Every kind of picture."""
    frames: dict[str, Any] = {
        "save_all": True,
        "append_images": [person.rotate(90 * i).resize(SIZE) for i in (1, 2)],
    }
    cmyk = encoded(person.convert("CMYK"), "JPEG")
    ycck = cmyk.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")
    holed = with_hole(person)
    everything: dict[str, Any] = {
        "exif": exif(6, gps=True),
        "icc_profile": wide_profile(),
        "dpi": (300, 300),
    }
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    premultiplied = np.asarray(holed).astype(np.uint32)
    premultiplied[:, :, :3] = premultiplied[:, :, :3] * premultiplied[:, :, 3:] // 255
    return {
        **{f"turned-{n}.jpg": _turned(person, n) for n in STORED},
        "plain.jpg": saved(person, quality=95),
        "progressive.jpg": saved(person, progressive=True),
        "cmyk.jpg": data(cmyk),
        "ycck.jpg": data(ycck),
        "grey.jpg": saved(person.convert("L")),
        "everything.jpg": saved(turned(person, 6), **everything, xmp=XMP),
        "srgb.png": saved(
            turned(person, 8), icc_profile=srgb_profile(), exif=exif(8, gps=True), pnginfo=text
        ),
        "wide.tif": saved(turned(person, 6), **everything),
        "junk-profile.png": saved(person, icc_profile=b"no profile at all"),
        "la.png": saved(holed.convert("LA")),
        "hole.png": saved(holed),
        "palette.png": saved(person.quantize(16), transparency=3),
        "one-bit.png": saved(person.convert("1")),
        **_deep_pictures(person, holed),
        "planar.tif": data(tiff(np.asarray(person), planar=True)),
        "premultiplied.tif": data(tiff(premultiplied.astype(np.uint8), extra=1)),
        "straight.tif": data(tiff(np.asarray(holed), extra=2)),
        "pages.tiff": saved(person, **frames),
        "moving.gif": saved(person, **frames),
        "frames.apng": saved(person, "PNG", **frames),
        "lossy.webp": saved(turned(person, 3), quality=90, exif=exif(3, gps=True)),
        "lossless.webp": saved(holed, lossless=True),
        "b.bmp": saved(person),
        "1x1.png": saved(person.resize((1, 1))),
        "1x500.png": saved(person.resize((1, 500))),
        "500x1.png": saved(person.resize((500, 1))),
    }


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """What is stored under an orientation, to be shown as this picture."""
    turn = STORED[orientation]
    return image if turn is None else image.transpose(turn)


def _turned(person: Image.Image, orientation: int) -> Make:
    stored = turned(person, orientation)
    return saved(stored, exif=exif(orientation), quality=98, subsampling=0)


def _deep_pictures(person: Image.Image, holed: Image.Image) -> "dict[str | bytes, Make]":
    """Pictures of 16 bits a channel."""
    numbers = deep(person)
    portable = f"P6 {WIDTH} {HEIGHT} 65535\n".encode() + numbers.astype(">u2").tobytes()
    return {
        "grey16.png": data(png(0, deep(person.convert("L")))),
        "rgb16.png": data(png(2, numbers)),
        "la16.png": data(png(4, deep(holed.convert("LA")))),
        "rgba16.png": data(png(6, deep(holed))),
        "deep16.tif": data(tiff(numbers)),
        "planar16.tif": data(tiff(numbers, planar=True)),
        "big-endian.tif": data(tiff(deep(holed), order=">", extra=2)),
        "deep.ppm": data(portable),
    }


def falsehoods(person: Image.Image) -> "dict[str | bytes, Make]":
    """Files that are not what they say, and those that are none."""
    jpeg, plain = encoded(person, "JPEG"), encoded(person, "PNG")
    earlier = PngInfo()
    earlier.add_text("Comment", "birefcli:2 0123456789abcdef fp32 cutout 1234 1700000000000000000;")
    return {
        "UPPER.JPG": data(jpeg),
        "really-png.jpg": data(plain),
        "text.jpg": data(b"Dear me,"),
        "cut.jpg": data(jpeg[: len(jpeg) // 2]),
        "cutoff.png": data(plain[: len(plain) // 2]),
        "empty.jpg": data(b""),
        "bomb.png": data(bomb()),
        "h.heic": data(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        "x.jpg/inside.jpg": data(jpeg),
        "earlier.png": saved(with_hole(person), pnginfo=earlier),
        "photo": data(jpeg),
        "pipe.jpg": lambda path: os.mkfifo(path),
    }


def names(person: Image.Image) -> "dict[str | bytes, Make]":
    """Names that programs stumble over."""
    jpeg = data(encoded(person, "JPEG"))
    odd = ("a b  c .jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "-rf.jpg", "new\nline.jpg")
    more = ("\x1b[31mred.jpg", b"not-\xff-utf8.jpg", ".hidden.jpg", "sub/plain.jpg")
    return dict.fromkeys((*odd, *more), jpeg)


def _links(folder: Path, person: Image.Image) -> None:
    _put(folder / "elsewhere" / "b.jpg", saved(person))
    links = {"link.jpg": "plain.jpg", "linked": "../elsewhere", "gone.jpg": "no.jpg"}
    for name, target in {**links, "self.jpg": "self.jpg", "round": "."}.items():
        (folder / "odd" / name).symlink_to(target)


# The other inputs


def few(person: Image.Image) -> dict[str, Make]:
    """Photos for the options: everything a camera writes, 16 bits, a hole, CMYK."""
    everything: dict[str, Any] = {
        "exif": exif(6, gps=True),
        "icc_profile": wide_profile(),
        "dpi": (300, 300),
    }
    taken = turned(person.resize((150, 200)), 6)
    return {
        "taken.jpg": saved(taken, quality=95, **everything, xmp=XMP),
        "deep.png": data(png(2, deep(person))),
        "hole.png": saved(with_hole(person)),
        "sub/cmyk.jpg": saved(person.convert("CMYK")),
    }


def _named(folder: Path, person: Image.Image) -> None:
    """Files that a command line names, and lists of names."""
    for name in ("-rf.jpg", "photo", ".hidden.jpg"):
        _put(folder / "named" / name, saved(person, "JPEG"))
    listed = ["few/taken.jpg", "few/./sub/cmyk.jpg", "no-such.jpg", "../elsewhere/b.jpg", "few"]
    (folder / "list.txt").write_text("\n".join(listed) + "\r\n")
    (folder / "list0").write_bytes(b"few/hole.png\0odd/new\nline.jpg\0odd/not-\xff-utf8.jpg\0")
    (folder / "no.safetensors").write_bytes(b"no weights")


def _backgrounds(folder: Path, person: Image.Image) -> None:
    wall = person.transpose(Image.Transpose.ROTATE_90).resize((120, 50))
    _put(folder / "wall.png", saved(wall, icc_profile=wide_profile()))
    for name in ("taken.jpg", "deep.png", "hole.webp", "sub/cmyk.png"):
        _put(folder / "walls" / name, saved(wall.rotate(len(name))))
    _put(folder / "some-walls" / "taken.png", saved(wall))


def _people(folder: Path) -> None:
    """Eight red figures on blue-green walls, with their masks."""
    for name in ("im", "gt"):
        (folder / name).mkdir(parents=True)
    for number in range(8):
        noise = np.random.RandomState(number)
        alpha = np.zeros((120, 90), np.uint8)
        x = int(noise.randint(35, 55))
        cv2.ellipse(alpha, (x, 25), (8, 11), 0, 0, 360, (255,), -1)
        cv2.ellipse(alpha, (x, 75), (17, 38), 0, 0, 360, (255,), -1)
        pixels = np.add(noise.randint(0, 90, (120, 90, 3)), (0, 60, 120)).astype(np.uint8)
        pixels[alpha > 0] = (200, 30, 20)
        Image.fromarray(pixels).save(folder / "im" / f"{number}.png")
        Image.fromarray(alpha).save(folder / "gt" / f"{number}.png")


def _wrong_data(folder: Path, person: Image.Image) -> None:
    """Photos to train on without masks, with one of another shape, and with a text for one."""
    mask = person.convert("L").point(lambda value: 255 * (value > 100))
    for name in ("alone", "shape", "text"):
        _put(folder / "wrong" / "im" / f"{name}.png", saved(person))
    _put(folder / "wrong" / "gt" / "shape.png", saved(mask.resize((30, 70))))
    _put(folder / "wrong" / "gt" / "text.png", data(b"Dear me,"))
    _put(folder / "maskless" / "im" / "a.png", saved(person))
