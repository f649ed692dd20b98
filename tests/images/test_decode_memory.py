"""Memory that decoding takes at its peak, a pixel: what a batch counts with."""

import struct
import tracemalloc

import numpy as np
import pytest
from support import png, saved, tiff

from birefcli.batch.memory import BYTES_PER_PIXEL
from birefcli.images.decode import decode_photo

WIDTH, HEIGHT = 200, 6000  # many blocks of rows
LEVELS = np.tile(np.arange(HEIGHT, dtype=np.uint16)[:, None, None], (1, WIDTH, 4)) + 30_000
LEVELS[:, ::7] //= 3
KEY = (b"tRNS", struct.pack(">3H", 30_001, 30_001, 30_001))


def deep(photometric, channels, **tags):
    return tiff(16, photometric, channels, LEVELS[:, :, :channels], WIDTH, HEIGHT, **tags)


FILES = {
    "RGB of 16 bits": deep(2, 3),
    "straight alpha of 16 bits": deep(2, 4, extra=2),
    "associated alpha of 16 bits": deep(2, 4, extra=1),
    "grey and alpha of 16 bits": deep(1, 2, extra=2),
    "grey and associated alpha of 16 bits": deep(1, 2, extra=1),
    "negative of 16 bits": deep(0, 1),
    "planes of 16 bits": tiff(
        16, 2, 4, np.moveaxis(LEVELS, 2, 0), WIDTH, HEIGHT, planar=True, extra=1
    ),
    "PNG of 16 bits": png(16, 6, LEVELS, WIDTH, HEIGHT),
    "PNG of 16 bits, one colour transparent": png(
        16, 2, LEVELS[:, :, :3], WIDTH, HEIGHT, before=[KEY]
    ),
    "PPM of 10 bits": b"P6 %d %d 1023\n" % (WIDTH, HEIGHT)
    + LEVELS[:, :, :3].astype(">u2").tobytes(),
    "RGBA": saved((LEVELS >> 8).astype(np.uint8), "PNG"),
    "grey and alpha": saved((LEVELS[:, :, :2] >> 8).astype(np.uint8), "PNG"),
    "one colour transparent": saved(
        (LEVELS[:, :, :3] >> 8).astype(np.uint8), "PNG", transparency=(117, 117, 117)
    ),
    "associated alpha": tiff(8, 2, 4, LEVELS >> 8, WIDTH, HEIGHT, extra=1),
    "JPEG": saved((LEVELS[:, :, :3] >> 8).astype(np.uint8), "JPEG"),
}


@pytest.mark.parametrize("kind", FILES)
def test_decoding_takes_no_more_than_a_batch_counts_with(kind):
    data = FILES[kind]
    decode_photo(data, 1 << 24)
    tracemalloc.start()
    try:
        photo = decode_photo(data, 1 << 24)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)
    assert peak / (WIDTH * HEIGHT) < BYTES_PER_PIXEL
