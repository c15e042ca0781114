"""The ``metarl`` command: reads what is asked, hands it on, ends with one line and a status."""

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.core.errors import EnvironmentFailed, RequestError, RunFailed
from metarl.run import options
from metarl.run.admission import admit, command
from metarl.run.config import as_dict
from metarl.run.files import tell
from metarl.run.parser import filled, parse
from metarl.run.signals import Stopped
from metarl.run.zoo import agents, config_of, output, run_dir, source

if TYPE_CHECKING:
    from metarl.run.config import TrainConfig
    from metarl.run.runs import Run

Values = dict[str, Any]


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: the words after ``metarl``; the process's own if None.

    Returns:
        The exit status: 0 done; 1 the run failed and can be resumed; 2 the request cannot be met and nothing
        was written; 130 or 143 stopped by a signal after saving. All but 0 tell why in one line on stderr.
    """
    args = sys.argv[1:] if args is None else args
    try:
        status = _run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RequestError as error:
        return _end(error, 2)
    except (RunFailed, EnvironmentFailed) as error:
        return _end(error, 1)
    except Stopped as stop:
        return _end(stop, stop.status)
    except KeyboardInterrupt:
        return _end("interrupted", 130)
    except OSError as error:  # a full disk, a folder that went away
        return _end(f"{error.filename or 'a file'}: {error.strerror or error}", 1)


def _run(args: Sequence[str]) -> int:
    if list(args) == ["--version"]:
        print(f"metarl {version('metarl-toolkit')}")
        return 0
    try:
        command, values = parse(args)
    except SystemExit:  # the help was printed
        return 0
    HANDLERS[command.name](values)
    return 0


def _end(why: object, status: int) -> int:
    line = re.sub(r"\s*\n\s*", " ", str(why).strip())  # within a line, spaces may be a path's
    tell(f"metarl: {line}")
    return status


def _config(values: Values, **beneath: Any) -> "TrainConfig":
    """The configuration that the command line asks for on top of its ``--config`` file and of ``beneath``."""
    from metarl.run.config import DEFAULTS
    from metarl.run.config_file import from_yaml, layered

    files: options.Files = filled(options.Files, values)
    file = None if files.config is None else config_of(files.config)
    told = {} if file is None else from_yaml(file)
    asked = {name: value for name, value in values.items() if name in DEFAULTS}
    # A run's configuration may be anybody's, whatever its folder lacks; other files speak for their giver.
    if file and file.with_name("config.yaml").is_file():
        theirs = {name: value for name, value in told.items() if name not in asked}
        admit(theirs, file, str(asked.get("trust")).lower() == "true")
    return layered(beneath | told, asked)


def _out(values: Values) -> Path | None:
    return Path(values["out"]) if "out" in values else None


def _train(values: Values) -> None:
    config = _config(values)
    from metarl.run.runs import train

    run = train(config, _out(values))
    _tell_next(run)


def _tell_next(run: "Run") -> None:
    baselines = ["random", "pretrained"]
    if run.agent.metric == "accuracy":
        baselines.append("nearest")
    elif len(run.agent.family.observation_space.shape or ()) == 1:  # what an oracle's features are added to
        baselines.append("oracle")
    again = command("evaluate", run.path, "--baselines", *baselines, opens=as_dict(run.config))
    print(f"{run.path} is trained; next: {again}")


def _resume(values: Values) -> None:
    asked: options.Resume = filled(options.Resume, values)
    from metarl.run.runs import resume

    run = resume(Path(asked.run_dir), asked.iterations, trust=asked.trust)
    _tell_next(run)


def _evaluate(values: Values) -> None:
    asked: options.Evaluate = filled(options.Evaluate, values)
    from metarl.run.aggregate import evaluate_runs

    evaluate_runs(
        asked.run_dirs,
        family=asked.family,
        spec=asked.spec,
        checkpoint=asked.checkpoint,
        split=asked.split,
        tasks=asked.tasks,
        steps=asked.steps,
        episodes=asked.episodes,
        inner_lr=asked.inner_lr,
        family_arg=asked.family_arg,
        baselines=asked.baselines,
        deterministic=asked.deterministic,
        seed=asked.seed,
        trust=asked.trust,
        out=_out(values),
    )


def _report(values: Values) -> None:
    asked: options.Report = filled(options.Report, values)
    from metarl.run.report import write_report

    print(write_report([run_dir(name) for name in asked.run_dirs], _out(values)))


def _compare(values: Values) -> None:
    asked: options.Compare = filled(options.Compare, values)
    from metarl.run.report_compare import compare

    comparison = compare(asked.run_dirs)
    print(comparison.table())
    print(comparison.save(Path(asked.out or "compare.html")))


def _render(values: Values) -> None:
    asked: options.Render = filled(options.Render, values)
    from metarl.run.clip import render_run

    path = run_dir(asked.run_dir)
    with output(path, "clip.mp4", _out(values)) as out:
        clip = render_run(
            path,
            out,
            checkpoint=asked.checkpoint,
            split=asked.split,
            task=asked.task,
            steps=asked.steps,
            episodes=asked.episodes,
            inner_lr=asked.inner_lr,
            deterministic=asked.deterministic,
            seed=asked.seed,
            trust=asked.trust,
        )
    print(f"{clip}; {command('report', path)} shows a strip of it")


def _export(values: Values) -> None:
    asked: options.Export = filled(options.Export, values)
    from metarl.run.sb3.export import export_run

    path = run_dir(asked.run_dir)
    with output(path, "policy.zip", _out(values)) as out:
        written = export_run(
            path,
            out,
            checkpoint=asked.checkpoint,
            task=asked.task,
            steps=asked.steps,
            episodes=asked.episodes,
            inner_lr=asked.inner_lr,
            seed=asked.seed,
            trust=asked.trust,
        )
    name = json.dumps(str(written), ensure_ascii=False)
    print(f"{written}; next, in Python: PPO.load({name}, env=your_environment).learn(10_000)")


def _baseline(values: Values) -> None:
    asked: options.Baseline = filled(options.Baseline, values)
    config = _config(values, **options.COMMANDS["baseline"].defaults)
    from metarl.run.trained_baselines import train_baseline

    run = train_baseline(asked.kind, config, _out(values))
    print(f"{run.path} is trained; next: {command('evaluate', run.path, opens=as_dict(run.config))}")


def _list(values: Values) -> None:
    asked: options.List = filled(options.List, values)
    if asked.what in ("objectives", "rules"):
        _list_functions(asked.what)
    else:
        {"families": _list_families, "algorithms": _list_algorithms, "zoo": _list_zoo}[asked.what]()


def _list_families() -> None:
    from metarl.rollout.registry import families

    for name in families:
        print(name)
        try:
            family = families[name]
        except RequestError as error:  # one that cannot be imported must not hide the others
            _entry("", str(error))
            continue
        specs: dict[str, str] = getattr(family, "specs", {})
        for number, (spec, text) in enumerate(specs.items()):
            _entry(f"{spec} (default)" if number == 0 else spec, text)
        for option, value in getattr(family, "defaults", {}).items():
            _entry(f"--{option.replace('_', '-')}", f"{value} unless said otherwise")


def _list_algorithms() -> None:
    from metarl.run.algorithms import ALGORITHMS

    for name, algorithm in ALGORITHMS.items():
        _entry(name, algorithm.summary)


def _list_zoo() -> None:
    """Every agent of the zoo with what it does before and after adaptation, as ``evaluation.json`` says."""
    from metarl.run.groups import evaluation_of
    from metarl.run.report_data import read_run
    from metarl.run.report_numbers import aligned

    rows = [["", "family", "algorithm", "", "before", "step 1", "step 2", "step 3"]]
    for name in agents():
        run = read_run(source(name))
        evaluation = evaluation_of(run)
        values = [f"{value:.1f}" for value in evaluation.mean]
        rows += [[name, run.config["family"], run.config["algorithm"], evaluation.metric, *values]]
    print(*aligned(rows, left=(0, 1, 2, 3)), sep="\n")
    print("Each stands wherever a run directory is read; what is made of it goes to runs/zoo/NAME.")


def _list_functions(registry: str) -> None:
    """The functions of a registry of core, each with the first sentences of its docstring."""
    functions = getattr(import_module(f"metarl.core.{registry}"), registry)
    for name in functions:
        _entry(name, " ".join((functions[name].__doc__ or "").strip().partition("\n\n")[0].split()))


def _entry(name: str, text: str) -> None:
    """A name and what it means, with the lines that follow set under the meaning."""
    lead = f"  {name:<20} "
    print(
        textwrap.fill(text, 100, initial_indent=lead, subsequent_indent=" " * len(lead))
        if text
        else lead.rstrip()
    )


HANDLERS: dict[str, Callable[[Values], None]] = {
    "train": _train,
    "resume": _resume,
    "evaluate": _evaluate,
    "report": _report,
    "compare": _compare,
    "render": _render,
    "export": _export,
    "baseline": _baseline,
    "list": _list,
}


if __name__ == "__main__":
    sys.exit(main())
