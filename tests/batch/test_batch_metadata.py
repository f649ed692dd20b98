"""What every product keeps of its photo beside the pixels, through the real command."""

import io
import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import picture
from described import block, dataset, entries, jpeg, packet, said
from PIL import ExifTags, Image
from support import matrix_profile, tiff

from birefcli.images.decode import decode_photo
from birefcli.images.stamp import Stamp
from birefcli.options import Format, Product, Rendering
from birefcli.products.render import WITHOUT_DPI, encode_product, left_out

EXIF_IFD, GPS_IFD, THUMBNAIL_IFD = 0x8769, 0x8825, ExifTags.IFD.IFD1
ORIENTATION, MAKE, DATE, TAKEN = 0x0112, 271, 306, 36867
P3 = matrix_profile((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
KINDS = ("cutout", "composite", "foreground", "mask")
PRESS_EXIF = block(
    ">",
    {315: (2, "Zoë\0".encode()), 40091: (1, "Tïtle".encode("utf-16-le"))},
    {37510: (7, b"UNICODE\0" + "日本".encode("utf-16-be")), 37500: (7, bytes(range(200)))},
    {1: (2, b"N\0")},
    {1: (2, b"R98\0")},
)
SPACES = (
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
)
PRESS_XMP = packet("", ' photoshop:City="Köln" tiff:ImageWidth="12"', SPACES)
PRESS_IPTC = (dataset(1, 90, b"\x1b%G"), dataset(2, 80, "Zoë".encode()), dataset(2, 90, b"K\xf6ln"))
GREEN = (60, 200, 60)  # of Display P3; sRGB has no such green


def camera_exif() -> bytes:
    """What a camera writes: who and when, how to turn it, where it was, and a small picture."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE], exif[DATE] = 6, "Maker", "2024:06:01 12:00:00"
    exif[EXIF_IFD] = {TAKEN: "2024:06:01 12:00:00"}
    exif[GPS_IFD] = {1: "N", 2: (48.0, 8.0, 15.0)}
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    order = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack(order + "I", block[4:8])
    (entries,) = struct.unpack(order + "H", block[first : first + 2])
    link = first + 2 + 12 * entries  # where the place of the next directory stands
    small = io.BytesIO()
    picture(16, 12).save(small, "JPEG")
    start = len(block) + 2 + 3 * 12 + 4
    table = ((259, 3, 6), (513, 4, start), (514, 4, len(small.getvalue())))
    second = struct.pack(order + "H", len(table))
    for tag, kind, value in table:
        second += struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, 1, value)
    block = block[:link] + struct.pack(order + "I", len(block)) + block[link + 4 :]
    return b"Exif\0\0" + block + second + bytes(4) + small.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A wide-gamut photo with everything a camera writes, one in CMYK, one of 16 bits."""
    folder = tmp_path_factory.mktemp("photos")
    wide = Image.new("RGB", (64, 48), GREEN)
    options = {"exif": camera_exif(), "icc_profile": P3, "dpi": (300, 300)}
    wide.save(folder / "wide.jpg", quality=100, subsampling=0, **options)
    picture().convert("CMYK").save(folder / "cmyk.jpg")
    (folder / "press.jpg").write_bytes(jpeg(PRESS_EXIF, PRESS_XMP, b"".join(PRESS_IPTC)))
    deep = np.random.RandomState(1).randint(0, 65536, 60 * 40 * 3)
    (folder / "deep.tif").write_bytes(tiff(16, 2, 3, deep, 60, 40))
    return folder


class Made:
    """Results of one run: its files, and what it said."""

    def __init__(self, out: Path, result: "subprocess.CompletedProcess[bytes]") -> None:
        self.out, self.stderr = out, result.stderr.decode()
        self.lines = [json.loads(line) for line in result.stdout.splitlines()[:-1]]

    def file(self, kind: str, stem: str) -> Path:
        (line,) = [x for x in self.lines if Path(x["input"]).stem == stem]
        return Path(line["outputs"][kind])


RUNS = {
    "png": ("--format", "png", "--bits", "16"),
    "tiff": ("--format", "tiff", "--bits", "16", "--strip"),
    "webp": ("--format", "webp", "--strip"),
    "jpg": ("--format", "jpg"),
}


@pytest.fixture(scope="module")
def runs(inside, photos, tmp_path_factory) -> dict[str, Made]:
    """One run for each format, half of them with --strip."""
    made = {}
    for name, words in RUNS.items():
        out = tmp_path_factory.mktemp(name)
        kinds = "composite,foreground" if name == "jpg" else ",".join(KINDS)
        more = ("--write", kinds, "--no-refine", "-v", "--json", *words)
        result = inside("matte", photos, "-o", out, *more)
        assert result.returncode == 0, result.stderr.decode()
        made[name] = Made(out, result)
    return made


PRODUCTS = [
    (name, kind)
    for name in RUNS
    for kind in (("composite", "foreground") if name == "jpg" else KINDS)
]


def info(path: Path) -> tuple[dict[str, Any], Image.Exif, tuple[int, int]]:
    with Image.open(path) as image:
        image.load()
        return image.info, image.getexif(), image.size


@pytest.mark.parametrize(("name", "kind"), PRODUCTS)
def test_profile_and_resolution_are_those_of_the_photo(runs, name, kind):
    details, _, size = info(runs[name].file(kind, "wide"))
    assert size == (48, 64), "upright"
    assert details.get("icc_profile") == (None if kind == "mask" else P3)
    if name != "webp":  # which holds none
        assert details["dpi"][0] == pytest.approx(300, abs=0.1)


def test_photo_has_what_its_products_must_not_have(photos):
    _, exif, size = info(photos / "wide.jpg")
    assert size == (64, 48), "stored on its side"
    assert exif[ORIENTATION] == 6
    assert exif.get_ifd(THUMBNAIL_IFD)[514] > 100


@pytest.mark.parametrize(("name", "kind"), PRODUCTS)
def test_exif_is_kept_without_orientation_thumbnail_and_on_request_place(runs, name, kind):
    _, exif, _ = info(runs[name].file(kind, "wide"))
    assert exif.get(ORIENTATION, 1) == 1
    assert (exif[MAKE], exif[DATE]) == ("Maker", "2024:06:01 12:00:00")
    assert exif.get_ifd(EXIF_IFD)[TAKEN] == "2024:06:01 12:00:00"
    assert dict(exif.get_ifd(THUMBNAIL_IFD)) == {}
    place = exif.get_ifd(GPS_IFD)
    if "--strip" in RUNS[name]:
        assert dict(place) == {}
    else:
        assert place[1] == "N"
        assert [float(x) for x in place[2]] == [48, 8, 15]


@pytest.mark.parametrize(("name", "kind"), PRODUCTS)
def test_exif_xmp_and_iptc_are_the_photos_bytes_and_on_request_without_place(runs, name, kind):
    exif, xmp, iptc = said(runs[name].file(kind, "press").read_bytes())
    strip = "--strip" in RUNS[name]
    found, order = entries(exif)
    assert order == ">"
    expected, _ = entries(PRESS_EXIF)
    if strip:
        del expected[EXIF_IFD, 37500], expected[GPS_IFD, 1]
    assert found.items() >= expected.items()
    assert (GPS_IFD, 1) not in found or not strip
    assert xmp == packet("", "" if strip else ' photoshop:City="Köln"', SPACES)
    held = b"".join(PRESS_IPTC[: 2 if strip else 3])
    assert iptc == (None if name == "webp" else held)
    (line,) = [x for x in runs[name].lines if Path(x["input"]).stem == "press"]
    noted = "IPTC left out: webp holds none" in line["notes"]
    assert noted == (name == "webp")


@pytest.mark.parametrize("format_", Format)
def test_without_metadata_profile_resolution_and_stamp_are_all_that_is_said(format_):
    data = jpeg(PRESS_EXIF, PRESS_XMP, b"".join(PRESS_IPTC))
    press = decode_photo(data, 10**6)
    assert None not in (press.exif, press.xmp, press.iptc)
    damage = "damaged EXIF left out"
    photo = replace(press, icc=P3, dpi=(300.0, 300.0), metadata_notes=(damage,))
    rendering = Rendering((Product.FOREGROUND,), format_, metadata=False)
    stamp = Stamp("0" * 16, "fp32", "foreground", 1, 1).text()
    made = encode_product(photo.pixels, photo, rendering, lambda _: stamp).data
    assert stamp.encode() in made
    assert left_out(photo, rendering) == ()
    assert left_out(photo, replace(rendering, metadata=True))[0] == damage
    for secret in ("Zoë", "日本", "Köln"):
        assert secret.encode() not in made
        assert secret.encode("utf-16-be") not in made
    with Image.open(io.BytesIO(made)) as image:
        assert image.info["icc_profile"] == P3
        assert format_ in WITHOUT_DPI or image.info["dpi"][0] == pytest.approx(300, abs=0.1)
        if format_ is not Format.TIFF:
            assert said(made) == (None, None, None)
            assert dict(image.getexif()) == {}
    _, xmp, iptc = said(made)
    assert (xmp, iptc) == (None, None)


@pytest.mark.parametrize(("name", "kind"), [p for p in PRODUCTS if p[1] != "mask"])
def test_wide_gamut_photo_keeps_its_own_space(runs, name, kind):
    with Image.open(runs[name].file(kind, "wide")) as image:
        alpha = np.asarray(image)[:, :, 3] if image.mode == "RGBA" else None
    pixels = cv2.imread(str(runs[name].file(kind, "wide")), cv2.IMREAD_UNCHANGED)
    green = pixels[:, :, 2::-1] // (257 if pixels.dtype == np.uint16 else 1)
    if kind == "composite":  # over white, which is white in every space
        assert green[:, :, 1].min() >= GREEN[1] - 2
    elif alpha is None or alpha.max() > 0:
        shown = green if alpha is None else green[alpha > 0]
        assert np.abs(shown.reshape(-1, 3) - np.array(GREEN)).max() <= 2


@pytest.mark.parametrize("name", RUNS)
def test_cmyk_becomes_srgb_and_is_said_so(runs, name):
    details, _, _ = info(runs[name].file("foreground", "cmyk"))
    assert "icc_profile" not in details
    pixels = cv2.imread(str(runs[name].file("foreground", "cmyk")), cv2.IMREAD_UNCHANGED)
    assert pixels.shape[2] == 3
    (line,) = [x for x in runs[name].stderr.splitlines() if "cmyk.jpg" in x]
    assert "CMYK converted to sRGB" in line


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_photo_of_16_bits_keeps_them_in_cutout_and_foreground(runs, photos, name):
    stored = cv2.imread(str(photos / "deep.tif"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert len(np.unique(stored % 257)) == 257, "more than eight bits"
    made = cv2.imread(str(runs[name].file("foreground", "deep")), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(made, stored)
    cutout = cv2.imread(str(runs[name].file("cutout", "deep")), cv2.IMREAD_UNCHANGED)
    assert cutout.dtype == np.uint16
    seen = cutout[:, :, 3] > 0
    assert seen.any()
    assert np.array_equal(cutout[seen][:, :3], stored[seen])
    assert len(np.unique(cutout[:, :, 3] % 257)) > 100, "alpha too"
