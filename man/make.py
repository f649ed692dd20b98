"""Write the man pages from the command line itself: ``python man/make.py [FOLDER]``.

One page for ``birefcli`` and one per command, so that what a page says is what the command does.
"""

import re
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from birefcli import __version__
from birefcli.cli import app
from birefcli.errors import ExitCode

ENVIRONMENT = [
    ("BIREFCLI_OPTION", "Default of a long option of birefcli matte, for a crontab: "
     "BIREFCLI_MODEL for --model, BIREFCLI_PATCH_ORDER for --patch-order."),
    ("HF_HOME, HF_HUB_CACHE", "Where downloaded weights are kept."),
    ("HF_HUB_OFFLINE", "1: never ask the network."),
    ("HF_ENDPOINT, HF_TOKEN", "Another Hub, and who asks."),
    ("NO_COLOR", "Any value: no colours."),
]  # fmt: skip
EXAMPLES = [
    ("Cut out every portrait of a folder:", "birefcli matte photos/ -o cutouts/"),
    ("White background, as shops want it:",
     "birefcli matte photos/ -o shop/ --write composite --format jpg"),
    ("In a pipe:", "birefcli matte - -o - < a.jpg > a.png"),
    ("How good are these mattes?", "birefcli score predictions/ truths/ --report report.html"),
    ("Fine-tune the small model on photos in im/ with masks in gt/:",
     "birefcli train photos/ -o mine.safetensors --from mini"),
    ("Without a download:", "birefcli matte photos/ -o cutouts/ --model mini"),
]  # fmt: skip


def escape(text: str) -> str:
    """Text as roff reads it literally, on one line."""
    plain = re.sub(r"\[/?[a-z ]+\]", "", text)  # rich's markup
    plain = plain.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", " ".join(plain.split()))


def paragraphs(text: str) -> list[str]:
    """Paragraphs of a docstring, as roff."""
    return [line for part in re.split(r"\n\s*\n", text) for line in (".PP", escape(part))]


def page(path: list[str], command: Any) -> str:  # noqa: ANN401 - Typer vendors its classes
    """One man page."""
    name = "-".join(path)
    summary, _, rest = (command.help or "").strip().partition("\n")
    lines = [
        f'.TH {name.upper()} 1 "" "birefcli {__version__}" "User Commands"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {escape(' '.join(path))}",
        escape(_usage(command)),
        ".SH DESCRIPTION",
        escape(summary),
        *(paragraphs(rest.strip()) if rest.strip() else []),
    ]
    lines += _commands(path, command) + _options(command)
    if path[-1] in ("birefcli", "matte", "train"):
        lines += _tail()
    lines += [".SH SEE ALSO", _see_also(path)]
    return "\n".join(lines) + "\n"


def _usage(command: Any) -> str:  # noqa: ANN401
    words = ["[OPTIONS]"] if any(p.param_type_name == "option" for p in command.params) else []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = (parameter.metavar or parameter.name).upper().strip("[]").removesuffix("...")
            many = "..." if parameter.nargs == -1 else ""
            words.append(f"{name}{many}" if parameter.required else f"[{name}{many}]")
    if hasattr(command, "commands"):
        words.append("COMMAND ...")
    return " ".join(words)


def _commands(path: list[str], command: Any) -> list[str]:  # noqa: ANN401
    lines = [".SH COMMANDS"] if hasattr(command, "commands") else []
    for name, child in getattr(command, "commands", {}).items():
        short = (child.help or "").strip().partition("\n")[0]
        lines += [".TP", f".B {escape(' '.join([*path, name]))}", escape(short)]
    return lines


def _options(command: Any) -> list[str]:  # noqa: ANN401
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(parameter)
    lines = []
    for panel, parameters in panels.items():
        lines.append(f".SH {panel.upper() if panel == 'Options' else (panel + ' options').upper()}")
        for parameter in parameters:
            lines += [".TP", f".B {escape(_spelled(parameter))}", escape(_told(parameter))]
    return lines


def _spelled(parameter: Any) -> str:  # noqa: ANN401
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{names} {'|'.join(member.value for member in kind)}"
    return f"{names} {parameter.metavar or 'VALUE'}"


def _told(parameter: Any) -> str:  # noqa: ANN401
    text = parameter.help or ""
    default = getattr(parameter.default, "value", parameter.default)
    if parameter.is_flag or default in (None, "", [], ()) or not parameter.show_default:
        return text
    return f"{text} Default: {default}."


def _tail() -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code in ExitCode:
        lines += [
            ".TP",
            f".B {code.value}",
            escape(code.meaning[0].upper() + code.meaning[1:] + "."),
        ]
    lines.append(".SH ENVIRONMENT")
    for name, text in ENVIRONMENT:
        lines += [".TP", f".B {escape(name)}", escape(text)]
    lines.append(".SH EXAMPLES")
    for text, command in EXAMPLES:
        lines += [".PP", escape(text), ".PP", ".nf", ".RS", escape(command), ".RE", ".fi"]
    return lines


def _see_also(path: list[str]) -> str:
    others = ["birefcli"] if len(path) > 1 else [f"birefcli\\-{name}" for name in _top().commands]
    return ",\n".join(f".BR {name} (1)" for name in others).replace(",\n.BR", " ,\n.BR")


def _top() -> Any:  # noqa: ANN401
    return typer.main.get_command(app)


def pages() -> dict[str, str]:
    """Every page by its file name."""

    def walk(path: list[str], command: Any) -> dict[str, str]:  # noqa: ANN401
        made = {f"{'-'.join(path)}.1": page(path, command)}
        for name, child in getattr(command, "commands", {}).items():
            made |= walk([*path, name], child)
        return made

    return walk(["birefcli"], _top())


def main() -> None:
    """Write all pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
