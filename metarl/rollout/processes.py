"""The executor of worker processes, for environments that are stepped in Python."""

import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import cloudpickle
import numpy as np
import torch

from metarl.core.batch import Episodes
from metarl.core.errors import EnvironmentFailed, RunFailed, shown
from metarl.core.params import Params, concat, tree_map
from metarl.rollout.collector import Tasks
from metarl.rollout.seeding import Address
from metarl.rollout.worker import Failure, Job, Setup
from metarl.rollout.worker_process import WorkerEnded, WorkerProcess

LIVES = 3  # workers that a share of a collection may cost before the run is given up
_LOOK = 0.5  # s between looks at workers that say nothing
_PATIENCE = 2.0  # s for a process whose pipe has closed to have ended


class WorkerTraceback(Exception):
    """The traceback of a worker: the cause of what is raised here."""

    def __str__(self) -> str:
        return f"in a worker process:\n\n{self.args[0]}"


class Processes:
    """Splits the tasks of a collection into as many shares as there are workers, of two tasks at least.

    Share i is always worker i's, so that a worker keeps its environments. Processes start with the first
    collection that has a share for them. One that dies, or makes no step for ``timeout`` seconds, is killed
    with its children and replaced, and its share is collected anew from the same seeds, with the same result;
    what an environment raises would be raised again and is not tried again.

    Args:
        setup: the family and the network, of which each worker makes its own.
        workers: how many processes at most.
        timeout: seconds without a step of any environment after which a worker counts as stuck.
        warn: told, in one line, why a worker was replaced.
    """

    def __init__(
        self, setup: Setup, *, workers: int, timeout: float = 120.0, warn: Callable[[str], None] = print
    ) -> None:
        self._title, self._limit, self._timeout, self._warn = setup.recipe.title, workers, timeout, warn
        # By value what the user's script defines, which workers do not import; all else by name.
        self._setup = cloudpickle.dumps(setup)
        self._workers: list[WorkerProcess] = []

    def collect(
        self, params: Params, tasks: Tasks, *, episodes: int, address: Address, deterministic: bool = False
    ) -> Episodes:
        """See ``Executor``.

        Raises:
            EnvironmentFailed, Diverged: as ``collect`` raises them, from the worker's traceback.
            RunFailed: a share's workers died or got stuck ``LIVES`` times in a row.
        """
        shares, jobs = _shares(len(next(iter(tasks.values()))), self._limit), []
        for share in shares:
            arrays = tree_map(lambda x, share=share: x[share].numpy(), params)
            rows = {name: value[share] for name, value in tasks.items()}
            where = address._replace(first_task=address.first_task + share.start)
            job = Job(arrays, rows, episodes, where, deterministic)
            jobs.append(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        answers = self._answers(jobs, [{k: v[share] for k, v in tasks.items()} for share in shares])
        if failures := [answer for answer in answers if isinstance(answer, Failure)]:
            first = min(failures, key=_moment)
            raise first.error from WorkerTraceback(first.traceback)
        return _joined(answers)

    def close(self) -> None:
        """Lets the workers close their environments, and ends them."""
        for worker in self._workers:
            worker.let_go()
        while self._workers:
            self._workers.pop().close()

    def _answers(self, jobs: list[bytes], tasks: list[Tasks]) -> list[Any]:
        """Return the workers' answers to their shares, whose tasks are named where one is given up."""
        while len(self._workers) < len(jobs):
            self._workers.append(WorkerProcess(self._setup, self._timeout))
        answers: list[Any] = [None] * len(jobs)
        lost = [0] * len(jobs)
        waiting: dict[int, Future[Any]] = {}

        def ask(i: int) -> None:
            self._workers[i].expect()
            waiting[i] = threads.submit(self._workers[i].ask, jobs[i])

        with ThreadPoolExecutor(len(jobs)) as threads:
            try:
                for i in range(len(jobs)):
                    ask(i)
                while waiting:
                    wait(waiting.values(), _LOOK, FIRST_COMPLETED)
                    for i, future in list(waiting.items()):
                        reason = self._lost(self._workers[i], future)
                        if reason is not None:
                            lost[i] += 1
                            self._tell(f"worker {i + 1} was lost ({reason})", lost[i], tasks[i])
                            self._workers[i] = WorkerProcess(self._setup, self._timeout)
                            ask(i)
                        elif future.done():
                            answers[i] = waiting.pop(i).result()
            except BaseException:  # an impatient Ctrl-C, too; the threads wait for the workers
                while self._workers:
                    self._workers.pop().kill()
                raise
        return answers

    def _lost(self, worker: WorkerProcess, future: "Future[Any]") -> str | None:
        """Why there will be no answer, if so; the worker has been killed then."""
        if future.done():
            return worker.kill(_PATIENCE) if isinstance(future.exception(), WorkerEnded) else None
        if worker.ended():
            return worker.kill()
        stuck = worker.stuck()
        if stuck is not None:
            worker.kill()
        return stuck

    def _tell(self, what: str, lost: int, tasks: Tasks) -> None:
        told = f"{self._title}: {what}"
        if lost == LIVES:
            named = shown({name: value.tolist() for name, value in tasks.items()}, 160)
            raise RunFailed(f"{told} {LIVES} times in a row with the same tasks: {named}")
        self._warn(f"{told}; its {len(next(iter(tasks.values())))} tasks are collected anew")


def _shares(tasks: int, workers: int) -> list[slice]:
    """Consecutive shares of nearly equal size; of one task only where there is no more."""
    n = max(1, min(workers, tasks // 2))
    bounds = [tasks * i // n for i in range(n + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def _moment(failure: Failure) -> tuple[int, bool]:
    """In the order in which one process would have met them: a step, its actions first."""
    return getattr(failure.error, "step", 0), isinstance(failure.error, EnvironmentFailed)


def _joined(answers: list[Mapping[str, Any]]) -> Episodes:
    """The shares' episodes in a row; a share that never spoke of success had none, if others did speak."""
    if any("success" in answer for answer in answers):
        answers = [{"success": np.zeros_like(answer["reward"][..., 0]), **answer} for answer in answers]
    return concat([Episodes(**{k: torch.from_numpy(x) for k, x in a.items()}) for a in answers])
