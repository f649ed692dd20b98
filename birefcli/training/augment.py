"""From photos of one person to many pictures: views, other backgrounds, company, other light.

The truth follows from the same geometry. Composed pictures are made of the subjects' own colours,
so that what was behind them does not tell where they end.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from birefcli.training.backdrops import backdrop, defocus
from birefcli.training.camera import degrade, relight
from birefcli.training.dataset import Bytes, Example
from birefcli.training.views import Floats, Rng, draw_window, log_uniform, unit, warp

COMPOSED, COMPOSED_PLAIN = 0.6, 0.9
"""Share of samples on another background: in general, and of photos before an even backdrop."""
COMPANY = 0.22  # that one more person is in a composed sample
PEOPLE = 3  # in a composed sample, at most
EMPTY = 0.03  # share of samples without anybody
OCCLUDED = 0.06  # of composed samples: something stands before the subject
ALIKE = 0.15  # of composed samples: the background has the subject's tone


def sample(
    examples: Sequence[Example],
    index: int,
    rng: Rng,
    size: int,
    backgrounds: Sequence[Bytes] = (),
) -> tuple[Floats, Floats]:
    """One view: photo size×size×3 and alpha size×size, both 0..1.

    ``backgrounds``: pictures without people, H×W×3, RGB.
    """
    if backgrounds and rng.random() < EMPTY:
        image = backdrop(examples, backgrounds, rng, size)
        alpha = np.zeros((size, size), np.float32)
        return degrade(relight(image, rng, 1.0), rng), alpha
    example = examples[index]
    if rng.random() < (COMPOSED_PLAIN if example.plain else COMPOSED):
        image, alpha = composition(examples, index, rng, size, backgrounds)
    else:
        window = draw_window(example.alpha, rng)
        image, alpha = warp(example.image, window, size), warp(example.alpha, window, size)
    return degrade(relight(image, rng, 1.0), rng), alpha


def composition(
    examples: Sequence[Example],
    index: int,
    rng: Rng,
    size: int,
    backgrounds: Sequence[Bytes] = (),
) -> tuple[Floats, Floats]:
    """Subjects before another background, the example's own in front: photo and alpha, 0..1."""
    image = backdrop(examples, backgrounds, rng, size)
    alpha = np.zeros((size, size), np.float32)
    people = [examples[index]]
    while len(people) < PEOPLE and rng.random() < COMPANY:
        people.insert(0, examples[int(rng.integers(len(examples)))])
    for person in people:
        window = draw_window(person.alpha, rng, loose=True)
        own = warp(person.alpha, window, size)
        colour = relight(warp(person.foreground, window, size), rng, 0.5)
        colour, image = harmonise(colour, own, image, rng)
        image = compose(colour, own, image, rng, cut=person.cut)
        alpha = 1 - (1 - alpha) * (1 - own)
    if rng.random() < OCCLUDED:
        mask = occluder(rng, size)
        other = backdrop(examples, backgrounds, rng, size)
        image = mask[..., None] * other + (1 - mask[..., None]) * image
        alpha = alpha * (1 - mask)
    # A blur of ones can be a little above one, and what is left for the background below nothing.
    return np.clip(image, 0, 1), np.clip(alpha, 0, 1)


def compose(image: Floats, alpha: Floats, behind_it: Floats, rng: Rng, *, cut: bool) -> Floats:
    """The subject before another background.

    Where the truth was ``cut`` pixel by pixel, the seam is drawn half a pixel inside and a little
    soft: the outermost pixels still hold the old background.
    """
    mix = alpha
    if cut:
        inner = np.clip(defocus(alpha, rng.uniform(0.5, 1.2)) * 2 - 1, 0, 1)
        mix = np.minimum(alpha, 0.7 * inner + 0.3 * alpha)
    return np.asarray(mix[..., None] * image + (1 - mix[..., None]) * behind_it, np.float32)


def harmonise(subject: Floats, alpha: Floats, behind_it: Floats, rng: Rng) -> tuple[Floats, Floats]:
    """Bring the subject's mean colour nearer to its background's, or the other way round.

    Returns both pictures, 0..1. Without this, light alone would tell who was put there.
    """
    weight = alpha[..., None]
    own = (subject * weight).sum((0, 1)) / max(1.0, float(weight.sum()))
    ratio = (behind_it.mean((0, 1)) + 0.08) / (own + 0.08)
    if rng.random() < ALIKE:
        behind_it = np.clip(behind_it * _gain(ratio, -rng.uniform(0.6, 1)), 0, 1)
    else:
        subject = np.clip(subject * _gain(ratio, rng.uniform(0, 0.5)), 0, 1)
    return subject, behind_it


def _gain(ratio: Floats, power: float) -> Floats:
    return np.asarray(ratio**power, np.float32)


def occluder(rng: Rng, size: int) -> Floats:
    """Where something stands before the subject, size×size of 0..1: a table, a rail, a leaf."""
    mask = np.zeros((size, size), np.uint8)
    middle = (int(rng.uniform(0, size)), int(rng.uniform(0.6, 1.1) * size))
    axes = (int(size * log_uniform(rng, 0.08, 0.6)), int(size * log_uniform(rng, 0.05, 0.25)))
    turn = rng.uniform(0, 180)
    if rng.random() < 0.5:
        cv2.ellipse(mask, middle, axes, turn, 0, 360, 255, -1)
    else:
        box = cv2.boxPoints((middle, (2 * axes[0], 2 * axes[1]), turn))
        cv2.fillPoly(mask, [np.rint(box).astype(np.int32)], 255)
    return defocus(unit(mask), rng.uniform(0.4, 2))
