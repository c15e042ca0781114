"""Uniform numbers turned into draws of other distributions; a row's bits do not depend on the other rows."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from metarl_envs.base.formulas import Floats

_quantile = NormalDist().inv_cdf


def normal(uniforms: Floats) -> Floats:
    """Return standard normal numbers "...": the quantiles at uniform numbers "..." in [0, 1), one for one.

    Number by number, since NumPy's logarithm may round differently in the vectorised and in the scalar part
    of one array; 400 of them take 0.06 ms.
    """
    inside = np.maximum(uniforms, 2.0**-54)  # 0 has no quantile; it becomes −8.3
    return np.fromiter(map(_quantile, inside.ravel().tolist()), np.float64, inside.size).reshape(inside.shape)


def flat_dirichlet(uniforms: Floats) -> Floats:
    """Return probabilities "... k" uniform over the simplex: the gaps between uniform numbers "... k−1".

    Sorted, they cut [0, 1] into k pieces whose lengths are jointly Dirichlet(1, …, 1). The differences of
    multiples of 2⁻⁵³ are exact, so each row sums to exactly 1.
    """
    return np.diff(np.sort(uniforms, axis=-1), axis=-1, prepend=0.0, append=1.0)


def categorical(weights: Floats, uniforms: Floats) -> NDArray[np.int64]:
    """Draw indices "n" with probability proportional to weights "n k", one from each uniform number "n".

    An index of weight 0 is never drawn: u < 1 keeps u times the total below the total, rounded or not.
    """
    bounds = np.cumsum(weights, axis=-1)
    drawn: NDArray[np.int64] = (bounds <= (uniforms * bounds[:, -1])[:, None]).sum(axis=-1)
    return drawn
