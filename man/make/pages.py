"""Write the man pages from the command line itself: ``python man/make/pages.py [FOLDER]``.

One page for ``birefcli`` and one per command, so that what a page says is what the command does;
what ``--help`` has no room for is in prose.py.
"""

import re
import runpy
import sys
import textwrap
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from birefcli import __version__
from birefcli.cli.app import app
from birefcli.errors import ExitCode
from birefcli.products.quality.check import Defect

PROSE = runpy.run_path(str(Path(__file__).with_name("prose.py")))
DATE = "2026-11-22"  # of the version; not today's: the same source gives the same pages
SEVERAL = "several with commas"  # in the help of an option that takes a list
# Names of options and variables are to be copied: never broken at the end of a line.
START = [".nh", ".ad l"]


def escape(text: str) -> str:
    """Text as roff reads it literally; what is between backquotes, bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return re.sub(r"[^\x00-\x7f]", lambda c: f"\\[u{ord(c[0]):04X}]", text)


def filled(text: str) -> list[str]:
    """A paragraph as lines of roff: each sentence begins one, none is longer than 78 bytes."""
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z0-9\\]|birefcli )", escape(" ".join(text.split())))
    return [
        re.sub(r"^([.'])", r"\\&\1", line)
        for sentence in sentences
        for line in textwrap.wrap(sentence, 78, break_long_words=False, break_on_hyphens=False)
    ]


def verbatim(text: str) -> list[str]:
    """Lines of a shell, with the very characters of the keyboard."""
    lines = escape(text.replace("`", "\0")).replace("\0", "\\(ga").replace("'", "\\(aq")
    return [".PP", ".RS 4", ".nf", *lines.replace("~", "\\(ti").split("\n"), ".fi", ".RE"]


def listed(items: Iterable[tuple[str, str]]) -> list[str]:
    """A list of terms, each with what it means; terms are roff already."""
    return [line for term, text in items for line in (".TP", term, *filled(text))]


def bold(text: str) -> str:
    """A term in bold."""
    return f".B {escape(text)}"


def page(path: list[str], command: Any) -> str:  # noqa: ANN401 - Typer vendors its classes
    """One man page."""
    name, spoken = "-".join(path), " ".join(path)
    summary, _, rest = (command.help or "").strip().partition("\n")
    lines = [
        f'.TH {name.upper()} 1 "{DATE}" "birefcli {__version__}" "User Commands"',
        *START,
        ".SH NAME",
        *filled(f"{name} - {summary.rstrip('.')}"),
        ".SH SYNOPSIS",
        f"\\fB{escape(spoken)}\\fR {_usage(command)}",
        ".SH DESCRIPTION",
        *_description(spoken, summary, rest),
        *_commands(path, command),
        *_arguments(command),
        *_options(command),
        *_exit_status(path),
        *_section("ENVIRONMENT", _environment(path, command)),
        *_section("FILES", [(bold(n), t) for n, t in PROSE["FILES"].get(spoken, [])]),
        *_examples(spoken),
        ".SH SEE ALSO",
        *_see_also(path, command),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, items: list[tuple[str, str]]) -> list[str]:
    return [f".SH {title}", *listed(items)] if items else []


def _usage(command: Any) -> str:  # noqa: ANN401
    """The words after the command, as roff: what must be there without brackets."""
    words = ["[\\fIOPTION\\fR]..."] if any(_is_option(p) for p in command.params) else []
    words += [f"\\fB\\-o\\fR \\fI{p.metavar}\\fR" for p in command.params if p.name == "output"]
    for parameter in command.params:
        if not _is_option(parameter):
            word = f"\\fI{_called(parameter)}\\fR" + ("..." if parameter.nargs == -1 else "")
            words.append(word if parameter.required else f"[{word}]")
    if hasattr(command, "commands"):
        words.append("\\fICOMMAND\\fR ...")
    return " ".join(words)


def _is_option(parameter: Any) -> bool:  # noqa: ANN401
    return bool(parameter.param_type_name == "option")


def _called(parameter: Any) -> str:  # noqa: ANN401
    return str(parameter.metavar or parameter.name).upper().strip("[]").removesuffix("...")


def _description(spoken: str, summary: str, rest: str) -> list[str]:
    # The docstring's line of example is in EXAMPLES.
    parts = [p for p in re.split(r"\n\s*\n", rest.strip()) if p and not p.startswith("birefcli ")]
    lines = filled(summary)
    for part in [*parts, *PROSE["MORE"].get(spoken, [])]:
        lines += [".PP", *filled(part)]
    if spoken == "birefcli matte":
        lines += [".SS Products", *listed((bold(n), t) for n, t in PROSE["PRODUCTS"])]
    if spoken == "birefcli sheet":
        told = [(f.value, f.meaning[0].upper() + f.meaning[1:] + ".") for f in Defect]
        lines += [".SS Flags", *listed((bold(n), t) for n, t in told)]
    return lines


def _commands(path: list[str], command: Any) -> list[str]:  # noqa: ANN401
    children = getattr(command, "commands", {}).items()
    short = [(name, (child.help or "").strip().partition("\n")[0]) for name, child in children]
    return _section("COMMANDS", [(bold(" ".join([*path, name])), text) for name, text in short])


def _arguments(command: Any) -> list[str]:  # noqa: ANN401
    told = [p for p in command.params if not _is_option(p) and p.help]
    return _section("ARGUMENTS", [(f".I {escape(_called(p))}", p.help) for p in told])


def _options(command: Any) -> list[str]:  # noqa: ANN401
    panels: dict[str, list[Any]] = {}
    for parameter in filter(_is_option, command.params):
        panel = str(parameter.rich_help_panel or "Options")
        panels.setdefault(panel, []).append(parameter)
    lines = [".SH OPTIONS"] if panels else []
    for panel, parameters in panels.items():
        lines += [f".SS {panel}"] if panel != "Options" else []
        lines += listed((_spelled(p), _told(p)) for p in parameters)
    return lines


def _spelled(parameter: Any) -> str:  # noqa: ANN401
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=lambda n: n.startswith("--"))
    text = ", ".join(f"\\fB{escape(name)}\\fR" for name in names)
    if parameter.is_flag:
        return text
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{text} " + "|".join(f"\\fB{escape(member.value)}\\fR" for member in kind)
    return f"{text} \\fI{escape(parameter.metavar or 'VALUE')}\\fR"


def _told(parameter: Any) -> str:  # noqa: ANN401
    text = re.sub(r" \[default: (\w+)\]", r" Default: \1.", parameter.help or "")
    if parameter.multiple and SEVERAL in text:
        text = text.replace(SEVERAL, f"{SEVERAL}, or repeated")
    elif parameter.multiple and "repeat" not in text:
        text = f"{text.rstrip('.')}; may be repeated."
    default = _default(parameter)
    return text if default is None else f"{text} Default: {default}."


def _default(parameter: Any) -> str | None:  # noqa: ANN401
    default = getattr(parameter.default, "value", parameter.default)
    if parameter.is_flag and parameter.secondary_opts:
        return str(parameter.opts[0] if default else parameter.secondary_opts[0])
    if parameter.is_flag or default in (None, "", [], ()) or not parameter.show_default:
        return None
    return f"{default:g}" if isinstance(default, float) else str(default)


def _exit_status(path: list[str]) -> list[str]:
    if "models" in path:  # the table speaks of photos
        return [".SH EXIT STATUS", *filled(PROSE["MODELS_STATUS"]), ".BR birefcli (1)."]
    told = [(bold(str(c.value)), f"{c.meaning[0].upper()}{c.meaning[1:]}.") for c in ExitCode]
    return _section("EXIT STATUS", told)


def _environment(path: list[str], command: Any) -> list[tuple[str, str]]:  # noqa: ANN401
    own = [(f"`{p.opts[0]}`", p.envvar) for p in filter(_is_option, command.params) if p.envvar]
    text = "Default of a long option, for a crontab: "
    if own and len(own) == sum(map(_is_option, command.params)):
        first = [("BIREFCLI_OPTION", text + "BIREFCLI_MODEL for `--model`; 1 or 0 for a flag.")]
    elif own:
        options = ", ".join(option for option, _ in own)
        first = [("BIREFCLI_OPTION", f"{text}{own[0][1]} for {own[0][0]}. Read for {options}.")]
    else:
        first = []
    rest = [v for v in PROSE["VARIABLES"] if _is_read(v[0], path)]
    return [(bold(name), text) for name, text in [*first, *rest]]


def _is_read(variable: str, path: list[str]) -> bool:
    """Whether a command has to do with what a variable is about."""
    hub = variable.startswith("HF_")
    network = hub or variable.startswith("OMP_")
    return hub if "models" in path else not (network and "sheet" in path)


def _examples(spoken: str) -> list[str]:
    lines = [".SH EXAMPLES"] if spoken in PROSE["EXAMPLES"] else []
    for number, (text, command) in enumerate(PROSE["EXAMPLES"].get(spoken, [])):
        lines += [*([".PP"] if number else []), *filled(text), *verbatim(command)]
    return lines


def _see_also(path: list[str], command: Any) -> list[str]:  # noqa: ANN401
    others = ["-".join(path[:length]) for length in range(1, len(path))]
    others += ["-".join([*path, name]) for name in getattr(command, "commands", {})]
    *first, last = sorted(others)
    return [f".BR {escape(name)} (1)," for name in first] + [f".BR {escape(last)} (1)"]


def pages() -> dict[str, str]:
    """Every page by its file name."""

    def walk(path: list[str], command: Any) -> dict[str, str]:  # noqa: ANN401
        made = {f"{'-'.join(path)}.1": page(path, command)}
        for name, child in getattr(command, "commands", {}).items():
            made |= walk([*path, name], child)
        return made

    return walk(["birefcli"], typer.main.get_command(app))


def main() -> None:
    """Write all pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "man1"
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
