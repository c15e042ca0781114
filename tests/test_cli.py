"""The ``metarl`` command: one clear line and a status for every outcome, and what is handed on where."""

import dataclasses
import importlib
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import torch

from metarl.cli import main
from metarl.cli.commands import HANDLERS
from metarl.cli.options import COMMANDS
from metarl.core.errors import RequestError, RunFailed
from metarl.core.registry import Registry
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.parts import PARTS, registry_of
from metarl.run.config.train_config import to_yaml
from metarl.run.train.signals import Stopped
from tiny_runs import configured


def episodic(*shape: int) -> SimpleNamespace:
    """As much of an agent as the command line reads."""
    space = SimpleNamespace(shape=shape)
    return SimpleNamespace(metric="return", family=SimpleNamespace(observation_space=space))


EPISODIC = episodic(2)


def trained(path: str, agent: SimpleNamespace = EPISODIC, family: str = "point-goal") -> SimpleNamespace:
    """As much of a run."""
    return SimpleNamespace(path=Path(path), agent=agent, config=configured(family=family))


FAMILY = "metarl_envs.plane.point_goal:PointGoal"
TRAIN = f"train maml --family {FAMILY}"

Replace = Callable[..., Mock]


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put a double with the real signature in place of a function that a command calls."""

    def replace(module: str, name: str, returns: Any = None, raises: BaseException | None = None) -> Mock:
        real = getattr(importlib.import_module(module), name)
        double: Mock = create_autospec(inspect.unwrap(real), return_value=returns, side_effect=raises)
        monkeypatch.setattr(f"{module}.{name}", double)
        return double

    return replace


def written(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


REFUSED = [
    ("", "no command given; allowed: train, "),
    ("trian maml", "unknown command 'trian'; did you mean train?"),
    ("train", "algorithm is not set; allowed: maml, fomaml, reptile, lstm, meta-sgd, anil, promp, e-maml"),
    (
        f"train mamll --family {FAMILY}",
        "algorithm must be one of maml, fomaml, reptile, lstm, meta-sgd, anil, promp, e-maml, got 'mamll'",
    ),
    ("train maml", "family is not set; allowed: "),
    ("train maml --family nowhere", "unknown family 'nowhere'; allowed: "),
    ("train maml --family nowhere:Family", "family 'nowhere:Family' cannot be imported: "),
    (f"{TRAIN} --spec finn2018", "unknown spec 'finn2018'; allowed: finn2017, promp"),
    (f"{TRAIN} --family-arg horizon=0", "horizon is 0; allowed: "),
    (f"{TRAIN} --family-arg length=9", "unknown argument 'length'; allowed: horizon"),
    (
        f"{TRAIN} --family-arg horizon",
        "family_arg must be pairs of a name and a plain value (K=V), got ('horizon',)",
    ),
    (f"{TRAIN} --task 3", "unknown option --task of metarl train; did you mean --tasks"),
    (f"{TRAIN} fomaml --tasks 3", "unexpected 'fomaml' after metarl train"),
    (f"{TRAIN} --tasks", "option --tasks of metarl train needs INT"),
    (f"{TRAIN} --tasks 0", "tasks must be a whole number of at least 1, got '0'"),
    (f"{TRAIN} --tasks ten", "tasks must be a whole number of at least 1, got 'ten'"),
    (f"{TRAIN} --episodes 1.5", "episodes must be a whole number of at least 1, got '1.5'"),
    (f"{TRAIN} --iterations -1", "iterations must be a whole number of at least 0, got '-1'"),
    (f"{TRAIN} --inner-lr -0.1", "inner_lr must be a finite number above 0, got '-0.1'"),
    (f"{TRAIN} --inner-lr nan", "inner_lr must be a finite number above 0, got 'nan'"),
    (f"{TRAIN} --max-kl inf", "max_kl must be a finite number above 0, got 'inf'"),
    (f"{TRAIN} --gamma 1.1", "gamma must be a finite number of at least 0 and of at most 1, got '1.1'"),
    (
        f"{TRAIN} --hidden 64 0",
        "hidden must be a list in which each is a whole number of at least 1, got ('64', '0')",
    ),
    (f"{TRAIN} --hidden 1000000000000", "model 'mlp' cannot be made: RuntimeError: "),
    (f"{TRAIN} --hidden {10**30}", "cannot be made: "),
    (
        "train maml --family faulty_families:Faulty --family-arg horizon=0",
        "family 'faulty_families:Faulty' has a horizon of 0; allowed: whole numbers from 1",
    ),
    (f"{TRAIN} --meta-optimizer lbfgs", "unknown meta-optimizer 'lbfgs'; allowed: adam, ppo, sgd, trpo"),
    (f"{TRAIN} --objective luck", "unknown objective 'luck'; allowed: "),
    (f"{TRAIN} --logger paper", "unknown logger 'paper'; allowed: wandb"),
    (f"{TRAIN} --device tpu", "device must be one of auto, cpu, cuda, got 'tpu'"),
    (f"{TRAIN} --executor ray", "unknown executor 'ray'; allowed: inline, processes"),
    (f"{TRAIN} --observe-task perhaps", "observe_task must be true or false, got 'perhaps'"),
    (f"{TRAIN} --config absent.yaml", "cannot read absent.yaml: "),
    (f"{TRAIN} --config broken.yaml", "broken.yaml is not valid YAML: line 2: "),
    (f"{TRAIN} --config list.yaml", "list.yaml must hold a mapping of option names to values, got list"),
    (f"{TRAIN} --config key.yaml", "unknown option 'taskz' in key.yaml; did you mean tasks"),
    (f"{TRAIN} --config type.yaml", "tasks must be a whole number of at least 1, got 'ten'"),
    (f"{TRAIN} --model no_such_package:policy", "no_such_package"),
    (f"{TRAIN} --init-from absent.safetensors", "absent.safetensors"),
    (
        f"{TRAIN} --init-from existing",
        "init-from must be a file of weights, got existing; of a run, in Python: ",
    ),
    (f"{TRAIN} --init-from zoo:point-goal-maml", "metarl.load('zoo:point-goal-maml').policy.save("),
    (f"{TRAIN} --out existing", "give another by --out, or go on with: metarl resume existing"),
    (f"{TRAIN} --out broken.yaml", "run directory broken.yaml exists already; give another by --out\n"),
    (f"{TRAIN} --config twice.yaml", "twice.yaml is not valid YAML: line 2: 'tasks' is given twice"),
    ("baseline", "baseline needs {pretrained,oracle,random}: "),
    (f"baseline lucky --family {FAMILY}", "kind must be one of pretrained, oracle, random, got 'lucky'"),
    (f"baseline random --family {FAMILY} --tasks 0", "tasks must be a whole number of at least 1, got '0'"),
    (f"baseline random --family {FAMILY} --out existing", "existing"),
    ("resume", "resume needs RUN_DIR: "),
    ("resume absent", "absent"),
    ("resume existing --iterations -1", "iterations must be a whole number of at least 0, got '-1'"),
    ("evaluate", "evaluate needs RUN_DIR "),
    ("evaluate absent", "absent"),
    ("evaluate existing --split train", "split must be one of validation, test, ood, got 'train'"),
    (
        "evaluate existing --checkpoint worst",
        "checkpoint must be best, last or the number of a checkpoint, got 'worst'",
    ),
    ("evaluate existing other --out e.json", "other is not a run directory: no config.yaml"),
    (
        "evaluate existing reptile --out e.json",
        "out must be unset for 2 runs of different configurations (maml; reptile), got 'e.json'",
    ),
    ("evaluate existing existing/", "existing is given twice"),
    ("evaluate existing maze", "not put together: existing has family unset and maze maze"),
    ("evaluate maze --spec open", "spec is 'walls' in maze, got 'open'; a run is evaluated on the spec that"),
    ("evaluate maze --family bandit", "family is 'maze' in maze, got 'bandit'"),
    ("compare", "compare needs RUN_DIR "),
    ("compare existing", "compare needs at least two runs, got 1"),
    ("compare existing maze", "existing has not been evaluated; next: metarl evaluate existing"),
    ("compare existing absent", "absent is not a run directory"),
    ("report", "report needs RUN_DIR "),
    ("report absent", "absent"),
    ("report existing --out page.pdf", "out must be the name of a file that ends in .html, got 'page.pdf'"),
    (
        "compare existing a --out page",
        "out must be the name of a file that ends in .html or .json, got 'page'",
    ),
    ("list", "list needs {algorithms,families,objectives,rules,"),
    ("list tasks", "zoo, got 'tasks'"),
]


@pytest.mark.parametrize(("line", "told"), REFUSED)
def test_what_cannot_be_met_ends_with_2_one_line_and_nothing_written(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "config.yaml").write_text("algorithm: maml\n")
    for name, config in {"reptile": "algorithm: reptile\n", "maze": "family: maze\nspec: walls\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(config)
    (tmp_path / "broken.yaml").write_text("tasks: 3\nhidden: [64}\n")
    (tmp_path / "list.yaml").write_text("- tasks\n")
    (tmp_path / "key.yaml").write_text("taskz: 3\n")
    (tmp_path / "type.yaml").write_text("tasks: ten\n")
    (tmp_path / "twice.yaml").write_text("tasks: 3\ntasks: 4\n")
    before = written(tmp_path)
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("metarl: ")
    assert told in err
    assert written(tmp_path) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_an_absent_gpu_is_never_replaced_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"{TRAIN} --device cuda --out new".split()) == 2
    assert "device 'cuda' is not available" in capsys.readouterr().err
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (RequestError("the  line\n  of the error"), 2, "metarl: the  line of the error\n"),
        (
            RunFailed("worker died; metarl resume runs/a goes on"),
            1,
            "metarl: worker died; metarl resume runs/a goes on\n",
        ),
        (Stopped(signal.SIGINT), 130, "metarl: stopped by SIGINT\n"),
        (Stopped(signal.SIGTERM), 143, "metarl: stopped by SIGTERM\n"),
        (KeyboardInterrupt(), 130, "metarl: interrupted\n"),
        (OSError(28, "No space left on device", "runs/a"), 1, "metarl: runs/a: No space left on device\n"),
    ],
)
def test_every_outcome_has_its_status_and_one_line(
    raised: BaseException, status: int, told: str, replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced("metarl.run.use.runs", "train", raises=raised)
    assert main(TRAIN.split()) == status
    assert capsys.readouterr() == ("", told)


def test_a_mistake_of_ours_keeps_its_traceback(replaced: Replace) -> None:
    replaced("metarl.run.use.runs", "train", raises=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(TRAIN.split())


def test_train_lays_the_command_line_over_the_file(
    replaced: Replace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "algorithm: fomaml\ntasks: 7\nepisodes: 6\nmeta_lr: 1e-4\nhidden: [8]\n"
    )
    train = replaced("metarl.run.use.runs", "train", trained("runs/a"))
    line = f"train --config mine.yaml --family {FAMILY} --tasks 5 --family-arg horizon=9 --observe-task"
    assert main([*line.split(), "--out", "runs/a"]) == 0
    config, out = train.call_args.args
    assert out == "runs/a"
    asked = {
        "tasks": 5,
        "episodes": 6,
        "meta_lr": 1e-4,
        "hidden": [8],
        "family_arg": {"horizon": 9},
        "observe_task": True,
    }
    assert config == configured("fomaml", FAMILY, **asked)
    out_text, err = capsys.readouterr()
    assert "metarl evaluate runs/a --baselines random pretrained oracle" in out_text
    assert err == ""


def test_a_run_can_be_repeated_from_its_own_config(replaced: Replace, tmp_path: Path) -> None:
    first = configured("maml", FAMILY, family_arg={"horizon": 9}, chunk=4, hidden=[8, 8])
    (tmp_path / "config.yaml").write_text(to_yaml(first))
    train = replaced("metarl.run.use.runs", "train", trained("b"))
    assert main(["train", "--config", "config.yaml", "--trust"]) == 0  # since the family is one of ours
    config, out = train.call_args.args
    assert (dataclasses.replace(config, trust=False), out) == (first, None)


def test_images_are_to_be_compared_with_the_nearest_one(
    replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced("metarl.run.use.runs", "train", trained("b", SimpleNamespace(metric="accuracy")))
    assert main(TRAIN.split()) == 0
    assert "metarl evaluate b --baselines random pretrained nearest" in capsys.readouterr().out


def test_no_oracle_is_proposed_where_the_policy_observes_images(
    replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced("metarl.run.use.runs", "train", trained("b", episodic(3, 7, 7)))
    assert main(TRAIN.split()) == 0
    assert "--baselines random pretrained\n" in capsys.readouterr().out


def test_baseline_trains_maml_unless_told_otherwise(replaced: Replace, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("algorithm: fomaml\n")
    train = replaced("metarl.run.evaluate.trained_baselines", "train_baseline", trained("b"))
    for more, algorithm in {
        "": "maml",
        "--config mine.yaml": "fomaml",
        "--algorithm fomaml": "fomaml",
    }.items():
        assert main(f"baseline oracle --family {FAMILY} --seed 3 {more}".split()) == 0
        kind, config, out = train.call_args.args
        assert (kind, config.seed, out) == ("oracle", 3, None)
        assert config.algorithm == algorithm


def test_resume_hands_on_the_run_and_its_new_length(replaced: Replace) -> None:
    resume = replaced("metarl.run.use.runs", "resume", trained("a"))
    assert main(["resume", "a", "--iterations", "9"]) == 0
    assert main(["resume", "a"]) == 0
    assert main(["resume", "a", "--trust"]) == 0
    assert all(call.args == (Path("a"),) for call in resume.call_args_list)
    asked = [tuple(call.kwargs.values()) for call in resume.call_args_list]
    assert asked == [(9, False), (None, False), (None, True)]  # iterations, trust


def test_the_help_of_baseline_says_which_algorithm_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for command in ("train", "baseline"):
        assert main([command, "--help"]) == 0
        told[command] = " ".join(capsys.readouterr().out.split())
    assert re.search(r"meta-learner[^()]*\(default: maml\)", told["baseline"])
    assert "(default: maml) --family" not in told["train"]


def test_what_to_type_next_is_quoted_for_a_shell_or_python(
    replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced("metarl.run.use.runs", "train", trained("a  b"))
    replaced("metarl.run.use.export", "export_run", Path('a "b".zip'))
    replaced("metarl.run.use.clip", "render_run", Path("c.gif"))
    assert main([*TRAIN.split(), "--out", "a  b"]) == 0
    assert "next: metarl evaluate 'a  b' --baselines" in capsys.readouterr().out
    assert main(["render", "a  b"]) == 0
    assert capsys.readouterr().out == "c.gif; metarl report 'a  b' shows a strip of it\n"
    assert main(["export", "a  b"]) == 0
    assert r'PPO.load("a \"b\".zip", env' in capsys.readouterr().out


def test_what_to_type_next_has_trust_where_the_run_needs_it(
    replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    train = replaced("metarl.run.use.runs", "train")
    for family, ending in {"point-goal": " oracle\n", "tiny_families:Field": " oracle --trust\n"}.items():
        train.return_value = trained("b", family=family)
        assert main(TRAIN.split()) == 0
        assert capsys.readouterr().out.endswith(ending)
    replaced(
        "metarl.run.evaluate.trained_baselines", "train_baseline", trained("b", family="tiny_families:Field")
    )
    assert main(["baseline", "oracle", "--family", FAMILY]) == 0
    assert capsys.readouterr().out.endswith("next: metarl evaluate b --trust\n")


def test_evaluate_hands_on_the_runs_and_what_is_asked(replaced: Replace) -> None:
    evaluate = replaced("metarl.run.evaluate.several_runs", "evaluate_runs")
    line = (
        "evaluate a b --checkpoint 20 --split ood --tasks 4 --steps 2 --episodes 5 --seed 9 --deterministic"
    )
    more = ["--inner-lr", "0.5", "0.25", "--baselines", "random", "oracle", "--family", "f", "--spec", "s"]
    assert main([*line.split(), "--family-arg", "shots=5", *more, "--out", "e.json"]) == 0
    assert evaluate.call_args.kwargs == {
        "run_dirs": [Path("a"), Path("b")],
        "family": "f",
        "spec": "s",
        "checkpoint": "20",
        "split": "ood",
        "tasks": 4,
        "steps": 2,
        "episodes": 5,
        "inner_lr": (0.5, 0.25),
        "family_arg": {"shots": 5},
        "baselines": ("random", "oracle"),
        "deterministic": True,
        "seed": 9,
        "trust": False,
        "out": "e.json",
    }


def test_compare_prints_the_table_and_the_page(replaced: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    made = SimpleNamespace(table=lambda: "the table", save=Mock(side_effect=lambda path: path))
    compare = replaced("metarl.run.report.comparison_page", "compare", made)
    assert main(["compare", "a", "b"]) == 0
    assert main(["compare", "a", "b", "--out", "c.json"]) == 0
    assert [call.args for call in compare.call_args_list] == [([Path("a"), Path("b")],)] * 2
    assert [call.args for call in made.save.call_args_list] == [("compare.html",), ("c.json",)]
    assert capsys.readouterr().out == "the table\ncompare.html\nthe table\nc.json\n"


def test_report_hands_on_the_runs_and_prints_the_page(
    replaced: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    report = replaced("metarl.run.report.page", "write_report", Path("c.html"))
    assert main(["report", "a", "b", "--out", "c.html"]) == 0
    assert report.call_args.kwargs == {"run_dirs": [Path("a"), Path("b")], "out": "c.html"}
    assert capsys.readouterr().out == "c.html\n"


def test_list_names_everything_with_a_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    known = {
        "algorithms": [*ALGORITHMS],
        **{what: registry_of(what).names() for what in PARTS if what != "families"},
        "rules": ["adam", "lstm", "meta-sgd", "sgd"],
    }
    for what, names in known.items():
        assert main(["list", what]) == 0
        out, err = capsys.readouterr()
        entries = [line.split() for line in out.splitlines() if not line.startswith(" " * 22)]
        assert [name for name, *_ in entries] == names
        assert all(len(words) > 1 for words in entries)
        assert err == ""
    assert main(["list", "families"]) == 0
    out, err = capsys.readouterr()
    assert {"point-goal", "sinusoid"} <= set(out.splitlines())
    assert err == ""


def test_list_families_shows_specs_defaults_and_what_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RequestError("family 'b' cannot be imported: no engine")

    known = SimpleNamespace(specs={"first": "the one", "second": "the other"}, defaults={"inner_lr": 0.5})

    class Families(Registry[Any, None]):
        def names(self) -> list[str]:
            return ["a", "b", "c"]

        def __getitem__(self, name: str) -> Any:
            return broken() if name == "b" else known

    monkeypatch.setattr("metarl.rollout.registry.families", Families("family", "none", None))
    assert main(["list", "families"]) == 0
    entry = ["first (default) the one", "second the other", "--inner-lr 0.5 unless said otherwise"]
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a", *entry, "b", "family 'b' cannot be imported: no engine", "c", *entry]


def test_every_command_has_a_handler_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(HANDLERS) == set(COMMANDS)
    for line in ("--help", "-h", *(f"{name} --help" for name in COMMANDS)):
        assert main(line.split()) == 0
        out, err = capsys.readouterr()
        assert out.startswith("usage: metarl ")
        assert err == ""


def test_help_and_lists_do_not_wait_for_torch() -> None:
    code = """
import sys
from metarl.cli import main
for line in ("--help", "train --help", "list families", "list algorithms", "train nothing"):
    main(line.split())
assert not {"torch", "matplotlib", "wandb", "stable_baselines3"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
