"""The examples in the docstrings of the functional layers run, each by its own imports alone."""

import doctest
import importlib
import pkgutil

import pytest

import metarl.core
import metarl.learn

HOMES = [
    *(
        module.name
        for package in (metarl.core, metarl.learn)
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ),
    "metarl.rollout.collector",
]
# What a reader looks up first has an example.
SHOWN = [
    "adapt:adapt",
    "adapt:inner_loop",
    "maml:maml",
    "maml:e_maml",
    "reptile:reptile",
    "trpo:trpo",
    "trpo:conjugate_gradient",
    "optimizers:ppo",
    "optimizers:adam",
    "optimizers:sgd",
    "curvature:kl_curvature",
    "returns:gae",
    "returns:discounted_returns",
    "returns:normalise",
    "advantages:with_advantage",
    "advantages:fit_linear",
    "rules:sgd",
    "rules:meta_sgd",
    "rules:adam",
    "rules:lstm",
    "rules:only",
    "objectives:mse",
    "objectives:cross_entropy",
    "distributions:DiagGaussian",
    "distributions:Categorical",
    "distributions:MultiCategorical",
    "models:MLP",
    "models:Gaussian",
    "models:functional",
    "models:policy",
]


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(name), globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", HOMES)
def test_examples_run(name: str) -> None:
    for test in examples(name):
        lines: list[str] = []
        doctest.DocTestRunner().run(test, out=lines.append)
        assert not lines, "".join(lines)


def test_the_heart_of_the_library_is_shown_by_example() -> None:
    shown = {test.name.split(".", 2)[2].replace(".", ":") for home in HOMES for test in examples(home)}
    assert set(SHOWN) <= shown
