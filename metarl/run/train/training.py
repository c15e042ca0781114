"""The training loop: from where a run stands to as many iterations more."""

import dataclasses
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple, NoReturn, TypeVar

from metarl.core.errors import RequestError, RunFailed
from metarl.rollout.executors import Executor
from metarl.run.config.train_config import recorded, to_yaml
from metarl.run.experience.sources import open_executor
from metarl.run.log.metrics_file import JsonlLogger
from metarl.run.log.mirrors import Mirror, open_mirrors
from metarl.run.log.progress import Progress
from metarl.run.store import checkpoint as store
from metarl.run.store.files import resumable, sync_folder, write_atomic
from metarl.run.store.lock import alone_in
from metarl.run.store.terminal import tell
from metarl.run.train.callbacks import Callback, as_callbacks
from metarl.run.train.iteration import Row, Standing, iterate, validate
from metarl.run.train.run_state import RunState
from metarl.run.train.saving import failed, go_on_with, prepare_directory, save, save_if_new
from metarl.run.train.signals import GracefulStop, OutOfTime, Stopped

R = TypeVar("R", bound=RunState)


def learn(run: R, iterations: int, callbacks: Callback | Sequence[Callback] = ()) -> R:
    """Train ``iterations`` more meta-iterations, from where the run stands.

    Args:
        callbacks: one or several, called in their order.

    Returns:
        The run.

    Raises:
        RequestError: the run stands at an older checkpoint than its last, or a callback is none.
        RunFailed: no step was finite ``max_skipped`` times in a row; the last good state is saved.
        Stopped: a signal asked for it; the state is saved.
    """
    hooks = as_callbacks(callbacks, run.config)
    with ExitStack() as stack:
        session, total = _open(run, iterations, hooks, stack)
        for hook in hooks:
            hook.on_training_start(run)
        going = True
        while going and run.iteration < total:
            try:
                with session.stop.interruptible():
                    standing, row, validation = _advance(run, session, total)
            except OutOfTime:
                session.check_held()
                session.log.sync()
                _stop(run, session.stop)
            # Not within what may be given up: an iteration that counts has its row.
            session.check_held()
            run.standing = standing
            going = _finish(run, session, row, validation, last=run.iteration == total)
        save_if_new(run)  # no iteration was asked for
        for hook in hooks:
            hook.on_training_end()
    return run


class _Session(NamedTuple):
    """Files, mirrors and signals that are open while a run trains."""

    check_held: Callable[[], None]
    stop: GracefulStop
    log: JsonlLogger
    mirrors: Sequence[Mirror]
    executor: Executor | None
    progress: Progress
    hooks: Sequence[Callback]


def _open(
    run: RunState, iterations: int, hooks: Sequence[Callback], stack: ExitStack
) -> tuple[_Session, int]:
    """Lock the directory, prepare it and open all that training uses; also return where training ends."""
    stack.enter_context(resumable(run.path, go_on_with(run)))
    check_held = stack.enter_context(alone_in(run.path))
    total = _extend(run, iterations)
    prepare_directory(run)
    c = run.config
    tell(f"metarl: {run.path}: {c.algorithm} on {c.family} ({c.spec}), {run.agent.where}")
    stop = stack.enter_context(GracefulStop(c.grace))
    log = stack.enter_context(JsonlLogger(run.path / "metrics.jsonl"))
    log.truncate_after(run.iteration, c.checkpoint_every)
    sync_folder(run.path)
    mirrors = open_mirrors(c.logger, recorded(c), run.path, stack)
    executor = stack.enter_context(open_executor(run.agent))
    progress = stack.enter_context(Progress(total, run.iteration, run.path.absolute().name))
    return _Session(check_held, stop, log, mirrors, executor, progress, hooks), total


def _extend(run: RunState, iterations: int) -> int:
    """Return the iteration at which training is to end, which the configuration learns of."""
    if iterations < 0:
        raise RequestError(f"iterations must be at least 0, got {iterations}")
    newer = [n for n in store.available(run.checkpoints) if n > run.iteration]
    if newer:
        raise RequestError(
            f"{run.path} stands at checkpoint {run.iteration} and has been trained to {newer[-1]}; "
            "load its 'last' checkpoint to go on"
        )
    total = run.iteration + iterations
    if iterations and run.iteration and run.iteration % run.config.checkpoint_every:
        save(run, {})  # validated as an end, which it no longer is: in one go it would not have been
    if total > run.config.iterations:
        config = run.config.replace(iterations=total)
        run.agent = dataclasses.replace(run.agent, config=config)
        write_atomic(run.path / "config.yaml", to_yaml(config))
    return total


def _advance(run: RunState, session: _Session, total: int) -> tuple[Standing, Row, Row]:
    """``iterate``, and ``validate`` where it is due and at the end.

    Whatever fails, the last good state is saved and one line says how to go on.
    """
    try:
        standing, row = iterate(run.agent, run.standing, session.executor, session.hooks)
        due = standing.iteration % run.config.checkpoint_every == 0 or standing.iteration == total
        return standing, row, validate(run.agent, standing.meta, session.executor) if due else {}
    except Exception as error:
        raise failed(run, error) from error


def _finish(run: RunState, session: _Session, row: Row, validation: Row, last: bool) -> bool:
    """Write an iteration's row, and its checkpoint where one is due; return whether to go on.

    Raises:
        RunFailed, Stopped: as ``learn``.
    """
    due = run.iteration % run.config.checkpoint_every == 0
    # The last iteration is a candidate for the best; its row is that of a run that goes on.
    row |= validation if due else {}
    for hook in session.hooks:
        row |= {name: x for name, x in hook.metrics(row).items() if name not in row}
    session.log.row(row)
    for mirror in session.mirrors:
        mirror.row(row)
    session.progress.update(run.iteration, row)
    answers = [hook.on_step(row) for hook in session.hooks]
    going = all(answer is not False for answer in answers)
    diverged = run.standing.skipped >= run.config.max_skipped
    if due or last or diverged or not going or session.stop.requested is not None:
        session.log.sync()
        save(run, validation)
    if session.stop.requested is not None:
        _stop(run, session.stop)
    if diverged:
        reason = f"{run.config.max_skipped} steps in a row were not finite"
        raise RunFailed(f"{reason}; the last good state is in {run.path}; smaller steps may help")
    return going


def _stop(run: RunState, stop: GracefulStop) -> NoReturn:
    """Save the last finished iteration and end training, as a signal has asked."""
    save_if_new(run)
    tell(f"metarl: saved iteration {run.iteration}; go on with: {go_on_with(run)}")
    raise Stopped(stop.requested or signal.SIGTERM)
