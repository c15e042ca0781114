"""The page of a comparison holds the numbers of the comparison, and is a page."""

import re
from pathlib import Path

import numpy as np
import pytest

from metarl.run.report.comparison_page import compare, render
from metarl.run.results.comparison import Comparison
from synthetic_run import make_measured

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("compared")
    base = np.add(rng.normal(-40, 10, (8, 1)), [0, 20, 25, 27])
    found = []
    for algorithm, gain in (("maml", 0), ("reptile", -3), ("lstm", 1)):
        for seed in (1, 2, 3):
            values = base + gain + rng.normal(0, 2, (8, 4))
            found += [make_measured(path / f"{algorithm}{seed}", values, algorithm=algorithm, seed=seed)]
    return compare(found)


def test_every_number_stands_in_a_table(comparison: Comparison) -> None:
    page = render(comparison)
    assert page.count("<svg") == 1 + 2  # adaptation, and the differences of two groups
    for one in comparison.pooled:
        for k in range(4):
            for value, (low, high) in ((one.mean[k], one.ci[k]), (one.iqm[k], one.iqm_ci[k])):
                cell = f"<td>{value:.1f}<small>{low:.1f} to {high:.1f}</small></td>".replace("-", "−")
                assert cell in page
    for versus in comparison.versus:
        low, high = versus.improvement_ci[-1]
        assert f"<td>{versus.improvement[-1]:.2f}<small>{low:.2f} to {high:.2f}</small></td>" in page
    assert re.findall(r'<tr><th scope="row">episodes used</th>(.*?)</tr>', page) == [
        "<td>0</td><td>20</td><td>40</td><td>60</td>"
    ]
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Adaptation",
        "Against maml",
        "Runs",
        "Protocol",
    ]


def test_the_lead_says_where_zero_is_within_reach(comparison: Comparison) -> None:
    (lead,) = re.findall('<p class="lead">(.*?)</p>', render(comparison))
    assert lead.startswith("Mean return after 3 steps, against maml: reptile is ")
    for versus, words in zip(comparison.versus, lead.split("; "), strict=True):
        low, high = versus.difference_ci[-1]
        assert ("which holds 0" in words) == (low <= 0 <= high)
        assert ("above it" in words) == (versus.difference[-1] > 0)


def test_what_a_file_names_is_escaped_and_the_same_gives_the_same(tmp_path: Path) -> None:
    values = [[0.0, 1.0], [1.0, 2.0]]
    told = {"family": HOSTILE}
    paths = [make_measured(tmp_path / a, values, told=told, algorithm=f"{a}{HOSTILE}") for a in ("a", "b")]
    page = render(compare(paths))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page == render(compare(paths))
