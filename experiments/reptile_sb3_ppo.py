"""Reptile (Nichol et al. 2018) with Stable-Baselines3's PPO as its inner loop, which knows nothing of it.

    .venv/bin/python experiments/reptile_sb3_ppo.py --family point-goal --iterations 200 --out reptile-ppo.zip

An iteration draws a few tasks. On each, PPO starts from the shared weights and makes a few updates; then the
shared weights move towards the mean of where it got. Nothing is differentiated through, so that any learner
will do that has weights to get and to set. Adam begins anew on every task, as it will on a new one.

The zip is an ordinary PPO model. What it is worth is measured on held-out tasks: PPO's return on each before
and after each further update, from the learned weights and from new ones.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from torch import Tensor

import metarl
from metarl.rollout import seeding
from metarl.run.experience.gather import USES
from metarl.run.sb3.ppo import own_randomness
from metarl.run.sb3.vec_env import TaskVecEnv

Weights = dict[str, Tensor]
EPISODES = 20  # of a task before each update


def ppo_on(family: Any, task: dict[str, Any], seed: int, learning_rate: float) -> PPO:
    """PPO on one task; a rollout is ``EPISODES`` episodes, and an update goes over it ten times."""
    env = TaskVecEnv(family, EPISODES, task, seed=seed)
    steps = EPISODES * family.horizon
    options = {"n_steps": family.horizon, "batch_size": steps // 4, "learning_rate": learning_rate}
    return PPO("MlpPolicy", env, seed=seed, device="cpu", **options)


def weights_of(model: PPO) -> Weights:
    """A copy of policy and value network."""
    return {name: x.clone() for name, x in model.policy.state_dict().items()}


def towards(shared: Weights, adapted: list[Weights], step: float) -> Weights:
    """The outer step: θ + ε · mean(φ − θ) over the tasks' weights φ."""
    return {
        name: x + step * sum(phi[name] - x for phi in adapted) / len(adapted) for name, x in shared.items()
    }


def adapt(model: PPO, start: Weights, updates: int) -> PPO:
    """The inner loop: ``updates`` rollouts and updates of PPO from ``start``."""
    model.policy.load_state_dict(start)
    return model.learn(updates * EPISODES * model.n_steps)


def tasks_of(family: Any, seed: int, split: str, number: int, n: int) -> list[dict[str, Any]]:
    """``n`` tasks, each by itself; ``number`` is the iteration's."""
    rows = family.sample_tasks(n, seeding.generator(seed, "tasks", USES[split], number), split)
    return [{name: x[i] for name, x in rows.items()} for i in range(n)]


def meta_train(
    family: Any, *, iterations: int, tasks: int, updates: int, lr: float, step: float, seed: int
) -> Weights:
    """The shared weights; the outer step size falls to 0 in a straight line, as in Nichol et al.'s code."""
    shared = weights_of(ppo_on(family, tasks_of(family, seed, "train", 0, 1)[0], seed, lr))
    for i in range(iterations):
        adapted = []
        for t, task in enumerate(tasks_of(family, seed, "train", i, tasks)):
            model = ppo_on(family, task, seed + i * tasks + t, lr)
            adapted.append(weights_of(adapt(model, shared, updates)))
        shared = towards(shared, adapted, step * (1 - i / iterations))
    return shared


def curve(
    family: Any, start: Weights | None, *, tasks: int, updates: int, lr: float, seed: int
) -> np.ndarray:
    """Mean return "task update" of the episodes before each update and after the last, on held-out tasks."""
    found = np.zeros((tasks, updates + 1))
    for t, task in enumerate(tasks_of(family, seed, "test", 0, tasks)):
        model = ppo_on(family, task, seed + t, lr)
        start_here = weights_of(model) if start is None else start
        model.policy.load_state_dict(start_here)
        for k in range(updates + 1):
            found[t, k] = mean_return(model)
            model.learn(EPISODES * model.n_steps)
    return found


def mean_return(model: PPO) -> float:
    """Return the return of one episode in each row, acting at random as in training, up to its first end."""
    obs, total, going = model.env.reset(), np.zeros(EPISODES), np.ones(EPISODES, bool)
    for _ in range(model.n_steps):
        obs, reward, done, _ = model.env.step(model.predict(obs)[0])
        total += reward * going
        going &= ~done
    return float(total.mean())


def main(words: list[str] | None = None) -> None:
    """Meta-train, save, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", default="point-goal")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=5, help="of an iteration")
    parser.add_argument("--updates", type=int, default=2, help="of PPO on each task of an iteration")
    parser.add_argument("--lr", type=float, default=1e-3, help="PPO's learning rate")
    parser.add_argument("--step", type=float, default=0.5, help="first outer step size")
    parser.add_argument("--test-tasks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reptile-ppo.zip"))
    asked = parser.parse_args(words)
    family, seed, lr = metarl.make(asked.family), asked.seed, asked.lr
    with own_randomness(seed):
        sizes = {"iterations": asked.iterations, "tasks": asked.tasks, "updates": asked.updates}
        shared = meta_train(family, **sizes, lr=lr, step=asked.step, seed=seed)
        model = ppo_on(family, tasks_of(family, seed, "train", 0, 1)[0], seed, lr)
        model.policy.load_state_dict(shared)
        model.save(asked.out)
        for name, start in (("Reptile's weights", shared), ("new weights", None)):
            values = curve(family, start, tasks=asked.test_tasks, updates=3, lr=lr, seed=seed).mean(0)
            print(f"{name:>18}: mean return by updates", *(f"{x:.2f}" for x in values))


if __name__ == "__main__":
    main()
