"""Runs as users hold them: train, load and resume, and what a trained agent can do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from metarl.core.errors import RequestError
from metarl.run.adaptation import adapt_to, adapt_to_shots
from metarl.run.admission import Trust
from metarl.run.callbacks import Callback
from metarl.run.config import TrainConfig
from metarl.run.evaluation import evaluate
from metarl.run.policy import Policy
from metarl.run.results import Evaluation
from metarl.run.trainer import Trainer
from metarl.run.zoo import run_dir

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv


class Run(Trainer):
    """A run: ``learn`` trains it further, ``evaluate`` measures it, ``adapt`` makes a policy for a task."""

    @property
    def policy(self) -> Policy:
        """The policy before any adaptation, of a family of episodes."""
        return Policy.of(self.agent, self.meta.model)

    def to_sb3(self, env: "gymnasium.Env[Any, Any] | VecEnv | None" = None, **options: Any) -> "PPO":
        """The policy before any adaptation as a PPO model of Stable-Baselines3; see ``Policy.to_sb3``."""
        from metarl.run.sb3.model import ppo_of  # which takes a second

        return ppo_of(self.agent, self.meta.model, env, **options)

    def evaluate(self, **options: Any) -> Evaluation:
        """How well the agent adapts to held-out tasks; the options are those of ``evaluation.evaluate``."""
        return evaluate(self, **options)

    def adapt(
        self,
        task: Mapping[str, Any] | None = None,
        env: gymnasium.Env[Any, Any] | None = None,
        shots: Sequence[Any] | None = None,
        *,
        steps: int = 1,
        episodes: int = 20,
        inner_lr: float | Sequence[float] | None = None,
        seed: int = 0,
    ) -> Any:
        """What ``steps`` inner steps make of the agent on one task.

        Args:
            task: one task of a family of episodes, for example ``{"goal": [0.3, -0.2]}``.
            env: in its place, any Gymnasium environment with the family's spaces.
            shots: for a family of labelled examples, the examples (x "shot …", y "shot …").
            episodes: before each step, in a task or environment.
            inner_lr: step size, or one for each step (the last serves the rest). None: see ``step_sizes``.
            seed: of start states and actions.

        Returns:
            A ``Policy``, or for shots a ``Predictor``.
        """
        if shots is not None:
            if task is not None or env is not None:
                raise RequestError("adapt needs a task, an environment or shots, and only one of them")
            return adapt_to_shots(self, shots, steps=steps, inner_lr=inner_lr)
        return adapt_to(self, task, env, steps=steps, episodes=episodes, inner_lr=inner_lr, seed=seed)


def train(config: TrainConfig, out: str | Path | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Start a run and train it for ``config.iterations`` meta-iterations.

    Args:
        config: what to train; fields that are not set take the algorithm's and the family's defaults.
        out: the run directory, which must not exist yet; ``runs/FAMILY-ALGORITHM-seedSEED`` if None.

    Raises:
        RequestError: the request cannot be met; nothing has been written.
        RunFailed: training failed and can be resumed.
    """
    run = Run.start(config, out)
    return run.learn(run.config.iterations, callbacks)


def load(path: str | Path, checkpoint: str | int = "best", trust: Trust = False) -> Run:
    """A trained run at a checkpoint: ``"best"`` on validation tasks, ``"last"``, or an iteration's number.

    Args:
        path: a run directory, or an agent that comes with metarl, such as ``"zoo:point-goal-maml"``.
        trust: whether the run's configuration may name code (``module:name``), which is imported; or the
            names that it may have. Nothing is run of what else is in the directory.
    """
    return Run.load(run_dir(path), checkpoint, trust)


def resume(
    path: str | Path,
    iterations: int | None = None,
    callbacks: Sequence[Callback] = (),
    trust: Trust = False,
) -> Run:
    """Go on with a run from its last intact checkpoint to ``iterations`` in all (the config's if None).

    Args:
        trust: as in ``load``.

    Raises:
        RequestError: there is no run, or it has more iterations already.
    """
    run = Run.resume(path, trust)
    total = run.config.iterations if iterations is None else iterations
    if total < run.iteration:
        raise RequestError(f"{path} has {run.iteration} iterations already, got iterations {total}")
    return run.learn(total - run.iteration, callbacks)
