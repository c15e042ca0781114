"""YAML as the configuration files use it: safe, with ``1e-3`` read as the number it looks like.

PyYAML follows YAML 1.1, in which a float needs a point and a signed exponent, so that ``meta_lr: 1e-3`` would
be text. Reader and writer here share YAML 1.2's rule; what one writes the other reads back unchanged.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from metarl.core.errors import RequestError
from metarl.run.store.files import read_limited

_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
LIMIT = 1 << 20  # bytes of a file; a configuration has two thousand
DIGITS = 1000  # of a whole number, in whatever base


class _Reader(yaml.SafeLoader):
    """Without aliases, a few lines of which stand for more values than any memory holds; without keys given
    twice, of which PyYAML would keep the last; and without tags: what a value is, its looks decide, and
    PyYAML fails in many ways at one that is not what its tag says.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        events: Any = self  # PyYAML has no types for what it is made of
        event = events.peek_event()
        alias = isinstance(event, yaml.AliasEvent)
        if alias or event.tag is not None:
            problem = f"{'aliases (*name)' if alias else 'tags (!name)'} are not read"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        """Text that files can hold; no number of more digits than Python writes again."""
        value = super().construct_scalar(node)
        value.encode()
        if len(value) > DIGITS and node.tag == "tag:yaml.org,2002:int":
            raise ValueError(f"a number has more than {DIGITS} digits")
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value!r} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Writer(yaml.SafeDumper):
    """Without aliases too, where a value occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind in (_Reader, _Writer):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def parse(text: str) -> Any:
    """Return the value of one YAML document; ``ValueError`` in one line with the place and the problem."""
    try:
        return yaml.load(text, Loader=_Reader)
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def dump(value: Any) -> str:
    """Return ``value`` as YAML in its own order, one key a line."""
    return str(yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=None))


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; of an empty file an empty one.

    Raises:
        RequestError: for a file that cannot be read, is not YAML or holds something else; one line.
    """
    try:
        value = parse(read_limited(Path(path), LIMIT).decode("utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise RequestError(f"{path} is not valid YAML: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RequestError(f"{path} must hold a mapping of option names to values, got {kind}")
    return value
