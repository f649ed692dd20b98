"""What the image libraries of this machine can read, and how quick they are."""

import io
import re
from functools import cache

import cv2
from PIL import Image, features


def describe() -> dict[str, str]:
    """Versions of the codecs, and what OpenCV uses of the processor."""
    build: str = cv2.getBuildInformation()
    return {
        "jpeg": _pillow_codec("jpg", "libjpeg_turbo"),
        "png": f"zlib {features.version('zlib')}" + _zlib_ng(),
        "webp": _pillow_codec("webp", None),
        "avif": _pillow_codec("avif", None),
        "tiff": _pillow_codec("libtiff", None),
        "colour_profiles": _pillow_codec("littlecms2", None),
        "opencv_baseline": _opencv_build_line(build, "Baseline"),
        "opencv_dispatch": _opencv_build_line(build, "Dispatched code generation"),
        "opencv_used": _opencv_cpu_features(cv2.getCPUFeaturesLine()),
    }


def can_write_avif() -> bool:
    """Whether this Pillow has AVIF: from 11.3 on, in its own wheels."""
    return features.check("avif") is True


@cache
def takes_aom() -> bool:
    """Whether AVIF is written by libaom, whose options say how well alpha is kept."""
    try:
        Image.new("RGBA", (8, 8)).save(io.BytesIO(), "AVIF", advanced={"a:cq-level": "30"})
    except (ValueError, TypeError):
        return False
    return True


def missing() -> list[str]:
    """Formats that this Pillow should read and does not."""
    known = (("JPEG", "jpg"), ("PNG", "zlib"), ("WebP", "webp"))
    return [name for name, codec in known if not features.check(codec)]


def _pillow_codec(codec: str, turbo: str | None) -> str:
    if not features.check(codec):
        return "missing"
    plain = "" if turbo is None or features.check(turbo) else " (not libjpeg-turbo: slow)"
    named = turbo if turbo and features.check(turbo) else codec
    version = features.version(named)
    return f"{named.replace('_', '-')} {version}{plain}"


def _zlib_ng() -> str:
    try:
        version = features.version("zlib_ng")
    except ValueError:  # an older Pillow does not know the word
        return ""
    return f" (zlib-ng {version})" if version else ""


def _opencv_build_line(build: str, label: str) -> str:
    """One line of OpenCV's build information."""
    found = re.search(rf"^\s*{label}:\s*(.*)$", build, re.M)
    return found[1].strip() if found else "unknown"


def _opencv_cpu_features(line: str) -> str:
    """What of OpenCV's dispatched code this CPU runs: words without the marks of the others."""
    words = [word.lstrip("*") for word in line.split() if not word.endswith("?")]
    return " ".join(words) or "none"
