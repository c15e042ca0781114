"""Each family and each network is made once a configuration, whatever is asked of them."""

from collections import Counter
from typing import Any

import pytest

from metarl.cli import main
from metarl.run.agent import agent as agents
from metarl_envs import PointGoal

SIZES = ["--iterations", "1", "--tasks", "4", "--episodes", "2", "--threads", "1", "--validation-tasks", "2"]
EVALUATE = ["evaluate", "run", "--tasks", "2", "--steps", "1", "--episodes", "2", "--baselines"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What has been made since it was cleared."""
    counts: Counter[str] = Counter()
    init, network, draw = PointGoal.__init__, agents.network, agents.Agent.initial_meta

    def counted_init(family: PointGoal, *args: Any, **options: Any) -> None:
        counts["family"] += 1
        init(family, *args, **options)

    def counted_network(*args: Any) -> Any:
        counts["network"] += 1
        return network(*args)

    def counted_draw(agent: Any) -> Any:
        counts["parameters"] += 1
        return draw(agent)

    monkeypatch.setattr(PointGoal, "__init__", counted_init)
    monkeypatch.setattr(agents, "network", counted_network)
    monkeypatch.setattr(agents.Agent, "initial_meta", counted_draw)
    return counts


def test_training_makes_one_family_and_one_network(made: Counter[str]) -> None:
    assert main(["train", "maml", "--family", "point-goal", *SIZES, "--out", "run"]) == 0
    assert made == {"family": 1, "network": 1, "parameters": 1}


def test_an_evaluation_makes_one_family_a_file_and_one_network_an_agent(made: Counter[str]) -> None:
    main(["train", "maml", "--family", "point-goal", *SIZES, "--out", "run"])
    for families in (1, 3):  # at first the run's own serves all; then two baselines have files of their own
        made.clear()
        assert main([*EVALUATE, "random", "pretrained", "oracle"]) == 0
        assert made == {"family": families, "network": 4, "parameters": 4}
