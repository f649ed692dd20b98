"""Options that want a file or folder of this machine, where others take URLs of stores as well."""

from pathlib import Path

import typer

from birefcli.system.object_url import is_url
from birefcli.system.paths import named, with_home


def local_path(text: str) -> Path:
    """The path of an option, with its ``~``. Raises BadParameter for a URL."""
    return Path(with_home(_local(text)))


def local_text(text: str) -> str:
    """The same as text."""
    return with_home(_local(text))


def local_file(text: str) -> Path:
    """The path of a file or folder whose name a shell has left. Raises BadParameter for a URL."""
    return Path(named(_local(text)))


def local_name(text: str) -> str:
    """The same as text."""
    return named(_local(text))


def _local(text: str) -> str:
    if is_url(text):
        raise typer.BadParameter("is in an object store; name a file or folder here")
    return text
