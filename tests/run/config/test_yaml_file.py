"""The configuration as a file: exact round trips through YAML, and keys that are none."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.core.errors import RequestError
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import TrainConfig, as_dict, from_yaml, to_yaml
from metarl_envs.plane.point_goal import PointGoal
from tiny_runs import configured

FIELDS = [field.name for field in dataclasses.fields(TrainConfig) if field.name != "trust"]


class Toy(PointGoal):
    """A family that takes any argument; ``Toy`` names it."""

    def __init__(self, spec: str | None = None, **args: object) -> None:
        super().__init__(spec)


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.isprintable)
small, sizes = st.integers(1, 10**9), st.floats(1e-300, 1e300)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), words
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "spec": st.sampled_from(["finn2017", "promp"]),
        "family_arg": st.dictionaries(
            st.sampled_from(["a", "b_c", "no", "y"]), plain | st.lists(plain, max_size=3)
        ),
        "hidden": st.lists(small, max_size=3).map(tuple),
        "init_from": words,
        "inner_lr": sizes,
        "gamma": st.floats(0, 1),
        "cg_damping": st.floats(0, 1e300),
        "observe_task": st.booleans(),
        "chunk": small | st.just("auto"),
        "threads": small,
        "logger": st.sampled_from([(), ("wandb",)]),
        "wandb_group": words,
        "seed": st.integers(0, 2**64),
    },
)


@given(configs)
def test_a_resolved_config_survives_yaml_exactly(values: dict[str, Any]) -> None:
    config = configured("maml", f"{__name__}:Toy", **values)
    path = Path("config.yaml")
    path.write_text(to_yaml(config), encoding="utf-8")
    kept = {**from_yaml(path), "hidden": config.hidden, "logger": config.logger, "trust": False}
    assert TrainConfig(**kept) == config
    again = load_config(path, trust={f"{__name__}:Toy"})
    assert repr(as_dict(again)) == repr(as_dict(config))  # the types too, and the sign of zero
    assert to_yaml(again) == to_yaml(config)


def test_yaml_has_one_line_a_field_unset_ones_included() -> None:
    config = configured("maml", f"{__name__}:Toy", family_arg={"a": 1})
    assert [line.partition(":")[0] for line in to_yaml(config).splitlines()] == FIELDS
    assert "init_from: null" in to_yaml(config).splitlines()


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("inner-lr", "unknown option 'inner-lr' in run.yaml; did you mean inner_lr?"),
        ("taskss", "unknown option 'taskss' in run.yaml; did you mean tasks"),
        ("zzz", "unknown option 'zzz' in run.yaml; allowed: algorithm, family, spec, "),
        ("3", "unknown option 3 in run.yaml; allowed: "),
    ],
)
def test_an_unknown_key_is_told_with_what_is_near_or_allowed(key: str, told: str) -> None:
    Path("run.yaml").write_text(f"tasks: 10\n{key}: 3\n")
    with pytest.raises(RequestError) as refusal:
        from_yaml("run.yaml")
    assert str(refusal.value).startswith(told)


def test_null_in_a_file_is_unset() -> None:
    Path("run.yaml").write_text("tasks: 10\nseed: null\nchunk: ~\n")
    assert from_yaml("run.yaml") == {"tasks": 10}
