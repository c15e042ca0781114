"""Pictures of a robot, drawn without a window."""

import importlib
import os
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 480, 480


class Camera:
    """A camera that follows the torso of one robot; it holds an OpenGL context until ``close``.

    Args:
        model: the robot's MjModel.
        distance: metres between camera and torso.

    Raises:
        RuntimeError: no OpenGL context is to be had; one line.
    """

    def __init__(self, model: Any, distance: float) -> None:
        backend = os.environ.get("MUJOCO_GL") or "egl"
        try:
            self._context = importlib.import_module(f"mujoco.{backend}").GLContext(WIDTH, HEIGHT)
            self._context.make_current()
            self._target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            allowed = "MUJOCO_GL=egl, osmesa or glfw, whichever this machine has"
            raise RuntimeError(
                f"pictures by OpenGL's {backend} fail ({reason}); allowed: {allowed}"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._target)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
        self._view.distance, self._view.elevation, self._view.azimuth = distance, -20.0, 90.0

    def picture(self, model: Any, data: Any) -> NDArray[np.uint8]:
        """Draw the camera's view: uint8 "height width 3"."""
        self._context.make_current()
        area, pixels = mujoco.MjrRect(0, 0, WIDTH, HEIGHT), np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
        everything, options = mujoco.mjtCatBit.mjCAT_ALL, mujoco.MjvOption()
        mujoco.mjv_updateScene(model, data, options, None, self._view, everything, self._scene)
        mujoco.mjr_render(area, self._scene, self._target)
        mujoco.mjr_readPixels(pixels, None, area, self._target)
        return pixels[::-1].copy()  # OpenGL's first line is the lowest

    def close(self) -> None:
        """Give the context back."""
        self._target.free()
        self._context.free()
