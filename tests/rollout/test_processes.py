"""Worker processes give what this process gives, bit for bit, also where they die, hang or raise."""

import os
import re
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metarl.core.batch import Episodes
from metarl.core.errors import Diverged, EnvironmentFailed, RunFailed
from metarl.core.params import leaves
from metarl.rollout import processes as module
from metarl.rollout.processes import Processes
from metarl.rollout.worker import Failure, Recipe, Setup
from python_stepped import Stroll
from tiny_families import Corridor, Field
from worker_runs import (
    ADDRESS,
    EPISODES,
    GOALS,
    all_gone,
    collected,
    inline,
    left_in,
    policies,
    processes,
)

FIVE = {
    Field: {"goal": np.random.default_rng(0).uniform(-1, 1, (5, 2))},
    Corridor: {"side": np.array([1.0, -1.0, 1.0, 1.0, -1.0])},
    Stroll: GOALS,
}


def same(a: Episodes, b: Episodes) -> bool:
    return len(leaves(a)) == len(leaves(b)) and all(map(torch.equal, leaves(a), leaves(b)))


@pytest.fixture(scope="module")
def expected() -> Episodes:
    """What ``Stroll`` gives where there is no trouble."""
    with closing(inline(Stroll)) as executor:
        return collected(executor)


def pids(executor: Processes) -> list[int]:
    return [worker._process.pid for worker in executor._workers]


# The same bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("cls", FIVE)
def test_any_number_of_workers_gives_the_same_bits(cls: type, workers: int) -> None:
    with closing(inline(cls)) as here, closing(processes(cls, workers)) as there:
        first = collected(here, cls, FIVE[cls])
        assert same(collected(there, cls, FIVE[cls]), first)
        assert (first.success is not None) == (cls is Stroll)
        started = pids(there)
        assert len(started) == workers
        for options in ({"address": ADDRESS._replace(iteration=6, first_task=9)}, {"deterministic": True}):
            again = collected(here, cls, FIVE[cls], **options)
            assert not same(again, first)
            assert same(collected(there, cls, FIVE[cls], **options), again)
        assert pids(there) == started and not there.told
    assert all_gone(started)


def test_another_number_of_rows_is_another_collection_and_no_other_worker() -> None:
    with closing(inline(Stroll)) as here, closing(processes(Stroll, workers=4)) as there:
        for goals, episodes in (([1.0, 2.0, 0.5], 2), ([0.1] * 5, 3), ([0.2] * 4, 1), ([0.3], 2)):
            tasks = {"goal": np.array(goals)}
            batch = collected(there, tasks=tasks, episodes=episodes)
            assert batch.reward.shape == (len(goals), episodes, 6)
            assert same(batch, collected(here, tasks=tasks, episodes=episodes))
        assert len(pids(there)) == 2  # for two shares at most


def test_shares_are_consecutive_and_none_has_a_single_task() -> None:
    assert module._shares(5, 2) == [slice(0, 2), slice(2, 5)]
    assert module._shares(20, 3) == [slice(0, 6), slice(6, 13), slice(13, 20)]
    assert module._shares(3, 2) == [slice(0, 3)]
    assert module._shares(1, 2) == [slice(0, 1)]
    for tasks in range(2, 30):
        for workers in range(1, 12):
            shares = module._shares(tasks, workers)
            sizes = [share.stop - share.start for share in shares]
            assert [i for share in shares for i in range(share.start, share.stop)] == list(range(tasks))
            assert (
                len(shares) == min(workers, tasks // 2) and min(sizes) >= 2 and max(sizes) - min(sizes) <= 1
            )


def test_a_share_without_a_word_of_success_had_none_if_others_speak() -> None:
    def share(**more: Any) -> dict[str, Any]:
        zeros, no = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), bool)
        steps = dict.fromkeys(("obs", "action", "reward", "mask", "log_prob", "advantage", "target"), zeros)
        return {**steps, "terminated": no, "truncated": no, "final_obs": zeros[..., 0], **more}

    assert module._joined([share(), share()]).success is None
    joined = module._joined([share(), share(success=np.ones((2, 3), np.float32))])
    assert joined.success is not None and joined.success.tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2


# Workers that are lost ----------------------------------------------------------------------------


LOST = {
    "exits": "exit code 7",
    "is killed": "killed by SIGKILL (as the system does where memory runs out)",
    "sleeps": "no step for 1 s",
    "spins": "no step for 1 s",
    "is stuck in C": "no step for 1 s",
}


def lost(worker: int, reason: str, tasks: int) -> str:
    told = f"worker {worker} was lost ({reason}); its {tasks} tasks are collected anew"
    return f"family 'stroll' (plane): {told}"


def test_a_lost_worker_is_replaced_and_gives_the_same(tmp_path: Path, expected: Episodes) -> None:
    with closing(processes(Stroll, workers=1, timeout=1.0, once=str(tmp_path))) as there:
        ended: list[int] = []
        for trouble, reason in LOST.items():
            (tmp_path / trouble).touch()
            assert same(collected(there), expected)
            assert there.told.pop() == lost(1, reason, 5) and not there.told
            ended += pids(there)
        assert same(collected(there), expected) and pids(there) == ended[-1:]
        assert len(set(ended)) == len(LOST) and all_gone(ended[:-1])
    assert all_gone(ended)


def test_the_other_workers_go_on_where_one_is_lost(tmp_path: Path, expected: Episodes) -> None:
    with closing(processes(Stroll, once=str(tmp_path))) as there:
        collected(there)
        before = pids(there)
        (tmp_path / "exits").touch()
        assert same(collected(there), expected)
        assert there.told == [lost(2, "exit code 7", 3)]
        after = pids(there)
        assert after[0] == before[0] and after[1] != before[1]


def test_what_an_environment_has_started_goes_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Episodes
) -> None:
    monkeypatch.setenv("CHILDREN", str(tmp_path))
    (tmp_path / "hangs with a child").touch()
    with closing(processes(Stroll, workers=1, timeout=1.0, once=str(tmp_path))) as there:
        assert same(collected(there), expected)
        (child,) = left_in(tmp_path)
        assert all_gone([child])


def test_a_daemon_that_a_worker_leaves_behind_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Episodes
) -> None:
    monkeypatch.setenv("CHILDREN", str(tmp_path))
    (tmp_path / "leaves a daemon").touch()
    with closing(processes(Stroll, workers=1, once=str(tmp_path))) as there:
        assert same(collected(there), expected)
        assert there.told == [lost(1, "exit code 7", 5)]
    (daemon,) = left_in(tmp_path)
    assert not all_gone([daemon], within=0.0)  # it is not the worker's
    os.kill(daemon, signal.SIGKILL)


def test_tasks_that_no_worker_survives_end_the_run(tmp_path: Path) -> None:
    with closing(processes(Stroll, workers=1, trouble="exits", processes=str(tmp_path))) as there:
        line = (
            r"^family 'stroll' \(plane\): worker 1 was lost \(exit code 7\) 3 times in a row with the same "
            r"tasks: \{'goal': \[-1.0, 0.5, 1.0, 3.0, 2.0\]\}$"
        )
        with pytest.raises(RunFailed, match=line):
            collected(there)
        assert len(there.told) == 2
        assert len(left_in(tmp_path)) == 3
        assert all_gone(left_in(tmp_path))
        untroubled = {"goal": np.zeros(4)}
        with closing(inline(Stroll)) as here:  # and there is life after it
            assert same(collected(there, tasks=untroubled), collected(here, tasks=untroubled))


def test_workers_leave_it_to_their_parent_what_a_signal_means(expected: Episodes) -> None:
    with closing(processes(Stroll, workers=1)) as there:
        collected(there)
        before = pids(there)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(before[0], signum)
            assert same(collected(there), expected)
        assert pids(there) == before and not there.told


# What is not tried again --------------------------------------------------------------------------


def raised(executor: Any, **options: Any) -> EnvironmentFailed:
    with pytest.raises(EnvironmentFailed) as caught:
        collected(executor, **options)
    return caught.value


def test_what_an_environment_raises_is_told_as_in_this_process(tmp_path: Path) -> None:
    once = {"once": str(tmp_path)}
    with closing(inline(Stroll, **once)) as here, closing(processes(Stroll, **once)) as there:
        for trouble, kind in (("raises", KeyError), ("is not finite", ValueError)):
            (tmp_path / trouble).touch()
            ours = raised(here)
            (tmp_path / trouble).touch()
            theirs = raised(there)
            lead = "family 'stroll' (plane): task 3 {'goal': 3.0}, episode 0, step 2: "
            assert str(ours).startswith(f"{lead}{kind.__name__}: ")
            assert re.sub(r"row \d+", "row", str(theirs)) == re.sub(r"row \d+", "row", str(ours))
            assert type(ours.__cause__) is kind and ours.step == theirs.step == 2
            told = str(theirs.__cause__)
            assert told.startswith("in a worker process:\n\nTraceback (most recent call last):")
            assert f"{kind.__name__}: " in told and "single_rows.py" in told
            assert ("python_stepped.py" in told) == (kind is KeyError)
        before = pids(there)
        assert same(collected(there), collected(here))  # and the workers go on
        assert pids(there) == before and not there.told


def test_the_first_failure_counts_as_one_process_would_meet_it() -> None:
    late, early = EnvironmentFailed("late", 4), EnvironmentFailed("early", 2)
    acts, other = Diverged("acts", step=2), EnvironmentFailed("other", 2)
    failures = [Failure(error, "") for error in (late, early, acts, other)]
    assert min(failures, key=module._moment).error is acts
    assert min(failures[:2] + failures[3:], key=module._moment).error is early


def test_a_policy_whose_actions_are_not_finite_has_diverged() -> None:
    params = policies(Stroll(), 5)
    params["net.2.bias"][3, 0] = torch.inf
    with closing(processes(Stroll)) as there:
        with pytest.raises(
            Diverged, match=r"^family 'stroll' \(plane\): task 3 .*, episode 0, step 1: the policy's"
        ):
            there.collect(params, GOALS, episodes=EPISODES, address=ADDRESS)
        assert not there.told


class Unmade(Stroll):
    """``make_vec`` is asked for in vain."""

    def make_vec(self, num_envs: int) -> Any:
        raise OSError(f"no licence for {num_envs} rows")


class Forgetful(nn.Module):
    """Cannot be rebuilt in another process."""

    def __reduce__(self) -> Any:
        return forget, ()


def forget() -> Any:
    raise ImportError("no such library here")


def test_environments_that_cannot_be_made_say_why() -> None:
    with (
        closing(processes(Unmade, workers=1)) as there,
        pytest.raises(OSError, match="no licence for 15 rows"),
    ):
        collected(there)


def test_a_worker_that_cannot_be_set_up_says_why() -> None:
    executor = Processes(Setup(Recipe(Stroll, "plane", {}), Forgetful()), workers=1, warn=print)
    with closing(executor), pytest.raises(ImportError, match="no such library here") as caught:
        collected(executor)
    assert "in forget" in str(caught.value.__cause__)
