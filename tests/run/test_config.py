"""The configuration: what its fields state about themselves."""

import dataclasses

import pytest

from metarl.run.algorithms import ALGORITHMS
from metarl.run.config import DEFAULTS, TrainConfig, as_dict
from metarl.run.fields import accept

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}


def test_nothing_is_set_before_it_is_resolved() -> None:
    assert set(as_dict(TrainConfig()).values()) == {None}


def test_every_default_is_allowed_and_in_canonical_form() -> None:
    for name, default in DEFAULTS.items():
        if default is not None:
            kept = accept(FIELDS[name], default)
            assert kept == default
            assert type(kept) is type(default)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_summary_and_allowed_defaults(algorithm: str) -> None:
    summary, own = ALGORITHMS[algorithm]
    assert summary
    for name, value in own.items():
        assert accept(FIELDS[name], value) == value


def test_every_field_is_explained() -> None:
    assert all(len(field.metadata["text"].split()) > 0 for field in FIELDS.values())


def test_a_config_cannot_be_changed_but_replaced() -> None:
    config = TrainConfig(algorithm="maml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.tasks = 3  # type: ignore[misc]
    assert dataclasses.replace(config, tasks=3) == TrainConfig(algorithm="maml", tasks=3)
