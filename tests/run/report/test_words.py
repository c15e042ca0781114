"""The headline of a run, its facts, and what agents and protocols mean."""

import pytest

from metarl.run.report.words import STATISTICS, agent_words, facts, headline, protocol_words
from metarl.run.results.read import read_run
from synthetic_run import make_evaluation, make_lessons, make_run


def run_with(path, agents=None, metric="return", **protocol):
    """A run of the given agents (name: means), its protocol changed; `...` takes an entry away."""
    evaluation = make_evaluation()
    evaluation["metric"] = metric
    changed = {**evaluation["protocol"], **protocol}
    evaluation["protocol"] = {key: value for key, value in changed.items() if value is not ...}
    if agents:
        means = {name: {"mean": mean, "ci95": [[m, m] for m in mean]} for name, mean in agents.items()}
        evaluation["agents"] = means
    return read_run(make_run(path, evaluation=evaluation))


def test_headline_of_the_usual_evaluation(tmp_path):
    assert headline(run_with(tmp_path / "run")) == (
        "After 3 steps of 20 episodes each the agent’s mean return rises from −40.1 to −7.4 "
        "(−12.3 after the first) on 8 unseen tasks; random reaches −46.8, pretrained −33.9 and oracle −2.3."
    )


@pytest.mark.parametrize(
    ("agents", "metric", "protocol", "sentence"),
    [
        (
            {"meta": [-40.1, -12.3], "pretrained": [-40.0, -35.0]},
            "return",
            {"tasks": 1},
            "After 1 step of 20 episodes the agent’s mean return rises from −40.1 to −12.3 on 1 unseen task; "
            "pretrained reaches −35.0.",
        ),
        (
            {"meta": [3.1, 0.67]},
            "mse",
            {"episodes": ..., "shots": 5, "split": "validation"},
            "After 1 step on 5 examples the agent’s mean squared error falls from 3.10 to 0.670 on 8 "
            "validation tasks.",
        ),
        (
            {"meta": [0.2, 0.2001]},
            "accuracy",
            {"episodes": ..., "split": "ood", "tasks": 1000},
            "After 1 step the agent’s mean accuracy stays at 20.0\u202f% on 1\u202f000 tasks outside the "
            "training distribution.",
        ),
        (
            {"meta": [0.1, 0.5]},
            "success",
            {"tasks_seen_in_training": True, "tasks": 4},
            "After 1 step of 20 episodes the agent’s success rate rises from 10.0\u202f% to 50.0\u202f% on 4 "
            "tasks, all of them seen in training.",
        ),
        (
            {"pretrained": [-1234.5]},
            "return",
            {"tasks_seen_in_training": ...},
            "Without adaptation pretrained’s mean return is −1\u202f234 on 8 tasks.",
        ),
        (
            {"meta": [1.0, None]},
            "return",
            {"split": "train", "tasks_seen_in_training": True},
            "After 1 step of 20 episodes the agent’s mean return goes from 1.00 to – on 8 training tasks.",
        ),
    ],
)
def test_headline_fits_metric_steps_and_tasks(tmp_path, agents, metric, protocol, sentence):
    assert headline(run_with(tmp_path / "run", agents, metric, **protocol)) == sentence


def test_headline_before_the_first_evaluation(tmp_path):
    path = make_run(tmp_path / "run", evaluation={})
    (path / "metrics.jsonl").write_text('{"iteration": 1, "return/step_0": -40.0, "return/step_1": -9.96}\n')
    assert headline(read_run(path)) == (
        "Not evaluated yet. The training tasks’ mean return was last −40.0 before and −10.0 after 1 step of "
        "adaptation."
    )
    (path / "metrics.jsonl").write_text('{"iteration": 1, "return/step_0": -40.0}\n')
    assert headline(read_run(path)).endswith("was last −40.0.")
    (path / "metrics.jsonl").write_text("")
    assert headline(read_run(path)) == "No iteration has finished yet."


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (
            "mse",
            "After 10 steps on 10 examples the agent’s mean squared error falls from 4.00 to 0.113 (2.80 "
            "after the first) on 8 unseen tasks; pretrained reaches 3.00.",
        ),
        (
            "accuracy",
            "After 10 steps on 10 examples the agent’s mean accuracy rises from 20.0 % to 97.7 % (44.0 % "
            "after the first) on 8 unseen tasks; pretrained reaches 40.0 % and nearest 55.0 %.",
        ),
    ],
)
def test_headline_of_labelled_examples(tmp_path, metric, sentence):
    run = read_run(make_lessons(tmp_path / "run", metric))
    assert headline(run).replace("\u202f%", " %") == sentence
    assert facts(run) == [
        "spec finn2017",
        "30 iterations",
        "15k labelled examples",
        "25 tasks an iteration",
        "seed 1",
    ]


def test_headline_of_a_supervised_run_that_is_not_evaluated(tmp_path):
    path = make_lessons(tmp_path / "run", "accuracy")
    (path / "evaluation.json").unlink()
    assert headline(read_run(path)) == (
        "Not evaluated yet. The training tasks’ mean accuracy was last 20.0\u202f% before and 90.0\u202f% "
        "after 1 step of adaptation."
    )


def test_agents_of_old_files_are_described_by_their_kind_and_others_by_their_own_words(tmp_path):
    words = {
        "return": agent_words(read_run(make_run(tmp_path / "return")).evaluation),
        "mse": agent_words(read_run(make_lessons(tmp_path / "mse", "mse")).evaluation),
        "accuracy": agent_words(read_run(make_lessons(tmp_path / "accuracy", "accuracy")).evaluation),
    }
    assert list(words["return"]) == ["meta", "random", "pretrained", "oracle"]
    assert list(words["accuracy"]) == ["meta", "pretrained", "nearest"]
    assert len({of_kind["pretrained"] for of_kind in words.values()}) == 3
    evaluation = make_evaluation()
    evaluation["agents"]["mine"] = evaluation["agents"]["oracle"]
    evaluation["agents"]["oracle"] = evaluation["agents"]["oracle"] | {"description": "it peeps"}
    described = agent_words(read_run(make_run(tmp_path / "own", evaluation=evaluation)).evaluation)
    assert described["oracle"] == "it peeps" and "mine" not in described


@pytest.mark.parametrize("name", STATISTICS)
def test_the_protocol_s_entries_are_explained(tmp_path, name):
    words = protocol_words(read_run(make_lessons(tmp_path / "run", "accuracy", statistics=name)).evaluation)
    assert words["statistics"] == STATISTICS[name] and "support" in words["shots"]
    assert "right label" in words["metric"]
