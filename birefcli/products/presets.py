"""Named sets of options: data, which a table holds."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from birefcli.errors import no_choice


@dataclass(frozen=True)
class Preset:
    """One set of options."""

    name: str
    purpose: str
    words: dict[str, Any]
    """Values of options by their names, as a command line has them."""
    source: str = ""
    """Where its figures are from."""
    read: str = ""
    """When that was read: YYYY-MM-DD."""


@cache
def presets() -> dict[str, Preset]:
    """All presets by their names."""
    import tomllib  # which most commands need not
    from importlib import resources

    table = resources.files("birefcli").joinpath("data", "presets.toml").read_text("utf-8")
    return {
        name: Preset(
            name, entry["purpose"], entry["options"], entry.get("source", ""), entry.get("read", "")
        )
        for name, entry in tomllib.loads(table).items()
    }


def find_preset(name: str) -> Preset:
    """The preset of a name. Raises UsageError."""
    found = presets().get(name)
    if found is None:
        raise no_choice("preset", name, presets())
    return found
