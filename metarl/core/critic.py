"""A value network beside the policy: its parameters are among the policy's, and adapt with them.

Its names begin with ``critic.``, which the policy does not read. It learns by a squared error that is added
to the objective, in the inner steps by their rule and in the meta-gradient through them, so that the values
that a task begins with are meta-learned as the policy is.
"""

from jaxtyping import Float
from torch import Tensor, nn

from metarl.core.batch import Episodes, masked_mean
from metarl.core.models import Apply, functional, initial_params, of_tasks
from metarl.core.objectives import Objective
from metarl.core.params import Params

PREFIX = "critic."


def critic_params(critic: nn.Module) -> Params:
    """Return the value network's current parameters, under the names they have among the policy's."""
    return {PREFIX + name: p for name, p in initial_params(critic).items()}


def values(critic: nn.Module) -> Apply:
    """Return ``value(params, obs)`` of one task, which gives "*b" in ``advantages.value_unit``."""
    return _reading(functional(critic))


def values_of_tasks(critic: nn.Module) -> Apply:
    """Return ``values`` of many tasks: everything has the task axis first."""
    return _reading(of_tasks(critic))


def with_critic(objective: Objective, value: Apply, weight: float = 0.5) -> Objective:
    """Add a value network's error to an objective (A2C, Mnih et al. 2016).

    Args:
        objective: the policy's loss.
        value: ``value(params, obs)`` of one task.
        weight: of the mean squared error over the valid steps, against ``target``, which is data: no gradient
            runs through it.
    """

    def both(apply: Apply, params: Params, batch: Episodes) -> Float[Tensor, ""]:
        error = value(params, batch.obs) - batch.target
        return objective(apply, params, batch) + weight * masked_mean(error.square(), batch.mask)

    return both


def _reading(call: Apply) -> Apply:
    def value(params: Params, obs: Tensor) -> Tensor:
        of_critic = {name.removeprefix(PREFIX): p for name, p in params.items() if name.startswith(PREFIX)}
        outputs: Tensor = call(of_critic, obs)
        return outputs.squeeze(-1)

    return value
