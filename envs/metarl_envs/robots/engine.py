"""A robot's simulations: one ``mujoco.batch.Batch`` for all rows, and everything that is asked of MuJoCo.

What the batch computes agrees bit for bit with Gymnasium's single simulations, at any number of threads.
"""

from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError
from numpy.typing import NDArray

from metarl_envs.base.formulas import Bools, Floats, Tasks
from metarl_envs.base.from_uniforms import normal
from metarl_envs.base.mujoco_quiet import no_log_file
from metarl_envs.robots.family import Robot

if mujoco.__version__ == "4.0.0":
    raise ImportError("MuJoCo 4.0.0 computes a wrong Hessian in its Newton solver")

__all__ = ["PARAMETERS", "Engine", "SimulationError", "load"]

PARAMETERS = {
    "mass": ("body_mass", 1.5),
    "inertia": ("body_inertia", 1.5),
    "damping": ("dof_damping", 1.3),
    "friction": ("geom_friction", 1.5),
}
"""Key of a task of ``aims.dynamics`` → the field of the model that it scales, and by which base.

Each entry of the field that is not zero is multiplied by base ** exponent, with an exponent of its own.
"""


@cache
def load(xml: str) -> Any:
    """Load the MjModel of one of Gymnasium's assets; whoever changes it takes a copy."""
    with no_log_file():
        path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / xml
        return mujoco.MjModel.from_xml_path(str(path))


class Engine:
    """n simulations of a robot; methods take rows as bool "n" and return all rows.

    Attributes:
        model: the robot's MjModel, shared with others.
        time_step: seconds an action lasts.
        control_range: float64 "u", the largest size of each control.
        controls: their number u.
        start_draws: uniform numbers a start.
        positions: float64 "n q", live.
        velocities: float64 "n v", live.
    """

    def __init__(self, robot: Robot, n: int, threads: int) -> None:
        self.robot, self.model = robot, load(robot.xml)
        self.time_step = float(self.model.opt.timestep) * robot.frame_skip
        self.control_range = self.model.actuator_ctrlrange[:, 1].copy()  # each is symmetric
        self.controls, self.start_draws = int(self.model.nu), int(self.model.nq + self.model.nv)
        with no_log_file():
            self._batch = Batch(self.model, n, threads)
        self.positions, self.velocities = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._control, self._warning = self._batch.bind("ctrl"), self._batch.warning
        self._torso = self._batch.bind("xpos") if robot.place == "torso" else None
        self._centres = self._batch.bind("xipos") if robot.place == "mass" else None
        self._fields = [(self._batch.bind(name), first) for name, first in robot.fields.items()]

    def start(self, rows: Bools, uniforms: Floats, dynamics: Tasks | None) -> None:
        """Put rows to starts made of uniform numbers "n q+v", with the exponents of ``PARAMETERS`` if any."""
        ids, model, noise = np.flatnonzero(rows), self.model, self.robot.noise
        drawn = noise * (2.0 * uniforms[rows] - 1.0)
        if self.robot.normal_velocities:
            drawn[:, model.nq :] = noise * normal(uniforms[rows, model.nq :])
        with no_log_file():
            for key, exponents in (dynamics or {}).items():
                name, base = PARAMETERS[key]
                default = getattr(model, name)
                scaled = np.tile(default.ravel(), (ids.size, 1))
                scaled[:, default.ravel() != 0.0] *= _powers(base, exponents[rows])
                self._batch.expand(name)[ids] = scaled.reshape(ids.size, *default.shape)
            if dynamics:
                self._batch.set_const(ids)
            self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
            self.positions[ids] = model.qpos0 + drawn[:, : model.nq]
            self.velocities[ids] = drawn[:, model.nq :]
            self._batch.forward(ids)

    def step(self, control: Floats, rows: Bools | None) -> None:
        """Run one action's engine steps with controls "n u" of the given rows (None: all of them)."""
        self._control[...] = control
        with no_log_file():
            self._batch.step(rows, nstep=self.robot.frame_skip)

    def place(self) -> Floats:
        """Return where the robots are, "n d" (``Robot.place``); a copy."""
        d = self.robot.horizontal
        if self._torso is not None:
            return np.array(self._torso[:, 1, :d])
        if self._centres is None:
            return np.array(self.positions[:, :d])
        mass, total = self.model.body_mass, np.zeros((len(self._centres), d))
        for body in range(len(mass)):  # in Gymnasium's order of additions
            total += mass[body] * self._centres[:, body, :d]
        return np.asarray(total / mass.sum())

    def observe(self, hidden: int) -> NDArray[np.float32]:
        """Return observations, float32 "n o", without the first ``hidden`` positions."""
        bound = self.robot.velocity_bound
        velocities = self.velocities if bound == np.inf else np.clip(self.velocities, -bound, bound)
        fields = [values[:, first:].reshape(len(values), -1) for values, first in self._fields]
        parts = [self.positions[:, hidden:], velocities, *fields]
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")

    def complaints(self) -> list[tuple[int, str, str]]:
        """Return MuJoCo's warnings since the last call: row, kind (``mjtWarning``) and text."""
        numbers = self._warning[:, :, 1]
        if not numbers.any():
            return []
        complaints = []
        for row, kind in np.argwhere(numbers).tolist():
            warning, info = mujoco.mjtWarning(kind), int(self._warning[row, kind, 0])
            text = mujoco.mju_warningText(warning, info).rstrip(".")
            complaints.append((row, warning.name.removeprefix("mjWARN_"), text))
        self._warning[...] = 0
        return complaints

    def data(self, row: int) -> tuple[Any, Any]:
        """Return a row's MjModel and MjData, with everything computed that a picture needs; copies."""
        model, data = self._batch.get_model(row), self._batch.get_data(row)
        with no_log_file():
            mujoco.mj_forward(model, data)
        return model, data


def _powers(base: float, exponents: Floats) -> Floats:
    """Return base ** exponents, number by number: vectorised powers may round otherwise in another place."""
    powers = [base**exponent for exponent in exponents.ravel().tolist()]
    return np.array(powers).reshape(exponents.shape)
