"""A network adapted to labelled examples: ``predict`` and ``save``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from metarl.core.errors import RequestError
from metarl.core.params import Params, to_device
from metarl.run.store.files import write_atomic


class Predictor:
    """Adapted ``params`` of one task and what they say: ``outputs`` maps x "shot …" to outputs "shot …".

    A network with batch normalisation normalises as the run's ``statistics`` say; with ``batch`` a prediction
    depends on the others of the same call.
    """

    def __init__(
        self,
        outputs: Callable[[Tensor], Tensor],
        params: Params,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> None:
        self.params = to_device(params, "cpu")
        self.observation_space, self.action_space = observation_space, action_space
        self._outputs = outputs

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
        outputs = self._outputs(torch.from_numpy(rows[None] if single else rows)).cpu()
        classifies = isinstance(self.action_space, gymnasium.spaces.Discrete)
        found: np.ndarray = (outputs.argmax(-1) if classifies else outputs).numpy()
        return np.asarray(found[0]) if single else found

    def save(self, path: str | Path) -> Path:
        """Write the parameters as a safetensors file, which ``--init-from`` reads."""
        return write_atomic(Path(path), safetensors.torch.save(self.params))
