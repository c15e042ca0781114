"""The evaluation of several runs in one go, and what those of one configuration give together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metarl.core.errors import RequestError
from metarl.run.config.admission import Trust, admit, check_run
from metarl.run.evaluate import evaluate as evaluation
from metarl.run.results import groups
from metarl.run.results.groups import check_comparable, check_one_family, find_groups, labels
from metarl.run.results.pooled import save, table
from metarl.run.results.read import read_run
from metarl.run.store.files import check_writable
from metarl.run.store.yaml_values import read_mapping


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
    configs = {}
    for path in paths:
        file = check_run(path) / "config.yaml"
        config = configs[str(path)] = read_mapping(file)
        admit(config, file, trust)
        for key, value in {"family": family, "spec": spec}.items():
            if value is not None and value != config.get(key):
                message = f"{key} is {config.get(key)!r} in {path}, got {value!r}"
                raise RequestError(f"{message}; a run is evaluated on the {key} that it was trained on")
    check_one_family(configs)
    together = None if out is None or len(paths) == 1 else Path(out)
    if together is not None:
        names = list(dict.fromkeys(labels(list(configs.values()))))
        if len(names) > 1:
            runs = f"{len(configs)} runs of different configurations ({'; '.join(names)})"
            raise RequestError(f"out must be unset for {runs}, got {str(out)!r}; allowed: for runs of one")
        check_writable(together)
    for name, path in zip(run_dirs, paths, strict=True):
        alone = out if len(paths) == 1 else None
        show(f"{name}\n{evaluation.evaluate_run(path, out=alone, trust=trust, **options).table()}")
    if len(paths) == 1:
        return
    for group in find_groups([read_run(path) for path in paths]):
        if len(group.runs) > 1:
            check_comparable(group.runs)
            show(f"\n{table(group)}")
            if together is not None:
                save(group, together)
