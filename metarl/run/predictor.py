"""A network adapted to labelled examples: ``predict`` and ``save``."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import safetensors.torch
import torch

from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params, to_device, tree_map
from metarl.run.files import write_atomic


class Predictor:
    """Parameters of one task (with a task axis of length 1) and the network that reads them, on the CPU."""

    def __init__(
        self,
        apply_tasks: Apply,
        params: Params,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._apply_tasks, self._params = apply_tasks, to_device(params, "cpu")

    @property
    def params(self) -> Params:
        """The parameters, without a task axis."""
        return tree_map(lambda x: x[0], self._params)

    def predict(self, x: Any) -> np.ndarray:
        """The value or the label of one example, or of each row of a batch of them.

        Raises:
            RequestError: examples of another shape.
        """
        shape = self.observation_space.shape or ()
        rows = np.asarray(x, np.float32)
        single = rows.shape == shape
        if not single and rows.shape[1:] != shape:
            raise RequestError(f"x has shape {rows.shape}; allowed: {shape} or (n, {shape})")
        with torch.no_grad():
            batch = torch.from_numpy(rows[None] if single else rows)
            outputs = self._apply_tasks(self._params, batch[None])[0]
        classifies = isinstance(self.action_space, gymnasium.spaces.Discrete)
        found: np.ndarray = (outputs.argmax(-1) if classifies else outputs).numpy()
        return np.asarray(found[0]) if single else found

    def save(self, path: str | Path) -> Path:
        """Write the parameters as a safetensors file, which ``--init-from`` reads."""
        return write_atomic(Path(path), safetensors.torch.save(self.params))
