"""A protocol's hash is that of what makes figures comparable, and of nothing else."""

import hashlib
from typing import Any

import pytest

from metarl.run.results.comparable import differences, protocol_hash

PROTOCOL: dict[str, Any] = {
    "name": "metarl-v1",
    "algorithm": "maml",
    "family": "point-goal",
    "spec": "finn2017",
    "family_arg": {"horizon": 50, "b": 1},
    "split": "test",
    "tasks": 40,
    "steps": 3,
    "episodes": 20,
    "seed": 1,
    "deterministic": False,
    "checkpoint": "best (iteration 20)",
    "horizon": 50,
    "tasks_seen_in_training": False,
    "interval": "95 % bootstrap over tasks",
    "step_sizes": "own",
    "inner_lr_grid": [0.0, 0.5],
}


def test_the_hash_is_that_of_canonical_json() -> None:
    text = (
        '{"deterministic":false,"episodes":20,"family":"point-goal","family_arg":{"b":1,"horizon":50},'
        '"horizon":50,"inner_lr_grid":[0.0,0.5],"metric":"return","seed":1,"spec":"finn2017","split":"test",'
        '"step_sizes":"own","steps":3,"tasks":40}'
    )
    assert protocol_hash("return", PROTOCOL) == hashlib.sha256(text.encode()).hexdigest()
    turned = dict(reversed(PROTOCOL.items())) | {"family_arg": {"b": 1, "horizon": 50}}
    assert protocol_hash("return", turned) == protocol_hash("return", PROTOCOL)


@pytest.mark.parametrize("name", ["name", "algorithm", "checkpoint", "interval", "tasks_seen_in_training"])
def test_which_agent_it_was_does_not_matter(name: str) -> None:
    other = PROTOCOL | {name: "another"}
    assert protocol_hash("return", other) == protocol_hash("return", PROTOCOL)
    assert differences(("return", PROTOCOL), ("return", other)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "ood"}, "split is test and ood"),
        ({"tasks": 100}, "tasks is 40 and 100"),
        ({"deterministic": True}, "deterministic is False and True"),
        ({"family_arg": {}}, "family arg is horizon:50,b:1 and none"),
        ({"step_sizes": [0.5, 0.25]}, "step sizes is own and 0.5,0.25"),
        ({"shots": 5}, "shots is unset and 5"),
        ({"inner_lr_grid": [0.0]}, "inner lr grid is 0.0,0.5 and 0.0"),
    ],
)
def test_what_does_is_in_the_hash_and_named_with_both_values(change: dict[str, Any], told: str) -> None:
    other = PROTOCOL | change
    assert protocol_hash("return", other) != protocol_hash("return", PROTOCOL)
    assert differences(("return", PROTOCOL), ("return", other)) == [told]


def test_several_differences_are_told_in_the_order_that_matters() -> None:
    told = differences(("return", PROTOCOL), ("success", PROTOCOL | {"seed": 2, "family": "maze"}))
    assert told == ["metric is return and success", "family is point-goal and maze", "seed is 1 and 2"]
