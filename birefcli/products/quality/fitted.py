"""From a matte's signs to a verdict: limits that were fitted on mattes whose truth is known.

``data/review.json`` is what ``tests/benchmarks/review_fit.py`` writes. A sign alone is suspicious
above its limit. All together give the error that mattes with such signs have, by a linear model of
logarithms whose weights are 0 or more; so each sign has a share in it, and the largest is named.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from birefcli.products.quality.signs import CONTEXT, IN_PHOTO, Sign

BASE = 1e-3  # added to an error before its logarithm: below it nobody sees a difference


@dataclass(frozen=True)
class Term:
    """What a sign adds: ``weight · (log(value + floor) − mean) / deviation``."""

    floor: float
    mean: float
    deviation: float
    weight: float

    def of(self, value: float) -> float:
        """Its share in the logarithm of the error."""
        return self.weight * (math.log(value + self.floor) - self.mean) / self.deviation


@dataclass(frozen=True)
class Score:
    """The error of a matte from its signs. ``limit``: from which it asks for a look, 0..1."""

    intercept: float
    terms: Mapping[Sign, Term]
    limit: float

    def error(self, signs: Mapping[Sign, float]) -> float:
        """Mean absolute error of alpha that mattes with such signs have, 0..1."""
        total = self.intercept + sum(term.of(signs[sign]) for sign, term in self.terms.items())
        return min(1.0, max(0.0, math.exp(min(total, 0.0)) - BASE))

    def reason(self, signs: Mapping[Sign, float]) -> Sign:
        """The sign that adds most, of those that are faults."""
        faults = [sign for sign in self.terms if sign not in CONTEXT]
        return max(faults, key=lambda sign: self.terms[sign].of(signs[sign]))


@dataclass(frozen=True)
class Fitted:
    """All that was fitted."""

    alone: Mapping[Sign, float]
    """Limits of single signs."""
    of_alpha: Score
    of_both: Score
    """With the photo's signs."""

    def score(self, signs: Mapping[Sign, float]) -> Score:
        """That which knows these signs."""
        return self.of_both if IN_PHOTO[0] in signs else self.of_alpha

    def suspicious(self, signs: Mapping[Sign, float]) -> set[Sign]:
        """Signs that ask for a look: alone, or as the reason of a large error."""
        found = {sign for sign, limit in self.alone.items() if signs.get(sign, 0.0) > limit}
        score = self.score(signs)
        if score.error(signs) > score.limit:
            found.add(score.reason(signs))
        return found


@cache
def fitted() -> Fitted:
    """What comes with the package."""
    text = resources.files("birefcli").joinpath("data", "review.json").read_text("utf-8")
    return from_json(json.loads(text))


def from_json(table: Mapping[str, Any]) -> Fitted:
    """What :func:`to_json` made a table of."""
    return Fitted(
        {Sign(name): limit for name, limit in table["alone"].items()},
        *(
            Score(
                table[name]["intercept"],
                {Sign(sign): Term(**term) for sign, term in table[name]["terms"].items()},
                table[name]["limit"],
            )
            for name in ("of_alpha", "of_both")
        ),
    )


def to_json(found: Fitted) -> dict[str, Any]:
    """As a table for JSON; its figures are rounded to four digits."""

    def rounded(value: float) -> float:
        return float(f"{value:.4g}")

    def score(of: Score) -> dict[str, Any]:
        terms = {
            sign.value: {name: rounded(value) for name, value in vars(term).items()}
            for sign, term in of.terms.items()
        }
        return {"intercept": rounded(of.intercept), "terms": terms, "limit": rounded(of.limit)}

    alone = {sign.value: rounded(limit) for sign, limit in found.alone.items()}
    return {
        "alone": alone,
        "of_alpha": score(found.of_alpha),
        "of_both": score(found.of_both),
    }
