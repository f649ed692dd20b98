"""Every kind of input a batch must survive, through the real command, from its words to its code.

One run over a folder of odd inputs is held against a table, which is the user's table too:
``python tests/batch/test_batch_inputs.py`` writes ``man/guide/inputs.md`` from it.
"""

import hashlib
import importlib.util
import io
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it
from conftest import TIMEOUT, picture
from described import block, dataset, jpeg, packet
from described import tiff as described_tiff
from support import fill, grey_profile, matrix_profile, png, tiff
from tiff_files import grey, page, tiff_file, tiff_pages

PAGE = Path(__file__).parents[2] / "man" / "guide" / "inputs.md"
WIDTH, HEIGHT = 60, 40
SEEN = {
    "written": "done",
    "failed": "fails: exit code 1",
    "skipped": "skipped",
    "unseen": "ignored",
    "counted": "left out, and counted in the summary",
    "refused": "refused before any work: exit code 5",
    "wrong": "refused before any work: exit code 2",
    "stopped": "stops the run: exit code 5",
    "nothing": "nothing done: exit code 3",
}


@dataclass(frozen=True)
class Case:
    """One odd input and what becomes of it. ``told``: part of what is said of it."""

    what: str
    status: str
    told: str = ""
    name: "str | bytes" = ""
    """Path in the folder of odd inputs; empty where a test of its own makes the input."""
    make: "Callable[[Path], object] | None" = None
    size: tuple[int, int] = (WIDTH, HEIGHT)
    where: str = ""
    """What it takes, in words."""
    possible: bool = True


def file(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def saved(
    image: Any = None, format_: str | None = None, **options: Any
) -> Callable[[Path], object]:
    shown = picture() if image is None else image
    return lambda path: shown.save(path, format_, **options)


def of(
    make: Callable[[Path], object], change: Callable[[bytes], bytes]
) -> Callable[[Path], object]:
    """Make a file and change its bytes."""

    def changed(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return changed


UNDO = {  # how an upright picture is stored under each orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int) -> Callable[[Path], object]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture()
    if orientation in UNDO:
        stored = stored.transpose(UNDO[orientation])
    return saved(stored, "JPEG", exif=exif, quality=98, subsampling=0)


WIDE = matrix_profile((0.609, 0.311, 0.019), (0.205, 0.626, 0.061), (0.149, 0.063, 0.745))
GAMMA_18 = struct.pack(">I", 55_556)
P3_CHRM = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def said(**chunks: bytes) -> bytes:
    """A PNG in which chunks say what its colours are."""
    before = [(name.encode(), body) for name, body in chunks.items()]
    return png(8, 2, np.asarray(picture()), WIDTH, HEIGHT, before=before)


def grey_with_profile() -> bytes:
    body = b"x\0\0" + zlib.compress(grey_profile(1.8))
    return png(8, 0, np.asarray(picture().convert("L")), WIDTH, HEIGHT, before=[(b"iCCP", body)])


def of_adobe(path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "Camera"
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    picture().save(path, exif=exif)


def see_through() -> Image.Image:
    image = picture().convert("RGBA")
    image.paste((0, 0, 0, 0), (10, 10, 20, 20))
    return image


def bomb(path: Path) -> None:
    """A PNG of 20,000×20,000 white pixels: 50 kB that would take 1.2 GB."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(2501) * 500) for _ in range(40)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def gain_mapped(path: Path) -> None:
    """A JPEG whose second picture says how bright its first may be."""
    picture().save(path, "MPO", save_all=True, append_images=[picture(30, 20)])
    data, body = path.read_bytes(), b"urn:iso:std:iso:ts:21496:-1\0"
    path.write_bytes(data[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + data[2:])


def bad_checksum(data: bytes) -> bytes:
    """The same PNG with a text before its pixels whose checksum is wrong."""
    at = data.index(b"IDAT") - 4
    return data[:at] + struct.pack(">I", 3) + b"tEXta\0b" + bytes(4) + data[at:]


def link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def elsewhere(path: Path) -> None:
    """A folder beside the inputs, and a link to it among them."""
    (path.parent.parent / "elsewhere").mkdir()
    saved()(path.parent.parent / "elsewhere" / "b.jpg")
    path.symlink_to("../elsewhere")


NOISE = np.random.RandomState(0).randint(0, 65536, HEIGHT * WIDTH * 3)
FRAMES = {"save_all": True, "append_images": [picture(seed=i) for i in (1, 2)]}
HALF = (lambda data: data[: len(data) // 2],)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF = ".avif" in Image.registered_extensions()
CODEC = "pip install 'birefcli[heif]'"
FRAME = "first of 3 frames or pages"

CASES: dict[str, list[Case]] = {
    "Pictures": [
        Case("the same name in two folders", "written", "", "a.jpg", saved()),
        Case("the same name in two folders, the other", "written", "", "sub/a.jpg", saved()),
        *(
            Case(f"EXIF orientation {n}", "written", "", f"turned-{n}.jpg", turned(n))
            for n in range(1, 9)
        ),
        Case("progressive JPEG", "written", "", "p.jpg", saved(None, None, progressive=True)),
        Case("CMYK JPEG", "written", "CMYK converted to sRGB", "cmyk.jpg",
             saved(picture().convert("CMYK"), "JPEG")),
        Case("YCCK JPEG", "written", "CMYK converted to sRGB", "ycck.jpg",
             of(saved(picture().convert("CMYK"), "JPEG"),
                lambda data: data.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"))),
        Case("grey JPEG", "written", "", "grey.jpg", saved(picture().convert("L"))),
        Case("grey with transparency", "written", "", "la.png", saved(see_through().convert("LA"))),
        Case("grey PNG of 16 bits", "written", "", "grey16.png",
             file(png(16, 0, NOISE[: HEIGHT * WIDTH], WIDTH, HEIGHT))),
        Case("colour PNG of 16 bits", "written", "", "rgb16.png",
             file(png(16, 2, NOISE, WIDTH, HEIGHT))),
        Case("grey PNG with a profile of gamma 1.8", "written", "", "grey-profile.png",
             file(grey_with_profile())),
        Case("PNG of gamma 1.8 and Display P3 (gAMA, cHRM)", "written", "", "gamma.png",
             file(said(gAMA=GAMMA_18, cHRM=P3_CHRM))),
        Case("PNG of Display P3 (cICP)", "written", "", "cicp.png",
             file(said(cICP=b"\x0c\x0d\0\1"))),
        Case("PNG of HDR (cICP)", "written", "HDR (PQ): converted to sRGB, cut at white", "hdr.png",
             file(said(cICP=b"\x09\x10\0\1"))),
        Case("Adobe RGB, said by EXIF alone", "written", "", "adobe.jpg", of_adobe),
        Case("colour profile above 1 MB", "written",
             "colour profile of 1.2 MB: converted to sRGB", "large-profile.jpg",
             saved(None, None, icc_profile=WIDE + bytes(1_200_000))),
        Case("colour profile that is damaged", "written", "colour profile damaged, left out",
             "bad-profile.jpg", saved(None, None, icc_profile=WIDE[:200])),
        Case("palette with transparency", "written", "", "palette.png",
             saved(picture().quantize(16), None, transparency=3)),
        Case("RGBA with a hole", "written", "", "hole.png", saved(see_through())),
        Case("1×1", "written", "", "1x1.png", saved(picture(1, 1)), (1, 1)),
        Case("1×5000", "written", "", "1x5000.png", saved(picture(1, 5000)), (1, 5000)),
        Case("20,000×20,000 (a decompression bomb)", "failed", "raise --max-megapixels",
             "bomb.png", bomb),
        Case("WebP", "written", "", "w.webp", saved()),
        Case("TIFF", "written", "", "t.tif", saved()),
        Case("TIFF of 16 bits", "written", "", "t16.tif",
             file(tiff(16, 2, 3, NOISE, WIDTH, HEIGHT))),
        Case("TIFF of several pages", "written", FRAME, "pages.tiff", saved(None, None, **FRAMES)),
        Case("BMP", "written", "", "b.bmp", saved()),
        Case("animated GIF", "written", FRAME, "moving.gif", saved(None, None, **FRAMES)),
        Case("animated PNG", "written", FRAME, "frames.apng", saved(None, "PNG", **FRAMES)),
        Case("HEIC without its codec", "failed", CODEC, "h.heic", file(HEIC),
             possible=importlib.util.find_spec("pillow_heif") is None),
        Case("AVIF", "written", "", "v.avif", saved(), where="where Pillow has the codec",
             possible=AVIF),
    ],
    "Pictures of other kinds": [
        Case("a camera's raw file, in a folder", "counted", "develop or convert", "r.NEF",
             file(b"MM\0*")),
        Case("another camera's raw file, in a folder", "counted", "1 .cr3", "sub/r.cr3", file(b"")),
        Case("JPEG XL, in a folder", "counted", "1 .jxl", "l.jxl", file(b"\xff\x0a")),
        Case("layers, in a folder", "counted", "2 .psd", "layers.psd", file(b"8BPS")),
        Case("layers, extension in upper case", "counted", "2 .psd", "UPPER.PSD", file(b"8BPS")),
        Case("a drawing, in a folder", "counted", "1 .svg", "drawing.svg", file(b"<svg/>")),
        Case("a folder with these alone", "nothing", "left out: 2 .nef, 1 .psd"),
    ],
    "Folders": [
        Case("@eaDir", "unseen", "", "@eaDir/a.jpg/SYNO.jpg", saved()),
        Case("lost+found", "unseen", "", "sub/lost+found/a.jpg", saved()),
        Case("$Recycle.Bin", "unseen", "", "$Recycle.Bin/a.jpg", saved()),
        Case("System Volume Information", "unseen", "", "System Volume Information/b.jpg", saved()),
        Case("a hidden folder", "unseen", "", ".Trashes/501/a.jpg", saved()),
        Case("any of these, named by the user", "written"),
        Case("a folder that --exclude matches", "unseen", where="also where it may not be read"),
    ],
    "Lists (--files-from)": [
        Case("with a byte order mark", "written"),
        Case("with line ends of Windows", "written"),
        Case("with names that end in NUL", "written"),
        Case("with names that are no UTF-8", "written"),
        Case("with names that begin with ~/", "written"),
        Case("in UTF-16", "wrong", "is UTF-16; save it as UTF-8"),
        Case("in UTF-16 without a mark", "wrong", "is UTF-16; save it as UTF-8"),
        Case("a photo", "wrong", "is a photo (JPEG); give a list of names"),
        Case("what --json has printed", "wrong", "is JSON; give a list of names"),
        Case("/dev/zero", "wrong", "is no list of names, or does not end"),
        Case("a folder", "nothing", "Is a directory"),
        Case("that is not there", "nothing", "No such file or directory"),
    ],
    "Unusual and incomplete pictures": [
        Case("grey and transparency of 16 bits in a TIFF", "written", "", "la16.tif",
             file(tiff(16, 1, 2, NOISE[: 2 * HEIGHT * WIDTH], WIDTH, HEIGHT, extra=2))),
        Case("TIFF of 16 bits in colour planes", "written", "", "planes.tif",
             file(tiff(16, 2, 3, NOISE, WIDTH, HEIGHT, planar=True))),
        Case("TIFF of 32-bit floats", "failed", "32-bit float TIFF; save 8 or 16 bits",
             "float.tif", file(tiff_file(page(*grey(8, 8, bits=32, t339=3))))),
        Case("WebP within a TIFF", "failed", "save it with LZW or deflate", "webp.tif",
             file(tiff_file(page(*grey(8, 8, t259=50001))))),
        Case("TIFF of 60,000 pages", "written", "first of more than 100 frames or pages",
             "60000.tif", file(tiff_pages(60_000)), (4, 4)),
        Case("TIFF with smaller copies beside it", "written", "", "pyramid.tif",
             file(tiff_file(page(*grey(64, 48), inner=[page(*grey(32, 24, t254=1))]))), (64, 48)),
        Case("a camera's raw file called .tif", "failed", "develop it first, or use its JPEG",
             "raw.tif", file(tiff_file(page(
                 *grey(16, 12, t254=1), inner=[page(*grey(64, 48, t262=32803))])))),
        Case("PNG with a wrong checksum beside its pixels", "written",
             "1 damaged PNG chunk left out", "checksum.png", of(saved(), bad_checksum)),
        Case("PNG with 5 MB of text, packed", "written", "1 oversized PNG chunk left out",
             "long-text.png", file(png(8, 2, NOISE & 255, WIDTH, HEIGHT, before=[
                 (b"zTXt", b"a\0\0" + zlib.compress(bytes(5 << 20)))]))),
        Case("JPEG that lacks its end marker alone", "written", "end marker missing",
             "endless.jpg", of(saved(), lambda data: data[:-2])),
        Case("JPEG with a gain map for HDR", "written", "HDR gain map left out", "gain.jpg",
             gain_mapped),
        Case("BMP of 32 bits whose alpha is 0 throughout", "written", "", "zero.bmp",
             saved(Image.new("RGBA", (WIDTH, HEIGHT), (9, 99, 199, 0)))),
    ],
    "What photos say of themselves": [
        Case("EXIF in UTF-8 and Latin-1, of either byte order", "written", "", "names.jpg",
             file(jpeg(block(">", {315: (2, "Zoë\0".encode()), 33432: (2, b"\xa9 Zo\xeb\0")}))),
             (12, 8)),
        Case("EXIF with a damaged tag", "written", "1 EXIF tag left out: damaged or too large",
             "odd-tag.jpg", file(jpeg(block("<", {271: (2, b"Maker\0"), 50000: (99, b"?")}))),
             (12, 8)),
        Case("EXIF that is damaged", "written", "damaged EXIF left out", "exif.tif.jpg",
             file(jpeg(b"II*\0\xff\xff\xff\xff" + bytes(20))), (12, 8)),
        Case("XMP and IPTC", "written", "", "press.jpg",
             file(jpeg(xmp=packet(), iptc=dataset(2, 80, b"Zo\xeb"))), (12, 8)),
        Case("XMP that is damaged, or has a document type", "written", "damaged XMP left out",
             "xmp.tif", file(described_tiff(xmp=b"<!DOCTYPE x>" + packet())), (12, 8)),
        Case("IPTC that is damaged", "written", "damaged IPTC left out", "iptc.jpg",
             file(jpeg(iptc=dataset(2, 80, b"Zo\xeb") + b"\x1c\2\5\xff")), (12, 8)),
    ],
    "Files that are not what they say": [
        Case("extension in upper case", "written", "", "UPPER.JPG", saved(None, "JPEG")),
        Case("no extension, in a folder", "unseen", "", "photo", saved(None, "JPEG")),
        Case("no extension, named by the user", "written"),
        Case("a PNG called .jpg", "written", "", "really-png.jpg", saved(None, "PNG")),
        Case("a text called .jpg", "failed", "(it looks like text)", "text.jpg", file(b"Dear me,")),
        Case("a JPEG cut off", "failed", "the file ends too early", "cut.jpg", of(saved(), *HALF)),
        Case("a PNG cut off", "failed", "damaged image", "cutoff.png", of(saved(), *HALF)),
        Case("zero bytes", "failed", "the file is empty", "empty.jpg", file(b"")),
        Case("a terabyte of nothing", "failed", "GB are no photo of", "sparse.jpg",
             lambda path: (path.touch(), os.truncate(path, 1 << 40))),
        Case("a folder called x.jpg", "written", "", "x.jpg/inside.jpg", saved()),
        Case("a named pipe in a folder", "skipped", "not a regular file", "pipe.jpg",
             lambda path: os.mkfifo(path)),
        Case("a named pipe, named by the user", "written",
             where="where something writes to it within `--photo-timeout`"),
    ],
    "Names": [
        Case("a.jpg and a.png in one folder", "refused", "--name '{name}'"),
        Case("the same with --name '{name}'", "written"),
        Case("spaces", "written", "", "a b  c .jpg", saved()),
        Case("é as one character", "written", "", "caf\u00e9.jpg", saved()),
        Case("é as two characters", "written", "", "cafe\u0301.jpg", saved()),
        Case("a leading dash, in a folder", "written", "", "-rf.jpg", saved()),
        Case("a leading dash, named by the user after --", "written"),
        Case("a line break", "written", "", "new\nline.jpg", saved()),
        Case("an escape sequence", "written", "", "\x1b[31mred.jpg", saved()),
        Case("bytes that are no UTF-8", "written", "", b"not-\xff-utf8.jpg", saved()),
        Case("255 bytes", "written", "", "n" * 251 + ".jpg", saved()),
        Case("255 bytes, and a longer extension for the result", "failed", "File name too long"),
        Case("a hidden file, in a folder", "unseen", "", ".hidden.jpg", saved()),
        Case("a hidden file, named by the user", "written"),
    ],
    "Links": [
        Case("to a file", "written", "", "link.jpg", link_to("a.jpg")),
        Case("to a folder", "written", "", "linked/b.jpg", lambda path: elsewhere(path.parent)),
        Case("to nothing", "skipped", "a symbolic link to nothing", "gone.jpg", link_to("no.jpg")),
        Case("to itself", "skipped", "a symbolic link to nothing", "self.jpg", link_to("self.jpg")),
        Case("to the folder it lies in", "unseen", "", "round", link_to(".")),
    ],
    "Permissions, disks and other people": [
        Case("a file that may not be read", "failed", "Permission denied"),
        Case("a folder that may not be read", "failed", "Permission denied"),
        Case("an output folder that may not be written to", "refused", "cannot be written"),
        Case("an output disk mounted read-only", "refused", "Read-only file system"),
        Case("a full output disk", "stopped", "No space left on device"),
        Case("a photo deleted while it waits", "failed", "No such file"),
        Case("a photo rewritten while it waits", "written"),
        Case("10,000 small files", "written"),
    ],
}  # fmt: skip
UNNAMED = ("unseen", "counted")
"""What has no line of its own."""
ALL = {case.what: case for cases in CASES.values() for case in cases}
MADE = [case for case in ALL.values() if case.make is not None]
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def page() -> str:
    """The table as the user reads it."""
    lines = [
        "# Odd inputs",
        "",
        "Tests run every line with the real command. A photo that fails does not affect others;",
        "the last column quotes its message. `python tests/batch/test_batch_inputs.py` writes",
        "this page.",
    ]
    for group, cases in CASES.items():
        lines += ["", f"## {group}", "", "| input | result | message |"]
        lines += ["|---|---|---|"]
        for case in cases:
            result = SEEN[case.status] + (f", {case.where}" if case.where else "")
            said = f"`{case.told}`" if case.told else ""
            lines.append(f"| {case.what} | {result} | {said} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


# One run over all of them


@dataclass
class Ran:
    """The one run: its folders, and what it said."""

    folder: Path
    out: Path
    returncode: int
    lines: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    stderr: str
    impossible: set[str]
    before: dict[bytes, str]


def hashes(folder: Path) -> dict[bytes, str]:
    """Digest of every file below a folder, large holes left out."""
    return {
        os.fsencode(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size < 1 << 30
    }


@pytest.fixture(scope="session")
def ran(command, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All odd inputs, made once and given to the command once."""
    top = tmp_path_factory.mktemp("odd")
    folder, out = top / "in", top / "out"
    impossible = set()
    for case in MADE:
        path = folder / os.fsdecode(case.name)
        if case.what != "to a folder":
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            assert case.possible
            assert case.make is not None
            case.make(path)
        except (OSError, AssertionError, AttributeError):
            impossible.add(case.what)  # a file system that cannot hold such a name, a codec
    before = hashes(top)
    words = ("--write", "cutout,foreground", "--no-refine", "--json")
    result = command("matte", folder, "-o", out, *words)
    assert result.returncode in (0, 1), result.stderr.decode()
    *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
    return Ran(
        folder,
        out,
        result.returncode,
        {line["input"]: line for line in lines},
        last["summary"],
        result.stderr.decode(),
        impossible,
        before,
    )


def place(ran: Ran, case: Case) -> str:
    return str(ran.folder / os.fsdecode(case.name))


@pytest.mark.parametrize("case", MADE, ids=lambda case: case.what)
def test_odd_input_becomes_what_the_table_says(ran, case):
    if case.what in ran.impossible:
        pytest.skip("cannot be made on this system")
    line = ran.lines.get(place(ran, case))
    if case.status in UNNAMED:
        assert line is None
        assert case.told in ran.stderr
        return
    assert line is not None
    assert line["status"] == case.status, line
    said = " ".join(filter(None, (line["error"], line["reason"], *line["notes"])))
    assert case.told in said
    if case.status == "failed":
        assert case.told in ran.stderr
        assert line["outputs"] == {}
    elif case.status == "written":
        relative = Path(os.fsdecode(case.name)).with_suffix(".png")
        assert line["outputs"] == {
            kind: str(ran.out / kind / relative) for kind in ("cutout", "foreground")
        }
        with Image.open(line["outputs"]["cutout"]) as image:
            image.load()
            assert (image.mode, image.size) == ("RGBA", case.size)


def test_the_run_counts_and_says_what_the_lines_say(ran):
    statuses = [line["status"] for line in ran.lines.values()]
    for status in ("written", "failed", "skipped"):
        assert ran.summary[status] == statuses.count(status) > 0
    expected = [c for c in MADE if c.status not in UNNAMED and c.what not in ran.impossible]
    assert len(ran.lines) == len(expected)
    assert ran.returncode == ran.summary["exit_code"] == 1
    counts = {".cr3": 1, ".jxl": 1, ".nef": 1, ".psd": 2, ".svg": 1}
    assert ran.summary["left_out"] == counts


def test_no_input_is_changed_and_nothing_lies_about(ran):
    now = hashes(ran.folder.parent)
    assert {path: now.get(path) for path in ran.before} == ran.before
    made = {os.fsdecode(path) for path in now.keys() - ran.before.keys()}
    outputs = {path for line in ran.lines.values() for path in line["outputs"].values()}
    assert made == outputs
    assert not list(ran.folder.parent.rglob("*.part"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_of_any_orientation_comes_out_upright_and_without_the_tag(ran, orientation):
    line = ran.lines[str(ran.folder / f"turned-{orientation}.jpg")]
    with Image.open(line["outputs"]["foreground"]) as image:
        assert image.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(image).astype(int)
    assert np.abs(pixels - np.asarray(picture())).mean() < 4


@pytest.mark.parametrize("name", ["hole.png", "la.png"])
def test_hole_of_a_photo_stays_a_hole(ran, name):
    line = ran.lines[str(ran.folder / name)]
    with Image.open(line["outputs"]["cutout"]) as image:
        alpha = np.asarray(image)[:, :, 3]
    assert alpha[10:20, 10:20].max() == 0
    assert alpha[20:, 20:].min() > 0


@pytest.mark.parametrize("name", ["grey-profile.png", "gamma.png", "cicp.png", "adobe.jpg"])
@pytest.mark.parametrize("kind", ["cutout", "foreground"])
def test_colours_that_no_rgb_profile_says_are_a_profile_of_the_product(ran, name, kind):
    line = ran.lines[str(ran.folder / name)]
    with Image.open(line["outputs"][kind]) as image:
        assert ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))


@pytest.mark.parametrize("name", ["hdr.png", "large-profile.jpg", "bad-profile.jpg"])
def test_colours_that_cannot_be_kept_leave_a_product_without_profile(ran, name):
    line = ran.lines[str(ran.folder / name)]
    with Image.open(line["outputs"]["cutout"]) as image:
        assert "icc_profile" not in image.info


def test_messages_stay_on_their_lines_whatever_the_names_hold(ran, inside, tmp_path):
    name = "bad\n\x1b[31m\u202e.jpg"
    (tmp_path / name).write_text("no photo")
    result = inside("matte", tmp_path, "-o", tmp_path / "out")
    said = result.stderr.decode().splitlines()
    assert any("bad\\n\\x1b[31m\\u202e.jpg: not an image" in line for line in said)
    assert len(said) == 2
    assert "\x1b" not in ran.stderr


# What has to be named, or meets others


def test_photos_named_by_the_user_are_tried_whatever_their_names(inside, tmp_path):
    cases = ("no extension, named by the user", "a hidden file, named by the user",
             "a leading dash, named by the user after --")  # fmt: skip
    names = ["photo", ".hidden.jpg", "-rf.jpg"]
    for name in names:
        saved(None, "JPEG")(tmp_path / name)
    result = inside("matte", "-o", "out", "--json", "--", *names, cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    lines = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    assert [line["status"] for line in lines] == [ALL[what].status for what in cases]
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"photo.png", ".hidden.png", "-rf.png"}


def test_folder_of_other_kinds_alone_says_what_it_holds(inside, tmp_path):
    case = ALL["a folder with these alone"]
    for name in ("a.nef", "sub/b.NEF", "c.psd"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    result = inside("matte", tmp_path / "in", "-o", tmp_path / "out", "--json")
    said = result.stderr.decode()
    assert (case.status, result.returncode) == ("nothing", 3)
    assert case.told in said
    assert len(said.splitlines()) == 1


def test_folder_of_a_system_is_done_where_the_user_names_it(inside, tmp_path):
    case = ALL["any of these, named by the user"]
    for name in ("lost+found/a.jpg", ".Trashes/b.jpg", "@eaDir/c.jpg"):
        (tmp_path / name).parent.mkdir()
        saved()(tmp_path / name)
    named = ("lost+found", ".Trashes", "@eaDir")
    result = inside("matte", *named, "-o", "out", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    assert [line["status"] for line in lines] == [case.status] * 3


def test_lists_of_any_program_are_read(inside, tmp_path):
    odd = b"n\xff.jpg"
    names = ["a.jpg", "\u00e9 b.jpg", *([os.fsdecode(odd)] if os.name == "posix" else [])]
    for name in names:
        saved()(tmp_path / name)
    saved()(tmp_path / "h.jpg")
    joined = "\n".join(names[:2]).encode()
    cases = {
        "with a byte order mark": (b"\xef\xbb\xbf" + joined, 2),
        "with line ends of Windows": (joined.replace(b"\n", b"\r\n") + b"\r\n", 2),
        "with names that end in NUL": (joined.replace(b"\n", b"\0") + b"\0", 2),
        "with names that are no UTF-8": (os.fsencode("\n".join(names)), len(names)),
        "with names that begin with ~/": (b"~/h.jpg\na.jpg\n", 2),
    }
    for number, (what, (data, count)) in enumerate(cases.items()):
        words = ("matte", "--files-from", "-", "-o", f"out{number}", "--json")
        result = inside(*words, stdin=data, cwd=tmp_path, HOME=str(tmp_path))
        assert result.returncode == 0, result.stderr.decode()
        lines = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
        assert [line["status"] for line in lines] == [ALL[what].status] * count


def test_what_is_no_list_is_refused(inside, tmp_path):
    saved()(tmp_path / "a.jpg")
    line = b'{"input": "a.jpg", "status": "failed", "outputs": {}}\n'
    given = {
        "in UTF-16": ("-", "a.jpg\r\n".encode("utf-16")),
        "in UTF-16 without a mark": ("-", "a.jpg\r\nb.jpg\r\n".encode("utf-16-le")),
        "a photo": ("-", (tmp_path / "a.jpg").read_bytes()),
        "what --json has printed": ("-", line + b'{"summary": {}}\n'),
        "/dev/zero": ("/dev/zero", b""),
        "a folder": (".", b""),
        "that is not there": ("none", b""),
    }
    if not Path("/dev/zero").exists():
        del given["/dev/zero"]
    for what, (name, data) in given.items():
        result = inside("matte", "--files-from", name, "-o", "o", stdin=data, cwd=tmp_path)
        said = result.stderr.decode()
        assert result.returncode == {"wrong": 2, "nothing": 3}[ALL[what].status]
        assert ALL[what].told in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "letter",
    [
        pytest.param("n", marks=pytest.mark.slow),
        pytest.param("\u00e9", marks=pytest.mark.slow),
        "\U0001f600",
    ],
)
def test_result_whose_name_is_too_long_fails_by_name(inside, tmp_path, letter):
    case = ALL["255 bytes, and a longer extension for the result"]
    size = len(letter.encode())
    (tmp_path / "in").mkdir()
    stem = letter * (251 // size) + "x" * (251 % size)
    try:
        saved()(tmp_path / "in" / f"{stem}.jpg")
    except OSError:
        pytest.skip("this file system has no names of 255 bytes")
    saved()(tmp_path / "in" / f"{stem[:-2]}.jpg")
    for number, words in enumerate((("--format", "tiff"), ("--name", "{stem}xx"))):
        given = ("matte", tmp_path / "in", "-o", tmp_path / f"out{number}", "--json", *words)
        for status in ("written", "current"):
            result = inside(*given)
            *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
            assert (result.returncode, last["summary"][status]) == (1, 1), result.stderr.decode()
            by_status = {line["status"]: line for line in lines}
            assert by_status[case.status]["input"].endswith(f"/{stem}.jpg")
            assert case.told in by_status[case.status]["error"]


@needs_fifo
def test_named_pipe_named_by_the_user_is_read(start, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    picture().save(tmp_path / "a.jpg")
    process = start("matte", tmp_path / "pipe", "-o", tmp_path / "out", "--json")
    with (tmp_path / "pipe").open("wb") as pipe:
        pipe.write((tmp_path / "a.jpg").read_bytes())
    out, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    line = json.loads(out.splitlines()[0])
    assert line["status"] == ALL["a named pipe, named by the user"].status


def test_photos_for_one_target_are_refused_and_kept_apart_on_request(inside, tmp_path):
    case = ALL["a.jpg and a.png in one folder"]
    for name in ("in/a.jpg", "in/a.png", "in/sub/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        saved()(tmp_path / name)
    before = hashes(tmp_path)
    result = inside("matte", tmp_path / "in", "-o", tmp_path / "out")
    assert (case.status, result.returncode) == ("refused", 5)
    said = result.stderr.decode()
    assert all(text in said for text in ("in/a.jpg", "in/a.png", "out/a.png", case.told))
    assert hashes(tmp_path) == before
    result = inside("matte", tmp_path / "in", "-o", tmp_path / "out", "--name", "{name}")
    assert ALL["the same with --name '{name}'"].status == "written"
    assert result.returncode == 0, result.stderr.decode()
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert made == {"a.jpg.png", "a.png.png", "sub", "sub/a.jpg.png"}


def test_what_may_not_be_read_fails_by_name_unless_it_is_excluded_and_the_rest_goes_on(
    command, as_user, tmp_path
):
    excluded = ("drafts", "raw", "lost+found")
    shut = [tmp_path / "in" / name for name in ("shut.jpg", "locked", *excluded)]
    for name in ("a.jpg", "shut.jpg", "locked/b.jpg", *(f"{name}/c.jpg" for name in excluded)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        saved()(tmp_path / "in" / name)
    for path in shut:
        path.chmod(0)
    words = ("--exclude", "drafts", "--exclude", "raw/*", "--json", "--failed-to", "failed")
    try:
        result = command("matte", "in", "-o", "out", *words, within=as_user, cwd=tmp_path)
    finally:
        for path in shut:
            path.chmod(0o700)
    lines = ["in/././locked/", "in/./shut.jpg"]
    assert sorted((tmp_path / "failed").read_text().splitlines()) == lines
    assert result.returncode == 1, result.stderr.decode()
    *lines, _ = [json.loads(line) for line in result.stdout.splitlines()]
    by_name = {Path(line["input"]).name: line for line in lines}
    assert ALL["a folder that --exclude matches"].status == "unseen"
    assert by_name.keys() == {"a.jpg", "shut.jpg", "locked"}
    assert by_name["a.jpg"]["status"] == "written"
    for name, what in (("shut.jpg", "a file"), ("locked", "a folder")):
        case = ALL[f"{what} that may not be read"]
        assert by_name[name]["status"] == case.status
        assert by_name[name]["error"] == case.told


def test_output_folder_that_may_not_be_written_to_is_refused(command, as_user, photos, tmp_path):
    case = ALL["an output folder that may not be written to"]
    (tmp_path / "out").mkdir(mode=0o500)
    result = command("matte", photos, "-o", tmp_path / "out", within=as_user)
    assert (case.status, result.returncode) == ("refused", 5)
    assert case.told in result.stderr.decode()


def test_output_disk_mounted_read_only_is_refused(inside, photos, small_disk, remount):
    case = ALL["an output disk mounted read-only"]
    remount(small_disk, "ro")
    result = inside("matte", photos, "-o", small_disk / "out")
    assert (case.status, result.returncode) == ("refused", 5)
    assert case.told in result.stderr.decode()


def test_full_output_disk_stops_the_run(inside, photos, small_disk):
    case = ALL["a full output disk"]
    fill(small_disk / "filler")
    result = inside("matte", photos, "-o", small_disk / "out", "--json")
    said = result.stderr.decode()
    assert (case.status, result.returncode) == ("stopped", 5), said
    assert f"{case.told} ({small_disk / 'out' / 'a.png'})" in said
    assert "goes on where it stopped" in said
    assert not list(small_disk.rglob("*.part"))
    assert json.loads(result.stdout.splitlines()[-1])["summary"]["exit_code"] == 5


@needs_fifo
def test_photos_deleted_or_rewritten_while_they_wait(start, inside, tmp_path):
    deleted = ALL["a photo deleted while it waits"]
    rewritten = ALL["a photo rewritten while it waits"]
    (tmp_path / "in").mkdir()
    for i in range(12):
        picture(seed=i % 5).save(tmp_path / "in" / f"{i:02d}.jpg")
    os.mkfifo(tmp_path / "pipe")  # a photo that comes when these have been changed
    words = ("matte", tmp_path / "in", "-o", tmp_path / "out", "--threads", 1, "--json")
    process = start("matte", tmp_path / "pipe", *words[1:])
    with (tmp_path / "pipe").open("wb") as pipe:  # it is open when the run reads its first photos
        (tmp_path / "in" / "10.jpg").unlink()
        picture(30, 20).save(tmp_path / "in" / "11.jpg")
        pipe.write((tmp_path / "in" / "00.jpg").read_bytes())
    written, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, said
    lines = [json.loads(line) for line in written.splitlines()][:-1]
    assert [line["status"] for line in lines[:-2]] == ["written"] * 11
    assert lines[-2]["status"] == deleted.status
    assert deleted.told in lines[-2]["error"]
    assert lines[-1]["status"] == rewritten.status
    with Image.open(tmp_path / "out" / "11.png") as image:
        assert image.size == (30, 20)
    again = inside(*words)
    assert json.loads(again.stdout.splitlines()[-1])["summary"]["current"] == 11


def test_page_of_odd_inputs_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/batch/test_batch_inputs.py"


def test_every_kind_of_input_has_a_name_of_its_own():
    assert len(ALL) == sum(map(len, CASES.values()))
    assert {case.status for case in ALL.values()} == set(SEEN)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
