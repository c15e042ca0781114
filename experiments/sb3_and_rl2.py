"""Agents of Stable-Baselines3, and RL², in the table of the meta-learners: 2-D navigation and cheetah-dir.

    .venv/bin/python experiments/sb3_and_rl2.py [--families point-goal ...] [--agents rl2 ...] [--seeds 1 2 3]

What is trained here is measured on the tasks of ``point_goal_algorithms.py`` and ``robots.py``, by their
protocols, and printed under what those have kept in experiments/results: sb3-pretrained and sb3-oracle (PPO
on training tasks, then adapted by gradient steps as MAML's agents are), sb3-scratch (PPO on each held-out
task from nothing, which learns from the episodes that the others adapt to), and RL² (``rl2.py``), which
learns while it acts: its value at step k is the mean of its episodes k · E + 1 to (k + 1) · E on a task.
Each is trained for ``ENV_STEPS`` environment steps, and measurements are kept, as those scripts keep theirs.
Intervals are 95 % bootstrap intervals over tasks and seeds.
"""

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import point_goal_algorithms
import rl2
import robots
from pooled import CHOICE, HERE, KEPT, Measured, adapted, cells, kept
from sb3_contrib import RecurrentPPO

from metarl.run.agent import Agent, build_agent
from metarl.run.config import TrainConfig
from metarl.run.protocol import Protocol, held_out_tasks
from metarl.run.resolve import load_config
from metarl.run.sb3.baselines import measure_scratch, sb3_config, weights_of
from metarl.run.sb3.ppo import train_on_tasks
from metarl.run.worlds import world_of

# Environment steps of training; MAML's has 8 million.
ENV_STEPS = {"sb3-pretrained": 2_000_000, "sb3-oracle": 2_000_000, "sb3-scratch": 0, "rl2": 4_000_000}
AGENTS = tuple(ENV_STEPS)
TRIAL = 40  # episodes of a trial of RL² in training


class Table(NamedTuple):
    """Which meta-learners were measured by which protocol, and the seeds of what is trained here."""

    protocol: Protocol
    algorithms: tuple[str, ...]
    seeds: tuple[int, ...]


TABLES = {
    "point-goal": Table(point_goal_algorithms.PROTOCOL, point_goal_algorithms.ALGORITHMS, (1, 2, 3)),
    "cheetah-dir": Table(robots.PROTOCOL, robots.ALGORITHMS, (1,)),
}


def measured(kind: str, config: TrainConfig, protocol: Protocol) -> Measured:
    """Returns "task step" of one agent, of RL² "task episode"."""
    print(f"{config.family} {kind}, seed {config.seed}", file=sys.stderr, flush=True)
    if kind == "rl2":
        return {kind: of_memory(build_agent(config), protocol)}
    agent = build_agent(sb3_config(kind, config))
    if kind == "sb3-scratch":
        return {kind: from_scratch(agent, protocol)}
    model = train_on_tasks(agent, ENV_STEPS[kind], config.seed, kind)
    meta = agent.initial_meta()._replace(model=weights_of(agent, model))
    return {kind: adapted(agent, meta, protocol, kind)}


def from_scratch(agent: Agent, protocol: Protocol) -> list[list[float]]:
    """Returns "task step" of PPO on each task by itself."""
    rows: list[list[float]] = []
    for again in repeats(agent, protocol):
        with world_of(agent.family).open(agent) as serve:
            experience, rate = measure_scratch(agent, again, serve)
        print(f"sb3-scratch: learning rate {rate:g}", file=sys.stderr, flush=True)
        assert experience.values is not None, "episodes are measured"
        rows += experience.values.T.tolist()
    return rows


def of_memory(agent: Agent, protocol: Protocol) -> list[list[float]]:
    """Returns "task episode" of RL²."""
    c = agent.config
    model: RecurrentPPO = rl2.train(agent.episodic, ENV_STEPS["rl2"], TRIAL, c.seed, c.gamma)
    rows: list[list[float]] = []
    for again in repeats(agent, protocol):
        tasks = held_out_tasks(agent, again)
        rows += rl2.measure(model, agent.episodic, tasks, again)[0].tolist()
    return rows


def repeats(agent: Agent, protocol: Protocol) -> list[Protocol]:
    """As in ``pooled.returns``: of few tasks, several measurements."""
    known = agent.family.num_tasks
    n = 1 if known is None else max(1, protocol.tasks // known)
    return [dataclasses.replace(protocol, seed=protocol.seed + i) for i in range(n)]


def trained(family: str, kind: str, seed: int) -> np.ndarray:
    """What one agent was measured to be, or is now, "task step"."""
    protocol, path = TABLES[family].protocol, HERE / f"{family}-maml.yaml"
    config = dataclasses.replace(load_config(path), seed=seed)
    told: dict[str, Any] = dataclasses.asdict(protocol) | {"env_steps": ENV_STEPS[kind]}
    told |= {"trial": TRIAL} if kind == "rl2" else {} if kind == "sb3-scratch" else CHOICE
    make = partial(measured, kind, config, protocol)
    values = kept(f"{family}-{kind}-{seed}", path, told, make)[kind]
    return in_steps(values, protocol) if kind == "rl2" else values


def in_steps(values: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Returns "task episode" of an agent that learns all along, as the means of each step's episodes."""
    return values.reshape(len(values), protocol.steps + 1, protocol.episodes).mean(2)


def known(family: str) -> dict[str, np.ndarray]:
    """What the scripts of the meta-learners have kept, "seed task step" of each agent."""
    found: dict[str, list[np.ndarray]] = {}
    for algorithm in TABLES[family].algorithms:
        for path in sorted(KEPT.glob(f"{family}-{algorithm}-?.json")):
            for agent, values in read(path).items():
                found.setdefault(algorithm if agent == "meta" else agent, []).append(values)
    return {agent: np.stack(values) for agent, values in found.items()}


def read(path: Path) -> dict[str, np.ndarray]:
    """The values of a kept measurement."""
    return {agent: np.array(x) for agent, x in json.loads(path.read_text())["agents"].items()}


def main() -> None:
    """Train and measure what is not there yet, and print a Markdown table for each family."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=tuple(TABLES), choices=tuple(TABLES))
    parser.add_argument("--agents", nargs="+", default=AGENTS, choices=AGENTS)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3 of point-goal, 1 of cheetah-dir")
    options = parser.parse_args()
    print("| family | agent | seeds | before | step 1 | step 2 | step 3 |\n|---|---|---|---|---|---|---|")
    for family in options.families:
        agents = known(family)
        for kind in options.agents:
            seeds = options.seeds or TABLES[family].seeds
            agents[kind] = np.stack([trained(family, kind, seed) for seed in seeds])
        for agent, values in agents.items():
            print(f"| {family} | {agent} | {len(values)} | {cells(values, 1)} |", flush=True)


if __name__ == "__main__":
    main()
