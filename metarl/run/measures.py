"""What is measured of a task: how each metric is called, and which way is better.

Apart from ``scores``, which computes them, so that a report can be made without torch.
"""

from typing import NamedTuple


class Measure(NamedTuple):
    """A metric.

    Attributes:
        of_task: what it is called where one task is meant.
        of_tasks: where its mean over tasks is meant.
        lower_is_better: an error.
        share: a number between 0 and 1, written in percent.
    """

    of_task: str
    of_tasks: str
    lower_is_better: bool = False
    share: bool = False


MEASURES = {
    "success": Measure(
        "success rate", "success rate", share=True
    ),  # before the return, which stands beside it
    "return": Measure("return", "mean return"),
    "mse": Measure("mean squared error", "mean squared error", lower_is_better=True),
    "accuracy": Measure("accuracy", "mean accuracy", share=True),
}
OF_EPISODES = ("success", "return")
LOWER_IS_BETTER = tuple(name for name, measure in MEASURES.items() if measure.lower_is_better)


def measure_of(metric: str) -> Measure:
    """The metric of a name; one that nobody has described goes by its name, and more of it is better."""
    return MEASURES.get(metric, Measure(metric, metric))
