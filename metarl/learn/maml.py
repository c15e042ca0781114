"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of either order, for any rule and objective."""

import torch
from jaxtyping import Float
from torch import Tensor

from metarl.core.batch import Episodes
from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.objectives import Objective
from metarl.core.params import Params
from metarl.learn.adapt import Adaptation
from metarl.learn.chunks import Chunking
from metarl.learn.meta_loss import MetaLoss, Score
from metarl.learn.problem import MetaLearner, Problem, Report, Sampling, TaskData, nothing
from metarl.learn.trust_region import TrustRegion


def maml(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    *,
    trust_region: TrustRegion | None = None,
    report: Report = nothing,
    score: Score | None = None,
) -> MetaLearner:
    """Learn an initialisation from which adapted parameters do well (MAML, Finn et al. 2017).

    The meta-loss is the mean over tasks of ``objective`` at the adapted parameters, on the query batch, as a
    function of the meta-parameters. Gradients are per task and then summed in the tasks' order, so that
    chunks and threads leave the bits alone.

    Args:
        apply: ``apply(params, x)``, the model of one task.
        adaptation: the inner loop of one task; it decides the order.
        objective: the loss of one task's query batch, to be minimised.
        chunking: how many tasks are computed at a time.
        trust_region: for models whose output is a distribution: with it the problem has a KL and a curvature,
            which ``trpo`` and ``ppo`` ask for.
        report: numbers of each task, whose means become metrics.
        score: a further loss of the policies that collected the support batches, at each (``e_maml``).

    Returns:
        A function of a meta-batch's data that returns its problem, for a meta-optimizer to step on.

    Raises:
        RequestError: (the learner) a score, and data without ``credit``.

    Example:
        Two tasks, lines through the origin of slope 2 and −1. From slope 0, one step of size 0.1 leads to 0.4
        and −0.2, where the query losses are 1.6² and 0.8²:

        >>> import torch
        >>> from metarl.core.batch import Shots
        >>> from metarl.core.objectives import mse
        >>> from metarl.core.params import Meta
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> from metarl.learn.chunks import Chunking
        >>> from metarl.learn.maml import maml
        >>> from metarl.learn.problem import TaskData
        >>> line = lambda params, x: params["slope"] * x
        >>> learner = maml(line, adapt(line, mse, sgd(lr=0.1)), mse, Chunking(size=2))
        >>> batch = Shots(x=torch.ones(2, 1, 1), y=torch.tensor([2.0, -1.0]).reshape(2, 1, 1))
        >>> problem = learner(TaskData(support=(batch,), query=batch))
        >>> point = problem.at(Meta({"slope": torch.tensor(0.0)}, {}))
        >>> point.loss, point.grad.model["slope"]
        (tensor(1.6000), tensor(-0.6400))
    """

    def meta_learner(data: TaskData) -> Problem:
        if score is not None and not isinstance(data.credit, Tensor):
            raise RequestError("a score of the support needs TaskData.credit; core.returns.credit makes it")
        loss = MetaLoss(apply, adaptation, objective, chunking, trust_region, report, score, data)
        if trust_region is None:
            return Problem(loss.at, loss.elsewhere)
        sampling = Sampling(loss.sampling_policies, loss.sampling_kl, loss.at)
        return Problem(loss.at, loss.elsewhere, loss.curvature, sampling)

    return meta_learner


def exploration(apply: Apply, params: Params, batch: Episodes, credit: Tensor) -> Float[Tensor, ""]:
    """Return −credit · Σ log π / π_behaviour over all steps of all of a task's support episodes.

    Its gradient at the behaviour policy is E-MAML's score term, without bias whatever the other tasks gave;
    the ratio makes its value there 0, and moves with a line search. Departure: the paper credits the query's
    return, here it is measured against the other tasks' mean, and about in the unit of normalised advantages,
    so that it weighs against the other term as the true gradient has it.
    """
    log_ratio = apply(params, batch.obs).log_prob(batch.action) - batch.log_prob
    return -credit * torch.where(batch.mask > 0, log_ratio, 0.0).sum()


def e_maml(
    apply: Apply,
    adaptation: Adaptation,
    objective: Objective,
    chunking: Chunking,
    *,
    trust_region: TrustRegion | None = None,
    report: Report = nothing,
) -> MetaLearner:
    """Learn as ``maml`` does, and credit exploration (E-MAML, Stadie et al. 2018).

    The gradient also has the term by which the initialisation changes which episodes are adapted to,
    E[∇log p(support) · merit of the query]; see ``exploration``. The data must have ``credit``
    (``metarl.core.returns.credit``); all arguments are those of ``maml``.

    Example:
        >>> from metarl.core.models import MLP, policy
        >>> from metarl.core.objectives import surrogate, vpg
        >>> from metarl.core.rules import sgd
        >>> from metarl.learn.adapt import adapt
        >>> from metarl.learn.chunks import Chunking
        >>> from metarl.learn.maml import e_maml
        >>> from metarl.learn.trust_region import TrustRegion
        >>> apply = policy(MLP(inputs=2, hidden=(8,), outputs=3))
        >>> adaptation = adapt(apply, vpg, sgd(lr=0.1))
        >>> learner = e_maml(apply, adaptation, surrogate, Chunking(10), trust_region=TrustRegion(apply))
    """
    return maml(
        apply,
        adaptation,
        objective,
        chunking,
        trust_region=trust_region,
        report=report,
        score=exploration,
    )
