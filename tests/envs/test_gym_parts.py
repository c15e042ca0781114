"""Where things stand in an environment; and MuJoCo says nothing while environments are made."""

import sys
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from metarl_envs.any_gym import parts as gym_parts
from row_by_row import refused


def test_arguments_that_a_constructor_knows() -> None:
    def takes(a: int, *, b: int = 0) -> None: ...

    def takes_all(a: int, **others: int) -> None: ...

    assert gym_parts.known_arguments(takes) == ["a", "b"]
    assert gym_parts.known_arguments(takes_all) is None
    assert gym_parts.known_arguments(dict) is None  # no telling
    assert gym_parts.known_arguments("Pendulum-v1") == ["render_mode", "g"]


def test_paths_are_followed_and_set() -> None:
    there = np.zeros(2)
    root = SimpleNamespace(part=SimpleNamespace(array=there, number=1.0))
    assert gym_parts.value_at(root, "part.number", "t", "attributes") == 1.0
    gym_parts.put(root, "part.array", np.array([1.0, 2.0]), in_place=True)
    assert root.part.array is there and there.tolist() == [1.0, 2.0]
    gym_parts.put(root, "part.array", np.array([3.0, 4.0]), in_place=False)
    assert root.part.array is not there and there.tolist() == [1.0, 2.0]
    gym_parts.put(root, "part.number", 5.0, in_place=True)
    assert root.part.number == 5.0


@pytest.mark.parametrize("path", ["part.nimber", "pert.number"])
def test_a_path_that_leads_nowhere_is_told(path: str) -> None:
    root = SimpleNamespace(number=0, part=SimpleNamespace(number=1.0, word="x", _hidden=2.0))
    with refused(f"t: attributes has {path!r}, which SimpleNamespace has not; allowed: number"):
        gym_parts.value_at(root, path, "t", "attributes")


def test_what_is_a_number() -> None:
    assert all(gym_parts.is_numeric(x) for x in (1, 1.5, np.float32(1), np.zeros(2)))
    assert not any(gym_parts.is_numeric(x) for x in ("1", None, np.array(["a"])))


def test_the_engine_is_quiet_and_then_as_it_was() -> None:
    heard: list[str] = []
    assert mujoco.get_mju_user_warning() is None
    with gym_parts.quiet():
        assert mujoco.get_mju_user_warning() is not None
    assert mujoco.get_mju_user_warning() is None
    mujoco.set_mju_user_warning(heard.append)
    try:
        with gym_parts.quiet():
            assert mujoco.get_mju_user_warning() == heard.append
    finally:
        mujoco.set_mju_user_warning(None)


def test_without_the_engine_there_is_nothing_to_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mujoco")
    monkeypatch.delitem(sys.modules, "metarl_envs.base.mujoco_quiet", raising=False)
    with gym_parts.quiet():
        assert "metarl_envs.base.mujoco_quiet" not in sys.modules
