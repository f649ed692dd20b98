"""The package in Python: the same pixels as the command's, whatever a photo comes as."""

import io
import json
import math
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from PIL import Image, ImageCms
from support import levels_apart, nearly_same, png

import birefcli
from birefcli import BirefcliError, DeviceError, ModelError, PhotoError, api, load
from birefcli.api import Result
from birefcli.images.decode import decode_photo
from birefcli.images.tags.exif import ORIENTATION
from birefcli.products.words import FileWords, LayoutWords

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(tiny_weights):
    return load(tiny_weights, device="cpu")


@pytest.fixture(scope="module")
def oriented(tmp_path_factory):
    """A JPEG that lies on its side, with a colour profile and a resolution."""
    path = tmp_path_factory.mktemp("photos") / "oriented.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(90, 60).save(path, exif=exif, icc_profile=profile, dpi=(300, 300), quality=95)
    return path


def written(inside, photo, tmp_path, *words):
    """Pictures of the inside, by product."""
    products = "cutout,mask,composite,foreground,trimap"
    out = tmp_path / "out"
    result = inside("matte", photo, "-o", out, "--write", products, "--device", "cpu", *words)
    assert result.returncode == 0, result.stderr
    found = {}
    for path in out.rglob("*.png"):
        image = decode_photo(path.read_bytes(), 10**9)
        channels = [image.pixels] if image.alpha is None else [image.pixels, image.alpha[..., None]]
        found[path.parent.name] = np.concatenate(channels, 2)
    return found


def same(ours, theirs):
    """Whether two pictures show the same; the command's are read as colour.

    To a level: another process lays its memory out otherwise, and sums by it.
    """
    if ours.ndim == 2:
        ours = np.repeat(ours[..., None], 3, 2)
    return nearly_same(ours, theirs)


def check(result, found, bits=8):
    assert len(found) == 5
    for product, theirs in found.items():
        assert same(result.pixels(product, bits=bits), theirs), product


def test_products_of_a_file_are_the_commands(model, inside, oriented, tmp_path):
    found = written(inside, oriented, tmp_path)
    assert found["mask"].shape == (90, 60, 3)
    check(model(oriented), found)
    check(model(str(oriented)), found)


def test_picture_of_pillow_is_turned_and_matted_as_its_file(model, inside, oriented, tmp_path):
    found = written(inside, oriented, tmp_path)
    with Image.open(oriented) as image:
        result = model(image)
        assert image.size == (90, 60), "it is left as it was"
    check(result, found)
    assert result.cutout.info["icc_profile"]
    assert result.cutout.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_profile_is_respected_as_the_command_does(model, inside, tmp_path):
    # Red and green in each other's place: what ignores the profile sees another photo.
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    at = {tag: wide.index(tag, 128) for tag in (b"rXYZ", b"gXYZ")}
    bent = bytearray(wide)
    bent[at[b"rXYZ"] : at[b"rXYZ"] + 4], bent[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    name = "sRGB".encode("utf-16-be")
    assert name in bent, "it may not call itself sRGB: that is not converted"
    bent = bent.replace(name, "swap".encode("utf-16-be"))
    photo = tmp_path / "bent.png"
    picture(70, 50).save(photo, icc_profile=bytes(bent))
    with Image.open(photo) as image:
        result = model(image)
    check(result, written(inside, photo, tmp_path))
    assert not np.array_equal(result.alpha, model(np.asarray(picture(70, 50))).alpha)


def test_array_of_rgb_is_the_photo_without_a_profile(model, inside, tmp_path):
    pixels = np.asarray(picture(64, 80))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    check(model(pixels), written(inside, tmp_path / "a.png", tmp_path))


def test_grey_picture_array_and_file_are_one(model, inside, tmp_path):
    grey = picture(64, 48).convert("L")
    grey.save(tmp_path / "a.png")
    found = written(inside, tmp_path / "a.png", tmp_path)
    for photo in (grey, np.asarray(grey), np.asarray(grey)[..., None]):
        check(model(photo), found)


def test_own_transparency_is_multiplied_in(model, inside, tmp_path):
    image = picture(64, 48).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    image.save(tmp_path / "a.png")
    found = written(inside, tmp_path / "a.png", tmp_path)
    for photo in (image, np.asarray(image)):
        check(model(photo), found)
    assert model(np.asarray(image)).alpha[0].max() < 0.01 < model(np.asarray(image)).alpha.max()


def test_sixteen_bits_stay_sixteen(model, inside, tmp_path):
    deep = np.random.RandomState(0).randint(0, 65536, (40, 60, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png(16, 2, deep, 60, 40))
    found = written(inside, tmp_path / "a.png", tmp_path, "--bits", "16")
    for photo in (deep, deep.astype(">u2"), tmp_path / "a.png"):
        check(model(photo), found, bits=16)


def test_sixteen_bits_of_grey_in_pillow_are_kept(model, inside, tmp_path):
    deep = np.random.RandomState(0).randint(0, 65536, (40, 60)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png(16, 0, deep, 60, 40))
    found = written(inside, tmp_path / "a.png", tmp_path, "--bits", "16")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        check(model(image), found, bits=16)
    check(model(deep), found, bits=16)


def test_nothing_given_is_changed(model):
    pixels = np.array(picture(64, 48))
    before = pixels.copy()
    result = model(pixels, refine=False)
    assert np.array_equal(pixels, before)
    pixels[:] = 0
    assert result.pixels("foreground").max() > 0, "nor does a change show later"


def test_read_only_and_strided_arrays_are_taken(model):
    pixels = np.asarray(picture(64, 48))
    assert not pixels.flags.writeable
    turned = np.ascontiguousarray(pixels[::-1, ::-1])
    assert np.abs(model(turned[::-1, ::-1]).alpha - model(pixels).alpha).max() < 1e-4


# What a result holds


def test_kinds_shapes_and_ranges_are_those_that_are_documented(model):
    result = model(picture(64, 48))
    assert (result.alpha.dtype, result.alpha.shape) == (np.float32, (48, 64))
    assert 0 <= result.alpha.min() < result.alpha.max() <= 1
    assert result.coverage == pytest.approx(result.alpha.mean(), abs=1e-4)
    modes = {"cutout": "RGBA", "mask": "L", "foreground": "RGB", "trimap": "L"}
    for name, mode in modes.items():
        image = getattr(result, name)
        assert (image.mode, image.size) == (mode, (64, 48))
    assert result.composite().mode == "RGB"
    assert np.abs(np.asarray(result.mask) / 255 - result.alpha).max() < 0.5 / 255 + 1e-4
    assert np.array_equal(np.asarray(result.cutout)[..., 3], np.asarray(result.mask))
    assert "64x48" in repr(result)


def test_flags_and_doubt_are_those_of_the_command(model, inside, tiny_weights, tmp_path):
    picture(64, 48).save(tmp_path / "a.png")
    words = ("-o", tmp_path / "out", "-m", tiny_weights, "--json")
    told = json.loads(inside("matte", tmp_path / "a.png", *words).stdout.splitlines()[0])
    result = model(tmp_path / "a.png")
    assert list(result.flags) == told["flags"]
    assert result.doubt == pytest.approx(told["doubt"], abs=1e-4)


def test_background_is_a_colour_a_file_a_picture_or_an_array(model, tmp_path):
    result = model(picture(64, 48))
    ground = Image.new("RGB", (10, 10), "teal")
    ground.save(tmp_path / "ground.png")
    teal = np.asarray(result.composite("teal"))
    for background in (ground, np.asarray(ground), tmp_path / "ground.png"):
        # What is enlarged may be rounded.
        assert levels_apart(result.composite(background), teal) <= 1
    assert not np.array_equal(np.asarray(result.composite("blur:4")), teal)


def test_refinement_can_be_left_out(model):
    photo = np.asarray(picture(64, 48))
    assert np.array_equal(model(photo, refine=False).pixels("foreground"), photo)
    assert not np.array_equal(model(photo).pixels("foreground"), photo)


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp"])
def test_saved_cutout_is_the_cutout_with_profile(model, oriented, tmp_path, name):
    result = model(oriented)
    result.save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert np.array_equal(np.asarray(image), np.asarray(result.cutout))
        assert image.info["icc_profile"]


def test_what_a_format_cannot_hold_is_a_value_error(model, tmp_path):
    result = model(picture())
    for name, more in (("a.jpg", {}), ("a.webp", {"bits": 16}), ("a.gif", {}), ("a", {})):
        with pytest.raises(ValueError, match=r"name it|cannot hold|holds 8"):
            result.save(tmp_path / name, **more)
    assert list(tmp_path.iterdir()) == []
    result.save(tmp_path / "a.jpg", "composite", background="#336699")
    assert (tmp_path / "a.jpg").is_file()


# Many


def test_many_photos_come_in_order_and_as_one_by_one(model, photos):
    files = sorted(photos.rglob("*.*g"))
    given = [files[0], picture(seed=1), np.asarray(picture(40, 80, seed=2)), files[1]]
    results = list(model.map(given, batch=3))
    assert len(results) == 4
    for photo, result in zip(given, results, strict=True):
        assert np.abs(result.alpha - model(photo).alpha).max() < 1e-4


def test_generator_may_close_its_pictures_and_is_read_as_results_are_taken(model, photos):
    drawn = []

    def opened():
        for number in range(50):
            drawn.append(number)
            with Image.open(photos / "a.jpg") as image:
                yield image

    results = model.map(opened(), batch=1)
    assert next(results).alpha.any()
    results.close()
    assert len(drawn) < 10


def test_one_bad_photo_is_raised_or_given_in_its_place(model, photos):
    (photos / "bad.jpg").write_bytes(b"\0nothing")
    given = [photos / "a.jpg", photos / "bad.jpg", photos / "none.jpg", photos / "b.png"]
    results = list(model.map(given, return_errors=True))
    assert [type(result).__name__ for result in results] == [
        "Result", "PhotoError", "PhotoError", "Result",
    ]  # fmt: skip
    assert "bad.jpg: not an image" in str(results[1])
    assert "none.jpg: No such file" in str(results[2])
    with pytest.raises(PhotoError, match=r"bad\.jpg"):
        list(model.map(given))


def test_bytes_and_open_files_are_matted_as_their_file(model, oriented):
    data = oriented.read_bytes()
    behind = io.BytesIO(b"something else" + data)
    behind.seek(len(b"something else"))
    with oriented.open("rb") as plain, oriented.open("rb", buffering=0) as raw:
        given = [data, bytearray(data), memoryview(data), io.BytesIO(data), behind, plain, raw]
        results = list(model.map(iter(given), batch=3))
        assert not plain.closed
    expected = model(oriented)
    for result in results:
        assert nearly_same(result.pixels(), expected.pixels())
        assert result.cutout.info.keys() >= {"dpi", "icc_profile"}


def test_an_open_file_is_read_when_its_turn_comes_and_may_be_closed_at_once(model, photos):
    def opened():
        for name in ("a.jpg", "b.png"):
            with (photos / name).open("rb") as file:
                yield file
        changed = bytearray((photos / "a.jpg").read_bytes())
        yield changed
        changed[:] = bytes(len(changed))

    assert len(list(model.map(opened()))) == 3


def test_bytes_may_be_a_background(model, tmp_path):
    picture(20, 10, seed=3).save(tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    result = model(picture())
    expected = result.pixels("composite", background=tmp_path / "b.png")
    for background in (data, io.BytesIO(data)):
        assert (result.pixels("composite", background=background) == expected).all()


def test_threads_that_share_a_model_get_what_one_alone_would(model, photos):
    given = [photos / "a.jpg", picture(150, 80, seed=5), np.asarray(picture(40, 70, seed=6))]
    given.append((photos / "b.png").read_bytes())
    alone = [(r.alpha, r.pixels(), r.encode("mask")) for r in map(model, given)]
    together = threading.Barrier(4)

    def turn(first):
        together.wait(TIMEOUT)
        results = []
        for number in range(8):
            at = (first + number) % len(given)
            result = model(given[at])
            results.append((at, result.alpha, result.pixels(), result.encode("mask")))
        many = list(model.map(given, batch=2))
        return results + [(at, r.alpha, r.pixels(), r.encode("mask")) for at, r in enumerate(many)]

    with ThreadPoolExecutor(4) as pool:
        turns = list(pool.map(turn, range(4)))
    for at, alpha, pixels, mask in (each for turn in turns for each in turn):
        assert np.abs(alpha - alone[at][0]).max() < 1e-3
        assert nearly_same(pixels, alone[at][1])
        assert len(mask) > 0


# Errors


def test_a_file_that_is_no_photo_says_so(model, photos):
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    for given, why in ((b"", "empty"), (io.BytesIO(b"text"), "not an image"), (Broken(), "Input")):
        with pytest.raises(PhotoError, match=why):
            model(given)
    with pytest.raises(PhotoError, match=r"^https://x.y/a.jpg: URLs are not fetched in Python"):
        model("https://x.y/a.jpg")
    read = io.BytesIO((photos / "a.jpg").read_bytes())
    read.read()
    closed = (photos / "a.jpg").open("rb")
    closed.close()
    again, gone, good = model.map([read, closed, photos / "a.jpg"], return_errors=True)
    assert str(again) == "nothing is left to read; seek(0) goes to the file's start"
    assert (str(gone), type(good).__name__) == ("the file is closed", "Result")
    with pytest.raises(TypeError, match="open it in binary mode"):
        model(io.StringIO("text"))
    for one in (b"", io.BytesIO()):
        with pytest.raises(TypeError, match="call the model itself"):
            model.map(one)


@pytest.mark.parametrize("shape", [(5,), (4, 5, 2), (4, 5, 5), (2, 4, 5, 3)])
def test_array_of_another_shape_is_a_value_error_that_names_it(model, shape):
    with pytest.raises(ValueError, match=r"give H×W, H×W×3 \(RGB\) or H×W×4"):
        model(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="pixels of shape 0×5×3: the array is empty"):
        model(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_array_of_another_type_is_an_error_that_says_which_to_give(model, dtype):
    with pytest.raises(ValueError, match="give uint8"):
        model(np.zeros((4, 5, 3), dtype))


def test_what_is_wrong_with_one_photo_ends_none_of_the_others(model):
    wrong = {
        "0×5 pixels: it is empty": Image.new("RGB", (0, 5)),
        "a\\x00b: embedded null byte": "a\0b",
        "surrogates not allowed": "\ud800.jpg",
        "the array is empty": np.zeros((0, 5), np.uint8),
        "give H×W, H×W×3": np.zeros((4, 5, 2), np.uint8),
        "give uint8": np.zeros((4, 5, 3)),
    }
    *errors, good = model.map([*wrong.values(), picture()], return_errors=True)
    for said, error in zip(wrong, errors, strict=True):
        assert isinstance(error, PhotoError), said
        assert isinstance(error, ValueError), said
        assert said in str(error)
    assert good.coverage >= 0


WRONG_TYPES = [
    ({"max_megapixels": each}, "a number above 0") for each in (-1, 0, "9", None, math.nan, True)
] + [
    ({"model": None}, "a model's name"),
    ({"model": b"mini"}, "a model's name"),
    ({"device": None}, "a device's name"),
    ({"size": 1.5}, "a number of pixels"),
    ({"size": (64, 64, 64)}, "a number of pixels"),
    ({"offline": "no"}, "True or False"),
    ({"progress": 2}, "True or False"),
]


@pytest.mark.parametrize(("words", "said"), WRONG_TYPES)
def test_values_of_other_types_are_told_before_anything_is_loaded(words, said):
    ((name, value),) = words.items()
    with pytest.raises(ValueError, match=f"give {said}") as raised:
        load(**{"model": "mini", **words})
    assert str(raised.value).startswith(f"{name}={value!r}: ")


def test_switches_and_numbers_of_a_result_are_of_their_types(model):
    result = model(picture(64, 48))
    for words in ({"refine": "no"}, {"batch": "2"}, {"batch": 2.5}, {"return_errors": 1}):
        with pytest.raises(ValueError, match=f"^{next(iter(words))}=.*: give "):
            model.map([picture(64, 48)], **words)
    for words in ({"crop": "no"}, {"strip": "no"}, {"quality": "90"}, {"bits": "8"}):
        with pytest.raises(ValueError, match=f"^{next(iter(words))}='.*': give "):
            result.encode(**words)
    assert result.encode(crop=np.True_) == result.encode(crop=True)


def test_what_is_no_photo_is_a_type_error(model):
    with pytest.raises(TypeError, match=r"a file open in binary mode, .* not list"):
        model([picture()])
    with pytest.raises(TypeError, match="call the model itself"):
        model.map(picture())


def test_damaged_picture_of_pillow_is_a_photo_error(model):
    file = io.BytesIO()
    picture(600, 400).save(file, "JPEG")
    with Image.open(io.BytesIO(file.getvalue()[:4000])) as image, pytest.raises(
        PhotoError, match="ends too early"
    ):  # fmt: skip
        model(image)
    with pytest.raises(PhotoError, match="32 bits"):
        model(Image.new("F", (4, 4)))


def test_words_that_mean_nothing_are_value_errors(model, tiny_weights, tmp_path):
    words_ = {"precision": "fp8"}, {"size": 100}, {"size": True}, {"device": "gpu"}
    for words in (*words_, {"device": Path("cpu")}, {"patch_order": "x"}):
        with pytest.raises(ValueError, match=next(iter(words))):
            load(tiny_weights, **words)
    result = model(picture())
    with pytest.raises(ValueError, match="choose from cutout"):
        result.pixels("cut")
    with pytest.raises(ValueError, match="holds 8 or 16 bits"):
        result.pixels(bits=12)
    texts = "no colour", "https://x.y/a.png"
    for background in (*texts, tmp_path, (255, 0, 0), b"text", io.BytesIO(), np.zeros(5)):
        with pytest.raises(ValueError, match="background"):
            result.composite(background)
    with pytest.raises(ValueError, match="background: pixels of float64: give uint8"):
        result.composite(np.zeros((3, 3)))
    for batch in (0, True):
        with pytest.raises(ValueError, match="from 1"):
            model.map([], batch=batch)


def test_model_that_is_not_there_is_a_model_error(tmp_path):
    with pytest.raises(ModelError):
        load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError):
        load("no-such-model")
    with pytest.raises(DeviceError):
        load("mini", device="cuda:99")
    assert issubclass(PhotoError, BirefcliError)


def test_size_of_the_input_can_be_chosen(tiny_weights):
    model = load(tiny_weights, size=(64, 96), device="cpu")
    assert (model.size, model.device, model.precision) == ((64, 96), "cpu", "fp32")
    assert "64x96 on cpu in fp32" in repr(model)
    assert load(tiny_weights, size=64, device="cpu").size == (64, 64)


# The package


def imported(code):
    words = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    shown = subprocess.run(words, capture_output=True, check=True, cwd=ROOT, text=True)
    return set(shown.stdout.split())


def test_import_of_the_package_loads_nothing_heavy():
    heavy = {"torch", "numpy", "cv2", "PIL", "typer", "rich", "timm", "huggingface_hub"}
    loaded = imported("import birefcli; birefcli.BirefcliError; dir(birefcli)")
    assert "birefcli.errors" in loaded
    assert not heavy & loaded


def test_every_public_name_is_there():
    assert {name for name in birefcli.__all__ if not hasattr(birefcli, name)} == set()
    assert set(birefcli.__all__) <= set(dir(birefcli))
    assert birefcli.load is api.load
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = birefcli.nothing


def test_limit_of_pillow_is_as_it_was(model, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    file = io.BytesIO()
    picture(60, 40).save(file, "PNG")
    assert decode_photo(file.getvalue(), 10**6).shape == (40, 60)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(PhotoError):
        decode_photo(b"no image", 10**6)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.slow
def test_a_user_of_the_package_is_type_checked(tmp_path):
    code = (
        "from birefcli import PhotoError, load\n"
        "model = load('mini')\n"
        "reveal_type(model('a.jpg').alpha)\n"
        "for found in model.map(['a.jpg'], return_errors=True):\n"
        "    reveal_type(found)\n"
        "for result in model.map(['a.jpg']):\n"
        "    reveal_type(result.cutout)\n"
        "model(3)\n"
    )
    (tmp_path / "user.py").write_text(code)
    words = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache"]
    config = ["--config-file", ROOT / "pyproject.toml", tmp_path / "user.py"]
    shown = subprocess.run([*words, *config], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "numpy.ndarray" in shown.stdout
    # The types' names are written in two ways, by the version of mypy.
    either = r'"(Union\[)?birefcli\.api\.Result( \||,) birefcli\.errors\.PhotoError\]?"'
    assert re.search(either, shown.stdout)
    assert '"PIL.Image.Image"' in shown.stdout
    assert "Found 1 error in 1 file" in shown.stdout, shown.stdout


def test_encoded_is_what_is_saved(model, tmp_path):
    result = model(picture(64, 48))
    for name, product in (("a.png", "cutout"), ("a.webp", "mask"), ("a.jpg", "composite")):
        result.save(tmp_path / name, product)
        encoded = result.encode(product, format=name.rpartition(".")[2])
        assert encoded == (tmp_path / name).read_bytes()
    with pytest.raises(ValueError, match="choose from png"):
        result.encode(format="bmp")


def test_errors_name_arguments_and_no_options_of_the_command_line(tiny_weights):
    for wrong in ({"device": "cuda:700"}, {"device": "tpu"}, {"size": 65}, {"precision": "fp8"}):
        with pytest.raises((ValueError, DeviceError)) as raised:
            load(tiny_weights, **{"device": "cpu", **wrong})
        (name, value) = next(iter(wrong.items()))
        assert str(raised.value).startswith(f"{name}={value}: ")
        assert "--" not in str(raised.value)


def test_the_photo_itself_is_never_replaced(model, tmp_path):
    photo, other = tmp_path / "a.jpg", tmp_path / "link.jpg"
    picture(64, 48).save(photo)
    was = photo.read_bytes()
    other.symlink_to(photo)
    with Image.open(photo) as image, photo.open("rb") as file:
        for result in model.map([photo, str(photo), image, file]):
            for target in (photo, other):
                with pytest.raises(ValueError, match="is the photo itself; save under another"):
                    result.save(target, "composite")
    assert photo.read_bytes() == was
    result.save(tmp_path / "b.jpg", "composite")
    result.save(tmp_path / "b.jpg", "composite")  # a product is replaced
    model(picture(64, 48)).save(photo, "composite")  # another photo's file is, as in Pillow
    assert photo.read_bytes() != was


def test_wrong_values_are_told_by_the_names_of_arguments(model, tmp_path):
    result = model(picture(64, 48))
    wrong = [
        ({"product": "cutout"}, "jpg cannot hold a cutout: use product=composite, or png"),
        ({"product": "mask", "quality": 80.5}, "quality=80.5: give a whole number from 1 to 100"),
        ({"product": "mask", "quality": True}, "quality=True: give a whole number from 1 to 100"),
        ({"product": "mask", "quality": "80"}, "quality='80': give a whole number from 1 to 100"),
        ({"product": "mask", "canvas": "9x9", "fill": 85}, "fill=85: give a share up to 1, or a p"),
    ]
    for words, said in wrong:
        with pytest.raises(ValueError, match=f"^{said}"):
            result.encode(format="jpg", **words)
    half = {"canvas": (40, 40), "fill": "50%"}
    for fill in (0.5, "0.5", ".5"):
        assert result.encode(**{**half, "fill": fill}) == result.encode(**half)


def test_help_names_every_option_of_a_result():
    layout, file = LayoutWords.__annotations__, FileWords.__annotations__
    for function, names in ((Result.pixels, layout), (Result.save, file.keys() - layout.keys())):
        assert [name for name in names if f"``{name}``" not in function.__doc__] == []
    assert "LayoutWords" not in Result.pixels.__doc__, "nobody finds it"


def test_misspelt_option_is_a_type_error_that_names_the_nearest(model, tmp_path):
    result = model(picture(64, 48))
    wrong = [
        (
            lambda: result.save(tmp_path / "a.jpg", "composite", canvs="60x60"),
            "'canvs'. .*'canvas'",
        ),
        (lambda: result.save(tmp_path / "a.jpg", "composite", maxbytes="20k"), "'max_bytes'"),
        (lambda: result.save(tmp_path / "a.jpg", write="composite"), "'product'"),
        (lambda: result.encode(kanvas="x"), "encode.*'canvas'"),
        (lambda: result.pixels("cutout", canvs="1x1"), "pixels.*'canvas'"),
        (lambda: result.pixels("cutout", quality=80), "There are product, .*canvas"),
    ]
    for call, said in wrong:
        with pytest.raises(TypeError, match=said):
            call()
    assert list(tmp_path.iterdir()) == []
