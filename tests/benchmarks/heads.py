"""How far found heads are off: ``python tests/benchmarks/heads.py FOLDER...``.

``heads.csv`` beside this says where a person sees the crown and the chin of portraits, in per cent
of their height. Photos are looked for in the folders by their names, and matted by ``mini``. Told
are, for each kind of portrait, how many heads are found, and by how much their heights are off.
"""

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from birefcli import load
from birefcli.errors import PhotoError
from birefcli.products.head import find_head
from birefcli.products.layout import subject_box

LABELS = Path(__file__).with_name("heads.csv")


def main() -> None:
    """Print a line for each kind."""
    photos = {path.stem: path for folder in sys.argv[1:] for path in Path(folder).rglob("*.jpg")}
    model = load("mini", device="cpu")
    errors: dict[str, list[float | None]] = defaultdict(list)
    for row in csv.DictReader(LABELS.open(encoding="utf-8")):
        if row["photo"] not in photos:
            continue
        alpha = model(photos[row["photo"]]).pixels("mask", bits=16)
        box = subject_box(alpha)
        assert box is not None
        try:
            head = find_head(alpha, box)
        except PhotoError:
            errors[row["kind"]].append(None)
            continue
        wanted = (float(row["chin"]) - float(row["crown"])) / 100 * len(alpha)
        errors[row["kind"]].append(abs((head.bottom - head.top) / wanted - 1))
    for kind, all_ in errors.items():
        off = [error for error in all_ if error is not None]
        line = f"{kind}: {len(off)} of {len(all_)} found"
        if off:
            line += f", off by {statistics.median(off):.1%} (median), {max(off):.1%} (worst)"
        print(line)


if __name__ == "__main__":
    main()
