"""A worker process: makes family and network once, and collects its share of each collection.

The family and the policy are its own, so that actions cross no process boundary: a collection costs one
message in each direction.
"""

import faulthandler
import mmap
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metarl.core.batch import Episodes
from metarl.core.models import Apply
from metarl.core.params import Params, tree_map
from metarl.core.process import STOP_SIGNALS, prepare_process
from metarl.rollout.acting import acting
from metarl.rollout.collector import Tasks
from metarl.rollout.family import TaskFamily
from metarl.rollout.inline import Inline
from metarl.rollout.observed import observe_task
from metarl.rollout.seeding import Address

START = 120.0  # s that a worker has for its start, however short the time-out
SAFE_PATH, SET_HERE = "PYTHONSAFEPATH", "metarl"  # by whom, while a worker starts
_LOOK = 1.0  # s between looks at whether the parent is there
_MARGIN = 5.0  # s after which a worker that nobody ends ends itself


class Recipe(NamedTuple):
    """A family as each process makes it for itself: class, spec and arguments."""

    family: type
    spec: str
    arguments: Mapping[str, Any]
    observe_task: bool = False

    @property
    def title(self) -> str:
        """Return the beginning of messages about the family."""
        return f"family {getattr(self.family, 'name', self.family.__name__)!r} ({self.spec})"


class Setup(NamedTuple):
    """The message that a worker gets once."""

    recipe: Recipe
    module: nn.Module


class Job(NamedTuple):
    """A share of a collection: the arguments of ``Executor.collect``, with parameters as arrays."""

    params: Any
    tasks: Tasks
    episodes: int
    address: Address
    deterministic: bool


class Failure(NamedTuple):
    """An exception that was raised in a worker, and its traceback as text."""

    error: Exception
    traceback: str


def live(connection: Connection, progress: str, parent: int, timeout: float) -> None:
    """The life of a worker: it answers messages until its connection is closed.

    A ``Setup`` is answered by None, a ``Job`` by the fields of its ``Episodes`` as arrays, either by a
    ``Failure`` where something was raised.

    Args:
        progress: a file of 8 bytes in which environments made, resets and steps are counted; it is unlinked
            once it is mapped.
        parent: the process without which there is nothing to live for.
        timeout: seconds without progress after which the parent would end this process.
    """
    count = _counter(Path(progress))  # first: a parent that was killed meanwhile leaves no file behind
    if os.environ.get(SAFE_PATH) == SET_HERE:
        del os.environ[SAFE_PATH]  # what an environment starts has the path that it has without workers

    def step_taken() -> None:
        count[0] += 1

    nowhere = Path(os.devnull).open("wb")

    def wind_up() -> None:
        limit = min(timeout if count[0] else max(timeout, START), 3600.0)
        faulthandler.dump_traceback_later(limit + _MARGIN, exit=True, file=nowhere)

    _settle(parent, wind_up)
    prepare_process()
    executor: Inline | None = None
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            break
        answer: Any = None
        try:
            told = pickle.loads(message)
            if isinstance(told, Setup):
                executor = Inline(_counted(told.recipe, step_taken), _counted_act(told.module, step_taken))
                step_taken()
                wind_up()
            else:
                assert executor is not None, "a worker is set up before its first job"
                answer = _work(executor, told)
        except Exception as error:  # noqa: BLE001  the parent decides what it means
            answer = Failure(_portable(error), traceback.format_exc())
        connection.send_bytes(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
    if executor is not None:
        executor.close()


def _work(executor: Inline, job: Job) -> dict[str, Any]:
    # Copied, so that they lie in memory as torch allocates it.
    params: Params = tree_map(lambda x: torch.from_numpy(x).clone(), job.params)
    batch: Episodes = executor.collect(
        params, job.tasks, episodes=job.episodes, address=job.address, deterministic=job.deterministic
    )
    return {name: x.numpy() for name, x in vars(batch).items() if x is not None}


def _settle(parent: int, wind_up: Callable[[], None]) -> None:
    """Makes this process one that the parent alone ends, and that ends with it.

    In a process group of its own it is ended together with whatever an environment has started, and a
    terminal's Ctrl-C does not reach it; a scheduler's signals are heard and not heeded. (They are not ignored
    by ``SIG_IGN``, which programs that an environment starts would inherit.) They were blocked up to here.
    """
    os.setpgid(0, 0)
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_watch, args=(parent, wind_up), daemon=True).start()


def _watch(parent: int, wind_up: Callable[[], None]) -> None:
    """Ends this process and its children when the parent is gone, however that went.

    An environment that is stuck in C and never lets go of the interpreter stops this thread as well. Then
    faulthandler's timer, which needs no interpreter and is wound up here, ends the process.
    """
    while os.getppid() == parent:
        wind_up()
        time.sleep(_LOOK)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _counter(progress: Path) -> "memoryview[int]":
    with progress.open("r+b") as file:
        count = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    progress.unlink()
    return count


def _counted(recipe: Recipe, step_taken: Callable[[], None]) -> TaskFamily:
    """The family, whose single environments count their making, resets and steps.

    Rows of environments that are stepped in Python are made of these. All rows together may take longer for
    a step than a single environment may before it counts as stuck.
    """
    family: Any = recipe.family(recipe.spec, **recipe.arguments)
    make = family.make

    def counted(*args: Any, **options: Any) -> Any:
        env = make(*args, **options)
        step_taken()
        for name in ("reset", "step"):
            setattr(env, name, _after(step_taken, getattr(env, name)))
        return env

    with suppress(AttributeError):  # of a class with slots, whose rows then count all together
        object.__setattr__(family, "make", counted)
    observed = observe_task(family) if recipe.observe_task else family
    assert isinstance(observed, TaskFamily), "labelled examples are not collected"
    return observed


def _after(step_taken: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **options: Any) -> Any:
        step_taken()
        return function(*args, **options)

    return counted


def _counted_act(module: nn.Module, step_taken: Callable[[], None]) -> Apply:
    act = acting(module)

    def counted(params: Params, obs: Tensor) -> Any:
        step_taken()
        return act(params, obs)

    return counted


def _portable(error: Exception) -> Exception:
    """The exception if it survives being pickled, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  of whoever wrote its class
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
