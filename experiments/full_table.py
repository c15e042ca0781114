"""The whole table of 2-D navigation and of cheetah-dir: meta-learners, baselines, agents of SB3, RL².

    .venv/bin/python experiments/full_table.py [--families point-goal ...] [--agents rl2 ...] [--seeds 1 2 3]

The meta-learners and the native baselines are read from what ``point_goal_algorithms.py`` and ``robots.py``
keep in experiments/results. Trained here, measured on the same tasks by the same protocols and kept beside
them, are sb3-pretrained and sb3-oracle (PPO on training tasks, then adapted by gradient steps as the native
baselines are), sb3-scratch (PPO on each held-out task from nothing, which learns from the episodes that the
others adapt to), and RL² (``rl2.py``). What is kept needs no training; ``--agents`` without a word after it
trains nothing. RL² takes no steps: its value at step k is the mean of its episodes k · E + 1 to (k + 1) · E
on a task, which are those that the others play after k steps; a second table has single episodes. Each
family's figure goes to experiments/figures, drawn of the agents and seeds asked for.

Environment steps are of training alone; where episodes may end early they are at most what is shown, but
SB3's and RL²'s, which are counted. Intervals (95 %) are over tasks and seeds.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import point_goal_algorithms
import rl2
import robots
from pooled import CHOICE, HERE, KEPT, Measured, adapted, cells, difference, kept
from table_figure import figure

from metarl.rollout.registry import make
from metarl.run.agent.agent import Agent, build_agent
from metarl.run.config.admission import load_config
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate.protocol import Protocol, held_out_tasks
from metarl.run.evaluate.sb3_baselines import measure_scratch, sb3_baseline_of, sb3_config
from metarl.run.experience.sources import open_executor
from metarl.run.train.run_state import RunState

SHOWN = (1, 2, 3, 5, 10, 20, 40)  # episodes of RL² in its own table


class Training(NamedTuple):
    """Environment steps of the training of an agent, and the seeds that are trained."""

    env_steps: int
    seeds: tuple[int, ...]


class Table(NamedTuple):
    """A family's rows.

    Attributes:
        protocol: by which all of them are measured.
        algorithms: the meta-learners.
        trained: what is trained here.
        rl2: options of ``rl2.train``: episodes of a trial, exploration at first.
    """

    protocol: Protocol
    algorithms: tuple[str, ...]
    trained: dict[str, Training]
    rl2: dict[str, Any]


class Row(NamedTuple):
    """Measurements of an agent: values "seed task step" (RL²: "seed task episode"), steps of training."""

    values: np.ndarray
    env_steps: int


TABLES = {
    "point-goal": Table(
        point_goal_algorithms.PROTOCOL,
        point_goal_algorithms.ALGORITHMS,
        {
            "sb3-pretrained": Training(7_000_000, (1, 2, 3)),
            "sb3-oracle": Training(2_000_000, (1, 2, 3)),
            "sb3-scratch": Training(0, (1, 2, 3)),
            "rl2": Training(3_000_000, (1, 2, 3)),
        },
        rl2={"trial": 20},
    ),
    "cheetah-dir": Table(
        robots.PROTOCOL,
        robots.ALGORITHMS,
        {
            "sb3-pretrained": Training(8_000_000, (1,)),
            "sb3-oracle": Training(2_000_000, (1,)),
            "sb3-scratch": Training(0, (1,)),
            "rl2": Training(4_000_000, (1,)),
        },
        rl2={"trial": 10, "std": 1.0},
    ),
}
TRAINED_HERE = ("sb3-pretrained", "sb3-oracle", "sb3-scratch", "rl2")


def measured(family: str, kind: str, seed: int, runs: Path) -> Measured:
    """Returns "task step" of one agent, of RL² "task episode"."""
    table, config = TABLES[family], dataclasses.replace(load_config(HERE / f"{family}-maml.yaml"), seed=seed)
    print(f"{family} {kind}, seed {seed}", file=sys.stderr, flush=True)
    if kind == "rl2":
        return {kind: of_memory(build_agent(config), table)}
    if kind == "sb3-scratch":
        return {kind: from_scratch(build_agent(sb3_config(kind, config)), table.protocol)}
    trained = of_ppo(kind, config, table.trained[kind].env_steps, runs / f"{family}-{kind}-{seed}")
    return {kind: adapted(trained.agent, trained.meta, table.protocol, kind)}


def of_ppo(kind: str, config: TrainConfig, env_steps: int, path: Path) -> RunState:
    """``sb3-pretrained`` or ``sb3-oracle`` beside a run of so many steps, which nobody has to train."""
    run = RunState(build_agent(config), path)
    run.standing = run.standing._replace(samples=env_steps)
    return sb3_baseline_of(kind, run)


def from_scratch(agent: Agent, protocol: Protocol) -> list[list[float]]:
    """Returns "task step" of PPO on each task by itself."""
    rows: list[list[float]] = []
    for again in repeats(agent, protocol):
        with open_executor(agent) as executor:
            experience, _ = measure_scratch(agent, again, executor)
        rows += experience.values.T.tolist()
    return rows


def of_memory(agent: Agent, table: Table) -> list[list[float]]:
    """Returns "task episode" of RL²."""
    family, c = agent.episodic, agent.config
    steps = table.trained["rl2"].env_steps
    trained = rl2.train(family, steps, seed=c.seed, gamma=c.gamma, **table.rl2)
    rows: list[list[float]] = []
    for again in repeats(agent, table.protocol):
        rows += rl2.measure(trained, family, held_out_tasks(agent, again), again)[0].tolist()
    return rows


def repeats(agent: Agent, protocol: Protocol) -> list[Protocol]:
    """As in ``pooled.returns``: of few tasks, several measurements."""
    known = agent.family.num_tasks
    n = 1 if known is None else max(1, protocol.tasks // known)
    return [dataclasses.replace(protocol, seed=protocol.seed + i) for i in range(n)]


def trained_here(family: str, kind: str, seed: int, runs: Path) -> np.ndarray:
    """Read or measure an agent: returns "task step", of RL² "task episode"."""
    table = TABLES[family]
    told: dict[str, Any] = dataclasses.asdict(table.protocol) | {"env_steps": table.trained[kind].env_steps}
    told |= table.rl2 if kind == "rl2" else {} if kind == "sb3-scratch" else CHOICE
    make_it = partial(measured, family, kind, seed, runs)
    return kept(f"{family}-{kind}-{seed}", HERE / f"{family}-maml.yaml", told, make_it)[kind]


def known(family: str) -> dict[str, Row]:
    """Read what the scripts of the meta-learners have kept of them and of their baselines."""
    found: dict[str, Row] = {}
    for algorithm in TABLES[family].algorithms:
        steps = most_steps(load_config(HERE / f"{family}-{algorithm}.yaml"))
        read = [json.loads(path.read_text())["agents"] for path in _kept(family, algorithm)]
        for agent in read[0]:
            values = np.stack([agents[agent] for agents in read if agent in agents])
            name = algorithm if agent == "meta" else agent
            found[name] = Row(values, 0 if agent == "random" else steps)
    return found


def _kept(family: str, algorithm: str) -> list[Path]:
    """The files of an algorithm's seeds at their best checkpoints."""
    paths = sorted(KEPT.glob(f"{family}-{algorithm}-[0-9].json"))
    if not paths:
        raise SystemExit(f"{family}, {algorithm}: nothing is kept in {KEPT}; its own script makes it")
    return paths


def most_steps(config: TrainConfig) -> int:
    """Environment steps of a training whose episodes all last as long as they may."""
    c = config
    assert c.iterations and c.tasks and c.episodes and c.inner_steps is not None, "the files say all of them"
    horizon = make(c.family, c.spec, **c.family_arg).horizon
    return c.iterations * c.tasks * c.episodes * horizon * (c.inner_steps + 1)


def in_steps(values: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Returns "seed task step" of an agent that learns all along, from "seed task episode"."""
    return values.reshape(*values.shape[:2], protocol.steps + 1, protocol.episodes).mean(3)


def show(family: str, kinds: Sequence[str], seeds: Sequence[int] | None, runs: Path) -> None:
    """Print a family's tables and draw its figure; train what is missing of ``kinds``."""
    table, rows = TABLES[family], known(family)
    for kind in kinds:
        wanted = seeds or table.trained[kind].seeds
        values = np.stack([trained_here(family, kind, seed, runs) for seed in wanted])
        rows[kind] = Row(values, table.trained[kind].env_steps)
    by_steps = {
        a: in_steps(row.values, table.protocol) if a == "rl2" else row.values for a, row in rows.items()
    }
    steps, episodes = table.protocol.steps + 1, table.protocol.episodes
    heads = [f"step {k} ({k * episodes})" for k in range(1, steps)]
    print(f"\n{family}; in brackets: episodes of the task that were consumed\n")
    print(f"| agent | seeds | steps of training | before (0) | {' | '.join(heads)} |")
    print("|---" * (steps + 3) + "|")
    for agent, values in by_steps.items():
        trained = rows[agent].env_steps / 1e6
        print(f"| {agent} | {len(values)} | {trained:g} M | {cells(values, 1)} |")
    if "rl2" in rows:
        chosen = sorted({*SHOWN, steps * episodes})
        print(f"\n| episode of rl2 | {' | '.join(map(str, chosen))} |")
        print("|---" * (len(chosen) + 1) + "|")
        print(f"| return | {cells(rows['rl2'].values[:, :, [e - 1 for e in chosen]], 1)} |", flush=True)
    print()
    for kind in kinds:
        print(f"{kind} − maml: {difference(by_steps[kind], by_steps['maml'], range(steps), 1)}", flush=True)
    figure(family, {agent: row.values for agent, row in rows.items()}, episodes)


def main() -> None:
    """Train and measure what is not there yet, print Markdown tables, draw figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=tuple(TABLES), choices=tuple(TABLES))
    parser.add_argument("--agents", nargs="*", default=TRAINED_HERE, choices=TRAINED_HERE)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the table")
    parser.add_argument("--runs", type=Path, default=Path("runs/full-table"))
    options = parser.parse_args()
    for family in options.families:
        show(family, options.agents, options.seeds, options.runs)


if __name__ == "__main__":
    main()
