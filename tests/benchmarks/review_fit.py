"""Fit the limits of the review on mattes whose truth is known, and say what they find.

    python tests/benchmarks/review_photos.py DATA OUT
    python tests/benchmarks/review_fit.py OUT/fit OUT/held [--write]

A folder holds kinds, and each ``im/`` (photos), ``gt/`` (truths) and ``matte/`` (mattes), of
the same names. Limits are fitted on the first folder and judged on the second. Bad is the worst
fifth of a folder by MAD (mean absolute error of alpha), good the best half. ``--write`` writes the
limits to ``birefcli/data/review.json``.

Printed are the shares of bad and good mattes that are flagged, with the alpha alone and with the
photo, over all and by kind; the same for other limits of the score; and of faults that are made in
good mattes (``review_faults.py``), how many are flagged.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from review_faults import FAULTS

from birefcli.products.quality.check import check, plain_flags
from birefcli.products.quality.fitted import BASE, Fitted, Score, Term, fitted, to_json
from birefcli.products.quality.signs import CONTEXT, IN_PHOTO, Sign, measure

LIMITS = Path(__file__).parents[2] / "birefcli" / "data" / "review.json"
ALONE = 0.01  # share of good mattes that are above the limit of one sign
LEAST_ALONE = 1e-3  # no limit of a sign is less
FLAGGED = 0.08  # share of good mattes that are flagged in all: the goal is 0.1 on other photos
RIDGE = 3.0
FLOOR = 1e-4  # least that is added to a sign before its logarithm

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A matte, its photo, and how wrong it is."""

    kind: str
    alpha: NDArray[np.uint8]
    photo: NDArray[np.uint8]
    mad: float
    signs: Mapping[Sign, float]


@dataclass(frozen=True)
class Part:
    """All examples of a folder."""

    examples: Sequence[Example]

    @property
    def errors(self) -> Floats:
        return np.array([each.mad for each in self.examples])

    @property
    def bad(self) -> Bools:
        return np.asarray(self.errors >= np.quantile(self.errors, 0.8))

    @property
    def good(self) -> Bools:
        return np.asarray(self.errors <= np.median(self.errors))

    def values(self, sign: Sign) -> Floats:
        return np.array([each.signs[sign] for each in self.examples])


def read(folder: Path) -> Part:
    """Everything below a folder."""
    examples = []
    for kind in sorted(folder.iterdir()):
        for path in sorted((kind / "matte").iterdir()):
            alpha, truth = grey(path), grey(partner(kind / "gt", path))
            photo = cv2.imread(str(partner(kind / "im", path)), cv2.IMREAD_COLOR)
            assert photo is not None
            rgb = np.asarray(photo[..., ::-1].copy(), np.uint8)
            mad = float(cv2.absdiff(alpha, truth).mean() / 255)
            examples.append(Example(kind.name, alpha, rgb, mad, measure(alpha, rgb)))
    return Part(examples)


def partner(folder: Path, path: Path) -> Path:
    return next(folder.glob(f"{path.stem}.*"))


def grey(path: Path) -> NDArray[np.uint8]:
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert levels is not None, path
    return np.asarray(levels, np.uint8)


def fit(part: Part) -> Fitted:
    """Limits of each sign, and of the error that all together make likely."""
    alone = {
        sign: max(LEAST_ALONE, float(np.quantile(part.values(sign)[part.good], 1 - ALONE)))
        for sign in Sign
        if sign not in (*CONTEXT, Sign.UNSURE)
    }
    scores = []
    for signs in ([sign for sign in Sign if sign not in IN_PHOTO], list(Sign)):
        score = regression(part, signs)
        scores.append(replace(score, limit=limit_of(part, score, alone, signs)))
    return Fitted(alone, *scores)


def regression(part: Part, signs: Sequence[Sign]) -> Score:
    """The logarithm of the error as a sum of the signs' logarithms, weights 0 or more."""
    logs, columns = np.log(part.errors + BASE), {}
    for sign in signs:
        values = part.values(sign)
        floor = max(FLOOR, float(np.quantile(values[values > 0], 0.1)))
        seen = np.log(values + floor)
        columns[sign] = (Term(floor, seen.mean(), seen.std(), 0), (seen - seen.mean()) / seen.std())
    weights = not_negative(np.stack([z for _, z in columns.values()], 1), logs - logs.mean())
    terms = {
        sign: replace(term, weight=float(weight))
        for (sign, (term, _)), weight in zip(columns.items(), weights, strict=True)
        if weight > 0
    }
    return Score(float(logs.mean()), terms, 1.0)


def not_negative(columns: Floats, goal: Floats) -> Floats:
    """Ridge regression by coordinate descent, with weights of 0 or more."""
    weights, rest = np.zeros(columns.shape[1]), goal.copy()
    squares = (columns**2).sum(0)
    for _ in range(500):
        for i in range(len(weights)):
            pull = columns[:, i] @ rest + squares[i] * weights[i]
            new = max(0.0, pull / (squares[i] + RIDGE))
            rest += columns[:, i] * (weights[i] - new)
            weights[i] = new
    return weights


def limit_of(part: Part, score: Score, alone: Mapping[Sign, float], signs: Sequence[Sign]) -> float:
    """From what error a matte is flagged, so that few good ones are in all."""
    errors = np.array([score.error(each.signs) for each in part.examples])
    single = np.array(
        [
            bool(plain_flags(each.alpha, each.alpha.mean() / 255))
            or any(each.signs[s] > limit for s, limit in alone.items() if s in signs)
            for each in part.examples
        ]
    )
    for limit in np.sort(errors[part.good])[::-1]:
        if (single | (errors >= limit))[part.good].mean() > FLAGGED:
            return float(limit)
    return 0.0


def flagged(part: Part, *, photo: bool) -> Bools:
    """What ``birefcli sheet`` flags, by limits that are written."""
    return np.array([bool(check(e.alpha, e.photo if photo else None).flags) for e in part.examples])


def report(name: str, part: Part) -> None:
    """Print what is flagged."""
    errors, kinds = part.errors, np.array([each.kind for each in part.examples])
    print(
        f"{name}: {len(errors)} mattes, MAD median {np.median(errors):.4f},"
        f" worst fifth from {np.quantile(errors, 0.8):.4f}"
    )
    print("  kind       number   bad  flagged: alpha  photo   good  flagged: alpha  photo")
    found = [flagged(part, photo=photo) for photo in (False, True)]
    for kind in ("all", *np.unique(kinds)):
        here = np.ones(len(errors), bool) if kind == "all" else kinds == kind
        row = f"  {kind:10} {here.sum():6}"
        for chosen in (part.bad & here, part.good & here):
            shares = [f"{each[chosen].mean():6.0%}" if chosen.any() else "     -" for each in found]
            row += f" {chosen.sum():5}          {shares[0]} {shares[1]}"
        print(row)


def cost(part: Part) -> None:
    """Print the processor time of a matte, on one thread."""
    cv2.setNumThreads(1)
    for name, photo in (("alpha", False), ("with the photo", True)):
        spent = []
        for each in part.examples[::5]:
            before = time.thread_time()
            check(each.alpha, each.photo if photo else None)
            spent.append(time.thread_time() - before)
        print(f"  milliseconds of a processor, {name}: {1e3 * float(np.median(spent)):.1f}")


def trade(part: Part, limits: Fitted) -> None:
    """Print what other limits of the score, with the photo, would flag."""
    alone = np.array(
        [
            any(each.signs[sign] > limit for sign, limit in limits.alone.items())
            for each in part.examples
        ]
    )
    errors = np.array([limits.of_both.error(each.signs) for each in part.examples])
    print("  limit of the score: of the bad, of the middle, of the good")
    for limit in (0.008, 0.01, 0.012, 0.014, 0.016, 0.02, 0.03, 1.0):
        found = alone | (errors > limit)
        groups = (part.bad, ~part.bad & ~part.good, part.good)
        print(f"    {limit:5.3f}: " + ", ".join(f"{found[g].mean():.0%}" for g in groups))


def reasons(part: Part) -> None:
    """Print how often each word is said."""
    print("  word: of the bad, of the good")
    said = [{flag.value for flag in check(each.alpha, each.photo).flags} for each in part.examples]
    for word in sorted(set().union(*said)):
        has = np.array([word in words for words in said])
        print(f"    {word:12} {has[part.bad].mean():5.1%} {has[part.good].mean():5.1%}")


def made_faults(part: Part) -> None:
    """Print how many of the faults that are made in good mattes are flagged."""
    print("  fault made in good mattes that have no flag: number, flagged by alpha, with the photo")
    for name, fault in FAULTS.items():
        seen = []
        for number, each in enumerate(part.examples):
            if not part.good[number] or check(each.alpha, each.photo).flags:
                continue
            made = fault(each.alpha.astype(np.float32) / 255, np.random.default_rng(number))
            if made is not None:
                alpha = np.rint(made * 255).astype(np.uint8)
                seen.append([bool(check(alpha, p).flags) for p in (None, each.photo)])
        shares = np.array(seen).mean(0)
        print(f"    {name:10} {len(seen):4}  {shares[0]:4.0%}  {shares[1]:4.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("fit", type=Path)
    parser.add_argument("held", type=Path, nargs="?")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    part = read(given.fit)
    table = to_json(fit(part))
    text = json.dumps(table, indent=1) + "\n"
    if given.write:
        LIMITS.write_text(text)
    else:
        print(text, end="")
    for name, folder in (("fitted on", given.fit), ("judged by", given.held)):
        if folder:
            seen = part if folder == given.fit else read(folder)
            report(name, seen)
            reasons(seen)
            trade(seen, fitted())
            cost(seen)
            made_faults(seen)


if __name__ == "__main__":
    main()
