"""A composite's background as a program gives it: a colour, a file, a picture, an array."""

import os

from birefcli.errors import PhotoError, UsageError
from birefcli.images import image_like
from birefcli.images.image_like import ImageLike
from birefcli.products.background import Background, Folder, Picture, parse_background
from birefcli.products.background_files import opaque

MAX_BACKGROUND = 300_000_000  # pixels


def given_background(picture: ImageLike) -> Background:
    """What a composite is put over. Raises UsageError for what is no background."""
    if isinstance(picture, str) and picture.lower().startswith(("http://", "https://")):
        text = "URLs are not fetched in Python: download it and give the file's name or bytes"
        raise UsageError(text, option="background", value=picture)
    if isinstance(picture, (str, os.PathLike)):
        found = parse_background(os.fspath(picture), MAX_BACKGROUND)
        if isinstance(found, Folder):
            raise UsageError("is a folder; name a picture", option="background", value=picture)
        return found
    if not image_like.is_image_like(picture):
        kinds = "a CSS colour, blur, or a picture in any of the ways a photo may be given"
        raise UsageError(f"{kinds}, not {type(picture).__name__}", option="background")
    try:
        taken = image_like.snapshot(picture, MAX_BACKGROUND)
        return Picture(opaque(image_like.decode(taken, MAX_BACKGROUND)).pixels)
    except (PhotoError, TypeError) as error:
        why = error.message if isinstance(error, PhotoError) else str(error)
        raise UsageError(why, option="background") from error
