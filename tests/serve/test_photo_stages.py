"""Stages of a photo in the service."""

from dataclasses import replace

import numpy as np

from birefcli.images.photo import photo_from_array
from birefcli.matting.matte import Matte
from birefcli.options import Rendering
from birefcli.products.photo_notes import NO_SUBJECT
from birefcli.serve.photo_stages import finish


def test_a_photos_notes_are_those_of_a_batch():
    photo = photo_from_array(np.zeros((8, 8, 3), np.uint8))
    photo = replace(photo, notes=("first of 2 frames",), metadata_notes=("damaged EXIF left out",))
    matte = Matte(np.zeros((8, 8), np.uint16), photo.pixels)
    for metadata, more in ((True, photo.metadata_notes), (False, ())):
        made = finish(photo, matte, Rendering(metadata=metadata), None)
        assert made.notes == (NO_SUBJECT, *photo.notes, *more)
