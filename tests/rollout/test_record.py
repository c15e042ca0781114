"""What is kept of a collection, on an environment whose every number is known beforehand."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from metarl.core.batch import Episodes
from metarl.core.distributions import Categorical, DiagGaussian, MultiCategorical
from metarl.rollout.collector import collect, collect_in
from metarl.rollout.seeding import Address
from tiny_families import Corridor, Crane

# Four rows, two tasks of two episodes: how many steps each goes, and how it says it ends.
LENGTHS = np.array([5, 2, 3, 1])
TERMINATED = np.array([False, True, True, True])
TRUNCATED = np.array([True, False, True, False])  # the third says both
STD = 2.0


class Scripted(VectorEnv[Any, Any, Any]):
    """Row r observes 100 r + t and is paid 1 + t; one that has ended goes on talking, and pays still more."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, action_space: Any) -> None:
        self.num_envs = 4
        self.single_observation_space = Box(0.0, 1e3, (1,), np.float32)
        self.single_action_space = action_space
        self.observation_space = batch_space(self.single_observation_space, 4)
        self.action_space = batch_space(action_space, 4)
        self.received: list[np.ndarray] = []
        self.time = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.time, self.seed, self.task = 0, seed, options["task"]["number"]
        return self._obs(), {}

    def step(self, actions: Any) -> tuple[Any, ...]:
        self.received.append(np.array(actions))
        self.time += 1
        done = self.time >= LENGTHS
        reward = np.full(4, float(self.time))
        return self._obs(), reward, done & TERMINATED, done & TRUNCATED, {}

    def _obs(self) -> np.ndarray:
        return (100.0 * np.arange(4) + self.time).astype(np.float32)[:, None]


def act(params: Any, obs: torch.Tensor) -> DiagGaussian:
    """Mean: the parameter of the task."""
    mean = params["mean"][:, None, :].expand(*obs.shape[:2], 2)
    return DiagGaussian(mean, torch.full_like(mean, STD).log())


def scripted(horizon: int) -> tuple[Scripted, Episodes]:
    env = Scripted(Box(np.array([-1.0, -0.5], np.float32), np.array([1.0, 0.5], np.float32)))
    params = {"mean": torch.tensor([[0.5, -0.5], [3.0, 0.0]])}
    tasks = {"number": np.array([10, 20])}
    return env, collect(env, act, params, tasks, episodes=2, horizon=horizon, address=Address(1, 0))


def test_each_task_serves_the_rows_of_its_episodes() -> None:
    env, batch = scripted(8)
    assert env.task.tolist() == [10, 10, 20, 20]
    assert batch.obs[:, :, 0, 0].tolist() == [[0, 100], [200, 300]]
    assert len(set(map(int, env.seed))) == 4


def test_every_episode_keeps_its_own_steps_and_nothing_of_what_follows() -> None:
    _, batch = scripted(8)
    assert batch.mask.sum(-1).tolist() == [[5, 2], [3, 1]]  # short and long: none is dropped
    assert batch.reward.sum(-1).tolist() == [[15, 3], [6, 1]]
    assert batch.reward[0, 1].tolist() == [1, 2, 0, 0, 0, 0, 0, 0]
    assert batch.obs[0, 1, :2, 0].tolist() == [100, 101]
    assert batch.final_obs[..., 0].tolist() == [[5, 102], [203, 301]]
    assert batch.terminated.nonzero().tolist() == [[0, 1, 1], [1, 0, 2], [1, 1, 0]]
    assert batch.truncated.nonzero().tolist() == [[0, 0, 4]]  # never both


def test_no_step_is_taken_once_all_have_ended() -> None:
    env, batch = scripted(8)
    assert len(env.received) == 5
    assert batch.reward.shape == (2, 2, 8)


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_the_horizon_truncates_what_has_not_ended_by_then(horizon: int) -> None:
    env, batch = scripted(horizon)
    assert len(env.received) == horizon
    lengths = np.minimum(LENGTHS, horizon)
    assert batch.mask.sum(-1).flatten().tolist() == lengths.tolist()
    marked = (batch.terminated.sum(-1).flatten() + 2 * batch.truncated.sum(-1).flatten()).tolist()
    # At its own last step an episode that terminates is no truncated one, even if time is up there.
    assert marked == np.where(TERMINATED & (horizon >= LENGTHS), 1, 2).tolist()
    assert batch.final_obs.flatten().tolist() == (100 * np.arange(4) + lengths).tolist()


def test_actions_are_kept_as_drawn_and_taken_as_allowed() -> None:
    env, batch = scripted(8)
    drawn, received = batch.action.reshape(4, 8, 2).numpy(), np.stack(env.received, 1)
    low, high = env.single_action_space.low, env.single_action_space.high
    assert (np.abs(drawn[batch.mask.reshape(4, 8) > 0]) > high).any(0).all()  # both are cut somewhere
    np.testing.assert_array_equal(received, drawn[:, :5].clip(low, high))
    mean = torch.tensor([[0.5, -0.5], [3.0, 0.0]])[:, None, None, :]
    normal = torch.distributions.Independent(torch.distributions.Normal(mean, STD), 1)
    torch.testing.assert_close(batch.log_prob, normal.log_prob(batch.action) * batch.mask)


# What the rows say of success at each step; what row r says after LENGTHS[r] steps counts for nothing.
SAYS = np.array([[0, 0, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0.5, 0, 0, 0], [0, 1, 0, 0, 0]])


class Successful(Scripted):
    def step(self, actions: Any) -> tuple[Any, ...]:
        *rest, _ = super().step(actions)
        return *rest, {"success": SAYS[:, self.time - 1]}


@pytest.mark.parametrize("kind", [float, bool])
def test_an_episode_succeeds_if_it_does_at_any_of_its_steps(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.SAYS", SAYS.astype(kind))
    env, act_, params = Successful(Box(-1.0, 1.0, (2,), np.float32)), act, {"mean": torch.zeros(2, 2)}
    tasks = {"number": np.arange(2)}
    batch = collect(env, act_, params, tasks, episodes=2, horizon=8, address=Address(1, 0))
    assert batch.success is not None and batch.success.tolist() == [[1, 0], [1, 0]]


def test_where_nobody_speaks_of_success_there_is_none() -> None:
    assert scripted(8)[1].success is None


def test_one_plain_environment_may_speak_of_success_too() -> None:
    class Once(gymnasium.Wrapper[Any, Any, Any, Any]):
        """Succeeds at the second step of every second episode; they go 5 steps."""

        episode = 0

        def reset(self, **options: Any) -> Any:
            self.episode, self.time = self.episode + 1, 0
            return self.env.reset(**options)

        def step(self, action: Any) -> Any:
            self.time += 1
            *rest, _ = self.env.step(action)
            return *rest, {"success": self.episode % 2 == 0 and self.time == 2}

    def stay(params: Any, obs: torch.Tensor) -> Categorical:
        return Categorical(torch.tensor([0.0, 50.0, 0.0]).expand(*obs.shape[:-1], 3))

    options: dict[str, Any] = {"episodes": 4, "horizon": 5, "address": Address(1, 0)}
    batch = collect_in(Once(Corridor().make()), stay, {}, **options)
    assert batch.success is not None and batch.success.tolist() == [[0, 1, 0, 1]]


def test_advantages_are_left_to_others() -> None:
    _, batch = scripted(8)
    assert batch.advantage.shape == batch.reward.shape
    assert not batch.advantage.any()


@pytest.mark.parametrize("single", [False, True])
def test_actions_of_a_discrete_space_are_numbered_as_the_space_numbers_them(single: bool) -> None:
    family = Corridor(first=5)

    def any_of_three(params: Any, obs: torch.Tensor) -> Categorical:
        return Categorical(torch.zeros(*obs.shape[:-1], 3))

    options: dict[str, Any] = {"episodes": 4, "horizon": 6, "address": Address(1, 0)}
    if single:
        batch = collect_in(family.make(), any_of_three, {}, **options)
    else:
        tasks = {"side": np.ones(1)}
        batch = collect(family.make_vec(4), any_of_three, {}, tasks, **options)
    kept = batch.action[batch.mask > 0]
    assert set(kept.tolist()) == {0, 1, 2}  # what the policy's log-probabilities are of
    moved = torch.diff(batch.obs[..., 0], dim=2)[0, 0, :1]
    torch.testing.assert_close(moved, (batch.action[0, 0, :1] - 1) * 0.25, rtol=0, atol=0.051)


@pytest.mark.parametrize("single", [False, True])
def test_choices_are_numbered_as_the_space_numbers_them(single: bool) -> None:
    """Gymnasium's batch of a MultiDiscrete is a Box, to whose bounds they must not be cut."""
    family = Crane(first=5)

    def any_of_them(params: Any, obs: torch.Tensor) -> MultiCategorical:
        return MultiCategorical(tuple(torch.zeros(*obs.shape[:-1], n) for n in (3, 4)))

    options: dict[str, Any] = {"episodes": 8, "horizon": 6, "address": Address(1, 0)}
    if single:
        batch = collect_in(family.make(), any_of_them, {}, **options)
    else:
        batch = collect(family.make_vec(8), any_of_them, {}, {"goal": np.zeros((1, 2))}, **options)
    kept = batch.action[batch.mask > 0]
    assert kept.dtype == torch.int64
    assert [set(kept[:, i].tolist()) for i in (0, 1)] == [{0, 1, 2}, {0, 1, 2, 3}]
    went = torch.diff(batch.obs, dim=2)[batch.mask[:, :, 1:] > 0]
    chosen = batch.action[:, :, :-1][batch.mask[:, :, 1:] > 0]
    torch.testing.assert_close(
        went, chosen * torch.tensor([0.75, 0.25]) - torch.tensor([0.75, 0.375]), rtol=0, atol=1e-6
    )


def test_observations_in_double_precision_are_read_in_single() -> None:
    class Double(Scripted):
        def __init__(self) -> None:
            super().__init__(Box(-1.0, 1.0, (2,), np.float32))
            self.single_observation_space = Box(0.0, 1e3, (1,), np.float64)

        def _obs(self) -> np.ndarray:
            return super()._obs().astype(np.float64)

    def strict(params: Any, obs: torch.Tensor) -> DiagGaussian:
        assert obs.dtype == torch.float32
        return act(params, obs)

    params, tasks = {"mean": torch.zeros(2, 2)}, {"number": np.arange(2)}
    batch = collect(Double(), strict, params, tasks, episodes=2, horizon=8, address=Address(1, 0))
    assert batch.obs.dtype == batch.final_obs.dtype == torch.float32
    assert batch.final_obs[..., 0].tolist() == [[5, 102], [203, 301]]
