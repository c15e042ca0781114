"""The computation of each metric, under the names by which ``measures`` states them."""

from collections.abc import Callable, Sequence

from jaxtyping import Float, Shaped
from torch import Tensor

from metarl.core.batch import Episodes, Shots, undiscounted_returns
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params
from metarl.core.registry import Registry
from metarl.learn.problem import Report, TaskData
from metarl.run.log.curve import Curve

# Of episodes: (episodes "task episode time") -> a number a task. Of labelled examples:
# (outputs "task shot …", labels "task shot …") -> a number a task.
scores: Registry[Callable[..., Tensor], None] = Registry("metric", "metarl.scores", no_facts=None)


@scores.register("return")
def mean_return(batch: Episodes) -> Float[Tensor, " task"]:
    """Return the mean over each task's episodes of the undiscounted sum of rewards."""
    return undiscounted_returns(batch)


@scores.register("success")
def success(batch: Episodes) -> Float[Tensor, " task"]:
    """Return the share of each task's episodes that succeeded at any of their steps.

    Raises:
        RequestError: no environment spoke of success.
    """
    if batch.success is None:
        raise RequestError("is measured by success, but says no info['success'] at its steps")
    return batch.success.mean(1)


@scores.register("mse")
def mse(outputs: Float[Tensor, "task shot *y"], y: Float[Tensor, "task shot *y"]) -> Float[Tensor, " task"]:
    """Return the mean squared error over each task's shots and outputs."""
    return (outputs - y).square().flatten(1).mean(1)


@scores.register("accuracy")
def accuracy(
    outputs: Float[Tensor, "task shot class"], y: Shaped[Tensor, "task shot"]
) -> Float[Tensor, " task"]:
    """Return the share of each task's shots whose largest logit is the label's."""
    return (outputs.argmax(-1) == y).to(outputs.dtype).mean(1)


def score(metric: str, apply_tasks: Apply, params: Params, shots: Shots) -> Float[Tensor, " task"]:
    """Return the metric of each task's parameters on its shots."""
    return scores[metric](apply_tasks(params, shots.x), shots.y)


def report(metric: str, apply_tasks: Apply) -> Report:
    """Return what a meta-learner logs: the metric on the query before each inner step and after the last."""

    def along(path: Sequence[Params], data: TaskData) -> dict[str, Tensor]:
        return Curve(metric, [score(metric, apply_tasks, params, data.query) for params in path]).to_row()

    return along
