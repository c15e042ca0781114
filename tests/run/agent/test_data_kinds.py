"""The two kinds of data: which one a family gives, and options that mean nothing for the other."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from metarl.core.errors import RequestError
from metarl.run.agent.data_kinds import EPISODES, EXAMPLES, kind_of
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.train_config import TrainConfig, as_dict
from metarl.run.config.train_fields import FIELDS
from metarl.run.use.runs import train
from metarl_envs import PointGoal
from metarl_envs.few_shot.sinusoid import Sinusoid
from tiny_families import Blobs
from tiny_runs import agent, configured, pupil, taught, tiny

EPISODIC = {
    "episodes": 3,
    "init_std": 0.5,
    "gamma": 0.9,
    "gae_lambda": 0.9,
    "max_kl": 0.02,
    "cg_iterations": 5,
    "cg_damping": 1e-3,
    "curvature_stride": 2,
    "support_stride": 3,
    "backtrack_ratio": 0.5,
    "max_backtracks": 3,
    "meta_epochs": 2,
    "clip": 0.1,
    "kl_coefficient": 0.1,
    "kl_target": 0.1,
    "inner_epochs": 1,
    "baseline": "linear",
    "value_weight": 0.1,
}
TOY = f"{__name__}:Toy"


class Toy(Sinusoid):
    """With a step size that nobody else has; ``Toy`` names it."""

    defaults: ClassVar[dict[str, Any]] = {"inner_lr": 0.3}


LABELLED = {"inner_batch": 4, "filters": 8, "statistics": "alone"}


def test_a_family_gives_one_kind_of_data() -> None:
    assert kind_of(PointGoal()) is kind_of(agent(observe_task=True).family) is agent().kind is EPISODES
    assert kind_of(Sinusoid()) is kind_of(Blobs) is pupil(observe_task=True).kind is EXAMPLES
    assert (EPISODES.counted, EXAMPLES.counted) == ("env_steps", "examples")


def test_each_kind_refuses_the_other_s_data() -> None:
    assert agent().episodic is agent().family or agent().episodic.name == "point-goal"
    with pytest.raises(RequestError, match="family 'sinusoid' gives labelled examples, not episodes"):
        pupil().episodic  # noqa: B018
    with pytest.raises(RequestError, match="family 'point-goal' gives episodes, not labelled examples"):
        agent().supervised  # noqa: B018
    metrics = agent().metric, pupil().metric, pupil(family="tiny_families:Blobs").metric
    assert metrics == ("return", "mse", "accuracy")


def test_the_lists_of_options_are_complete() -> None:
    for values, of in ((EPISODIC, "episodes"), (LABELLED, "examples")):
        assert set(values) == {name for name, field in FIELDS.items() if field.metadata["of"] == of}


@pytest.mark.parametrize(("name", "value"), EPISODIC.items())
def test_what_means_nothing_for_labelled_examples_is_refused(name: str, value: Any) -> None:
    for algorithm in ALGORITHMS:
        with pytest.raises(RequestError) as caught:
            configured(algorithm, "sinusoid", **{name: value})
        assert str(caught.value) == (
            f"{name} has no meaning for family 'sinusoid', which gives labelled examples; got {value!r}"
        )
    also = {"baseline": "value", "meta_optimizer": "adam"} if name == "value_weight" else {}
    assert getattr(configured("maml", "point-goal", **also | {name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), LABELLED.items())
def test_what_means_nothing_for_episodes_is_refused(name: str, value: Any) -> None:
    for algorithm in ALGORITHMS:
        with pytest.raises(RequestError) as caught:
            configured(algorithm, "point-goal", **{name: value})
        assert str(caught.value) == (
            f"{name} has no meaning for family 'point-goal', which gives episodes; got {value!r}"
        )
    assert getattr(configured("maml", "sinusoid", **{name: value}), name) == value


@pytest.mark.parametrize(
    ("algorithm", "family"),
    [
        (a, f)
        for a in ALGORITHMS
        for f in ("sinusoid", "point-goal")
        if f == "point-goal" or a not in ("promp", "e-maml")
    ],
)
def test_a_config_that_says_everything_is_taken_for_its_own_kind(algorithm: str, family: str) -> None:
    """As ``config.yaml`` does, defaults of the other kind included."""
    config = configured(algorithm, family)
    assert configured(**{name: v for name, v in as_dict(config).items() if v is not None}) == config


def test_a_trust_region_needs_a_policy() -> None:
    with pytest.raises(
        RequestError, match="meta_optimizer 'trpo' needs a policy, family 'sinusoid' gives"
    ) as e:
        configured("maml", "sinusoid", meta_optimizer="trpo")
    assert str(e.value).endswith("allowed: adam, sgd")


def test_labelled_examples_bring_defaults_of_their_own() -> None:
    config = configured("maml", "sinusoid")
    assert (config.meta_optimizer, config.objective) == ("adam", "mse")
    assert configured("maml", "tiny_families:Blobs").objective == "cross-entropy"  # the family's own
    assert configured("maml", "point-goal").meta_optimizer == "trpo"
    assert (
        configured("reptile", "sinusoid").meta_optimizer
        == configured("reptile", "point-goal").meta_optimizer
        == "sgd"
    )


# Step sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [TOY, "point-goal"])
def test_a_rule_that_learns_its_steps_takes_none(family: str) -> None:
    """Not even the family's own, which is meant for rules that take one."""
    assert configured("lstm", family).inner_lr is None
    assert configured("maml", family, rule="lstm", order=1).inner_lr is None
    for asked in ({"inner_lr": 0.1},):
        with pytest.raises(RequestError) as caught:
            configured("lstm", family, **asked)
        assert str(caught.value) == "inner_lr has no meaning for rule 'lstm', which learns its steps; got 0.1"


@pytest.mark.parametrize(("rule", "own"), [("sgd", 0.1), ("meta-sgd", 0.1), ("adam", 0.001)])
def test_a_rule_brings_its_step_size_unless_somebody_says_another(rule: str, own: float) -> None:
    assert configured("maml", "point-goal", rule=rule).inner_lr == own
    assert configured("maml", "tiny_families:Blobs", rule=rule).inner_lr == own
    family_s = own if rule == "adam" else 0.3  # a family's step size is meant for gradient descent
    assert configured("maml", TOY, rule=rule).inner_lr == family_s
    assert configured("maml", TOY, rule=rule, inner_lr=0.7).inner_lr == 0.7


@pytest.mark.parametrize("family", ["sinusoid", "glyphs", "point-goal"])
def test_reptile_keeps_its_outer_step_size_on_every_family(family: str) -> None:
    config = configured("reptile", family)
    assert (config.meta_optimizer, config.meta_lr) == ("sgd", 0.1)


@pytest.mark.parametrize("family", [TOY, "point-goal"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"rule": "lstm"}, "learner 'reptile' cannot train rule 'lstm'; allowed: "),
        ({"rule": "meta-sgd"}, "learner 'reptile' cannot train rule 'meta-sgd'; allowed: "),
        (
            {"meta_optimizer": "trpo"},
            "meta_optimizer 'trpo' needs a loss, 'reptile' has none; allowed: adam, sgd",
        ),
    ],
)
def test_what_reptile_cannot_train_is_refused_before_anything_is_written(
    family: str, asked: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        train(TrainConfig(algorithm="reptile", family=family, **asked), tmp_path / "run")
    assert str(caught.value).startswith(told)
    assert not (tmp_path / "run").exists()


def test_the_step_size_reaches_the_rule() -> None:
    assert pupil(algorithm="meta-sgd", inner_lr=0.3).initial_meta().rule["0.bias"].tolist() == pytest.approx(
        [0.3] * 8
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rule": "luck"}, "unknown rule 'luck'; allowed: adam, lstm, meta-sgd, sgd"),
        ({"learner": "luck"}, "unknown learner 'luck'; allowed: e-maml, maml, reptile"),
        (
            {"objective": "luck"},
            "unknown objective 'luck'; allowed: a2c, cross-entropy, dice, lvc, mse, ppo, surrogate, vpg",
        ),
        ({"order": 3}, "order must be a whole number of at least 1 and at most 2, got 3"),
        ({"order": 0}, "order must be a whole number of at least 1 and at most 2, got 0"),
        ({"inner_batch": 0}, "inner_batch must be "),
        ({"statistics": "none"}, "statistics must be one of "),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be a finite number above 0, got 0.0"),
        (
            {"model": "conv5"},
            "unknown model 'conv5'; allowed: cnn, conv4, mlp",
        ),
        ({"family_arg": {"shots": 0}}, "sinusoid: shots is 0; allowed: integers from 1"),
        ({"family_arg": {"ways": 2}}, "sinusoid: unknown argument 'ways'; allowed: shots, queries"),
    ],
)
def test_unknown_parts_and_impossible_values_are_refused_by_name(values: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError) as caught:
        taught(**values)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tiny_configs_are_sound() -> None:
    assert (tiny().family, taught().family) == ("point-goal", "sinusoid")
