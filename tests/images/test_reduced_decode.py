"""JPEGs that are decoded smaller where only the network looks at their pixels."""

import io
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from birefcli.batch.stages import min_size_for
from birefcli.errors import PhotoError
from birefcli.images import decode
from birefcli.images.decode import _decode, decode_photo, simplejpeg
from birefcli.images.tags.exif import ORIENTATION
from birefcli.options import Edges, Product, Rendering, Size

LIMIT = 10**8


@cache
def scene(width, height, times=1):
    """Smooth; of ``times``² pixels the middle."""
    y, x = np.mgrid[0:height:times, 0:width:times] + (times - 1) / 2
    waves = [np.sin(6 * x / width + c) * np.cos(5 * y / height - c) for c in range(3)]
    return np.rint(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def jpeg(pixels, mode="RGB", **options):
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def read(file):
    with Image.open(file) as picture:
        return np.asarray(picture).astype(int)


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif}


@pytest.fixture(params=["simplejpeg", "Pillow"], autouse=True)
def decoder(request, monkeypatch):
    if request.param == "Pillow":
        monkeypatch.setattr(decode, "simplejpeg", None)
    elif simplejpeg is None:
        pytest.skip("the extra fast is not installed")


@pytest.mark.parametrize(
    ("min_size", "times"),
    [((401, 301), 1), ((400, 300), 2), ((201, 150), 2), ((200, 150), 4), ((100, 75), 8),
     ((1, 1), 8), ((800, 600), 1), ((2000, 10), 1), (None, 1)],
)  # fmt: skip
def test_picture_is_as_small_as_suffices_and_knows_its_size(min_size, times):
    photo = decode_photo(jpeg(scene(801, 601)), LIMIT, min_size=min_size)
    assert photo.pixels.shape == (-(-601 // times), -(-801 // times), 3)
    assert photo.shape == (601, 801)
    assert np.abs(photo.pixels.astype(int) - scene(801, 601, times)).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_picture_is_upright_and_as_large_as_is_asked_of_it_upright(orientation):
    data = jpeg(scene(800, 400), **turned(orientation))
    whole = decode_photo(data, LIMIT)
    height, width = whole.shape
    photo = decode_photo(data, LIMIT, min_size=(width // 4, height // 4))
    assert photo.shape == (height, width)
    assert photo.pixels.shape[:2] == (height // 4, width // 4)
    small = Image.fromarray(whole.pixels).resize((width // 4, height // 4), Image.Resampling.BOX)
    assert np.abs(photo.pixels.astype(int) - np.asarray(small)).mean() < 2
    # What suffices is upright too: 399 of 400 and 10 of 800 is too much for one side.
    assert decode_photo(data, LIMIT, min_size=(width - 1, 10)).pixels.shape == whole.pixels.shape


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_shrink_too(mode):
    data = jpeg(scene(400, 320), mode)
    photo = decode_photo(data, LIMIT, min_size=(100, 80))
    assert photo.pixels.shape == (80, 100, 3)
    assert photo.shape == (320, 400)
    whole = Image.fromarray(decode_photo(data, LIMIT).pixels).resize(
        (100, 80), Image.Resampling.BOX
    )
    assert np.abs(photo.pixels.astype(int) - np.asarray(whole)).mean() < 2


def test_colour_profile_resolution_and_notes_stay():
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = jpeg(scene(400, 320), icc_profile=icc, dpi=(300, 200))
    photo, whole = decode_photo(data, LIMIT, min_size=(50, 40)), decode_photo(data, LIMIT)
    assert (photo.icc, photo.dpi, photo.exif) == (whole.icc, whole.dpi, whole.exif)
    assert photo.pixels.shape == (40, 50, 3)


def test_other_formats_are_read_whole():
    out = io.BytesIO()
    Image.fromarray(scene(400, 320)).save(out, "PNG")
    photo = decode_photo(out.getvalue(), LIMIT, min_size=(50, 40))
    assert photo.pixels.shape == (320, 400, 3)
    assert photo.whole is None


def test_limit_is_that_of_the_file_and_damage_is_told():
    data = jpeg(scene(400, 320))
    with pytest.raises(PhotoError, match="megapixels"):
        decode_photo(data, 400 * 320 - 1, min_size=(50, 40))
    with pytest.raises(PhotoError, match="ends too early"):
        decode_photo(data[: len(data) // 2], LIMIT, min_size=(50, 40))


def test_colours_need_all_pixels_and_masks_twice_those_of_the_network():
    predictor = SimpleNamespace(size=Size(96, 64), edges=Edges.NONE)
    alone = Rendering(products=(Product.MASK, Product.TRIMAP))
    assert min_size_for(alone, predictor) == (192, 128)
    following = SimpleNamespace(size=Size(96, 64), edges=Edges.AUTO)
    assert min_size_for(alone, following) is None, "edges follow colours"
    for kind in (Product.CUTOUT, Product.COMPOSITE, Product.FOREGROUND):
        assert min_size_for(Rendering(products=(Product.MASK, kind)), predictor) is None


def test_pipeline_reads_no_more_than_that(monkeypatch, tmp_path, tiny_weights):
    from birefcli.cli.app import app

    sizes = []
    plain = _decode

    def seen(image, data, min_size):
        photo = plain(image, data, min_size)
        sizes.append(photo.pixels.shape[:2])
        return photo

    monkeypatch.setattr(decode, "_decode", seen)
    (tmp_path / "a.jpg").write_bytes(jpeg(scene(1200, 900)))
    for products, edges in (("mask", "none"), ("cutout", "none"), ("trimap", "auto")):
        words = ["matte", str(tmp_path / "a.jpg"), "-o", str(tmp_path / products)]
        words += ["--edges", edges]
        app([*words, "--write", products, "-m", str(tiny_weights), "-q"], standalone_mode=False)
    assert sizes == [(225, 300), (900, 1200), (900, 1200)]


def test_mask_alone_has_the_photos_size_and_is_nearly_that_of_the_cutout(inside, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(scene(800, 600), **turned(6)))
    for products in ("mask", "cutout,mask", "trimap"):
        out = tmp_path / products
        assert inside("matte", tmp_path / "a.jpg", "-o", out, "--write", products).returncode == 0
    alone = read(tmp_path / "mask/a.png")
    beside = read(tmp_path / "cutout,mask/mask/a.png")
    assert alone.shape == beside.shape == (800, 600)
    assert np.abs(alone - beside).max() <= 3
    assert read(tmp_path / "trimap/a.png").shape == (800, 600)
