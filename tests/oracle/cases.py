"""Predictions and truths that numpy alone makes, for figures recorded with another library."""

import numpy as np

CUT = 128


def blobs(height, width, seed, cut=0.5, soft=0.08):
    """A smooth landscape cut at one height: soft-edged shapes, H×W uint8."""
    rs = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width, 2)
    land = np.zeros((height, width))
    for _ in range(6):
        fy, fx, phase = *rs.uniform(1, 9, 2), rs.uniform(0, 6.28)
        land += np.sin(fy * y * 6.28 + phase) * np.cos(fx * x * 6.28 - phase)
    land = (land - land.min()) / max(land.max() - land.min(), 1e-9)
    return (np.clip((land - cut) / soft + 0.5, 0, 1) * 255).round().astype(np.uint8)


def noisy(truth, seed, strength=60):
    """A truth with noise, a false patch and a hole."""
    rs = np.random.RandomState(seed)
    height, width = truth.shape
    out = truth + rs.standard_normal(truth.shape) * strength * (rs.uniform(size=truth.shape) < 0.3)
    top, left = rs.randint(0, height // 2), rs.randint(0, width // 2)
    out[top : top + height // 5, left : left + width // 4] = 230
    out[height // 2 : height // 2 + height // 6, width // 2 : width // 2 + width // 6] = 12
    return np.clip(out, 0, 255).round().astype(np.uint8)


def cases():
    """Name, prediction, truth."""
    known = {}
    for seed, (height, width) in enumerate(
        [(97, 131), (160, 120), (64, 200), (33, 47), (201, 199)]
    ):
        truth = blobs(height, width, seed, cut=0.35 + 0.08 * seed)
        known[f"noisy {seed}"] = noisy(truth, seed), truth
        known[f"shifted {seed}"] = np.roll(truth, (3, -2), (0, 1)), truth
    truth = blobs(80, 90, 11)
    ramp = np.tile(np.linspace(40, 190, 90).round().astype(np.uint8), (80, 1))
    lines = np.zeros((70, 90), np.uint8)
    lines[::7], lines[:, 5::13] = 255, 255
    known |= {
        "identical": (truth, truth),
        "inverted": (255 - truth, truth),
        "ramp, less than full range": (ramp, truth),
        "binary": ((blobs(80, 90, 12) > 128).astype(np.uint8) * 255, truth),
        "empty prediction": (np.zeros_like(truth), truth),
        "full prediction": (np.full_like(truth, 255), truth),
        "constant prediction": (np.full_like(truth, 77), truth),
        "empty truth": (truth, np.zeros_like(truth)),
        "full truth": (truth, np.full_like(truth, 255)),
        "both empty": (np.zeros_like(truth), np.zeros_like(truth)),
        "both full": (np.full_like(truth, 255), np.full_like(truth, 255)),
        "thin lines": (np.roll(lines, 2, 0), lines),
        "lines missed": (np.zeros_like(lines) + 3, lines),
        "nine pixels": (blobs(3, 3, 1), blobs(3, 3, 2, cut=0.4)),
    }
    return [(name, *pair) for name, pair in known.items()]
