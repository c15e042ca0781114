"""What a worker makes for itself, and that it can tell that it is getting on."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import Diverged, EnvironmentFailed
from metarl.rollout import worker
from metarl.rollout.worker import Recipe
from python_stepped import Stroll
from tiny_families import Field
from worker_runs import network


class Steps:
    """Counts how often it is called."""

    taken = 0

    def __call__(self) -> None:
        self.taken += 1


def test_a_recipe_makes_the_family_it_names() -> None:
    recipe = Recipe(Stroll, "plane", {"horizon": 9}, observe_task=True)
    family: Any = worker._counted(recipe, Steps())
    assert (family.name, family.horizon, family.observation_space.shape) == ("stroll", 9, (3,))
    assert recipe.title == "family 'stroll' (plane)"


@pytest.mark.parametrize("observe_task", [False, True])
def test_every_step_of_every_environment_is_progress(observe_task: bool) -> None:
    steps = Steps()
    family = worker._counted(Recipe(Stroll, "plane", {}, observe_task), steps)
    env = family.make_vec(3)
    assert steps.taken == 3  # three were made
    env.reset(seed=0, options={"task": {"goal": np.zeros(3)}})
    assert steps.taken == 6
    env.step(np.zeros((3, 2), np.float32))
    assert steps.taken == 9


def test_a_class_with_slots_is_left_alone() -> None:
    class Slotted:
        __slots__ = ()

    for member in ("name", "spec", "horizon", "num_tasks", "observation_space", "action_space"):
        setattr(Slotted, member, getattr(Field(), member))
    for member in ("sample_tasks", "task_features", "make", "make_vec"):
        setattr(Slotted, member, getattr(Field, member))
    Slotted.__init__ = lambda self, spec: None  # type: ignore[method-assign]
    steps = Steps()
    assert worker._counted(Recipe(Slotted, "random", {}), steps).horizon == 12
    act = worker._counted_act(network(Field()), steps)  # by which its rows count all together
    params = {name: p.detach()[None] for name, p in network(Field()).named_parameters()}
    act(params, torch.zeros(1, 4, 2))
    assert steps.taken == 1


def test_progress_is_seen_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.write_bytes(bytes(8))
    with path.open("rb") as seen:
        count = worker._counter(path)
        assert not path.exists()
        for _ in range(300):
            count[0] += 1
        assert int.from_bytes(seen.read(8), "little") == 300


class Stubborn(Exception):
    """Cannot be made from the arguments it keeps."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def test_exceptions_reach_the_parent_as_they_are_or_in_words() -> None:
    for error in (EnvironmentFailed("told", 4), Diverged("told", 7, 3), KeyError("key")):
        assert worker._portable(error) is error
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), back.args, vars(back)) == (type(error), error.args, vars(error))
    back = worker._portable(Stubborn("no", "way"))
    assert type(back) is RuntimeError and str(back) == "Stubborn: no way"
    local = type("Local", (Exception,), {})("here")
    assert str(worker._portable(local)) == "Local: here"
