"""Photos with masks that tests of training draw."""

import cv2
import numpy as np

from birefcli.training.dataset import Example


def person(number: int) -> Example:
    """A red figure on a blue-green wall: rows 20 to 150 of 160, a head on a body."""
    rng = np.random.default_rng(number)
    alpha = np.zeros((160, 120), np.uint8)
    x = int(rng.integers(45, 75))
    cv2.ellipse(alpha, (x, 35), (10, 15), 0, 0, 360, 255, -1)
    cv2.ellipse(alpha, (x, 100), (22, 50), 0, 0, 360, 255, -1)
    image = rng.integers(0, 90, (160, 120, 3)).astype(np.uint8) + np.array([0, 60, 120], np.uint8)
    image[alpha > 0] = (200, 30, 20)
    return Example(f"{number}.png", image, alpha, image, cut=True, plain=False)
