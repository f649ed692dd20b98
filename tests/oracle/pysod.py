"""Scores by PySODMetrics: ``python -m oracle.pysod PREDICTIONS TRUTHS FIRST STEP``, from tests/.

The library pins numpy < 2.3.5 and brings a second OpenCV, so it cannot live beside birefcli: run
this in a venv of its own; it imports nothing of birefcli. Prints one JSON object: the photos'
figures, and the seconds that took.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics as sod
from oracle.cases import CUT


def figures(prediction, truth):
    """The ten columns; HCE by their definition, which cuts a stretched prediction."""
    e, f, s = sod.Emeasure(), sod.Fmeasure(), sod.Smeasure()
    w, m, h = sod.WeightedFmeasure(), sod.MAE(), sod.HumanCorrectionEffortMeasure()
    for measure in (e, f, s, w, m, h):
        measure.step(prediction, truth)
    em, fm = e.get_results()["em"], f.get_results()["fm"]
    values = {
        "Smeasure": s.get_results()["sm"],
        "maxFm": fm["curve"].max(),
        "meanEm": em["curve"].mean(),
        "MAE": m.get_results()["mae"],
        "maxEm": em["curve"].max(),
        "meanFm": fm["curve"].mean(),
        "wFmeasure": w.get_results()["wfm"],
        "adpEm": em["adp"],
        "adpFm": fm["adp"],
        "HCE stretched": h.get_results()["hce"],
    }
    return {name: float(value) for name, value in values.items()}


def unstretched_hce(prediction, truth):
    """HCE of masks cut at 128, which stretching leaves alone."""
    measure = sod.HumanCorrectionEffortMeasure()
    return float(measure.cal_hce((prediction > CUT).astype(np.float64), truth > CUT))


def main():
    predictions, truths, first, step = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        *map(int, sys.argv[3:5]),
    )
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    names = sorted(path.name for path in truths.iterdir())[first::step]
    found, wall, cpu = {}, time.perf_counter(), time.process_time()
    for name in names:
        truth = cv2.imread(str(truths / name), cv2.IMREAD_GRAYSCALE)
        prediction = cv2.imread(str(predictions / name), cv2.IMREAD_GRAYSCALE)
        prediction = cv2.resize(prediction, truth.shape[::-1])
        found[name] = figures(prediction, truth)
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if "--hce" in sys.argv:
        for name, values in found.items():
            truth = cv2.imread(str(truths / name), cv2.IMREAD_GRAYSCALE)
            prediction = cv2.imread(str(predictions / name), cv2.IMREAD_GRAYSCALE)
            prediction = cv2.resize(prediction, truth.shape[::-1])
            values["HCE"] = unstretched_hce(prediction, truth)
    print(json.dumps({"figures": found, "seconds": seconds}))


if __name__ == "__main__":
    main()
