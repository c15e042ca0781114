"""The ``metarl`` command: reads what is asked, hands it on, ends with one line and a status."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.cli import options
from metarl.cli.listing import list_parts
from metarl.cli.parser import checked, parse
from metarl.core.errors import EnvironmentFailed, RequestError, RunFailed
from metarl.run.config.admission import admit, command
from metarl.run.config.train_config import TrainConfig, as_dict, from_yaml
from metarl.run.config.train_fields import DEFAULTS
from metarl.run.store import zoo
from metarl.run.store.terminal import tell
from metarl.run.train.signals import Stopped

if TYPE_CHECKING:
    from metarl.run.use.runs import Run

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
        _run(args)
        sys.stdout.flush()
        return 0
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


def _run(args: Sequence[str]) -> None:
    if list(args) == ["--version"]:
        print(f"metarl {version('metarl-toolkit')}")
        return
    asked = parse(args)
    if isinstance(asked, str):
        print(asked)
        return
    command, values = asked
    handle, key = HANDLERS[command.name], command.positional
    if TrainConfig not in command.groups:
        values = checked(command.groups[0], values)
    if not key.startswith("run_dir"):
        handle(values)
        return
    several = key == "run_dirs"
    with zoo.opened(*(values[key] if several else [values[key]])) as paths:
        handle(values | {key: paths if several else paths[0]})


def _end(why: object, status: int) -> int:
    line = re.sub(r"\s*\n\s*", " ", str(why).strip())  # within a line, spaces may be a path's
    tell(f"metarl: {line}")
    return status


def _config(values: Values, config: str | None, **beneath: Any) -> TrainConfig:
    """Return the configuration that is asked for, on top of the ``config`` file and of ``beneath``."""
    of_zoo = config is not None and config.startswith(zoo.PREFIX)
    file = zoo.shipped(config) / "config.yaml" if config and of_zoo else Path(config) if config else None
    in_file = from_yaml(file) if file else {}
    asked = {name: value for name, value in values.items() if name in DEFAULTS}
    # A run's configuration may be anybody's, whatever its folder lacks; other files speak for their giver.
    if file and file.with_name("config.yaml").is_file():
        others = {name: value for name, value in in_file.items() if name not in asked}
        admit(others, file, str(asked.get("trust")).lower() == "true")
    return TrainConfig.of(beneath | in_file | asked)


def _train(values: Values) -> None:
    files = checked(options.Files, values)
    config = _config(values, files["config"])
    from metarl.run.use.runs import train

    _tell_next(train(config, files["out"]))


def _tell_next(run: "Run") -> None:
    baselines = ["random", "pretrained"]
    if run.agent.metric == "accuracy":
        baselines.append("nearest")
    elif len(run.agent.family.observation_space.shape or ()) == 1:  # what an oracle's features are added to
        baselines.append("oracle")
    again = command("evaluate", run.path, "--baselines", *baselines, opens=as_dict(run.config))
    print(f"{run.path} is trained; next: {again}")


def _resume(values: Values) -> None:
    from metarl.run.use.runs import resume

    _tell_next(resume(values.pop("run_dir"), **values))


def _evaluate(values: Values) -> None:
    from metarl.run.evaluate.several_runs import evaluate_runs

    evaluate_runs(**values)


def _report(values: Values) -> None:
    from metarl.run.report.page import write_report

    print(write_report(**values))


def _compare(values: Values) -> None:
    from metarl.run.report.comparison_page import compare

    comparison = compare(values["run_dirs"])
    print(comparison.table())
    print(comparison.save(values["out"]))


def _render(values: Values) -> None:
    from metarl.run.use.clip import render_run

    print(f"{render_run(**values)}; {command('report', values['run_dir'])} shows a strip of it")


def _export(values: Values) -> None:
    from metarl.run.use.export import export_run

    del values["to"]  # the only format
    written = export_run(**values)
    name = json.dumps(str(written), ensure_ascii=False)
    print(f"{written}; next, in Python: PPO.load({name}, env=your_environment).learn(10_000)")


def _baseline(values: Values) -> None:
    kind, files = checked(options.Baseline, values)["kind"], checked(options.Files, values)
    config = _config(values, files["config"], **options.COMMANDS["baseline"].defaults)
    from metarl.run.evaluate.trained_baselines import train_baseline

    run = train_baseline(kind, config, files["out"])
    print(f"{run.path} is trained; next: {command('evaluate', run.path, opens=as_dict(run.config))}")


def _zoo(values: Values) -> None:
    name = zoo.PREFIX + values["name"].removeprefix(zoo.PREFIX)
    path = zoo.copy(name, Path(values["out"] or zoo.COPIES / zoo.shipped(name).name))
    print(f"{path} is a run of your own; next: {command('evaluate', path)}")


HANDLERS: dict[str, Callable[[Values], None]] = {
    "train": _train,
    "resume": _resume,
    "evaluate": _evaluate,
    "report": _report,
    "compare": _compare,
    "render": _render,
    "export": _export,
    "baseline": _baseline,
    "zoo": _zoo,
    "list": lambda values: list_parts(**values),
}
