"""Bandits and random MDPs, where the optimum is known: the share of it that is earned in the first n steps.

    .venv/bin/python experiments/known_truth.py [--families bandit tabular-mdp] [--algorithms maml ...]

Each algorithm is trained by experiments/FAMILY-ALGORITHM.yaml (a run that exists is resumed, a finished one
is used as it is) and plays 500 test tasks: two episodes before each of four inner steps and after the last,
100 steps in all, every one of which counts. Beside it play the classical players on the same tasks (random,
UCB1, Thompson sampling and a greedy one; for the MDPs posterior sampling), which learn from every step, and
the optimum. Intervals (95 %) are over tasks.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pooled import HERE, Measured, kept, trained

import metarl
from metarl.run.evaluate.protocol import Protocol, held_out_tasks, measure
from metarl.run.experience.sources import open_executor
from metarl.run.experience.step_sizes import step_sizes
from metarl_envs.finite.reference_players import BANDIT_PLAYERS, MDP_PLAYERS

FAMILIES = ("bandit", "tabular-mdp")
ALGORITHMS = ("maml", "promp", "lstm")
SEED, STEPS, EPISODES = 1, 4, 2
PROTOCOL = Protocol("test", 500, STEPS, EPISODES, seed=1, deterministic=False)


def played(family: Any, tasks: dict[str, np.ndarray]) -> Measured:
    """Return what each classical player earns in the first 2, 4, … 10 episodes, "task step"."""
    players: dict[str, Callable[..., np.ndarray]] = BANDIT_PLAYERS if family.name == "bandit" else MDP_PLAYERS
    episodes = (STEPS + 1) * EPISODES
    amount = episodes * family.horizon if family.name == "bandit" else episodes
    found = {}
    for name, player in players.items():
        rewards = player(family, tasks, amount, np.random.default_rng(SEED))
        blocks = rewards.reshape(len(rewards), STEPS + 1, -1).sum(2)
        found[name] = blocks.cumsum(1).tolist()
    return found


def measured(name: str, algorithm: str, runs: Path) -> Measured:
    """Return what an agent, and for MAML each player, earns in the first 2, 4, … 10 episodes, "task step"."""
    path = trained(HERE / f"{name}-{algorithm}.yaml", runs / f"{name}-{algorithm}", SEED)
    run = metarl.load(path)
    with open_executor(run.agent) as executor:
        rates = step_sizes(None, STEPS, run.agent)
        values = measure(run.agent, run.meta, rates, PROTOCOL, executor).values
    found = {"meta": (EPISODES * values.T.double()).cumsum(1).tolist()}
    if algorithm == "maml":
        found |= played(run.agent.family, held_out_tasks(run.agent, PROTOCOL))
    return found


def shares(earned: np.ndarray, optimum: np.ndarray, resamples: int = 2000) -> list[str]:
    """Share of the optimum "task step" after each block of episodes, with its interval."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(earned), np.full(len(earned), 1 / len(earned)), resamples)
    low, high = np.percentile((weights @ earned) / (weights @ optimum), [2.5, 97.5], axis=0)
    mean = earned.sum(0) / optimum.sum(0)
    return [f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in zip(mean, low, high, strict=True)]


def main() -> None:
    """Train what is not trained yet, play, print a Markdown table for each family."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for name in options.families:
        found: dict[str, np.ndarray] = {}
        for algorithm in options.algorithms:
            result = kept(
                f"{name}-{algorithm}",
                HERE / f"{name}-{algorithm}.yaml",
                {"tasks": PROTOCOL.tasks, "steps": STEPS, "episodes": EPISODES},
                partial(measured, name, algorithm, options.runs),
            )
            found |= {algorithm if agent == "meta" else agent: v for agent, v in result.items()}
        if "optimum" not in found:
            parser.error("the players are those of maml: name it among the algorithms")
        steps = [20 * (k + 1) for k in range(STEPS + 1)]
        print(f"\n| {name} | {' | '.join(f'first {n} steps' for n in steps)} |\n|---|{'---|' * len(steps)}")
        for agent, earned in found.items():
            print(f"| {agent} | {' | '.join(shares(earned, found['optimum']))} |")


if __name__ == "__main__":
    main()
