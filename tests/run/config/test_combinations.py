"""Which options go together: what others settle, and what is refused with what to use instead."""

from typing import Any

import pytest

from metarl.core.errors import RequestError
from metarl.run.config.train_config import TrainConfig
from tiny_runs import configured


def settled(**asked: Any) -> TrainConfig:
    return configured("maml", "point-goal", **asked)


def test_what_is_open_about_episodes_follows_the_objective() -> None:
    assert (settled().baseline, settled().inner_epochs) == ("linear", 1)
    a2c = settled(objective="a2c")
    assert (a2c.baseline, a2c.inner_epochs, a2c.meta_optimizer) == ("value", 1, "adam")
    assert settled(baseline="value").meta_optimizer == "adam"
    assert configured("promp", "point-goal", baseline="value").meta_optimizer == "ppo"
    assert settled(objective="ppo").inner_epochs == 3
    assert settled(objective="ppo", inner_epochs=2).inner_epochs == 2
    assert settled(objective="dice", baseline="value", meta_optimizer="ppo").baseline == "value"
    sinusoid = configured("maml", "sinusoid")
    assert (sinusoid.baseline, sinusoid.inner_epochs) == (None, None)
    strides = [settled(objective=objective).support_stride for objective in ("vpg", "lvc", "dice")]
    assert strides == [4, 4, 1]  # a part of dice's time steps estimates another curvature


def test_first_order_maml_has_order_one() -> None:
    with pytest.raises(RequestError, match="'fomaml' is that of order 1, got order 2; use maml"):
        configured("fomaml", "point-goal", order=2)


def test_epochs_of_the_meta_optimizer_leave_where_first_derivatives_agree() -> None:
    asked = {"objective": "lvc", "meta_optimizer": "ppo", "order": 1}
    assert settled(**asked).objective == "lvc"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"objective": "a2c", "meta_optimizer": "trpo"}, "by a KL, .* allowed: adam, ppo, sgd$"),
        ({"baseline": "value", "meta_optimizer": "trpo"}, "or baseline linear"),
        (
            {"objective": "a2c", "baseline": "linear", "meta_optimizer": "adam"},
            "'a2c' learns .* use baseline value",
        ),
        (
            {"inner_epochs": 2},
            "objective 'vpg' is right for .* got inner_epochs 2; use 1, or objective dice, lvc, ppo",
        ),
        (
            {"objective": "ppo", "learner": "e-maml"},
            "learner 'e-maml' credits the sampling .* 'ppo' counts a second time; allowed: a2c, vpg",
        ),
        (
            {"objective": "ppo", "meta_optimizer": "ppo"},
            "'ppo' weighs .* inner_epochs 3; use 1, or meta_optimizer adam, sgd",
        ),
        ({"objective": "dice", "learner": "e-maml"}, "'dice' counts a second time; allowed: a2c, vpg"),
        ({"learner": "e-maml", "meta_optimizer": "ppo"}, "'e-maml' has no bound; allowed: adam, sgd, trpo"),
        ({"learner": "e-maml", "objective": "a2c", "meta_optimizer": "trpo"}, "have; allowed: adam, sgd$"),
        ({"learner": "e-maml", "tasks": 1}, "against the others of its meta-batch; got tasks 1, use more"),
        ({"objective": "ppo", "order": 1, "inner_epochs": 1}, "'ppo' differs from vpg .* use vpg"),
        ({"objective": "dice", "order": 1}, "'dice' differs from vpg in its second .* order 1 .* use vpg"),
        (
            {"objective": "lvc", "learner": "reptile", "meta_optimizer": "sgd"},
            "'lvc' differs .* 'reptile' leaves",
        ),
        ({"objective": "dice", "rule": "lstm"}, "'dice' differs from vpg .* rule 'lstm' leaves out; use vpg"),
        (
            {"objective": "dice", "support_stride": 2},
            "'dice' is not known as a mean .* got support_stride 2; use 1",
        ),
        ({"baseline": "value", "meta_optimizer": "adam", "gamma": 1.0}, "'value' goes on .* got gamma 1"),
        ({"value_weight": 2.0}, "value_weight 2.0 has no meaning without .* use baseline value"),
        ({"objective": "mse"}, "'mse' is of labelled examples, .* 'point-goal' gives episodes; allowed: a2c"),
        ({"learner": "reptile", "meta_optimizer": "ppo"}, "'ppo' needs a loss, 'reptile' has none"),
        ({"meta_optimizer": "newton"}, "unknown meta-optimizer 'newton'; allowed: adam, ppo, sgd, trpo"),
        ({"baseline": "quadratic"}, "linear"),
        ({"objective": "lola"}, "unknown objective 'lola'; allowed: a2c, cross-entropy, dice, lvc"),
        ({"clip": 1.0}, "clip must be"),
        ({"kl_coefficient": -0.1}, "kl_coefficient must be"),
        ({"max_skipped": 0}, "max_skipped must be"),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_what_to_use(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        settled(**asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"objective": "lvc"}, "'lvc' is of episodes, .* 'sinusoid' gives .*; allowed: cross-entropy, mse"),
        ({"meta_optimizer": "ppo"}, "'ppo' needs a policy, .*; allowed: adam, sgd"),
        ({"learner": "e-maml"}, "'e-maml' is of episodes, .*; allowed: maml, reptile"),
        (
            {"algorithm": "promp", "meta_optimizer": "adam", "objective": "mse"},
            "'promp' is of episodes, .*; use maml",
        ),
        ({"inner_epochs": 2}, "inner_epochs has no meaning for family 'sinusoid'"),
    ],
)
def test_examples_refuse_what_is_of_episodes(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        configured(**{"family": "sinusoid", **asked})


@pytest.mark.parametrize("objective", ["dice", "lvc", "surrogate"])
def test_with_several_epochs_their_first_derivatives_differ_too(objective: str) -> None:
    assert settled(objective=objective, order=1, inner_epochs=2).objective == objective
