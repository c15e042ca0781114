"""How good predictions are: what a supervised family reports."""

from collections.abc import Callable, Sequence

from jaxtyping import Float, Shaped
from torch import Tensor

from metarl.core.batch import Shots
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.learn.problem import Report, TaskData


def mse(outputs: Float[Tensor, "task shot *y"], y: Float[Tensor, "task shot *y"]) -> Float[Tensor, " task"]:
    """Mean squared error over each task's shots and outputs."""
    return (outputs - y).square().flatten(1).mean(1)


def accuracy(
    outputs: Float[Tensor, "task shot class"], y: Shaped[Tensor, "task shot"]
) -> Float[Tensor, " task"]:
    """Share of each task's shots whose largest logit is the label's."""
    return (outputs.argmax(-1) == y).to(outputs.dtype).mean(1)


SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "accuracy": accuracy}


def score(metric: str, apply_tasks: Apply, params: Params, shots: Shots) -> Float[Tensor, " task"]:
    """The metric of each task's parameters on its shots."""
    return SCORES[metric](apply_tasks(params, shots.x), shots.y)


def report(metric: str, apply_tasks: Apply) -> Report:
    """The metric on the query before each inner step and after the last, as metrics of an iteration."""

    def along(path: Sequence[Params], data: TaskData) -> dict[str, Tensor]:
        values = [score(metric, apply_tasks, params, data.query) for params in path]
        return {f"{metric}/step_{k}": value for k, value in enumerate(values)}

    return along
