"""A family of regressions of one's own: straight lines through the origin, from a few noisy points.

``metarl train maml --family lines:Lines`` trains on it from the folder of this file.
"""

import numpy as np
from gymnasium.spaces import Box


class Lines:
    """Tasks are ``{"slope": float64 "n"}`` in [-2, 2), the same in every split."""

    name, specs, num_tasks = "lines", {"v1": "y = slope · x + noise"}, None
    metric = "mse"  # with Discrete labels, "accuracy"
    observation_space, action_space = Box(-1, 1, (1,), np.float32), Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, spec=None, shots=5, queries=15):
        self.spec, self.shots, self.queries = spec or "v1", shots, queries

    def sample_tasks(self, n, rng, split="train"):
        """Tasks from a NumPy generator."""
        if split not in ("train", "validation", "test"):
            raise ValueError(f"lines: no split {split!r}; allowed: train, validation, test")
        return {"slope": rng.uniform(-2, 2, n)}

    def sample_shots(self, tasks, rng):
        """Support and query points of each task."""
        x = rng.uniform(-1, 1, (len(tasks["slope"]), self.shots + self.queries, 1))
        y = tasks["slope"][:, None, None] * x + 0.1 * rng.standard_normal(x.shape)
        (support_x, query_x), (support_y, query_y) = (
            np.split(a.astype(np.float32), [self.shots], 1) for a in (x, y)
        )
        return {"support_x": support_x, "support_y": support_y, "query_x": query_x, "query_y": query_y}

    def task_features(self, tasks):
        """What an oracle sees."""
        return np.asarray(tasks["slope"], np.float32)[:, None]
