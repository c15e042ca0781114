"""The evaluation of several runs in one go, and what those of one configuration give together."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config.admission import Trust, admit, check_run
from metarl.run.evaluate import evaluate as evaluation
from metarl.run.results import groups
from metarl.run.results.groups import check_comparable, check_one_family, find_groups, labels
from metarl.run.results.pooled import save, table
from metarl.run.results.read import read_run
from metarl.run.store import yaml_values as yamlfile
from metarl.run.store.files import check_writable


def evaluate_runs(
    run_dirs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    family: str | None = None,
    spec: str | None = None,
    trust: Trust = False,
    show: Callable[[str], object] = print,
    **options: Any,
) -> None:
    """``evaluate_run`` of each, and a table of what the runs of one configuration give together.

    Args:
        run_dirs: of one family, spec and family arguments.
        out: where the evaluation of one run, or what several give together, is written.
        family: what the runs must be of, likewise ``spec``: evaluating on another one is refused.
        trust: as in ``runs.load``.
        show: what becomes of each run's table and of each that several give together.
        options: those of ``evaluate_run``.

    Raises:
        RequestError: runs of different families or specs, or an impossible option; nothing is measured.
    """
    paths = groups.run_dirs(run_dirs)
    configs = {str(path): _config(path, trust) for path in paths}
    _check_asked(configs, {"family": family, "spec": spec})
    if len(paths) == 1:
        made = evaluation.evaluate_run(paths[0], out=out, trust=trust, **options)
        show(f"{run_dirs[0]}\n{made.table()}")
        return
    check_one_family(configs)
    out = None if out is None else Path(out)
    _check_out(out, configs)
    for name, path in zip(run_dirs, paths, strict=True):
        show(f"{name}\n{evaluation.evaluate_run(path, trust=trust, **options).table()}")
    for group in find_groups([read_run(path) for path in paths]):
        if len(group.runs) > 1:
            check_comparable(group.runs)
            show(f"\n{table(group)}")
            if out is not None:
                save(group, out)


def _config(path: Path, trust: Trust) -> Mapping[str, Any]:
    file = check_run(path) / "config.yaml"
    values = yamlfile.read_mapping(file)
    admit(values, file, trust)
    return values


def _check_asked(configs: Mapping[str, Mapping[str, Any]], asked: Mapping[str, str | None]) -> None:
    for name, config in configs.items():
        for key, value in asked.items():
            if value is not None and value != config.get(key):
                told = f"{key} is {config.get(key)!r} in {name}, got {value!r}"
                raise RequestError(f"{told}; a run is evaluated on the {key} that it was trained on")


def _check_out(out: Path | None, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses ``out`` where several runs do not give one thing together."""
    if out is None:
        return
    names = list(dict.fromkeys(labels(list(configs.values()))))
    if len(names) > 1:
        told = f"{len(configs)} runs of different configurations ({'; '.join(names)})"
        raise RequestError(f"out must be unset for {told}, got {str(out)!r}; allowed: for runs of one")
    check_writable(out)
