"""A run's policy as a file of Stable-Baselines3, whose PPO acts like it and goes on learning from it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config.admission import Trust
from metarl.run.sb3.names import check_expressible
from metarl.run.store.files import check_writable, write_atomic
from metarl.run.use.adaptation import read_task
from metarl.run.use.runs import load


def export_run(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str | int = "best",
    task: str | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    inner_lr: Sequence[float] | None = None,
    seed: int | None = None,
    trust: Trust = False,
) -> Path:
    """Write a run's policy, adapted to ``task`` if there is one, as a zip that ``PPO.load`` opens.

    Args:
        out: ``RUN_DIR/policy.zip`` if None.
        task: as JSON, such as '{"goal": [0.3, -0.2]}'; the further arguments are those of ``Run.adapt``.
        trust: as in ``runs.load``.

    Raises:
        RequestError: a policy that Stable-Baselines3 cannot express, no such task, or a file that cannot be
            written.
    """
    asked: dict[str, Any] = {"steps": steps, "episodes": episodes, "inner_lr": inner_lr, "seed": seed}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and task is None:
        option = next(iter(asked))
        raise RequestError(f"{option} is about adapting to a task, which is not given; allowed: --task")
    target = None if task is None else read_task(task)
    out = Path(run_dir) / "policy.zip" if out is None else Path(out)
    run = load(run_dir, checkpoint, trust)
    check_expressible(run.config, run.agent.family)
    check_writable(out)
    policy = run if target is None else run.adapt(task=target, **asked)
    data = io.BytesIO()
    policy.to_sb3().save(data)
    return write_atomic(out, data.getvalue())
