"""A policy for one task, or for one environment."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from metarl.core.advantages import with_advantage
from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.models import MLP, GaussianMLP
from metarl.core.params import Params, tree_map
from metarl.rollout.collector import collect, collect_in
from metarl.rollout.seeding import Address
from metarl.run.experience.gather import USES
from metarl.run.use.adaptation import read_task
from metarl.run.use.runs import Run, load, train
from tiny_families import OfOneTask
from tiny_runs import same, tiny

TASK = {"goal": [0.3, -0.2]}
ADDRESS = Address(0, USES["adapt"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(iterations=1), tmp_path_factory.mktemp("adapted") / "run")


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Discrete actions, and episodes that end early."""
    config = tiny(iterations=1, family="tiny_families:Corridor", family_arg={"horizon": 20}, spec="fixed")
    return train(config, tmp_path_factory.mktemp("adapted") / "run")


def policies(params: Params) -> Params:
    return tree_map(lambda x: x[None], params)


def in_family(run: Run, task: dict[str, Any], params: Params, step: int, episodes: int) -> Episodes:
    return collect(
        run.agent.family.make_vec(episodes),
        run.agent.apply_tasks,
        policies(params),
        {key: np.array([value], float) for key, value in task.items()},
        episodes=episodes,
        horizon=10,
        address=ADDRESS._replace(inner_step=step),
    )


def plain_step(run: Run, params: Params, batch: Episodes, lr: float) -> Params:
    """θ − lr · ∇ of −mean(log π · A) over the steps that happened, by plain autograd."""
    batch, _ = with_advantage(batch, 0.99, 1.0)
    size, discrete = run.agent.family.observation_space.shape[0], batch.action.dtype == torch.int64
    module = MLP(size, (8,), 3) if discrete else GaussianMLP(size, 2, (8,))
    module.load_state_dict(params)
    out = module(batch.obs)
    if discrete:
        log_prob = torch.distributions.Categorical(logits=out).log_prob(batch.action)
    else:
        log_prob = torch.distributions.Normal(out[0], out[1].exp()).log_prob(batch.action).sum(-1)
    loss = -(log_prob * batch.advantage * batch.mask).sum() / batch.mask.sum()
    grads = torch.autograd.grad(loss, list(module.parameters()))
    return {
        name: params[name] - lr * g for (name, _), g in zip(module.named_parameters(), grads, strict=True)
    }


def close(a: Params, b: Params) -> None:
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6)


def test_a_task_changes_the_policy_by_gradient_steps(run: Run) -> None:
    params = run.meta.model
    for steps, lr in ((1, 0.1), (2, 0.05)):  # beyond those of training, half of its step size
        params = plain_step(run, params, in_family(run, TASK, params, steps - 1, 6), lr)
        adapted = run.adapt(task=TASK, steps=steps, episodes=6)
        close(adapted.params, params)
    assert not same(adapted.params, run.meta.model)


def test_an_environment_changes_the_policy_by_gradient_steps(run: Run, corridor: Run) -> None:
    for trained, task in ((run, TASK), (corridor, {"side": -1.0})):
        params = trained.meta.model
        env = OfOneTask(trained.agent.family, task)
        for step, lr in enumerate((0.5, 0.3)):
            address, horizon = ADDRESS._replace(inner_step=step), trained.agent.family.horizon
            batch = collect_in(
                env, trained.agent.apply_tasks, policies(params), episodes=9, horizon=horizon, address=address
            )
            params = plain_step(trained, params, batch, lr)
        assert trained is run or float(batch.mask.sum()) < 9 * 20  # the corridor's end early
        adapted = trained.adapt(env=env, steps=2, episodes=9, inner_lr=[0.5, 0.3])
        close(adapted.params, params)
        by_task = trained.adapt(task=task, steps=1, episodes=9, inner_lr=0.5)
        by_env = trained.adapt(env=env, steps=1, episodes=9, inner_lr=0.5)
        if trained is run:  # the same starts, whatever the seeds, and no noise: the same experience
            close(by_task.params, by_env.params)


def test_tasks_seeds_and_episodes_matter_and_the_run_stays_as_it_was(run: Run) -> None:
    before = tree_map(lambda x: x.clone(), run.meta)
    first = run.adapt(task=TASK, episodes=5).params
    assert same(first, run.adapt(task={"goal": np.array([0.3, -0.2])}, episodes=5).params)
    for other in ({"task": {"goal": [0.3, -0.1]}}, {"seed": 1}, {"episodes": 6}, {"inner_lr": 0.2}):
        assert not same(first, run.adapt(**{"task": TASK, "episodes": 5} | other).params)
    assert same(run.meta, before)


def test_without_steps_it_is_the_policy_of_the_run(run: Run) -> None:
    assert same(run.adapt(task=TASK, steps=0).params, run.policy.params)


def test_an_oracle_is_told_the_task(tmp_path: Path) -> None:
    oracle = train(tiny(iterations=1, observe_task=True), tmp_path / "run")
    adapted = oracle.adapt(task=TASK, episodes=3)
    assert adapted.predict(np.zeros(4))[0].shape == (2,)
    batch = in_family(oracle, TASK, oracle.meta.model, 0, 3)
    torch.testing.assert_close(batch.obs[0, :, :, 2:], torch.tensor(TASK["goal"]).expand(3, 10, 2))
    close(adapted.params, plain_step(oracle, oracle.meta.model, batch, 0.1))


# What cannot be done -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "adapt needs a task of the family, an environment or shots, and only one"),
        ({"task": TASK, "env": gymnasium.make("CartPole-v1")}, "and only one of them"),
        ({"task": TASK, "steps": -1}, "steps >= 0 and episodes >= 1, got -1 and 20"),
        ({"task": TASK, "episodes": 0}, "steps >= 0 and episodes >= 1, got 1 and 0"),
        ({"task": TASK, "inner_lr": -0.1}, "inner_lr must be finite numbers above 0"),
        ({"task": {"side": 1}}, "allowed: a dict with the keys"),
        ({"task": {"goal": [0.1]}}, "goal of a task must be such as [0.1369"),
        ({"task": {"goal": 0.1}}, ", got 0.1"),
        ({"task": {"goal": [0.1, "x"]}}, ", got [0.1, 'x']"),
        ({"task": {"goal": [[0.1], [0.1, 0.2]]}}, ", got [[0.1], [0.1, 0.2]]"),
        ({"task": {"goal": [0.1, float("nan")]}}, "allowed: finite numbers"),
        ({"task": {}}, "adapt needs a task of the family, an environment"),
        ({"env": gymnasium.make("CartPole-v1")}, "the environment's observation_space is Box"),
        ({"env": gymnasium.make("MountainCar-v0")}, "the environment's action_space is Discrete"),
    ],
)
def test_what_cannot_be_adapted_to_is_refused_in_one_line(run: Run, options: Any, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        run.adapt(**options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


class Other(gymnasium.Env[Any, Any]):
    """An environment of someone else, which checks what it is given."""

    def __init__(self, observations: gymnasium.Space[Any], actions: gymnasium.Space[Any]) -> None:
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        return self._obs(), float(self.np_random.random()), False, False, {}

    def _obs(self) -> Any:
        shape = self.observation_space.shape or ()
        return self.np_random.random(shape).astype(self.observation_space.dtype)


def test_any_environment_with_these_spaces_will_do(run: Run, corridor: Run) -> None:
    """Other bounds, other numbering, never an end: it is still a task."""
    moved = Other(Box(-9.0, 9.0, (2,), np.float32), Box(-0.3, 0.1, (2,), np.float32))
    assert not same(run.adapt(env=moved, episodes=2).params, run.meta.model)
    counted = Other(Box(-2.0, 2.0, (1,), np.float32), Discrete(3, start=4))
    adapted = corridor.adapt(env=counted, episodes=2)
    assert not same(adapted.params, corridor.meta.model)
    assert adapted.predict(np.zeros((5, 1)))[0].shape == (5,)
    double = Other(Box(-9.0, 9.0, (2,), np.float64), Box(-1.0, 1.0, (2,), np.float32))
    adapted = run.adapt(env=double, episodes=2)
    assert {value.dtype for value in adapted.params.values()} == {torch.float32}
    assert not same(adapted.params, run.meta.model)
    fewer = Other(Box(-2.0, 2.0, (1,), np.float32), Discrete(2))
    with pytest.raises(RequestError, match=r"the environment's action_space is Discrete\(2\)"):
        corridor.adapt(env=fewer, episodes=2)


@pytest.mark.parametrize("text", ["goal", "[1, 2]", "{}", "3"])
def test_a_task_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"a task is JSON such as .*goal.*, got"):
        read_task(text)


def test_each_policy_and_each_call_has_noise_of_its_own_which_can_be_fixed(tmp_path: Path) -> None:
    run, obs = train(tiny(iterations=1), tmp_path / "run"), np.zeros(2, np.float32)

    def actions(run: Run) -> list[Any]:
        adapted = [run.adapt(task={"goal": [0.1, 0.2]}, steps=1, episodes=2) for _ in range(2)]
        return [policy.predict(obs)[0].tolist() for policy in (run.policy, run.policy, *adapted)]

    assert run.policy is run.policy
    first = actions(run)
    assert len({tuple(action) for action in first}) == 4
    again = load(run.path, "last")
    assert again.policy and actions(again) == first  # in another process, too
    fixed = [run.policy.seed(5).predict(obs)[0] for _ in range(2)]
    np.testing.assert_array_equal(*fixed)
    before = run.policy
    run.learn(1)
    assert run.policy is not before
