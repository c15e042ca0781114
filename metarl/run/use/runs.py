"""Runs as users hold them: train, load and resume, and what a trained agent can do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from metarl.core.errors import RequestError
from metarl.run.config.admission import Trust
from metarl.run.config.train_config import TrainConfig
from metarl.run.evaluate import evaluate as evaluation
from metarl.run.store.zoo import local
from metarl.run.train import training
from metarl.run.train.callbacks import Callback, as_callbacks
from metarl.run.train.iteration import Standing
from metarl.run.train.run_state import RunState
from metarl.run.use import adaptation
from metarl.run.use.policy import Policy

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnv


class Run(RunState):
    """A run in its user's hands: ``learn`` trains it further, ``evaluate`` measures it, ``adapt`` makes a
    policy for a task. The functions of those names are its methods.
    """

    learn = training.learn
    evaluate = evaluation.evaluate
    adapt = adaptation.adapt
    _kept: tuple[Standing, Policy] | None = None

    @property
    def policy(self) -> Policy:
        """The policy before any adaptation, of a family of episodes; the same one until training goes on."""
        if self._kept is None or self._kept[0] is not self.standing:
            self._kept = self.standing, Policy.of(self.agent, self.meta.model, self.action_noise())
        return self._kept[1]

    def to_sb3(self, env: "gymnasium.Env[Any, Any] | VecEnv | None" = None, **options: Any) -> "PPO":
        """Return the policy as a PPO model of Stable-Baselines3; see ``Policy.to_sb3``."""
        return self.policy.to_sb3(env, **options)


def train(
    config: TrainConfig, out: str | Path | None = None, callbacks: Callback | Sequence[Callback] = ()
) -> Run:
    """Start a run and train it for ``config.iterations`` meta-iterations.

    Args:
        config: what to train; fields that are not set take the algorithm's and the family's defaults.
        out: the run directory, which must not exist yet; ``runs/FAMILY-ALGORITHM-seedSEED`` if None.
        callbacks: one or several, called in their order (``metarl.callbacks``).

    Raises:
        RequestError: the request cannot be met; nothing has been written.
        RunFailed: training failed and can be resumed.
    """
    run = Run.new(config, out)
    hooks = as_callbacks(callbacks, run.config)
    return run.make_directory().learn(run.config.iterations, hooks)


def load(path: str | Path, checkpoint: str | int = "best", trust: Trust = False) -> Run:
    """Return a trained run at a checkpoint: ``"best"`` on validation tasks, ``"last"``, or an iteration.

    Args:
        path: a run directory, or an agent that comes with metarl, such as ``"zoo:point-goal-maml"``.
        trust: whether the run's configuration may name code (``module:name``), which is imported; or the
            names that it may have. Nothing is run of what else is in the directory.
    """
    return Run.load(local(path), checkpoint, trust)


def resume(
    path: str | Path,
    iterations: int | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    trust: Trust = False,
) -> Run:
    """Go on with a run from its last intact checkpoint to ``iterations`` in all (the config's if None).

    Args:
        path, trust: as of ``load``.

    Raises:
        RequestError: there is no run, or it has more iterations already.
    """
    run = Run.resume(local(path), trust)
    total = run.config.iterations if iterations is None else iterations
    if total < run.iteration:
        raise RequestError(f"{path} has {run.iteration} iterations already, got iterations {total}")
    return run.learn(total - run.iteration, callbacks)
