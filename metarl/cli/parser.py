"""Words on a command line to values by option name, and the help.

Both are read off the fields of ``options``. The grammar is small and not argparse's, which takes ``-1e-3``
for an option and whose complaints do not say what is allowed. A value is still as it was written: its meaning
is checked where YAML's and Python users' values are, with the same messages.
"""

import difflib
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from metarl.cli.options import COMMANDS, Command, Field
from metarl.core.errors import RequestError
from metarl.run.fields import Kind, accept

ABOUT = (
    "Optimisation-based meta-reinforcement learning: agents that adapt to a new task within a few episodes."
)
EXITS = (
    "Exit status: 0 done; 1 the run failed and can be resumed; 2 the request cannot be met, nothing was "
    "written; 130 or 143 stopped by a signal after saving."
)
HELP = ("-h", "--help")
COLUMN = 24  # where explanations begin


def parse(args: Sequence[str]) -> tuple[Command, dict[str, Any]] | str:
    """Return the command and the values that were given, by option name; or the help that was asked for.

    Raises:
        RequestError: for a command line that is not understood; one line with what is allowed.
    """
    if args and args[0] in HELP:
        return overview()
    if not args or args[0] not in COMMANDS:
        line = f"unknown command {args[0]!r}" if args else "no command given"
        close = difflib.get_close_matches(args[0], COMMANDS, cutoff=0.7) if args else []
        hint = f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(COMMANDS)}"
        raise RequestError(f"{line}; {hint} (metarl --help explains them)")
    command = COMMANDS[args[0]]
    if any(word in HELP for word in args[1:]):
        return explained(command)
    values = _words(command, args[1:])
    if command.required and command.positional not in values:
        kind: Kind = command.fields[0].metadata["kind"]
        raise RequestError(f"{command.name} needs {kind.metavar}: {command.fields[0].metadata['text']}")
    return command, values


def checked(group: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of one of a command's groups of options, defaults included.

    Raises:
        RequestError: naming the option, what is allowed and what was given.
    """
    fields = {field.name: field for field in group.__dataclass_fields__.values()}  # type: ignore[attr-defined]
    return {
        name: accept(field, values[name]) if name in values else field.metadata["default"]
        for name, field in fields.items()
    }


def _words(command: Command, args: Sequence[str]) -> dict[str, Any]:
    """Return the words of each option that is given; an option that repeats adds to those before."""
    values: dict[str, Any] = {}
    words = list(args)
    while words:
        word = words.pop(0)
        field, given = _field(command, word), []
        kind: Kind = field.metadata["kind"]
        if not word.startswith("--"):
            given = [word]
        elif "=" in word:
            given = [word.partition("=")[2]]
        else:
            most = len(words) if kind.nargs == "*" else 1
            while words and len(given) < most and not words[0].startswith("--"):
                given.append(words.pop(0))
        if kind.nargs == "*":
            adds = kind.repeats or field.name == command.positional
            values[field.name] = (*(values.get(field.name, ()) if adds else ()), *given)
        elif field.name == command.positional and field.name in values:
            raise RequestError(
                f"unexpected {word!r} after metarl {command.name}; see metarl {command.name} --help"
            )
        elif not given and kind.nargs == 1:
            raise RequestError(f"option {_flag(field)} of metarl {command.name} needs {kind.metavar}")
        else:
            values[field.name] = given[0] if given else True
    return values


def _field(command: Command, word: str) -> Field:
    """Return the field that a word names, or that a word without dashes is a value of."""
    name = word.partition("=")[0]
    if not word.startswith("-"):
        return command.fields[0]
    allowed = {_flag(field): field for field in command.fields[1:]}
    if (flag := name.replace("_", "-")) in allowed:
        return allowed[flag]
    close = difflib.get_close_matches(name, allowed, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}?" if close else f"allowed: {' '.join(allowed)}"
    raise RequestError(f"unknown option {name} of metarl {command.name}; {hint}")


def _flag(field: Field) -> str:
    return f"--{field.name.replace('_', '-')}"


def overview() -> str:
    """Return the help of ``metarl`` itself: its commands."""
    commands = [_entry(name, command.text.partition("\n")[0]) for name, command in COMMANDS.items()]
    usage = "usage: metarl COMMAND ..., metarl COMMAND --help, metarl --version"
    return "\n".join([usage, "", _filled(ABOUT), "", "commands:", *commands, "", _filled(EXITS)])


def explained(command: Command) -> str:
    """Return the help of a command: its options in sections, each with what it may be and its default."""
    first = command.fields[0]
    kind: Kind = first.metadata["kind"]
    metavar, text = kind.metavar, first.metadata["text"]
    if metavar.startswith("{"):
        metavar, text = first.name.upper(), f"{text}, {kind.allowed}"
    lines = [f"usage: metarl {command.name} {metavar if command.required else f'[{metavar}]'} [options]", ""]
    lines += [_filled(paragraph) for paragraph in command.text.split("\n")]
    lines += ["", _entry(metavar, text)]
    section = "" if first.name in command.sections else "options"
    for field in command.fields[1:]:
        if field.name in command.sections or section:
            lines += ["", f"{command.sections.get(field.name, section)}:"]
            section = ""
        lead = f"{_flag(field)} {field.metadata['kind'].metavar}"
        lines.append(_entry(lead, f"{field.metadata['text']} (default: {_default(command, field)})"))
    return "\n".join(lines)


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


def _entry(lead: str, text: str) -> str:
    """Return a name and its explanation beside it, or under it where the name is long."""
    indent = " " * COLUMN
    beside = len(lead) + 4 <= COLUMN
    lines = _filled(text, f"  {lead}".ljust(COLUMN) if beside else indent, indent)
    return lines if beside else f"  {lead}\n{lines}"


def _filled(text: str, first: str = "", indent: str = "") -> str:
    width = min(110, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
