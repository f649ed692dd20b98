"""What a page of ours says of itself: what it is, and whether somebody has edited it since."""

import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from birefcli.system.regular_file import open_regular

HEAD = 4096  # bytes of a page among which its tag is


class PageMark(NamedTuple):
    """By which a page is known that a command has written, and so may replace."""

    kind: str
    """Like ``sheet``."""
    name: str = ""
    """Of the file of a sheet which it is a part of; empty for a page that stands alone."""

    def tag(self, checksum: str = "0" * 8) -> str:
        """An element for the page's head."""
        name = f"{zlib.crc32(os.fsencode(self.name)):08x}"
        return f"<meta name=birefcli-{self.kind} content={name}-{checksum}>"

    def sealed(self, page: str) -> bytes:
        """A page that holds the tag, as a file: from then on an edit of it shows."""
        made, tag = page.encode("utf-8"), self.tag().encode("ascii")
        return made.replace(tag, self.tag(_checksum(made)).encode("ascii"), 1)

    def is_on(self, path: Path) -> bool:
        """Whether a file is a page with this mark, as it was made. Raises OSError."""
        with open_regular(path) as file:
            head = file.read(HEAD)
            found = re.search(self.tag("([0-9a-f]{8})").encode("ascii"), head)
            if found is None:
                return False
            page = head + file.read()
        plain = page.replace(found[0], self.tag().encode("ascii"), 1)
        return _checksum(plain) == found[1].decode()

    def is_of_kind(self, path: Path) -> bool:
        """Whether a file says that it is such a page, edited or of another name. Raises OSError."""
        tag = f"<meta name=birefcli-{self.kind} content=[0-9a-f-]{{17}}>".encode("ascii")
        with open_regular(path) as file:
            return re.search(tag, file.read(HEAD)) is not None


def _checksum(page: bytes) -> str:
    """Of a page whose tag has none."""
    return f"{zlib.crc32(page):08x}"
