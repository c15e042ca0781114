"""The engine: MuJoCo's warnings find their rows and no file, and where a robot is."""

from pathlib import Path

import mujoco
import numpy as np
import pytest
from gymnasium.spaces import Box

from metarl_envs import CheetahVel
from metarl_envs.robots.aims import velocities
from metarl_envs.robots.engine import Engine
from metarl_envs.robots.envs import MujocoVectorEnv
from metarl_envs.robots.family import Robot, RobotSpec, Simulated

BALLS = """
<mujoco>
  <size memory="40K"/>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    <body>
      <joint type="slide" axis="1 0 0" name="x"/>
      <joint type="slide" axis="0 0 1"/>
      {balls}
    </body>
  </worldbody>
  <actuator><motor joint="x" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


def crowded(tmp_path: Path) -> Simulated:
    """A robot of 81 balls on the floor, whose contacts do not all fit into the memory that MuJoCo gets."""
    balls = [f'<geom size=".2" pos="{0.3 * i} {0.3 * j} 0"/>' for i in range(9) for j in range(9)]
    (tmp_path / "balls.xml").write_text(BALLS.format(balls="\n".join(balls)))
    return Simulated(
        title="balls/v1",
        robot=Robot(str(tmp_path / "balls.xml"), frame_skip=1, noise=0.0),
        spec=RobotSpec("v1", velocities(0.0, 1.0, beyond=2.0), control_cost=0.0),
        horizon=9,
        observation_space=Box(-np.inf, np.inf, (3,), np.float32),
        action_space=Box(-1.0, 1.0, (1,), np.float32),
    )


def test_a_full_contact_buffer_is_a_warning_that_names_its_row(tmp_path: Path) -> None:
    env = MujocoVectorEnv(crowded(tmp_path), 3, threads=2)
    with pytest.warns(RuntimeWarning, match="at step 0 of row ") as started:
        env.reset(seed=0, options={"task": {"velocity": [0.25] * 3}})
    assert {str(told.message).split("at step")[1][:11] for told in started} == {
        f" 0 of row {i}" for i in range(3)
    }
    env.engine.positions[[0, 2], 1] = 50.0  # in the air: no contacts
    end = "at step 1 of row 1, whose task is velocity 0.25"
    with pytest.warns(RuntimeWarning, match=rf"^balls/v1: MuJoCo warns \(.*\) {end}$") as told:
        env.step(np.zeros((3, 1)))
    assert len(told) == 2 and "Too many contacts" in str(told[0].message)
    env.engine.positions[1, 1] = 50.0
    env.step(np.zeros((3, 1)))  # nothing more to tell: a warning would be an error here
    assert [path.name for path in tmp_path.iterdir()] == ["balls.xml"]  # no MUJOCO_LOG.TXT


def test_warnings_find_their_row_and_no_file(tmp_path: Path) -> None:
    engine = Engine(CheetahVel.robot, 3, 2)
    engine.start(np.ones(3, bool), np.full((3, engine.start_draws), 0.5), None)
    engine.velocities[1, 4] = 1e12
    engine.step(np.zeros((3, 6)), None)
    text = "Nan, Inf or huge value in QVEL at DOF 4. The simulation is unstable"
    assert engine.complaints() == [(1, "BADQVEL", text)] and engine.complaints() == []
    assert Path.cwd() == tmp_path and not list(tmp_path.iterdir())
    assert mujoco.get_mju_user_warning() is None  # as it was


def test_a_handler_that_somebody_installed_stays_and_hears(tmp_path: Path) -> None:
    heard: list[str] = []
    handler = heard.append
    mujoco.set_mju_user_warning(handler)
    try:
        engine = Engine(CheetahVel.robot, 1, 1)
        engine.velocities[0, 0] = 1e12
        engine.step(np.zeros((1, 6)), None)
        assert mujoco.get_mju_user_warning() == handler
    finally:
        mujoco.set_mju_user_warning(None)
    assert len(heard) == 1 and heard[0].startswith("Nan, Inf or huge value in QVEL at DOF 0.")
    assert [row for row, _, _ in engine.complaints()] == [0]
