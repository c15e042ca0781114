"""Words on a command line to values by option name; help and grammar are tyro's.

tyro is handed words and keeps words, so that their meaning is checked where YAML and Python users' values
are, with the same messages; its own boxed messages become one line each.
"""

import contextlib
import dataclasses
import difflib
import io
import re
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from metarl.core.errors import RequestError
from metarl.run.fields import Kind, accept
from metarl.run.options import COMMANDS, Command, Field

ABOUT = (
    "Optimisation-based meta-reinforcement learning: agents that adapt to a new task within a few episodes."
)
EXITS = (
    "Exit status: 0 done; 1 the run failed and can be resumed; 2 the request cannot be met, nothing was "
    "written; 130 or 143 stopped by a signal after saving."
)


def parse(args: Sequence[str]) -> tuple[Command, dict[str, Any]]:
    """The command and the values that were given, by option name; a value is still as it was written.

    Raises:
        RequestError: for a command line that is not understood; one line with what is allowed.
        SystemExit: with status 0, after printing the help that was asked for.
    """
    if args and args[0] in ("-h", "--help"):
        tyro.extras.subcommand_cli_from_dict(
            {name: _parser(command) for name, command in COMMANDS.items()},
            prog="metarl",
            description=f"{ABOUT}\n\nmetarl --version prints the version. {EXITS}",
            args=["--help"],
        )
    if not args or args[0] not in COMMANDS:
        given = f"unknown command {args[0]!r}" if args else "no command given"
        raise RequestError(f"{given}; allowed: {', '.join(COMMANDS)} (metarl --help explains them)")
    command = COMMANDS[args[0]]
    values = _words(command, args[1:])
    if command.required and command.positional not in values:
        field = command.fields[0]
        kind: Kind = field.metadata["kind"]
        raise RequestError(f"{command.name} needs {kind.metavar}: {field.metadata['text']}")
    return command, values


def filled(group: type, values: dict[str, Any]) -> Any:
    """One of a command's groups of options, its values checked and its defaults filled in.

    Raises:
        RequestError: naming the option, what is allowed and what was given.
    """
    fields = {field.name: field for field in dataclasses.fields(group)}
    given = {name: accept(fields[name], value) for name, value in values.items() if name in fields}
    return group(**{name: field.metadata["default"] for name, field in fields.items()} | given)


def _words(command: Command, args: Sequence[str]) -> dict[str, Any]:
    """What tyro reads, without the options that were not given."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            made, rest = tyro.cli(  # type: ignore[var-annotated]
                _parser(command), prog=f"metarl {command.name}", args=list(args), return_unknown_args=True
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise RequestError(_told(command, errors.getvalue())) from None
    if rest:
        raise RequestError(_unknown(command, rest[0]))
    values = {
        field.name: _value(field.metadata["kind"], getattr(made, field.name)) for field in command.fields
    }
    return {name: value for name, value in values.items() if value is not None}


def _value(kind: Kind, words: Any) -> Any:
    """The words as the kind takes them: all of them, the only one, or yes for an option left bare."""
    if kind.repeats:  # a tuple of words for each time that the option stands there
        return tuple(word for group in words for word in group) if words else None
    if words is None or kind.nargs == "*" or len(words) > 1:
        return words
    return words[0] if words else True


def _unknown(command: Command, word: str) -> str:
    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"unexpected {word!r} after metarl {command.name}; see metarl {command.name} --help"
    allowed = [
        f"--{field.name.replace('_', '-')}" for field in command.fields if field.name != command.positional
    ]
    close = difflib.get_close_matches(name, allowed, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}?" if close else f"allowed: {' '.join(allowed)}"
    return f"unknown option {name} of metarl {command.name}; {hint}"


def _told(command: Command, box: str) -> str:
    """tyro's complaint in one line: the box's text, without its title and its pointer to the help."""
    text = " ".join(line.strip("│ ") for line in box.splitlines()[1:] if line.strip("│╰╯─- "))
    missing = re.match(r"Missing value for argument '--([\w-]+)'", text)
    for field in command.fields:
        if missing and field.name == missing[1].replace("-", "_"):
            return f"option --{missing[1]} of metarl {command.name} needs {field.metadata['kind'].metavar}"
    return text.partition(" For full helptext")[0]


def _parser(command: Command) -> type:
    """A class from which tyro makes the command's parser and help."""
    entries = [(field.name, *_entry(command, field)) for field in command.fields]
    parser = dataclasses.make_dataclass(command.name, entries)
    parser.__doc__ = command.text
    return parser


def _entry(command: Command, field: Field) -> tuple[Any, Any]:
    """The type that makes tyro hand over words, and the value that stands for an option not given."""
    kind: Kind = field.metadata["kind"]
    positional = field.name == command.positional
    hint = "" if positional else f"(default: {_shown(command, field)})"
    about = tyro.conf.arg(help=field.metadata["text"], help_behavior_hint=hint, metavar=kind.metavar)
    words = PrimitiveConstructorSpec(
        nargs=kind.nargs,
        metavar=kind.metavar,
        instance_from_str=tuple,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda _: [],
    )
    if kind.repeats:
        return Annotated[tuple[Annotated[Any, words], ...], about, tyro.conf.UseAppendAction], ()
    return Annotated[(Any, words, about, *((tyro.conf.Positional,) if positional else ()))], None


def _shown(command: Command, field: Field) -> str:
    """The default as one would write it."""
    value = command.default(field)
    if value is None:
        return str(field.metadata["unset"])
    if isinstance(value, (tuple, dict)):
        return " ".join(map(str, value)) or "none"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
