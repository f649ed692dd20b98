"""What pages that stand alone are made of: text of anybody's, pictures, the document around."""

import base64
from html import escape

from birefcli.errors import printable
from birefcli.system.text import encodable


def shown(text: str) -> str:
    """Text as a page may hold it, on one line: names of files may hold anything."""
    return escape(printable(encodable(text)))


def inline(data: bytes) -> str:
    """A WebP file as the address of a picture."""
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")


def document(title: str, style: str, body: str, head: str = "") -> str:
    """A page with everything in it. ``head``: more tags, which stand first."""
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8>{head}"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta name=color-scheme content='light dark'>"
        f"<title>{shown(title)}</title><style>{style}</style></head>"
        f"<body>{body}</body></html>\n"
    )
