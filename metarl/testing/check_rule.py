"""The contract of an inner rule, tried in one line: ``check_rule(rule)``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from metarl.core.params import Inner, Params, all_finite, expand, leaves, tree_map
from metarl.core.rules import Rule
from metarl.testing.check_meta_gradient import check_meta_gradient
from metarl.testing.one_line import one_line
from metarl.testing.trees import cast, derivatives, different, form, normal

TASKS, STEPS = 3, 3
SHAPES = {"body.weight": (3, 2), "body.bias": (3,), "head": ()}
HUGE = 1e12  # its cube is finite in float32


class Case(NamedTuple):
    """A problem for a rule; all but ``learned`` has the task axis first. Gradients and losses by step."""

    learned: Params
    params: Params
    grads: list[Params]
    losses: list[Tensor]

    def task(self, i: int) -> "Case":
        """Return one task's part, as copies: what one check does to it leaves the others alone."""
        return Case(*tree_map(torch.clone, (self.learned, *tree_map(lambda x: x[i], self[1:]))))


def check_rule(rule: Rule, params: Params | None = None) -> None:
    """Assert that ``rule`` keeps the contract of ``metarl.core.rules.Rule``.

    * ``init`` depends on its arguments alone and makes a dict of floating-point tensors; a rule that learns
      nothing has none (``Rule.learns``);
    * ``begin`` and ``step`` are pure: nothing is changed in place, nothing is remembered outside the memory,
      torch's global generator is left alone, and no result depends on the order of the parameters' names;
    * parameters keep names, shapes and precision; the memory holds tensors only, keeps its form, is carried
      on and is read;
    * under ``vmap`` a task gets what it gets alone, wherever it stands and whatever gradients others have;
    * values and derivatives are finite at zero and at huge gradients (1e12 in float32);
    * derivatives of what ``metarl.learn.adapt`` makes of it are right (``check_meta_gradient``).

    An update that is consistent but not the intended one passes: compare it with a step worked by hand.

    Args:
        rule: the rule to try.
        params: parameters to try it on, without a task axis; by default ``body.weight``, ``body.bias`` and
            ``head``, the last of which is a single number.

    Raises:
        AssertionError: of one line, which names the rule and what it does wrong.
    """
    params = params or {name: normal(i, *shape) for i, (name, shape) in enumerate(SHAPES.items())}
    params, subject = cast(params, torch.float64), f"rule {rule.name!r}"
    with one_line(subject, "init"):
        learned = _check_init(rule, params)
    case = _case(params, learned)
    for words, check in CHECKS.items():
        with one_line(subject, words):
            check(rule, case)
    with one_line(subject, "in adapt"):
        check_meta_gradient(rule, params, case.learned)


def _case(params: Params, learned: Params) -> Case:
    """Float64; each task has parameters, gradients and losses of its own."""
    seeds = iter(range(100, 10_000))
    near = tree_map(lambda p: p + 0.1 * normal(next(seeds), TASKS, *p.shape), params)
    grads = [tree_map(lambda p: normal(next(seeds), *p.shape), near) for _ in range(STEPS)]
    losses = [normal(next(seeds), TASKS).exp() for _ in range(STEPS)]
    return Case(cast(learned, torch.float64), near, grads, losses)


def _adapt(rule: Rule, case: Case) -> Inner:
    """Return one task's parameters and memory after all steps."""
    inner = Inner(case.params, rule.begin(case.learned, case.params))
    for grads, loss in zip(case.grads, case.losses, strict=True):
        inner = Inner(*rule.step(case.learned, inner.carry, inner.params, grads, loss))
    return inner


def _adapt_tasks(rule: Rule, case: Case) -> Inner:
    """Return the same for all tasks at once."""
    learned = expand(case.learned, TASKS)
    inner = Inner(case.params, vmap(rule.begin)(learned, case.params))
    for grads, loss in zip(case.grads, case.losses, strict=True):
        inner = Inner(*vmap(rule.step)(learned, inner.carry, inner.params, grads, loss))
    return inner


def _untouched(what: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Call ``fn(*args)``, which must leave its arguments and torch's global generator as they are."""
    held, structure = pytree.tree_flatten(args)
    copies = [x.clone() if isinstance(x, Tensor) else x for x in held]
    state = torch.get_rng_state()
    out = fn(*args)
    if not torch.equal(state, torch.get_rng_state()):
        raise AssertionError(f"{what} draws from torch's global generator")
    now, structure_now = pytree.tree_flatten(args)
    same = structure_now == structure and all(a is b for a, b in zip(now, held, strict=True))
    tensors = [(x, copy) for x, copy in zip(held, copies, strict=True) if isinstance(x, Tensor)]
    if not same or not all(torch.equal(x, copy) for x, copy in tensors):
        raise AssertionError(f"{what} changes one of its arguments in place")
    return out


def _check_init(rule: Rule, params: Params) -> Params:
    first, again = (_untouched("init", rule.init, params, torch.Generator().manual_seed(0)) for _ in range(2))
    if not isinstance(first, dict) or not all(
        isinstance(name, str) and isinstance(x, Tensor) and x.is_floating_point() for name, x in first.items()
    ):
        raise AssertionError("init must return a dict of names and floating-point tensors")
    if where := different(first, again):
        raise AssertionError(f"init gives another {where} for the same state of the generator")
    if rule.learns and not first:
        raise AssertionError("init returns {}; a rule that learns nothing leaves init out")
    return first


def _check_purity(rule: Rule, case: Case) -> None:
    first, other = case.task(0), case.task(1)

    def run(case: Case) -> list[Any]:
        seen: list[Any] = [case.params, _untouched("begin", rule.begin, case.learned, case.params)]
        for grads, loss in zip(case.grads, case.losses, strict=True):
            args = (case.learned, seen[-1], seen[-2], grads, loss)
            seen += _untouched("step", rule.step, *args)
        return seen

    before = run(first)
    run(other)
    if where := different(before, run(first)):
        raise AssertionError(f"called again with the same arguments it gives other results (at {where})")


def _check_forms(rule: Rule, case: Case) -> None:
    for dtype in (torch.float32, torch.float64):
        one = cast(case.task(0), dtype)
        params, memory = one.params, rule.begin(one.learned, one.params)
        _check_memory_form(memory, dtype)
        for grads, loss in zip(one.grads, one.losses, strict=True):
            out = rule.step(one.learned, memory, params, grads, loss)
            if not isinstance(out, tuple) or len(out) != 2 or not isinstance(out[0], dict):
                raise AssertionError("step must return (params, memory)")
            new, after = out
            if form(new) != form(params):
                raise AssertionError(f"step makes {form(new)} of the parameters {form(params)}")
            if form(after) != form(memory):
                raise AssertionError(f"step makes {form(after)} of the memory {form(memory)}")
            if not all_finite(out):
                raise AssertionError("ordinary gradients give numbers that are not finite")
            for name, x in new.items():
                moved = x[x != params[name]]
                if dtype == torch.float64 and len(moved) and torch.equal(moved.float().double(), moved):
                    raise AssertionError(f"step rounds {name} to float32")
            params, memory = new, after


def _check_memory_form(memory: Any, dtype: torch.dtype) -> None:
    for leaf in pytree.tree_leaves(memory):
        if not isinstance(leaf, Tensor):
            raise AssertionError(f"the memory holds a {type(leaf).__name__}, only tensors may stand there")
        if dtype == torch.float64 and leaf.is_floating_point() and leaf.dtype != dtype:
            raise AssertionError(f"the memory is kept in {leaf.dtype} where parameters are in {dtype}")


def _check_memory(rule: Rule, case: Case) -> None:
    one = case.task(0)
    start = rule.begin(one.learned, one.params)
    params, memory = rule.step(one.learned, start, one.params, one.grads[0], one.losses[0])
    if not leaves(start):
        return
    moved = different(start, memory)
    if not moved and not any(bool(x.any()) for x in leaves(memory)):
        raise AssertionError("the memory stays as begin makes it, all zeros: step carries nothing on")
    args = (params, one.grads[1], one.losses[1])
    if moved and not different(rule.step(one.learned, memory, *args), rule.step(one.learned, start, *args)):
        raise AssertionError("step does not read the memory")


def _check_names(rule: Rule, case: Case) -> None:
    def backwards(tree: Params) -> Params:
        return dict(reversed(tree.items()))

    one = case.task(0)
    grads = [backwards(g) for g in one.grads]
    expected = _adapt(rule, one).params
    for params in (one.params, backwards(one.params)):
        found = _adapt(rule, one._replace(params=params, grads=grads)).params
        if where := different({name: found[name] for name in expected}, expected, 1e-9):
            raise AssertionError(f"the order in which parameters are listed changes {where}")


def _check_tasks(rule: Rule, case: Case) -> None:
    order = [2, 0, 1]
    alone = [_adapt(rule, case.task(i)) for i in order]
    permuted = Case(case.learned, *tree_map(lambda x: x[order], case[1:]))
    together = _adapt_tasks(rule, permuted)
    if where := different(together, tree_map(lambda *xs: torch.stack(xs), *alone), 1e-9):
        raise AssertionError(f"under vmap a task gets another {where} than alone")


def _check_isolation(rule: Rule, case: Case) -> None:
    factor = torch.tensor([1.0, HUGE, 1.0], dtype=torch.float64)
    grads, losses = tree_map(lambda x: x * factor.view(-1, *[1] * (x.ndim - 1)), (case.grads, case.losses))
    loud = _adapt_tasks(rule, case._replace(grads=grads, losses=losses))
    others = tree_map(lambda x: x[[0, 2]], (_adapt_tasks(rule, case), loud))
    if where := different(*others, 1e-12):
        raise AssertionError(f"a huge gradient of one task changes {where} of another")


def _check_finite(rule: Rule, case: Case) -> None:
    _check_finite_at(rule, case, 0.0, "zero")
    _check_finite_at(rule, case, HUGE, "huge")


def _check_finite_at(rule: Rule, case: Case, scale: float, size: str) -> None:
    one = cast(case.task(0), torch.float32)
    grads, losses = tree_map(lambda x: x * scale, (one.grads, one.losses))
    one = tree_map(lambda x: x.requires_grad_(), one._replace(grads=grads, losses=losses))
    out = _adapt(rule, one)
    if not all_finite(out):
        raise AssertionError(f"{size} gradients give numbers that are not finite")
    if not all_finite(derivatives(out, one)):
        raise AssertionError(f"{size} gradients give derivatives that are not finite")


CHECKS: dict[str, Callable[[Rule, Case], None]] = {
    "in float32 and in float64": _check_forms,
    "called twice": _check_purity,
    "from step to step": _check_memory,
    "with names in another order": _check_names,
    "under vmap": _check_tasks,
    "under vmap with one huge gradient": _check_isolation,
    "at zero and huge gradients": _check_finite,
}
