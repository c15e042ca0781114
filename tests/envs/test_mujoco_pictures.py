"""Pictures of robots: what they show, and what is said where there can be none."""

import numpy as np
import pytest

from metarl_envs import CheetahVel
from row_by_row import refused, same


def test_pictures_show_the_robot_and_follow_it() -> None:
    env = CheetahVel().make("rgb_array")
    env.reset(seed=0)
    try:
        first = env.render()
    except RuntimeError as error:
        pytest.skip(str(error))
    assert first.shape == (480, 480, 3) and first.dtype == np.uint8 and first.std() > 10
    assert same(first, env.render())
    for _ in range(5):
        env.step(np.ones(6))
    later = env.render()
    assert not same(first, later)
    env._row.engine.positions[0, 0] += 50.0  # far away it is still in the middle of the picture
    middle = (slice(200, 300), slice(140, 340))
    bodies = [
        np.abs(x[middle].astype(int) - [204, 163, 102]).sum(axis=2) < 120 for x in (later, env.render())
    ]
    assert min(body.mean() for body in bodies) > 0.02
    assert env.metadata["render_fps"] == 20
    env.close()
    env.close()


def test_a_render_mode_that_there_is_not() -> None:
    with refused("cheetah-vel/finn2017: render_mode is 'human'", "rgb_array, None"):
        CheetahVel().make("human")
    env = CheetahVel().make()
    env.reset(seed=0)
    with refused("render()", "without render_mode='rgb_array'"):
        env.render()


def test_without_opengl_one_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    env = CheetahVel().make("rgb_array")
    env.reset(seed=0)
    with refused("OpenGL's nothing", "MUJOCO_GL=egl,", error=RuntimeError):
        env.render()
