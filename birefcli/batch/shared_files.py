"""Files that every photo of a run needs: the weights, and what is behind the photos.

They are looked at for each run, and read again only where they have changed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from birefcli.batch.targets import SharedFile, keys_of
from birefcli.models.locate import locate
from birefcli.options import BatchOptions, Product

if TYPE_CHECKING:
    from birefcli.products.background import Background
    from birefcli.products.kept_background import KeptBackground


class SharedFiles:
    """Those of all runs with the same options."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._kept: KeptBackground | None = None
        self._read: tuple[Background | None, dict[str, SharedFile]] | None = None
        """What is read, for this background."""

    def background(self) -> "Background | None":
        """What is behind the photos as it is now; None where nothing shows it.

        The same object as before, where it has not changed. Raises UsageError.
        """
        rendering = self._options.rendering
        if Product.COMPOSITE not in rendering.products:
            return None  # and what reads pictures need not be imported
        if self._kept is None:
            from birefcli.products.kept_background import KeptBackground

            self._kept = KeptBackground(rendering.background, self._options.max_pixels)
        return self._kept.load()

    def read(self) -> Mapping[str, SharedFile]:
        """What is read, by each of its keys; the same object, where that has not changed.

        Raises ModelError, UsageError.
        """
        background = self.background()
        if self._read is None or self._read[0] is not background:
            self._read = background, self._found(background)
        return self._read[1]

    def _found(self, background: "Background | None") -> dict[str, SharedFile]:
        weights = locate(self._options.model.name)
        places = (weights.path, weights.url)
        files = {place: "the weights" for place in places if place is not None}
        if background is not None:
            from birefcli.products.background import files_of

            files |= dict.fromkeys(files_of(background), "a background")
        return {
            key: SharedFile(str(place), what)
            for place, what in files.items()
            for key in keys_of(place)
        }
