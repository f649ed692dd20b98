"""What somebody means by an option or a command that is not there."""

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from birefcli.cli import debugging
from birefcli.cli.synonyms import COMMAND_OPTIONS, COMMANDS, EXPLAINED, OPTIONS
from birefcli.errors import MISSPELLED
from birefcli.images.files import PHOTO_SUFFIXES
from birefcli.system.paths import exists

NEAR, SAME = MISSPELLED, 0.8
"""How alike two words are where one may be the other misspelled; and where that is no guess."""


def explain_option(context: Any, option: str) -> str:  # noqa: ANN401 - Typer vendors its classes
    """What to do about an option that a command lacks; empty where nothing is like it."""
    command, word = context.command, option.lstrip("-")
    names = {name for p in command.get_params(context) for name in (*p.opts, *p.secondary_opts)}
    if context.info_name in EXPLAINED.get(word, {}):
        return EXPLAINED[word][context.info_name]
    meant = _meant(word, names)
    if meant is None and word in COMMAND_OPTIONS and COMMAND_OPTIONS[word] != context.info_name:
        meant = f"birefcli {COMMAND_OPTIONS[word]}"
    if meant is None and hasattr(command, "commands"):
        meant = _of_a_command(context, option)
    if meant is None and len(word) > 1 and word.lower() not in OPTIONS:
        meant = _nearest_option(word, names)
    return "" if meant is None else f"did you mean {meant}?"


def explain_command(group: Any, words: Sequence[str]) -> str:  # noqa: ANN401
    """What to do about words that begin with no command; empty where nothing is like it."""
    root, word = group.name == "birefcli", words[0]
    if root and (word.endswith("/") or Path(word).suffix.lower() in PHOTO_SUFFIXES):
        return _matted(words)
    if root and word == "help" and len(words) > 1 and words[1] in group.commands:
        return f"did you mean birefcli {words[1]} --help?"
    if root and word in ("man", "manual"):
        return "did you mean man birefcli?"
    near = _nearest(word, group.commands)
    meant = _meant_command(group, word)
    if meant is None and near is None and root:
        other = _nearest(word.lower(), COMMANDS)
        meant = None if other is None else COMMANDS[other]
    if meant is None and near is None:
        return _matted(words) if root and exists(Path(word)) else ""
    return f"did you mean {meant or near}?"


def _meant_command(group: Any, word: str) -> str | None:  # noqa: ANN401
    """What another tool's command is called here; in a group, by the group's commands."""
    meant = COMMANDS.get(word.lower())
    if meant is None or group.name == "birefcli":
        return meant
    first, _, inner = meant.partition(" ")
    return inner if first == group.name and inner else None


def _matted(words: Sequence[str]) -> str:
    """The command for photos or folders, as they were typed, to be copied into a shell."""
    first = f"./{words[0]}" if words[0].startswith("-") else words[0]
    outputs = re.compile("-o.*|--output(=.*)?", re.DOTALL)
    more = () if any(map(outputs.fullmatch, words)) else ("-o", "cutouts/")
    return f"did you mean {shlex.join(('birefcli', 'matte', first, *words[1:], *more))}?"


def _meant(word: str, names: Collection[str]) -> str | None:
    """What another tool's option is called here, by the options that a command has."""
    for phrase in OPTIONS.get(word.lower(), ()):
        if all(name in names for name in options_of(phrase)):
            return phrase
    return None


def _of_a_command(context: Any, option: str) -> str | None:  # noqa: ANN401
    """An option that stands before the command it is of."""
    for name, command in context.command.commands.items():
        if any(option in p.opts or option in p.secondary_opts for p in command.params):
            return f"{context.command_path} {name} {option}"
    return None


def options_of(phrase: str) -> list[str]:
    """The options that a phrase names."""
    return re.findall(r"--[a-z-]+", phrase)


def _nearest_option(word: str, names: Iterable[str]) -> str | None:
    """A misspelled option, of birefcli's own or of another tool's."""
    own = {name.lstrip("-"): name for name in names if name.startswith("--")}
    theirs = {other: meant for other in OPTIONS if (meant := _meant(other, own.values()))}
    near = _nearest(word, {**theirs, **own})
    # Who looks for something else is not helped with a traceback.
    guess = near is not None and own.get(near) == debugging.OPTION
    if near is None or (guess and _alike(word, near) < SAME):
        return None
    return own.get(near) or theirs[near]


def _nearest(word: str, known: Iterable[str]) -> str | None:
    likest = max(known, key=lambda other: _alike(word, other), default=None)
    return likest if likest is not None and _alike(word, likest) >= NEAR else None


def _alike(word: str, other: str) -> float:
    return SequenceMatcher(None, word, other).ratio()
