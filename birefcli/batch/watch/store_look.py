"""What photos there are in a store just now, by one listing."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from birefcli.batch import stores
from birefcli.batch.inputs import FoundPhoto, Search, photos_below
from birefcli.batch.shard import holds
from birefcli.batch.stores import StoredPhoto
from birefcli.batch.watch.folder_look import Version
from birefcli.options import Selection
from birefcli.system.object_store import ObjectEntry
from birefcli.system.object_url import parse_url


class StoreLook:
    """A prefix of objects. Objects are whole when they appear."""

    def __init__(self, name: str, selection: Selection) -> None:
        """Of a URL. Raises ValueError for one that is none."""
        self.prefix = parse_url(name).as_prefix
        self.name = str(self.prefix)
        self.others: Counter[str] = Counter()
        self.unreadable: dict[str, str] = {}
        self._selection = selection
        self._entries: dict[str, ObjectEntry] = {}
        """Of the photos that were there at the last look, by label."""

    def __call__(self) -> Iterator[tuple[str, Version]]:
        """Photos in the order of the listing, each with its size and a number of its ETag."""
        search = Search()
        entries: dict[str, ObjectEntry] = {}
        for relative, photo in photos_below(self.prefix, self._selection, search):
            state = photo.state()
            if photo.entry is None or state is None or not holds(self._selection, relative):
                continue
            entries[photo.label] = photo.entry
            yield photo.label, state
        self._entries = entries
        self.others = search.left_out
        self.unreadable = {str(each.place): each.reason for each in search.failed}

    def photo(self, label: str) -> FoundPhoto:
        """The object as it was at the last look, under its path below the prefix."""
        return FoundPhoto(self._stored(label), Path(label.removeprefix(self.name)))

    def products(self, labels: Iterable[str]) -> set[str]:
        """Those that are stamped, by a small read each, many at once."""
        marked = stores.in_order(self._is_product, labels)
        return {label for label, ours in marked if ours}

    def _is_product(self, label: str) -> tuple[str, bool]:
        photo = self._stored(label)
        try:
            return label, photo.entry is not None and stores.is_product(photo)
        except OSError:  # what has become of it is seen when it is read
            return label, False

    def _stored(self, label: str) -> StoredPhoto:
        url = self.prefix.below(label.removeprefix(self.name))
        return StoredPhoto(url, self._entries.get(label))

    def why_no_events(self) -> str | None:
        """A store tells of none."""
        return f"{self.name} is in a store"
