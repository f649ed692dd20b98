"""Size and time of each ``--compress`` level: ``python tests/benchmarks/encoding.py``.

Prints the table of man/guide/compression.md, or writes it there (``--write``): the cutout and the
mask of a 12-megapixel photo, made by ``mini``. CPU seconds are those of all threads; the median of
``--rounds``, formats in turns.
"""

import argparse
import statistics
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from stages import matted, photo

from birefcli.images import deflate
from birefcli.images.encode import encode
from birefcli.images.photo import Pixels
from birefcli.options import Compress, Format, Product

ISAL = deflate.FASTEST
PAGE = Path(__file__).parents[2] / "man" / "guide" / "compression.md"
HEAD = [
    "| format | `--compress` | cutout: CPU | file | mask: CPU | file |",
    "|---|---|---|---|---|---|",
]
FORMATS = [
    *(("PNG", Format.PNG, library) for library in dict.fromkeys((ISAL, zlib))),
    *(("TIFF", Format.TIFF, library) for library in dict.fromkeys((ISAL, zlib))),
    ("WebP", Format.WEBP, zlib),
]


def rows(pictures: list[Pixels], rounds: int) -> Iterator[str]:
    """Rows of the table: for each picture, CPU seconds and megabytes."""
    spent = defaultdict(list)
    size = {}
    cases = [
        (name, format_, library, level)
        for name, format_, library in FORMATS
        for level in Compress
        if library is zlib or level is Compress.FAST  # the others are zlib's anyhow
    ]
    for _ in range(rounds):
        for case in cases:
            for i, picture in enumerate(pictures):
                deflate.FASTEST = case[2]
                started = time.process_time()
                size[case, i] = len(encode(picture, case[1], case[3]))
                spent[case, i].append(time.process_time() - started)
    for case in cases:
        name = case[0] + (" with `birefcli[fast]`" if case[2] is not zlib else "")
        cells = (
            f"{statistics.median(spent[case, i]):.2f} s | {size[case, i] / 1e6:.2f} MB"
            for i in range(len(pictures))
        )
        yield f"| {name} | `{case[3].value}` | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=4000, help="of the photo, in pixels")
    parser.add_argument("--write", action="store_true", help="into man/guide/compression.md")
    arguments = parser.parse_args()
    kinds = (Product.CUTOUT, Product.MASK)
    pictures = matted(photo(arguments.width), "mini", kinds)
    table = [*HEAD, *rows(pictures, arguments.rounds)]
    print("\n".join(table))
    if arguments.write:
        before, mark, _ = PAGE.read_text(encoding="utf-8").partition(HEAD[0])
        assert mark, f"{PAGE} has no table"
        PAGE.write_text(before + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
