"""Words on a command line to values by option name, and the help: argparse over the fields of ``options``.

argparse splits the words and writes the help. A value is still as it was written: its meaning is checked
where YAML's and Python users' values are, with the same messages.
"""

import argparse
import dataclasses
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from metarl.cli.options import COMMANDS, Command, Field
from metarl.core.errors import RequestError
from metarl.run.config.fields import Kind, accept, meant

ABOUT = (
    "Optimisation-based meta-reinforcement learning: agents that adapt to a new task within a few episodes."
)
EXITS = (
    "Exit status: 0 done; 1 the run failed and can be resumed; 2 the request cannot be met, nothing was "
    "written; 130 or 143 stopped by a signal after saving."
)
HELP = ("-h", "--help")


def parse(args: Sequence[str]) -> tuple[Command, dict[str, Any]] | str:
    """Return the command and the values that were given, by option name; or the help that was asked for.

    Raises:
        RequestError: for a command line that is not understood; one line with what is allowed.
    """
    if args and args[0] in HELP:
        return _overview()
    if not args or args[0] not in COMMANDS:
        line = f"unknown command {args[0]!r}" if args else "no command given"
        raise RequestError(f"{line}; {meant(''.join(args[:1]), COMMANDS)} (metarl --help explains them)")
    command = COMMANDS[args[0]]
    parser = _parser(command)
    if any(word in HELP for word in args[1:]):
        return parser.format_help().rstrip()
    try:
        values, rest = parser.parse_known_intermixed_args(_joined(args[1:]))
    except argparse.ArgumentError as error:
        field = next(field for field in command.fields if _flag(field) == error.argument_name)
        needs = field.metadata["kind"].metavar
        raise RequestError(f"option {_flag(field)} of metarl {command.name} needs {needs}") from None
    if rest:
        raise RequestError(_unknown(command, min(rest, key=lambda word: not word.startswith("-"))))
    asked = {name: value for name, value in vars(values).items() if value is not None}
    asked = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    if not asked.get(command.positional):
        asked.pop(command.positional, None)
        if command.required:
            metadata = command.fields[0].metadata
            raise RequestError(f"{command.name} needs {metadata['kind'].metavar}: {metadata['text']}")
    return command, asked


def checked(group: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of one of a command's groups of options, defaults included.

    Raises:
        RequestError: naming the option, what is allowed and what was given.
    """
    return {
        field.name: accept(field, values[field.name]) if field.name in values else field.metadata["default"]
        for field in dataclasses.fields(group)
    }


def _parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of a command, its options in sections, which keeps every value as it was written."""
    first = command.fields[0]
    shown = _metavar(first) if command.required else f"[{_metavar(first)}]"
    parser = argparse.ArgumentParser(
        usage=f"metarl {command.name} {shown} [options]",
        description=command.text,
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
        exit_on_error=False,
    )
    nargs = "*" if first.metadata["kind"].nargs == "*" else "?"
    parser.add_argument(first.name, nargs=nargs, metavar=_metavar(first), help=_explained(first))
    section: Any = None if first.name in command.sections else parser.add_argument_group("options")
    for field in command.fields[1:]:
        if field.name in command.sections:
            section = parser.add_argument_group(command.sections[field.name])
        kind: Kind = field.metadata["kind"]
        words: dict[str, Any] = {"nargs": "?", "const": True} if kind.nargs == (0, 1) else {}
        if kind.nargs == "*":
            words = {"nargs": "*", "action": "extend" if kind.repeats else "store"}
        about = f"{_explained(field)} (default: {_default(command, field)})".replace("%", "%%")
        section.add_argument(_flag(field), metavar=_metavar(field), help=about, **words)
    return parser


class _Help(argparse.HelpFormatter):
    """Explanations from column 26, on lines of at most 110 characters."""

    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size((100, 24)).columns
        super().__init__(prog, max_help_position=26, width=min(110, columns))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)  # meta-sgd is one word


def _joined(args: Sequence[str]) -> list[str]:
    """Return the words with ``--inner_lr -1e-3`` as ``--inner-lr=-1e-3``, a value to argparse."""
    words: list[str] = []
    for word in args:
        follows_option = bool(words) and words[-1].startswith("--") and "=" not in words[-1]
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            words.append(f"{name.replace('_', '-')}{equals}{value}")
        elif word.startswith("-") and follows_option:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _unknown(command: Command, word: str) -> str:
    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"unexpected {word!r} after metarl {command.name}; see metarl {command.name} --help"
    return f"unknown option {name} of metarl {command.name}; {meant(name, map(_flag, command.fields[1:]))}"


def _overview() -> str:
    """Return the help of ``metarl`` itself: its commands."""
    usage = "metarl COMMAND ..., metarl COMMAND --help, metarl --version"
    parser = argparse.ArgumentParser(
        usage=usage, description=ABOUT, epilog=EXITS, formatter_class=_Help, add_help=False
    )
    commands = parser.add_argument_group("commands")
    for name, command in COMMANDS.items():
        commands.add_argument(name, nargs="?", help=command.text.partition("\n")[0])
    return parser.format_help().rstrip()


def _flag(field: Field) -> str:
    return f"--{field.name.replace('_', '-')}"


def _metavar(field: Field) -> str:
    """Return the word for a value; a choice that stands without ``--`` is called after its option."""
    metavar: str = field.metadata["kind"].metavar.removesuffix(" ...")
    return field.name.upper() if metavar.startswith("{") and len(metavar) > 40 else metavar


def _explained(field: Field) -> str:
    allowed = f", {field.metadata['kind'].allowed}" if _metavar(field) == field.name.upper() else ""
    return f"{field.metadata['text']}{allowed}"


def _default(command: Command, field: Field) -> str:
    """Return the default as one would write it."""
    value = command.default(field)
    if value is None:
        return str(field.metadata["unset"])
    if isinstance(value, (tuple, dict)):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
