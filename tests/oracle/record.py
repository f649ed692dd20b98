"""Record figures of the generated cases: ``python -m oracle.record TARGET.json``, from tests/, in
a venv that has pysodmetrics (which brings scikit-image)."""

import json
import sys
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from oracle.cases import CUT, cases
from oracle.pysod import figures, unstretched_hce
from skimage.morphology import skeletonize


def skeleton(truth):
    """Number of pixels and checksum of the truth's skeleton."""
    thin = skeletonize(truth > CUT)
    return [int(thin.sum()), zlib.crc32(np.packbits(thin).tobytes())]


def main():
    warnings.simplefilter("ignore")
    found = {
        name: {
            "figures": figures(prediction, truth) | {"HCE": unstretched_hce(prediction, truth)},
            "skeleton": skeleton(truth),
            "inputs": zlib.crc32(prediction.tobytes() + truth.tobytes()),
        }
        for name, prediction, truth in cases()
    }
    made = {name: version(name) for name in ("pysodmetrics", "scikit-image", "numpy")}
    text = json.dumps({"made with": made, "cases": found}, indent=1)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
