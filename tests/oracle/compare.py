"""Our scores beside PySODMetrics': ``python tests/oracle/compare.py PREDICTIONS TRUTHS PYTHON``.

PYTHON is the interpreter of a venv with pysodmetrics. Both take turns at a tenth of the photos,
each in one process, so that a busy machine is as busy for both. Prints seconds, the ratio, and how
far the figures are apart; then all of ours on all photos, by threads and by processes, in turns.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2

from birefcli.scoring import masks, measure
from birefcli.scoring.metrics import hce, saliency, weighted
from birefcli.scoring.pairs import Pair
from birefcli.system import cpu

TURNS = 10
TESTS = Path(__file__).parent.parent


def ten_columns(pair):
    """What the library measures too, of the same files."""
    truth = masks.read(pair.truth, 10**9).alpha
    found = masks.resize_to(masks.read(pair.prediction, 10**9).alpha, truth.shape, cv2.INTER_LINEAR)
    maps = saliency.Maps(found, truth > saliency.CUT)
    f, e = saliency.f_curve(maps), saliency.e_curve(maps)
    return {
        "Smeasure": saliency.s_measure(maps),
        "maxFm": f.max(),
        "meanEm": e.mean(),
        "MAE": saliency.mae(maps),
        "maxEm": e.max(),
        "meanFm": f.mean(),
        "wFmeasure": weighted.weighted_f(maps),
        "adpEm": saliency.e_adaptive(maps),
        "adpFm": saliency.f_adaptive(maps),
        "HCE": hce.hce(found, truth),
    }


def everything(pair):
    """All columns, as the command measures them."""
    return measure.measure(pair, measure.Settings())


def timed(call, pairs):
    """Results, wall seconds and processor seconds of one call a pair."""
    wall, busy = time.perf_counter(), time.process_time()
    results = [call(pair) for pair in pairs]
    return results, time.perf_counter() - wall, time.process_time() - busy


def theirs(predictions, truths, python, turn):
    words = [python, "-m", "oracle.pysod", predictions.resolve(), truths.resolve()]
    words += [str(turn), str(TURNS), "--hce"]
    return json.loads(subprocess.run(words, check=True, capture_output=True, cwd=TESTS).stdout)


def in_parallel(pairs, workers):
    """Wall seconds of everything, by threads and by processes, in turns."""
    threads = ThreadPoolExecutor(workers)
    processes = ProcessPoolExecutor(workers, get_context("spawn"))
    seconds = [0.0, 0.0]
    for pool in (threads, processes):  # started before they are timed
        list(pool.map(everything, pairs[:workers]))
    for turn in range(TURNS):
        for number, pool in enumerate((threads, processes)):
            started = time.perf_counter()
            list(pool.map(everything, pairs[turn::TURNS]))
            seconds[number] += time.perf_counter() - started
    return seconds


def main():
    predictions, truths, python = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    names = sorted(path.name for path in truths.iterdir())
    pairs = [Pair(name, truths / name, predictions / name) for name in names]
    cv2.setNumThreads(1)
    totals = {"PySODMetrics, ten columns": [0.0, 0.0], "birefcli, ten columns": [0.0, 0.0],
              "birefcli, all columns": [0.0, 0.0]}  # fmt: skip
    apart = 0.0
    for turn in range(TURNS):
        mine = pairs[turn::TURNS]
        known = theirs(predictions, truths, python, turn)
        ours, *ten = timed(ten_columns, mine)
        _, *every = timed(everything, mine)
        spent_by_them = [known["seconds"]["wall"], known["seconds"]["cpu"]]
        for total, spent in zip(totals.values(), (spent_by_them, ten, every), strict=True):
            total[0] += spent[0]
            total[1] += spent[1]
        for pair, values in zip(mine, ours, strict=True):
            other = known["figures"][pair.name]
            apart = max(apart, *(abs(values[key] - other[key]) for key in values))
    base = totals["PySODMetrics, ten columns"][1]
    print(f"{len(pairs)} photos, one process each, in turns")
    for name, (wall, busy) in totals.items():
        each = busy / len(pairs)
        print(f"{name:28}{wall:8.1f} s{busy:8.1f} cpu-s{each:8.3f} cpu-s/photo  ×{base / busy:.1f}")
    print(f"largest difference of any figure: {apart:.2g}")
    threads, processes = in_parallel(pairs, cpu.count())
    print(f"all columns on {cpu.count()} cores:", end=" ")
    print(f"threads {threads:.1f} s, processes {processes:.1f} s")


if __name__ == "__main__":
    main()
