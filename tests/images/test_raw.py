"""Raw files of cameras are refused: what a library finds in them is a thumbnail."""

import numpy as np
import pytest
from tiff_files import grey, page, tiff_file

from birefcli.errors import PhotoError
from birefcli.images.decode import decode_photo
from birefcli.images.formats.raw import is_raw

THUMB = grey(160, 120, t254=1, t271=b"NIKON CORPORATION\0")
JPEG = grey(320, 240, t254=1)


def sensor(width=640, height=480, **tags):
    return page(*grey(width, height, **{"t254": 0, "t262": 32803, "t33421": (2, 2), **tags}))


def rgb(width, height, **tags):
    table, _ = grey(width, height, **{"t258": (8, 8, 8), "t262": 2, "t277": 3, **tags})
    return page(table, (bytes(width * height * 3),))


RAW = {
    "NEF": tiff_file(page(*THUMB, inner=[page(*JPEG), sensor(t259=34713)])),
    "NEF, big-endian": tiff_file(page(*THUMB, inner=[page(*JPEG), sensor()]), order=">"),
    "DNG": tiff_file(page(*grey(160, 120, t254=1, t50706=b"\1\4\0\0"), inner=[sensor()])),
    "DNG of a phone, its sensor first": tiff_file(
        page(*grey(640, 480, t254=0, t262=32803, t50706=b"\1\4\0\0"))
    ),
    "linear DNG": tiff_file(
        page(*grey(16, 12, t254=1, t50706=b"\1\6\0\0"), inner=[rgb(640, 480, t262=34892)])
    ),
    "DNG with no more than its version": tiff_file(page(*grey(16, 12, t50706=b"\1\4\0\0"))),
    "ARW": tiff_file(page(*grey(160, 120, t254=1, t271=b"SONY\0"), inner=[sensor(t259=32767)])),
    "ARW by its private data": tiff_file(page(*grey(16, 12, t271=b"SONY\0", t50740=b"\0\1\2\3"))),
    "CR2": tiff_file(page(*grey(160, 120, t271=b"Canon\0")), head=b"CR\2\0\0\0\0\0"),
    "CR2, big-endian": tiff_file(page(*grey(16, 12)), head=b"CR\2\0\0\0\0\0", order=">"),
    "PEF": tiff_file(page(*grey(640, 480, t259=65535, t262=32803)), page(*THUMB), order=">"),
    "raw in the second directory": tiff_file(page(*THUMB), sensor()),
    "SRW": tiff_file(page(*THUMB, inner=[page(*grey(640, 480, t259=32770))])),
    "3FR": tiff_file(page(*grey(16, 12, t254=1, t271=b"Hasselblad\0"), inner=[rgb(640, 480)])),
    "BigTIFF": tiff_file(page(*THUMB, inner=[sensor()]), big=True),
    "IIQ": tiff_file(page(*THUMB), head=b"IIIITwaR"),
    "ORF": tiff_file(page(*grey(160, 120)), magic=b"IIRO"),
    "ORF of another kind": tiff_file(page(*grey(160, 120)), magic=b"IIRS"),
    "ORF, big-endian": tiff_file(page(*grey(160, 120)), magic=b"MMOR", order=">"),
    "RW2": tiff_file(page(*grey(160, 120)), magic=b"IIU\0"),
    "RAF": b"FUJIFILMCCD-RAW 0201FF389501" + bytes(500),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500),
    "X3F": b"FOVb" + bytes(500),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(500),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_file_is_refused_with_the_next_step(name):
    with pytest.raises(PhotoError, match="a camera's raw file; develop it first, or use its JPEG"):
        decode_photo(RAW[name], 1 << 30)


NO_RAW = {
    "pyramid": tiff_file(
        page(
            *grey(64, 48, t254=0), inner=[page(*grey(32, 24, t254=1)), page(*grey(16, 12, t254=1))]
        )
    ),
    "pyramid of a program that names the camera": tiff_file(
        page(*grey(64, 48, t271=b"Canon\0"), inner=[page(*grey(32, 24, t254=1))])
    ),
    "thumbnail as the next page": tiff_file(page(*grey(64, 48)), page(*grey(16, 12, t254=1))),
    "camera's TIFF": tiff_file(page(*grey(64, 48, t271=b"NIKON CORPORATION\0"))),
    "mask beside it": tiff_file(page(*grey(64, 48), inner=[page(*grey(64, 48, t254=4))])),
    "BigTIFF": tiff_file(page(*grey(64, 48)), big=True),
    "a directory that refers to itself": tiff_file(page(*grey(64, 48, t330=8))),
}


@pytest.mark.parametrize("name", NO_RAW)
def test_picture_of_several_sizes_is_read_at_the_full_one(name):
    assert decode_photo(NO_RAW[name], 1 << 20).shape == (48, 64)


@pytest.mark.parametrize("name", RAW)
def test_cut_or_mutated_raw_file_never_raises_anything_of_its_own(name):
    noise = np.random.RandomState(0)
    data = RAW[name]
    for _ in range(30):
        changed = bytearray(data[: noise.randint(0, len(data))])
        for at in noise.randint(0, max(1, len(changed)), 8):
            if changed:
                changed[at] = noise.randint(256)
        assert is_raw(bytes(changed)) in (True, False)
