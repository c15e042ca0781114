"""Every MuJoCo family against Gymnasium's own v5 environment: same actions, 200 steps, ten seeds.

Positions and velocities are compared bit for bit; observations and rewards are recomputed here from
Gymnasium's state and info and compared bit for bit as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

import metarl_envs
from metarl_envs.robots.family import MujocoFamily

ROWS, STEPS = 10, 200


@dataclass(frozen=True)
class Twin:
    """What a family and a spec are in Gymnasium's terms, and the reward as its definition says.

    ``reward(info, env, task, squares)``: squares is the sum of the squared controls.
    """

    id: str
    reward: Callable[[dict[str, Any], Any, dict[str, np.ndarray], float], float]
    scale: float = 1.0
    kwargs: dict[str, Any] = field(default_factory=dict)
    largest: float = 1.0


def near(info: Any, task: Any) -> float:
    return -abs(info["x_velocity"] - task["velocity"])


def towards(info: Any, task: Any) -> float:
    return task["direction"] * info["x_velocity"]


def along(info: Any, task: Any) -> float:
    return info["x_velocity"] * task["direction"][0] + info["y_velocity"] * task["direction"][1]


def off(env: Any, task: Any) -> float:
    place, goal = env.data.body("torso").xpos, task["goal"]
    return abs(place[0] - goal[0]) + abs(place[1] - goal[1])


def upright(info: Any, env: Any, task: Any, squares: float) -> float:
    return 1.25 * along(info, task) - 0.1 * squares + 5.0


ANT = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0}
LOW = ANT | {"healthy_z_range": (0.0, 1.0)}
FREE = ANT | {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False}
SEES = ANT | {"exclude_current_positions_from_observation": False}
HUMANOID = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0}

TWINS = {
    ("CheetahVel", "finn2017"): Twin("HalfCheetah", lambda i, e, t, s: near(i, t) - 0.05 * s),
    ("CheetahVel", "promp"): Twin("HalfCheetah", lambda i, e, t, s: near(i, t) - 0.05 * s, 10.0),
    ("CheetahDir", "finn2017"): Twin("HalfCheetah", lambda i, e, t, s: towards(i, t) - 0.05 * s),
    ("CheetahDir", "promp"): Twin("HalfCheetah", lambda i, e, t, s: towards(i, t) - 0.05 * s, 10.0),
    ("AntVel", "finn2017"): Twin("Ant", lambda i, e, t, s: near(i, t) - 0.005 * s + 1.05, 1.0, ANT),
    ("AntDir", "finn2017"): Twin("Ant", lambda i, e, t, s: along(i, t) - 0.005 * s + 0.05, 1.0, ANT),
    ("AntDir", "promp"): Twin("Ant", lambda i, e, t, s: along(i, t) - 0.5 * s + 1.0, 10.0, LOW),
    ("AntDir", "promp-2d"): Twin("Ant", lambda i, e, t, s: along(i, t) - 0.5 * s + 1.0, 10.0, LOW),
    ("AntGoal", "finn2017"): Twin("Ant", lambda i, e, t, s: -off(e, t) - 0.005 * s + 4.05, 1.0, SEES),
    ("AntGoal", "promp"): Twin("Ant", lambda i, e, t, s: -off(e, t) - 0.1 * s + 0.0, 10.0, FREE),
    ("WalkerDir", "promp"): Twin("Walker2d", lambda i, e, t, s: towards(i, t) - 0.001 * s + 1.0, 10.0),
    ("WalkerVel", "promp"): Twin("Walker2d", lambda i, e, t, s: near(i, t) - 0.001 * s + 15.0, 10.0),
    ("WalkerParams", "promp"): Twin("Walker2d", lambda i, e, t, s: i["x_velocity"] - 0.001 * s + 1.0, 10.0),
    ("HopperParams", "promp"): Twin("Hopper", lambda i, e, t, s: i["x_velocity"] - 0.001 * s + 1.0, 10.0),
    ("SwimmerVel", "promp"): Twin("Swimmer", lambda i, e, t, s: near(i, t) - 0.0001 * s, 10.0),
    ("HumanoidDir", "promp"): Twin("Humanoid", upright, 10.0, HUMANOID, largest=0.4),
    ("HumanoidDir", "promp-2d"): Twin("Humanoid", upright, 10.0, HUMANOID, largest=0.4),
}


def test_every_family_and_spec_has_a_twin():
    families = {cls.__name__: cls for cls in MujocoFamily.__subclasses__()}
    assert set(TWINS) == {(name, spec) for name, cls in families.items() for spec in cls.specs}
    assert len(families) == 11 and set(families) <= set(metarl_envs.__all__)


@cache
def gym_env(id: str, kwargs: tuple[tuple[str, Any], ...]) -> Any:
    return gymnasium.make(f"{id}-v5", **dict(kwargs)).unwrapped


def apply_task(model: mujoco.MjModel, task: dict[str, np.ndarray]) -> None:
    """Scale a model's entries one by one, as the definition of the families says."""
    for key, name, base in [
        ("mass", "body_mass", 1.5),
        ("inertia", "body_inertia", 1.5),
        ("damping", "dof_damping", 1.3),
        ("friction", "geom_friction", 1.5),
    ]:
        exponents, flat = iter(task[key].tolist()), getattr(model, name).reshape(-1)
        for entry in range(flat.size):
            if flat[entry] != 0.0:
                flat[entry] *= base ** next(exponents)
        assert next(exponents, None) is None
    mujoco.mj_setConst(model, mujoco.MjData(model))


@pytest.mark.parametrize(("family", "spec"), list(TWINS), ids=lambda name: name)
def test_physics_observations_and_rewards_are_gymnasiums(family: str, spec: str) -> None:
    twin = TWINS[family, spec]
    made = getattr(metarl_envs, family)(spec, horizon=STEPS, threads=2)
    env, random = made.make_vec(ROWS), np.random.default_rng(3)
    tasks = made.sample_tasks(ROWS, random)
    obs, _ = env.reset(seed=list(range(ROWS)), options={"task": tasks})
    action = twin.scale * random.uniform(
        -1.3, 1.3, (STEPS, ROWS, *made.action_space.shape)
    )  # some beyond bounds
    action[:, ROWS // 2 :] *= 0.3  # some robots that fall late, or never
    control = action.clip(-twin.scale, twin.scale) / twin.scale * twin.largest
    # One step each: (start state or None, observation, reward, terminated, state after it)
    starts, steps = [_state(env)], []
    seen = [obs]
    for t in range(STEPS):
        obs, reward, terminated, truncated, _ = env.step(action[t])
        steps.append((obs, reward, terminated, *_state(env)))
        assert not truncated.any() or t == STEPS - 1
        if terminated.any() and t < STEPS - 1:
            obs, _ = env.reset(
                seed=list(range(100 * t, 100 * t + ROWS)),
                options={"task": tasks, "reset_mask": terminated},
            )
        starts.append(_state(env))
        seen.append(obs)
    reference = gym_env(twin.id, tuple(twin.kwargs.items()))
    defaults = {name: getattr(reference.model, name).copy() for name in CHANGED}
    for row in range(ROWS):
        task, over = {key: value[row] for key, value in tasks.items()}, True
        if "mass" in task:
            apply_task(reference.model, task)
        for t in range(STEPS):
            if over:
                start(reference, starts[t][0][row], starts[t][1][row])
                assert np.array_equal(reference._get_obs().astype(np.float32), seen[t][row])
            expected, _, over, _, info = reference.step(control[t, row])
            obs, reward, terminated, positions, velocities = (part[row] for part in steps[t])
            assert np.array_equal(positions, reference.data.qpos), t
            assert np.array_equal(velocities, reference.data.qvel), t
            assert np.array_equal(obs, expected.astype(np.float32)), t
            assert reward == twin.reward(info, reference, task, np.sum(np.square(control[t, row]))), t
            assert bool(terminated) == bool(over), t
        for name, value in defaults.items():
            getattr(reference.model, name)[...] = value
        mujoco.mj_setConst(reference.model, mujoco.MjData(reference.model))


CHANGED = ("body_mass", "body_inertia", "dof_damping", "geom_friction")


def _state(env: Any) -> tuple[np.ndarray, np.ndarray]:
    return env.engine.positions.copy(), env.engine.velocities.copy()


def start(env: Any, positions: np.ndarray, velocities: np.ndarray) -> None:
    """Gymnasium's own reset, but to a given start."""
    env.init_qpos, env.init_qvel, env._reset_noise_scale = positions, velocities, 0.0
    env.reset(seed=0)
