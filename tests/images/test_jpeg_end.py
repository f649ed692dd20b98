"""JPEG without its end marker is whole; JPEG without its end is not."""

import io

import numpy as np
import pytest
from PIL import Image
from support import saved

from birefcli.errors import PhotoError
from birefcli.images import decode
from birefcli.images.decode import decode_photo
from birefcli.options import Size

LIMIT = 1 << 24
NOTE = "end marker missing"


def picture(mode="RGB", size=(75, 53)):
    noise = np.random.RandomState(0).randint(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 4))
    large = np.repeat(np.repeat(noise, 4, 0), 4, 1)[: size[1], : size[0]].astype(np.uint8)
    return Image.fromarray(
        large[:, :, {"L": 0, "RGB": slice(3), "CMYK": slice(4)}[mode]],
        mode=None if mode != "CMYK" else "CMYK",
    )


KINDS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
    "best": {"quality": 100},
}


@pytest.fixture(params=KINDS)
def jpeg(request):
    return saved(picture(), "JPEG", **KINDS[request.param])


@pytest.fixture(params=["fast", "plain"], autouse=True)
def library(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(decode, "simplejpeg", None)


def refused(data):
    with pytest.raises(PhotoError, match="the file ends too early"):
        decode_photo(data, LIMIT)


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 700])
def test_file_that_lacks_its_end_marker_alone_is_read_and_said(jpeg, tail):
    photo = decode_photo(jpeg[:-2] + tail, LIMIT)
    assert photo.notes == (NOTE,)
    assert np.array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(jpeg))))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_without_end_marker_are_read(mode):
    data = saved(picture(mode), "JPEG")
    photo = decode_photo(data[:-2], LIMIT)
    assert NOTE in photo.notes
    assert np.array_equal(photo.pixels, decode_photo(data, LIMIT).pixels)


def test_file_that_is_cut_off_anywhere_fails(jpeg):
    start = jpeg.index(b"\xff\xda")
    cuts = {start + n * (len(jpeg) - start) // 25 for n in range(1, 25)} | {len(jpeg) - 40}
    # After whole scans and whole intervals: what follows is missing, and nothing is in between.
    marks = [
        n for n in range(start + 2, len(jpeg) - 2) if jpeg[n] == 255 and jpeg[n + 1] not in (0, 217)
    ]
    for cut in sorted(cuts | set(marks[:: max(1, len(marks) // 12)]) | {n + 2 for n in marks[-3:]}):
        refused(jpeg[:cut])


@pytest.mark.parametrize("lines", [8, 16, 24])
def test_file_whose_last_rows_are_missing_fails_even_where_they_are_black(lines):
    stored = np.zeros((64, 64, 3), np.uint8)
    stored[: 64 - lines] = np.asarray(picture(size=(64, 64 - lines)))
    data = saved(stored, "JPEG", restart_marker_rows=1)
    marks = [n for n in range(len(data) - 2) if data[n] == 255 and 0xD0 <= data[n + 1] <= 0xD7]
    refused(data[: marks[-1]])
    refused(data[: marks[-1] + 2])


def test_reduced_picture_without_end_marker_is_read():
    data = saved(picture(size=(640, 480)), "JPEG")
    whole, ended = (decode_photo(each, LIMIT, min_size=Size(80, 60)) for each in (data, data[:-2]))
    assert np.array_equal(whole.pixels, ended.pixels)
    assert ended.shape == (480, 640)
    assert ended.pixels.shape[0] < 480


@pytest.mark.parametrize(
    "tail",
    [
        b"garbage" * 300,
        b"\xff\xd8\xff\xe0 and more",
        bytes(5000),
        b"\0\0\0\x18ftypmp42 a film \xff\xda of any bytes",
        np.random.RandomState(3).bytes(500_000),
    ],
)
def test_what_follows_the_end_is_no_harm(jpeg, tail):
    assert decode_photo(jpeg + tail, LIMIT).notes == ()


def test_other_pictures_after_the_first_are_no_harm():
    out = io.BytesIO()
    picture().save(out, "MPO", save_all=True, append_images=[picture(size=(40, 30))])
    photo = decode_photo(out.getvalue(), LIMIT)
    assert photo.shape == (53, 75)
    assert photo.notes == ("first of 2 frames or pages",)
