"""What its owner may want to know of a photo before any product is encoded, for all faces."""

import numpy as np
from numpy.typing import NDArray

from birefcli.images.photo import Photo
from birefcli.options import Rendering
from birefcli.products.layout_notes import layout_notes
from birefcli.products.quality.check import Quality
from birefcli.products.quality.defects import Defect
from birefcli.products.render import left_out

NO_SUBJECT = "no subject found (empty matte)"


def notes_of_photo(
    photo: Photo, alpha: NDArray[np.uint16], quality: Quality, rendering: Rendering
) -> tuple[str, ...]:
    """Notes on a photo, on what it says, and on how it is laid out.

    ``alpha``: its matte's, H×W; ``quality``: of the same. Raises PhotoError as :func:`.lay_out`.
    """
    return (
        *((NO_SUBJECT,) if Defect.EMPTY in quality.flags else ()),
        *photo.notes,
        *left_out(photo, rendering),
        *layout_notes(alpha, rendering),
    )
