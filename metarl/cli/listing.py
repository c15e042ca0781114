"""``metarl list``: what can be named, with the first sentences about each."""

import textwrap

from metarl.core.errors import RequestError
from metarl.run.config.algorithms import ALGORITHMS
from metarl.run.config.parts import registry_of
from metarl.run.store import zoo


def list_parts(what: str) -> None:
    """Print a kind of part, the algorithms or the zoo."""
    if what == "algorithms":
        for name, algorithm in ALGORITHMS.items():
            _entry(name, algorithm.summary)
    elif what == "zoo":
        _list_zoo()
    elif what == "families":
        _list_families()
    else:
        registry = registry_of(what)
        for name in registry:
            try:
                part = registry[name]
                text = getattr(part, "description", None) or part.__doc__ or ""
            except RequestError as error:  # one that cannot be imported must not hide the others
                text = str(error)
            _entry(name, " ".join(text.strip().partition("\n\n")[0].split()))


def _list_families() -> None:
    families = registry_of("families")
    for name in families:
        print(name)
        try:
            family = families[name]
        except RequestError as error:
            _entry("", str(error))
            continue
        specs: dict[str, str] = getattr(family, "specs", {})
        for number, (spec, text) in enumerate(specs.items()):
            _entry(f"{spec} (default)" if number == 0 else spec, text)
        for option, value in getattr(family, "defaults", {}).items():
            _entry(f"--{option.replace('_', '-')}", f"{value} unless said otherwise")


def _list_zoo() -> None:
    """Print every agent with its scores before and after adaptation, as ``evaluation.json`` has them."""
    from metarl.run.results.groups import evaluation_of
    from metarl.run.results.numbers import aligned
    from metarl.run.results.read import read_run

    rows = [["", "family", "algorithm", "", "before", "step 1", "step 2", "step 3"]]
    for name in zoo.agents():
        run = read_run(zoo.shipped(name))
        evaluation = evaluation_of(run)
        values = [f"{value:.1f}" for value in evaluation.results[0].mean]
        rows += [[name, run.config["family"], run.config["algorithm"], evaluation.metric, *values]]
    print(*aligned(rows, left=(0, 1, 2, 3)), sep="\n")
    print("Each stands wherever a run directory is read, and is copied to runs/zoo/NAME then.")


def _entry(name: str, text: str) -> None:
    """Print a name and what it means, with the lines that follow set under the meaning."""
    lead = f"  {name:<20} "
    print(
        textwrap.fill(text, 100, initial_indent=lead, subsequent_indent=" " * len(lead))
        if text
        else lead.rstrip()
    )
