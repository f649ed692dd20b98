"""The output as a prefix of objects: what a search leaves out for it."""

from collections.abc import Iterator
from contextlib import suppress

from birefcli.errors import UsageError
from birefcli.options import Selection
from birefcli.system.object_url import ObjectUrl, is_url, parse_url


def output_url(selection: Selection) -> ObjectUrl:
    """The prefix or object that the output is. Raises UsageError where it is no URL."""
    try:
        return parse_url(selection.output)
    except ValueError as error:
        raise UsageError(str(error), option="output", value=selection.output) from None


def prefix_left_out(prefix: ObjectUrl, selection: Selection) -> ObjectUrl | None:
    """The output's prefix where it lies strictly below a prefix that is searched.

    What is an input itself is left out of no search. Raises UsageError.
    """
    if not is_url(selection.output):
        return None
    out = output_url(selection).as_prefix
    is_below = out != prefix and out.is_within(prefix)
    return out if is_below and out not in _prefixes(selection) else None


def _prefixes(selection: Selection) -> Iterator[ObjectUrl]:
    """The inputs that are URLs, as prefixes."""
    for name in selection.inputs:
        if is_url(name):
            with suppress(ValueError):
                yield parse_url(name).as_prefix
