"""How birefcli fails: the exit codes, and the exceptions that carry them.

It is imported before anything can catch a Ctrl-C: what it imports is quick to import.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

MISSPELLED = 0.7
"""How alike two words are, by difflib's ratio, where one may be the other misspelled."""


class ExitCode(IntEnum):
    """What the command's exit status means. Scripts rely on these numbers."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NO_INPUT = 3
    MODEL = 4
    OUTPUT = 5
    BUG = 70
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """One line for the help, the man page and the README."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "nothing failed: photos written, up to date or left alone",
    ExitCode.SOME_FAILED: "finished, but some photos failed; or a training diverged",
    ExitCode.USAGE: "the command line is wrong, or wants a package that is not installed",
    ExitCode.NO_INPUT: "nothing to do: no photo found, or none usable for training or scoring",
    ExitCode.MODEL: "model or device not available",
    ExitCode.OUTPUT: "output cannot be written, or two inputs have the same output name",
    ExitCode.BUG: "a bug in birefcli (the debug option shows a traceback)",
    ExitCode.BUSY: "another run is writing to the output folder",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.TERMINATED: "terminated (SIGTERM, or its terminal was closed)",
}


def printable(text: str) -> str:
    """Text on one line: file names may hold line breaks, bytes that are no text, and commands."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    # Python carries a byte of a name that is no UTF-8 as one of these; a shell writes it \xff.
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    if "\x80" <= char <= "\xff":  # a character, and no such byte
        return f"\\u{ord(char):04x}"
    return char.encode("unicode_escape", "surrogatepass").decode()


class Option(NamedTuple):
    """An option in a message, by its name in Python: whoever shows the message spells it."""

    name: str
    """Like ``max_megapixels``."""
    value: str | None = None
    given: bool = False
    """Whether this is what the user gave, and no advice."""

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


Spell: TypeAlias = Callable[[Option], str]
"""An option as its reader writes it: with dashes in a shell, ``device=cpu`` in Python."""


class Message:
    """A sentence that may name options. ``str()`` spells them as Python does."""

    def __init__(self, *parts: "str | Option | Message") -> None:
        """``parts`` follow each other without space between them."""
        self.parts: tuple[str | Option, ...] = tuple(
            inner
            for part in parts
            for inner in (part.parts if isinstance(part, Message) else (part,))
        )

    def spelled(self, spell: Spell) -> str:
        """The sentence with options as ``spell`` writes them."""
        return "".join(spell(part) if isinstance(part, Option) else part for part in self.parts)

    def __str__(self) -> str:
        return self.spelled(str)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"Message({str(self)!r})"


class BirefcliError(Exception):
    """A failure the user can act on: its text is one line that says file, cause and next step.

    ``option`` and ``value`` are those that are at fault, by the option's name in Python; the text
    then begins with them. ``hint`` is the next step, after a semicolon.
    """

    exit_code = ExitCode.BUG

    def __init__(
        self,
        text: str | Message,
        *,
        option: str | None = None,
        value: object = None,
        hint: str | Message | None = None,
    ) -> None:
        self.option, self.hint = option, hint
        self.value = None if value is None else str(value)
        subject = () if option is None else (Option(option, self.value, given=True), ": ")
        advice = () if hint is None else ("; ", hint)
        self.fault = Message(*subject, text)
        """The text without the hint."""
        self.message = Message(self.fault, *advice)
        # One argument, and all else as attributes: so it can be pickled.
        super().__init__(self.message)

    def rename(self, option: str, name: str) -> None:
        """Call an option as another face does, wherever the text names it."""
        parts = (
            part._replace(name=name) if isinstance(part, Option) and part.name == option else part
            for part in self.message.parts
        )
        self.message = Message(*parts)
        self.args = (self.message,)


class UsageError(BirefcliError, ValueError):
    """The options contradict each other or name something impossible."""

    exit_code = ExitCode.USAGE


def no_choice(
    option: str | None, value: object, choices: Iterable[object], *, meant: str | None = None
) -> UsageError:
    """The error for a word that is none of an option's choices: they, and what may be meant by it.

    ``meant``: None for the choice that the word is a misspelling of, if it is like any.
    """
    import difflib  # a wrong word alone needs it

    known = [str(choice) for choice in choices]
    near = [meant] if meant else difflib.get_close_matches(str(value), known, 1, MISSPELLED)
    text = f"choose from {', '.join(known)}"
    hint = f"did you mean {near[0]}?" if near else None
    return UsageError(text, option=option, value=value, hint=hint)


class NoInputError(BirefcliError):
    """No photo was found in what the user named."""

    exit_code = ExitCode.NO_INPUT


class ModelError(BirefcliError):
    """The weights are missing, unreachable, damaged, or do not fit the network."""

    exit_code = ExitCode.MODEL


class DeviceError(BirefcliError):
    """The device that was asked for is not there, or cannot do what was asked."""

    exit_code = ExitCode.MODEL


class OutputError(BirefcliError):
    """The output cannot be written, or two inputs have the same output name."""

    exit_code = ExitCode.OUTPUT


class InterruptError(BirefcliError):
    """Ctrl-C, where there is nothing else to report."""

    exit_code = ExitCode.INTERRUPTED


class BusyError(BirefcliError):
    """Another run holds the output folder."""

    exit_code = ExitCode.BUSY


class PairError(BirefcliError):
    """Something that was to be scored has no partner, and nothing was scored."""

    exit_code = ExitCode.NO_INPUT


class PhotoError(BirefcliError):
    """One photo cannot be read or matted; the others go on."""

    exit_code = ExitCode.SOME_FAILED


class NoPictureError(PhotoError, ValueError):
    """What a program gives as a photo is of a type that may be one, and holds no picture."""


class PhotoTooLargeError(PhotoError):
    """A photo has more pixels, or bytes, than are allowed."""


class DeviceMemoryError(PhotoError):
    """A photo does not fit the memory of its device; another may have more."""
