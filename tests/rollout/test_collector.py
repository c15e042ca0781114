"""Collections: what a plain loop over single environments would give, drawn by address."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

from metarl.core.batch import Episodes
from metarl.core.distributions import MultiCategorical
from metarl.core.models import MLP, Apply, Choices, GaussianMLP, initial_params, policy, policy_of_tasks
from metarl.core.params import Params, tree_map
from metarl.rollout import seeding
from metarl.rollout.collector import collect, collect_in
from metarl.rollout.family import TaskFamily
from metarl.rollout.seeding import Address
from tiny_families import Corridor, Crane, Field, OfOneTask

EPISODES = 3
ADDRESS = Address(seed=7, use=2, iteration=5, inner_step=1)
FAMILIES = {"continuous": Field, "discrete": Corridor, "choices": Crane}


def network(family: TaskFamily) -> nn.Module:
    size = family.observation_space.shape[0]
    if isinstance(family.action_space, gymnasium.spaces.Discrete):
        return MLP(size, (5,), 3)
    if isinstance(family.action_space, gymnasium.spaces.MultiDiscrete):
        return Choices(MLP(size, (5,), 7), [3, 4])
    return GaussianMLP(size, 2, (5,))


def policies(family: TaskFamily, m: int) -> Params:
    """One policy a task, all different; the task axis first."""
    torch.manual_seed(0)
    return {name: 0.7 * torch.randn(m, *p.shape) for name, p in initial_params(network(family)).items()}


def collected(family: TaskFamily, m: int = 4, rows: slice = slice(None), **options: Any) -> Episodes:
    """Episodes of ``m`` tasks, or of some of them at their places among all."""
    tasks = {k: v[rows] for k, v in family.sample_tasks(m, np.random.default_rng(3)).items()}
    n = len(next(iter(tasks.values())))
    options = {"address": ADDRESS._replace(first_task=rows.start or 0), "horizon": family.horizon} | options
    params = tree_map(lambda x: x[rows], policies(family, m))
    act = policy_of_tasks(network(family))
    return collect(family.make_vec(n * EPISODES), act, params, tasks, episodes=EPISODES, **options)


def same_experience(a: Episodes, b: Episodes) -> None:
    """Equal up to rounding in all that happened; what stands in the padding is nobody's business."""
    for name in ("mask", "reward", "terminated", "truncated", "log_prob", "final_obs", "obs", "action"):
        valid = b.mask > 0 if name in ("obs", "action") else ...
        torch.testing.assert_close(getattr(a, name)[valid], getattr(b, name)[valid], rtol=1e-5, atol=1e-5)


class Pair(NamedTuple):
    """Independent choices."""

    parts: list[Categorical]

    def log_prob(self, action: Tensor) -> Tensor:
        return torch.stack([part.log_prob(a) for part, a in zip(self.parts, action, strict=True)]).sum()


def distribution(module: nn.Module, obs: np.ndarray) -> Any:
    out = module(torch.from_numpy(obs))
    if isinstance(out, MultiCategorical):
        return Pair([Categorical(logits=logits) for logits in out.logits])
    return (
        Categorical(logits=out) if isinstance(out, Tensor) else Independent(Normal(out[0], out[1].exp()), 1)
    )


def drawn(policy: Any, noise: Any) -> Tensor:
    """The action that a plain reading of the noise gives."""
    if isinstance(policy, Categorical):
        return torch.tensor(int(np.searchsorted(np.cumsum(policy.probs.numpy()), noise, side="right")))
    if isinstance(policy, Pair):
        return torch.stack([drawn(part, u) for part, u in zip(policy.parts, noise, strict=True)])
    return policy.mean + policy.stddev * torch.from_numpy(noise)


@torch.no_grad()
def plain(family: TaskFamily, m: int, horizon: int) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Task, episode → its steps, by one environment at a time; nothing is padded."""
    tasks = family.sample_tasks(m, np.random.default_rng(3))
    params, found = policies(family, m), {}
    for t in range(m):
        module = network(family)
        module.load_state_dict({name: value[t] for name, value in params.items()})
        where = (ADDRESS.seed, "starts", *ADDRESS.of(t))
        rng = seeding.generator(ADDRESS.seed, "actions", *ADDRESS.of(t))
        shape = (EPISODES, horizon)
        draw = rng.standard_normal if isinstance(family, Field) else rng.random
        noise = draw(shape if isinstance(family, Corridor) else (*shape, 2), np.float32)
        for e, seed in enumerate(seeding.seeds(*where, n=EPISODES)):
            env = family.make()
            obs, _ = env.reset(seed=int(seed), options={"task": {k: v[t] for k, v in tasks.items()}})
            steps = found[t, e] = []
            for i in range(horizon):
                chosen = distribution(module, obs)
                action = drawn(chosen, noise[e, i])
                new, reward, terminated, truncated, _ = env.step(action.numpy())
                steps.append(
                    {"obs": obs, "action": action, "reward": reward, "terminated": terminated}
                    | {"log_prob": chosen.log_prob(action), "final_obs": new}
                )
                obs = new
                if terminated or truncated:
                    break
    return found


@pytest.mark.parametrize("horizon", [12, 5])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_collection_is_a_plain_loop_over_single_environments(kind: str, horizon: int) -> None:
    family = FAMILIES[kind]()
    batch, loop = collected(family, horizon=horizon), plain(family, 4, horizon)
    lengths = {where: len(steps) for where, steps in loop.items()}
    assert len(set(lengths.values())) > 2  # the test sees episodes of several lengths, whole ones too
    assert max(lengths.values()) == horizon
    for (t, e), steps in loop.items():
        n = len(steps)
        assert batch.mask[t, e].tolist() == [1.0] * n + [0.0] * (horizon - n)
        for name in ("obs", "action", "reward", "log_prob"):
            expected = torch.as_tensor(np.stack([step[name] for step in steps]))
            found = getattr(batch, name)[t, e, :n]
            torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=1e-5)
        ends = batch.terminated[t, e].nonzero().flatten().tolist()
        cut = batch.truncated[t, e].nonzero().flatten().tolist()
        assert (ends, cut) == (([n - 1], []) if steps[-1]["terminated"] else ([], [n - 1]))
        torch.testing.assert_close(batch.final_obs[t, e], torch.from_numpy(steps[-1]["final_obs"]))
    assert not batch.reward[batch.mask == 0].any()
    assert not batch.log_prob[batch.mask == 0].any()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_task_gives_the_same_alone_in_a_chunk_and_among_all(kind: str) -> None:
    family = FAMILIES[kind]()
    whole = collected(family)
    for rows in (slice(2, 4), slice(3, 4), slice(0, 1), slice(1, 3)):
        part = collected(family, rows=rows)
        same_experience(part, tree_map(lambda x, rows=rows: x[rows], whole))


@pytest.mark.parametrize("change", [{field: 11} for field in Address._fields])
@pytest.mark.parametrize("kind", FAMILIES)
def test_another_address_is_another_draw_of_starts_and_actions(kind: str, change: dict[str, int]) -> None:
    family = FAMILIES[kind](horizon=30)
    here, there = collected(family), collected(family, address=ADDRESS._replace(**change))
    assert not (here.obs[:, :, 0] == there.obs[:, :, 0]).all(-1).any()
    assert not torch.equal(here.action[:, :, 0], there.action[:, :, 0])


def test_tasks_and_episodes_draw_apart() -> None:
    batch = collected(Field())
    assert len(torch.unique(batch.obs[:, :, 0].flatten(0, 1), dim=0)) == 4 * EPISODES
    family = Field("fixed")
    same = tree_map(lambda x: x[:1].expand_as(x).contiguous(), policies(family, 4))
    tasks = {"goal": np.zeros((4, 2))}
    act, env = policy_of_tasks(network(family)), family.make_vec(4 * EPISODES)
    alike = collect(env, act, same, tasks, episodes=EPISODES, horizon=4, address=ADDRESS)
    assert len(torch.unique(alike.action[:, :, 0].flatten(0, 1), dim=0)) == 4 * EPISODES


@pytest.mark.parametrize("kind", FAMILIES)
def test_deterministic_acts_by_the_mode_from_the_same_starts(kind: str) -> None:
    family = FAMILIES[kind]()
    batch = collected(family, deterministic=True)
    assert torch.equal(batch.obs[:, :, 0], collected(family).obs[:, :, 0])
    params, apply = policies(family, 4), policy(network(family))
    for t in range(4):
        chosen = apply({name: value[t] for name, value in params.items()}, batch.obs[t])
        valid = batch.mask[t] > 0
        torch.testing.assert_close(batch.action[t][valid], chosen.mode()[valid], check_dtype=False)
        torch.testing.assert_close(batch.log_prob[t][valid], chosen.log_prob(chosen.mode())[valid])


# One environment that is no family's ------------------------------------------------------------


def collected_in(env: Any, act: Apply, params: Params, horizon: int = 12) -> Episodes:
    return collect_in(env, act, params, episodes=EPISODES, horizon=horizon, address=ADDRESS)


@pytest.mark.parametrize(("kind", "horizon"), [("continuous", 12), ("continuous", 4)])
def test_one_environment_gives_what_the_family_would(kind: str, horizon: int) -> None:
    family = FAMILIES[kind]("fixed")  # the two ways read their start seeds differently
    batch = collected(family, rows=slice(0, 1), horizon=horizon)
    (task,) = [{k: v[0] for k, v in family.sample_tasks(4, np.random.default_rng(3)).items()}]
    params = tree_map(lambda x: x[:1], policies(family, 4))
    env = OfOneTask(family, task)
    found = collected_in(env, policy_of_tasks(network(family)), params, horizon)
    same_experience(found, batch)


def test_a_gymnasium_environment_is_collected_episode_by_episode() -> None:
    torch.manual_seed(0)
    env, module = gymnasium.make("CartPole-v1"), MLP(4, (5,), 2)
    params = tree_map(lambda x: x[None], initial_params(module))
    batch = collected_in(env, policy_of_tasks(module), params, 16)
    starts = seeding.seeds(ADDRESS.seed, "starts", *ADDRESS.of(0), n=EPISODES)
    assert 0 < batch.truncated.sum() < EPISODES  # both ends are seen
    for e, seed in enumerate(starts):
        obs, _ = env.reset(seed=int(seed) >> 33)
        for i in range(int(batch.mask[0, e].sum())):
            assert torch.equal(batch.obs[0, e, i], torch.from_numpy(obs))
            action = batch.action[0, e, i]
            expected = Categorical(logits=module(torch.from_numpy(obs))).log_prob(action)
            torch.testing.assert_close(batch.log_prob[0, e, i], expected.detach())
            obs, reward, terminated, _, _ = env.step(int(action))
            assert (batch.reward[0, e, i], batch.terminated[0, e, i]) == (reward, terminated)
        assert torch.equal(batch.final_obs[0, e], torch.from_numpy(obs))
        assert bool(batch.truncated[0, e].any()) == (i == 15 and not terminated)
    assert batch.mask.sum() == batch.reward.sum()
