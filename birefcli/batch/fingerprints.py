"""Digests of all that shows in each product of a photo: a stamp with another one is out of date."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from birefcli.batch.targets import Job
from birefcli.options import BatchOptions, Product, Rendering

ALGORITHM = 4  # to be raised whenever the same options come to give other pixels

PER_PRODUCT = frozenset({"products", "refine", "background"})
"""Fields of :class:`Rendering` that count in ways of their own: see :func:`of_products`."""

FIRST = ("format", "bits", "compress", "crop", "margin", "strip", "resize", "quality")
"""Fields that count in every fingerprint. All others do where they have not their default: so a
field that is added leaves products as they are that were made without it."""

ALL = frozenset(Product)
SHOWN_IN: Mapping[str, frozenset[Product]] = {
    "threshold": frozenset({Product.MASK}),
    "trimap_width": frozenset({Product.TRIMAP}),
    "shadow": frozenset({Product.CUTOUT, Product.COMPOSITE}),
}
"""Fields that show in some products only; what is not named shows in all."""

REVISED = {"threshold": 2}
"""Fields whose values have come to give other pixels, and how often: only products that show them
are made again."""

Fingerprints = Callable[[Job], Mapping[Product, str]]


def of_products(
    options: BatchOptions, identity: str, background: Callable[[Path], str]
) -> Fingerprints:
    """Digests of everything that shows in each product of a photo.

    ``identity``: of the weights; ``background``: of what is behind the photo of this relative path.
    The device does not count: it changes nothing but rounding. Nor does the precision, which a
    stamp names beside this: what ``auto`` means is known on the device only.
    """
    rendering, model = options.rendering, options.model
    network = [identity, model.size, model.patch_order.value, model.edges.value]
    shared = [ALGORITHM, *network, *visible(rendering)]
    plain = {
        kind: _digest(
            [
                *shared,
                kind.value,
                rendering.refine if kind.has_colour else None,
                *added(rendering, kind),
            ]
        )
        for kind in rendering.products
    }

    def of(job: Job) -> Mapping[Product, str]:
        if Product.COMPOSITE not in plain:
            return plain
        behind = _digest([plain[Product.COMPOSITE], background(job.relative)])
        return {**plain, Product.COMPOSITE: behind}

    return of


def visible(rendering: Rendering) -> list[object]:
    """What of a rendering always counts, in all products."""
    shown = [_plain(getattr(rendering, name)) for name in FIRST]
    if not rendering.crop:
        shown[FIRST.index("margin")] = None
    return [*shown, rendering.has_colour]  # without colour, JPEGs are read smaller


def added(rendering: Rendering, kind: Product) -> list[object]:
    """What else shows in a product: every other field with a value that is not its default.

    A field that is added to :class:`Rendering` counts by itself.
    """
    found = {
        field.name: _plain(value) if field.name not in REVISED else [value, REVISED[field.name]]
        for field in dataclasses.fields(rendering)
        if field.name not in PER_PRODUCT and field.name not in FIRST
        if kind in SHOWN_IN.get(field.name, ALL)
        if (value := getattr(rendering, field.name)) != field.default
    }
    return [found] if found else []


def _plain(value: Any) -> object:  # noqa: ANN401 - of any field
    """A field's value as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.astuple(value)
    if isinstance(value, Enum):
        return str(value.value)
    assert value is None or isinstance(value, (bool, int, float, str)), f"{value!r}: how to write?"
    return value


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
