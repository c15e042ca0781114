"""RL² (Duan et al. 2016; Wang et al. 2016): adaptation by memory, beside adaptation by gradients.

    .venv/bin/python experiments/rl2.py runs/nav [--env-steps N] [--trial 10] [--std 0.5]

A recurrent policy of sb3-contrib (extra `rl2`) reads, besides each observation, the action, the reward and
the end before it, and keeps its hidden state over all episodes of a trial, which is one task. It is trained
on trials of `--trial` episodes, for as many environment steps as the run was, and then measured by the
protocol of the run's `evaluation.json`: on the same tasks and starts, (K + 1) · E episodes in a row.

Its value at step k is the mean return of episodes k · E + 1 to (k + 1) · E; unlike the others it learns
within them, from the first step on. It is added to `evaluation.json` as the agent `rl2`, so that
`metarl report` and `metarl compare` show it.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize

import metarl
from metarl.core.errors import RequestError
from metarl.rollout import seeding
from metarl.rollout.collector import to_action_space
from metarl.rollout.seeding import Address
from metarl.run.evaluate.protocol import Protocol, held_out_tasks
from metarl.run.experience.gather import USES
from metarl.run.results.statistics import bootstrap_ci, iqm
from metarl.run.sb3.ppo import own_randomness
from metarl.run.sb3.vec_env import TaskVecEnv
from metarl.run.store.files import to_json, write_atomic

ROWS = 400  # trials at a time: an update takes hardly longer for many short sequences than for few
MINIBATCHES, EPOCHS = 8, 4  # of a rollout
RATE = 2e-3  # of Adam
STD = 0.5  # of exploration, at first; with so few updates it shrinks slowly
UNITS = 64  # of the LSTM, and of the layer behind it
PROTOCOL = ("split", "tasks", "steps", "episodes", "seed", "deterministic")


class Before:
    """Append to observations "row o" the last action, the last reward and whether the episode ended."""

    def __init__(self, observation_space: Box, action_space: Any) -> None:
        if not isinstance(action_space, Box | Discrete) or len(observation_space.shape) != 1:
            raise RequestError(f"rl2 reads vectors and acts in a Box or Discrete, got {action_space}")
        self._choices = int(action_space.n) if isinstance(action_space, Discrete) else None
        self.width = (self._choices or action_space.shape[0]) + 2
        ends = np.full(self.width, np.inf, np.float32)
        low, high = (
            np.concatenate(pair) for pair in ((observation_space.low, -ends), (observation_space.high, ends))
        )
        self.space = Box(low.astype(np.float32), high.astype(np.float32))

    def at_start(self, obs: np.ndarray) -> np.ndarray:
        """The first observations of a trial, before which nothing happened."""
        return np.concatenate([obs, np.zeros((len(obs), self.width))], 1).astype(np.float32)

    def after(self, obs: np.ndarray, action: np.ndarray, reward: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Observations after a step."""
        taken = action if self._choices is None else np.eye(self._choices)[action]
        return np.concatenate([obs, taken, reward[:, None], done[:, None]], 1).astype(np.float32)


class Trials(VecEnvWrapper):
    """Rows whose episodes are trials: ``episodes`` episodes of one task, which end for the learner as one."""

    def __init__(self, env: TaskVecEnv, episodes: int) -> None:
        self._before, self._episodes = Before(env.observation_space, env.action_space), episodes
        self._finished = np.zeros(env.num_envs, int)
        self._action: Any = None
        super().__init__(env, observation_space=self._before.space)

    def reset(self) -> np.ndarray:
        """First observations of new trials; only before the first step, since no trial is cut short."""
        self._finished[:] = 0
        return self._before.at_start(self.venv.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Passed on."""
        self._action = actions
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """A step that ends an episode, but not the trial, is followed by the next episode's start."""
        obs, reward, done, infos = self.venv.step_wait()
        seen = self._before.after(obs, self._action, reward, done)
        self._finished += done
        over = self._finished == self._episodes
        last = np.array([info.get("terminal_observation", row) for info, row in zip(infos, obs, strict=True)])
        last = self._before.after(last, self._action, reward, done)
        found = [{"terminal_observation": row} if end else {} for row, end in zip(last, over, strict=True)]
        seen[over] = self._before.at_start(obs[over])
        self._finished[over] = 0
        return seen, reward, over, found


class Trained(NamedTuple):
    """A policy, and the running mean and spread of what it reads, by which that is normalised."""

    model: RecurrentPPO
    scale: VecNormalize

    def predict(self, obs: np.ndarray, *rest: Any, **options: Any) -> Any:
        """As the model's, from what ``Before`` gives."""
        return self.model.predict(self.scale.normalize_obs(obs), *rest, **options)


def train(family: Any, env_steps: int, trial: int, seed: int, gamma: float, std: float = STD) -> Trained:
    """RL² for at least ``env_steps`` steps; a rollout is as long as an episode may be, of ``ROWS`` trials.

    The memory goes on from rollout to rollout; gradients reach back to the start of each. Rewards are scaled
    in training, since returns of tens and hundreds are far from where a new value network stands.
    """
    size = ROWS * family.horizon
    with own_randomness(seed):
        trials = Trials(TaskVecEnv(family, ROWS, per_task=trial, seed=seed), trial)
        env = VecNormalize(trials, gamma=gamma)
        model = RecurrentPPO(
            "MlpLstmPolicy",
            env,
            learning_rate=RATE,
            n_steps=family.horizon,
            batch_size=size // next(n for n in range(MINIBATCHES, 0, -1) if size % n == 0),
            n_epochs=EPOCHS,
            gamma=gamma,
            policy_kwargs={"lstm_hidden_size": UNITS, "net_arch": [UNITS], "log_std_init": math.log(std)},
            device="cpu",
            seed=seed,
        )
        model.learn(env_steps)
        env.training = False
        return Trained(model, env)


def measure(
    trained: Trained, family: Any, tasks: dict[str, np.ndarray], protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths, "task episode" each, of (K + 1) · E episodes in a row. Rows that have ended keep
    their memory.
    """
    m = len(next(iter(tasks.values())))
    before, returns, lengths = Before(family.observation_space, family.action_space), [], []
    memory: Any = None
    last: list[np.ndarray] = []
    with own_randomness(protocol.seed):
        env = family.make_vec(m)
        for number in range((protocol.steps + 1) * protocol.episodes):
            obs, _ = env.reset(seed=_starts(protocol, m, number), options={"task": tasks})
            seen = before.after(obs, *last) if last else before.at_start(obs)
            total, length, done = np.zeros(m), np.zeros(m), np.zeros(m, bool)
            while not done.all():
                first = np.full(m, memory is None)
                action, new = trained.predict(seen, memory, first, deterministic=protocol.deterministic)
                memory = new if memory is None else _where(done, memory, new)
                obs, reward, terminated, truncated, _ = env.step(to_action_space(env.action_space, action))
                total += np.where(done, 0, reward)
                length += ~done
                ends = np.logical_or(terminated, truncated)
                this = [action, np.asarray(reward), ends.astype(float)]
                last = [_rows(done, a, b) for a, b in zip(last, this, strict=True)] if last else this
                seen, done = before.after(obs, *last), ends
            returns.append(total)
            lengths.append(length)
        env.close()
    return np.stack(returns, 1), np.stack(lengths, 1)


def _starts(protocol: Protocol, m: int, number: int) -> list[int]:
    """Seeds of the tasks' episodes, as the other agents have them at step k, episode e."""
    k, e = divmod(number, protocol.episodes)
    found = []
    for t in range(m):
        address = Address(protocol.seed, USES[protocol.split], inner_step=k, first_task=t)
        found.append(int(seeding.seeds(protocol.seed, "starts", *address.of(0), n=e + 1)[e]))
    return found


def _rows(done: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The old rows of what was done, the new ones of the rest."""
    return np.where(done.reshape(-1, *[1] * (new.ndim - 1)), old, new)


def _where(done: np.ndarray, old: Any, new: Any) -> Any:
    """The same for LSTM states "layer row unit"."""
    return tuple(np.where(done[None, :, None], a, b) for a, b in zip(old, new, strict=True))


def as_agent(returns: np.ndarray, lengths: np.ndarray, protocol: Protocol, env_steps: int) -> dict[str, Any]:
    """Returns and lengths "task episode" as an agent of ``evaluation.json``."""
    steps = lengths.reshape(len(lengths), protocol.steps + 1, protocol.episodes).sum(2).mean(0)
    per_task = returns.reshape(len(returns), protocol.steps + 1, protocol.episodes).mean(2)
    rng = seeding.generator(protocol.seed, "bootstrap", USES[protocol.split])
    return {
        "mean": per_task.mean(0),
        "iqm": iqm(per_task[None]),
        "ci95": bootstrap_ci(per_task, rng),
        "per_task": per_task,
        "inner_lr": [],
        "env_steps": env_steps,
        "episodes": [protocol.episodes * k for k in range(protocol.steps + 1)],
        "episode_env_steps": [0.0, *np.cumsum(steps[:-1])],
        "mean_of_each_episode": returns.mean(0),
    }


def main(words: list[str] | None = None) -> None:
    """Train RL² for a run that has been evaluated, and put it into its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument(
        "--env-steps", type=int, help="of training; as many as the run's unless said otherwise"
    )
    parser.add_argument("--trial", type=int, default=10, help="episodes of a trial in training (10)")
    parser.add_argument("--std", type=float, default=STD, help=f"of exploration, at first ({STD})")
    asked = parser.parse_args(words)
    run, path = metarl.load(asked.run_dir, "last"), asked.run_dir / "evaluation.json"
    evaluation = json.loads(path.read_text())
    protocol = Protocol(**{name: evaluation["protocol"][name] for name in PROTOCOL})
    if run.agent.metric != "return":
        raise SystemExit(f"rl2 measures returns, {asked.run_dir} is measured by {run.agent.metric}")
    family, steps = run.agent.episodic, asked.env_steps or run.standing.samples
    trained = train(family, steps, asked.trial, run.config.seed, run.config.gamma, asked.std)
    returns, lengths = measure(trained, family, held_out_tasks(run.agent, protocol), protocol)
    evaluation["agents"]["rl2"] = as_agent(returns, lengths, protocol, trained.model.num_timesteps)
    write_atomic(path, to_json(evaluation, indent=1))
    print("mean return of episode", *(f"{e + 1}: {x:.2f}" for e, x in enumerate(returns.mean(0)[:5])))
    print("mean return by steps  ", *(f"{x:.2f}" for x in evaluation["agents"]["rl2"]["mean"]))


if __name__ == "__main__":
    main()
