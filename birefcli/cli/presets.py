"""``birefcli presets``: sets of options by name."""

import sys
from typing import Annotated, Any

import typer

from birefcli.cli import completion
from birefcli.products.presets import Preset, find_preset, presets
from birefcli.system.text import json_line

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Presets to show; all without any.",
        show_default=False,
        autocompletion=completion.preset,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def list_presets(names: Names = None, as_json: Json = False) -> None:
    """Show the sets of options that --preset can name.

    On a terminal in paragraphs; otherwise tab-separated lines under a header line.
    """
    shown = [find_preset(name) for name in names or presets()]
    if as_json:
        for preset in shown:
            print(json_line(_record(preset)))
    elif sys.stdout.isatty():
        print("\n\n".join(_paragraph(preset) for preset in shown))
    else:
        print("name", "purpose", "options", "source", "read", sep="\t")
        for preset in shown:
            row = preset.name, preset.purpose, _typed(preset), preset.source, preset.read
            print(*row, sep="\t")


def _record(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "purpose": preset.purpose,
        "options": preset.words,
        "source": preset.source or None,
        "read": preset.read or None,
    }


def _paragraph(preset: Preset) -> str:
    lines = [f"{preset.name}: {preset.purpose}", f"  {_typed(preset)}"]
    if preset.source:
        lines.append(f"  {preset.source} (read {preset.read})")
    return "\n".join(lines)


def _typed(preset: Preset) -> str:
    """The options as one types them."""
    words = ((name.replace("_", "-"), str(word)) for name, word in preset.words.items())
    return " ".join(f"--{name} {_quoted(word)}" for name, word in words)


def _quoted(word: str) -> str:
    return f"'{word}'" if "#" in word else word
