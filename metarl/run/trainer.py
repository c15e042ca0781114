"""Training: a run directory with a life, from its first iteration to its last."""

import dataclasses
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from metarl.core.errors import RequestError, RunFailed
from metarl.core.params import all_finite
from metarl.core.process import prepare_process
from metarl.rollout import seeding
from metarl.rollout.collector import Address
from metarl.run import checkpoint, state
from metarl.run.agent import Agent, build_agent
from metarl.run.callbacks import Callback
from metarl.run.config import TrainConfig, as_dict, to_yaml
from metarl.run.experience import USES, Experience, collector, gather
from metarl.run.files import tell, to_json, warn, write_atomic
from metarl.run.loggers import LOGGERS, JsonlLogger
from metarl.run.policy import Policy
from metarl.run.progress import Progress
from metarl.run.resolve import choose_device, load_config, resolved
from metarl.run.signals import GracefulStop, Stopped

if TYPE_CHECKING:
    from metarl.run.evaluation import Evaluation

Row = dict[str, Any]
# Iterations in a row whose step is not finite before the run gives up.
MAX_SKIPPED = 5


class Run:
    """A configuration, its directory, and how far its training has come.

    Made by ``train``, ``load`` and ``resume``. ``iteration`` counts finished meta-iterations, ``env_steps`` the
    environment steps they took, ``meta`` holds the meta-parameters.
    """

    def __init__(self, agent: Agent, path: Path) -> None:
        self.agent, self.path = agent, path
        self.meta = agent.initial_meta()
        self.iteration = self.env_steps = 0
        self._state = agent.optimiser().init(self.meta)
        self._skipped = 0

    @property
    def config(self) -> TrainConfig:
        """Every resolved value."""
        return self.agent.config

    @property
    def policy(self) -> Policy:
        """The policy before any adaptation."""
        family = self.agent.family
        return Policy(
            self.agent.apply, self.meta.model, family.observation_space, family.action_space, self.config.seed
        )

    def learn(self, iterations: int, callbacks: Sequence[Callback] = ()) -> "Run":
        """Train ``iterations`` more meta-iterations, from where the run stands.

        Raises:
            RequestError: the run was loaded at an older checkpoint than its last.
            RunFailed: steps were not finite ``MAX_SKIPPED`` times in a row; the last good state is saved.
            Stopped: a signal asked for it; the state is saved.
        """
        newer = [n for n in checkpoint.available(self._checkpoints) if n > self.iteration]
        if newer:
            raise RequestError(
                f"{self.path} was loaded at iteration {self.iteration} but has been trained to {newer[-1]}; "
                "load it with checkpoint='last' to go on"
            )
        total = self.iteration + iterations
        if total > self.config.iterations:
            self._replace_config(iterations=total)
        with ExitStack() as stack:
            stop = stack.enter_context(GracefulStop())
            log = stack.enter_context(JsonlLogger(self.path / "metrics.jsonl"))
            log.truncate_after(self.iteration)
            mirrors = [LOGGERS[name]() for name in self.config.logger]
            for mirror in mirrors:
                self.start_mirror(mirror)
                stack.callback(mirror.finish)
            env = self.agent.family.make_vec(self.config.tasks * self.config.episodes)
            stack.callback(env.close)
            progress = stack.enter_context(Progress(total, self.iteration, self.path.name))
            for callback in callbacks:
                callback.on_training_start(self)
            going = True
            while going and self.iteration < total:
                row = self._iterate(env, callbacks)
                due = self.iteration % self.config.checkpoint_every == 0
                row |= self._validate() if due else {}
                log.row(row)
                for mirror in mirrors:
                    mirror.row(row)
                progress.update(self.iteration, row)
                # A list: every callback hears of every row, whatever an earlier one answers.
                going = all([callback.on_step(self, row) for callback in callbacks])
                ending = not going or stop.requested is not None or self.iteration == total
                failed = self._skipped >= MAX_SKIPPED
                if due or ending or failed:
                    log.sync()
                    self._save(row)
                if stop.requested is not None:
                    tell(f"metarl: saved iteration {self.iteration}; go on with: metarl resume {self.path}")
                    raise Stopped(stop.requested)
                if failed:
                    raise RunFailed(
                        f"the step of {MAX_SKIPPED} iterations in a row was not finite; "
                        f"the last good state is saved in {self.path}"
                    )
            for callback in callbacks:
                callback.on_training_end(self)
        return self

    def evaluate(self, **options: Any) -> "Evaluation":
        """How well the agent adapts to held-out tasks; see ``metarl.run.evaluation.evaluate`` for the options."""
        from metarl.run.evaluation import evaluate

        return evaluate(self, **options)

    def adapt(
        self,
        task: Mapping[str, Any] | None = None,
        env: gymnasium.Env[Any, Any] | None = None,
        *,
        steps: int = 1,
        episodes: int = 20,
        inner_lr: float | Sequence[float] | None = None,
        seed: int = 0,
    ) -> Policy:
        """The policy after ``steps`` inner steps of ``episodes`` episodes each, on one task or environment.

        Args:
            task: one task of the family, for example ``{"goal": [0.3, -0.2]}``.
            env: any Gymnasium environment with the family's spaces, in place of a task.
            inner_lr: step size, or one for each step (the last serves the rest); that of training if None.
        """
        from metarl.run.adaptation import adapt_to

        return adapt_to(self, task, env, steps=steps, episodes=episodes, inner_lr=inner_lr, seed=seed)

    def start_mirror(self, mirror: Any) -> None:
        """Opens a mirror of this run's numbers."""
        c = self.config
        mirror.start(
            as_dict(c),
            self.path,
            project=c.wandb_project,
            entity=c.wandb_entity,
            group=c.wandb_group,
            mode=c.wandb_mode,
            name=self.path.name,
        )

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def _iterate(self, env: VectorEnv, callbacks: Sequence[Callback]) -> Row:
        """One meta-iteration; afterwards the run stands at the next one."""
        began = time.perf_counter()
        agent, c, number = self.agent, self.config, self.iteration + 1
        for callback in callbacks:
            callback.on_rollout_start(self)
        rng = seeding.generator(c.seed, "tasks", USES["train"], number)
        experience = gather(
            agent,
            self.meta,
            c.tasks,
            collector(agent, agent.family.sample_tasks(c.tasks, rng, "train"), env, c.episodes),
            agent.adaptations([c.inner_lr], c.inner_steps),
            Address(c.seed, USES["train"], number),
        )
        for callback in callbacks:
            callback.on_rollout_end(self)
        problem = agent.learner()(experience.data)
        meta, optimiser_state, metrics = agent.optimiser().step(problem, self.meta, self._state)
        if all_finite(meta) and all_finite(optimiser_state):
            self.meta, self._state, self._skipped = meta, optimiser_state, 0
        else:
            self._skipped += 1
            warn(f"iteration {number}: the step is not finite; the parameters stay")
        self.iteration, self.env_steps = number, self.env_steps + experience.env_steps
        row = {"iteration": number, "env_steps": self.env_steps, "seconds": time.perf_counter() - began}
        return row | _curve(experience) | metrics | {"skipped": self._skipped}

    def _validate(self) -> Row:
        """The adaptation curve on held-out tasks, always the same ones with the same randomness."""
        agent, c = self.agent, self.config
        number = agent.family.num_tasks
        n = c.validation_tasks if number is None else min(c.validation_tasks, number)
        rng = seeding.generator(c.seed, "tasks", USES["validation"])
        env = agent.family.make_vec(n * c.episodes)
        try:
            experience = gather(
                agent,
                self.meta,
                n,
                collector(agent, agent.family.sample_tasks(n, rng, "validation"), env, c.episodes),
                agent.adaptations([c.inner_lr], c.inner_steps),
                Address(c.seed, USES["validation"]),
            )
        finally:
            env.close()
        means = experience.returns.mean(-1).tolist()
        return {f"validation/return/step_{k}": value for k, value in enumerate(means)}

    def _save(self, row: Row) -> None:
        score = row.get(f"validation/return/step_{self.config.inner_steps}")
        tensors = state.flatten({"meta": self.meta, "optimiser": self._state})
        extra = {"env_steps": self.env_steps, "validation": score, "skipped": self._skipped}
        checkpoint.save(self._checkpoints, self.iteration, tensors, extra)
        checkpoint.prune(self._checkpoints, self.config.keep_checkpoints)

    def _replace_config(self, **changes: Any) -> None:
        self.agent = dataclasses.replace(self.agent, config=dataclasses.replace(self.config, **changes))
        write_atomic(self.path / "config.yaml", to_yaml(self.config))

    def restore(self, saved: checkpoint.Checkpoint) -> "Run":
        """Takes the state of a checkpoint."""
        like = {"meta": self.meta, "optimiser": self._state}
        where = f"checkpoint {saved.iteration} of {self.path}"
        found = state.restore(saved.tensors, like, where)
        self.meta, self._state = found["meta"], found["optimiser"]  # type: ignore[assignment]
        self.iteration, self.env_steps = saved.iteration, int(saved.extra["env_steps"])
        self._skipped = int(saved.extra["skipped"])
        return self


def train(config: TrainConfig, out: str | Path | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Start a run and train it for ``config.iterations`` meta-iterations.

    Args:
        config: what to train; fields that are not set take the algorithm's and the family's defaults.
        out: the run directory, which must not exist yet; by default ``runs/FAMILY-ALGORITHM-seedSEED``.

    Raises:
        RequestError: the request cannot be met; nothing has been written.
    """
    config = resolved(config)
    path = Path(out) if out is not None else default_path(config)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RequestError(f"run directory {path} exists already; choose another with out, or resume it")
    prepare_process()
    _, reason = choose_device(config.device)
    run = Run(build_agent(config), path)
    path.mkdir(parents=True, exist_ok=True)
    write_atomic(path / "config.yaml", to_yaml(run.config))
    write_atomic(path / "machine.json", to_json(_machine(run.config), indent=1))
    tell(f"metarl: {path}: {config.algorithm} on {config.family}, device {run.config.device} ({reason})")
    return run.learn(config.iterations, callbacks)


def load(path: str | Path, checkpoint_name: str | int = "best") -> Run:
    """A trained run at a checkpoint: ``"best"`` on validation tasks, ``"last"``, or an iteration's number.

    Raises:
        RequestError: no run there, no such checkpoint, or a damaged one.
    """
    run = _open(Path(path))
    return run.restore(checkpoint.load(checkpoint.find(run._checkpoints, checkpoint_name)))


def resume(path: str | Path, iterations: int | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Go on with a run from its last intact checkpoint to ``iterations`` in all (those of its configuration)."""
    run = _open(Path(path))
    saved = checkpoint.latest_intact(run._checkpoints, warn)
    if saved is not None:
        run.restore(saved)
    total = run.config.iterations if iterations is None else iterations
    if total < run.iteration:
        raise RequestError(f"{path} has {run.iteration} iterations already; allowed: --iterations of at least that")
    return run.learn(total - run.iteration, callbacks)


def default_path(config: TrainConfig) -> Path:
    """Where a run goes that was given no directory."""
    return Path("runs") / f"{config.family.replace(':', '.')}-{config.algorithm}-seed{config.seed}"


def _open(path: Path) -> Run:
    if not (path / "config.yaml").is_file():
        raise RequestError(f"{path} is not a run directory: no config.yaml")
    prepare_process()
    return Run(build_agent(load_config(path / "config.yaml")), path)


def _curve(experience: Experience) -> Row:
    means = experience.returns.mean(-1).tolist()
    curve = {f"return/step_{k}": value for k, value in enumerate(means)}
    return curve | {"explained_variance": float(experience.explained_variance.mean())}


def _machine(config: TrainConfig) -> Row:
    """What bits depend on besides the configuration."""
    return {
        "processor": _processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        "threads": config.threads,
    }


def _processor() -> str:
    """The processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
