"""YAML files: exact round trips, numbers as people write them, one line for a broken file."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.core.errors import RequestError
from metarl.run.store import yaml_values as yamlfile

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(
        ["1e-3", "1.e5", "-.5E+3", "1_0", "yes", "null", "~", "2026-01-01", "1:30", "0x1", "=", "<<"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal, of the same types, and with the same sign of zero."""
    return repr(a) == repr(b)


@given(values)
def test_what_is_written_is_read_back_exactly(value: Any) -> None:
    assert same(yamlfile.parse(yamlfile.dump(value)), value)


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "1.E-3", ".001", "+1e-03", "0.001"])
def test_a_number_with_an_exponent_is_a_number(written: str) -> None:
    assert same(yamlfile.parse(f"x: {written}"), {"x": 0.001})


@pytest.mark.parametrize("written", ["e3", "1e", "x1e3", "1e3x", "1e-3-4"])
def test_what_only_resembles_one_is_text(written: str) -> None:
    assert yamlfile.parse(f"x: {written}") == {"x": written}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("tasks: 1\nhidden: [64}\nseed: 3\n", "is not valid YAML: line 2: "),
        ("tasks: 1\n  seed: 3\n", "is not valid YAML: line 2: "),
        ("x: !!python/object/apply:os.system [ls]\n", "is not valid YAML: line 1: tags (!name) are not read"),
        ("a: 1\nx: !!bool maybe\n", "is not valid YAML: line 2: tags (!name) are not read"),
        ("x: !own [1]\n", "is not valid YAML: line 1: tags (!name) are not read"),
        ("x: 0x" + "f" * 1000, "is not valid YAML: a number has more than 1000 digits"),
        ("x: " + "1:" * 1000 + "1", "is not valid YAML: a number has more than 1000 digits"),
        ('x: "\\ud800"\n', "is not valid YAML: 'utf-8' codec can't encode"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML: line 2: "),
        ("when: 2026-13-45\n", "is not valid YAML: month must be in 1..12"),
        ("x: \0\n", "is not valid YAML: "),
        ("a: &a [1]\nb: [*a, *a]\n", "is not valid YAML: line 2: aliases (*name) are not read"),
        ("x: " + "[" * 2000, "is not valid YAML: it is nested too deeply"),
        ("x: " + "1" * 2**20, "is not valid YAML: it is larger than 1048576 bytes"),
        ("- tasks\n", "must hold a mapping of option names to values, got list"),
        ("tasks\n", "must hold a mapping of option names to values, got str"),
    ],
)
def test_a_broken_file_is_told_in_one_line(content: str, told: str) -> None:
    Path("run.yaml").write_text(content)
    with pytest.raises(RequestError) as refusal:
        yamlfile.read_mapping("run.yaml")
    assert str(refusal.value).startswith(f"run.yaml {told}")
    assert len(str(refusal.value).splitlines()) == 1


def test_what_occurs_twice_is_written_twice() -> None:
    twice = [1, 2]
    assert yamlfile.parse(yamlfile.dump({"a": twice, "b": twice})) == {"a": twice, "b": twice}


def test_a_file_that_cannot_be_read_is_told_in_one_line() -> None:
    Path("folder").mkdir()
    Path("binary").write_bytes(b"\xff\xfe\xfa")
    for name, told in {
        "absent": "cannot read absent: ",
        "folder": "cannot read folder: ",
        "binary": "binary is",
    }.items():
        with pytest.raises(RequestError, match=f"^{told}"):
            yamlfile.read_mapping(name)


def test_an_empty_file_is_an_empty_mapping() -> None:
    Path("run.yaml").write_text("# nothing yet\n")
    assert yamlfile.read_mapping("run.yaml") == {}
