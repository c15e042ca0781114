"""The commands of the command line and the options that each of them has."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metarl.run.config.fields import (
    Kind,
    flag,
    many,
    number,
    one_of,
    option,
    pairs,
    part,
    text,
    trusting,
    whole,
)
from metarl.run.config.parts import PARTS
from metarl.run.config.train_config import TrainConfig

Field = dataclasses.Field[Any]


@dataclass(frozen=True)
class Files:
    """Files that a training command reads and writes."""

    config: str | None = option(
        None,
        text("FILE.yaml"),
        "values under those of the command line; zoo:NAME takes those of an agent of the zoo",
        "none",
    )
    out: str | None = option(
        None, text("RUN_DIR"), "new run directory", "runs/ and a name made of family, method and seed"
    )


@dataclass(frozen=True)
class Baseline:
    """Train what a run is compared with."""

    kind: str = option(None, one_of("pretrained", "oracle", "random"), "baseline to train")


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, failed or is to train longer."""

    run_dir: str = option(None, text("RUN_DIR"), "run to go on with")
    iterations: int | None = option(
        None, whole(0), "meta-iterations in all", "as many as the run was started with"
    )
    trust: bool = trusting()


def _file(*endings: str) -> Kind:
    """Return the kind of a file to write, whose ending says what is in it."""
    allowed = f"the name of a file that ends in {' or '.join(endings)}"
    return text("|".join(f"FILE{ending}" for ending in endings), allowed, lambda name: name.endswith(endings))


CHECKPOINT = text(
    "best|last|N", "best, last or the number of a checkpoint", lambda s: s in ("best", "last") or s.isdigit()
)
SPLIT = one_of("validation", "test", "ood")


@dataclass(frozen=True)
class Adapting:
    """The options of each command that lets a trained agent adapt, with the defaults of ``evaluate``."""

    checkpoint: str = option("best", CHECKPOINT, "which checkpoint; best: on validation tasks")
    steps: int | None = option(
        None, whole(0), "gradient steps of adaptation", "3 with episodes, 10 with labelled examples"
    )
    episodes: int | None = option(
        None, whole(1), "episodes of a task before each gradient step", "20; labelled examples have none"
    )
    inner_lr: tuple[float, ...] | None = option(
        None,
        many(number(above=0)),
        "step size of each gradient step, the last one also for those that follow",
        "that of training; with episodes, half of it for steps beyond those of training",
    )
    seed: int | None = option(1, whole(0), "root of every random draw")
    trust: bool = trusting()


@dataclass(frozen=True)
class Evaluate(Adapting):
    """Measure how well runs adapt to held-out tasks."""

    run_dirs: tuple[str, ...] = option(
        None,
        many(text("RUN_DIR")),
        "runs, or agents of the zoo, to evaluate; those that differ in their seed alone also together",
    )
    split: str = option("test", SPLIT, "tasks to measure on")
    tasks: int | None = option(
        None, whole(1), "held-out tasks", "40 with episodes (Finn et al. 2017), 600 with labelled examples"
    )
    family_arg: Mapping[str, Any] | None = option(
        None, pairs(), "arguments of the family, such as shots=5", "those of training"
    )
    family: str | None = option(None, text("NAME"), "family that the runs must be of", "theirs")
    spec: str | None = option(None, text("NAME"), "spec that the runs must be of", "theirs")
    baselines: tuple[str, ...] = option(
        (), many(part("baselines"), repeats=True), "agents to compare with, see metarl list baselines"
    )
    deterministic: bool = option(False, flag(), "act by the mode of the policy instead of sampling")
    out: str | None = option(
        None,
        text("FILE"),
        "where to write; of several runs what they give together, besides each one's own file",
        "RUN_DIR/evaluation.json",
    )


@dataclass(frozen=True)
class Report:
    """Put runs and their evaluations on one self-contained page."""

    run_dirs: tuple[str, ...] = option(None, many(text("RUN_DIR")), "runs, or agents of the zoo, to show")
    out: str | None = option(None, _file(".html"), "where to write", "RUN_DIR/report.html of the first run")


@dataclass(frozen=True)
class Compare:
    """Put groups of evaluated runs side by side, on the same tasks."""

    run_dirs: tuple[str, ...] = option(
        None,
        many(text("RUN_DIR")),
        "evaluated runs, or agents of the zoo; those that differ in their seed alone are one group",
    )
    out: str = option("compare.html", _file(".html", ".json"), "where to write: a page, or the numbers")


@dataclass(frozen=True)
class Render(Adapting):
    """Show a task before and after adaptation side by side, as a clip."""

    run_dir: str = option(None, text("RUN_DIR"), "run whose agent is shown, or zoo:NAME")
    split: str = option("test", SPLIT, "whose first task is shown")
    task: str | None = option(None, text("JSON"), "task to show in its place", "the first of --split")
    steps: int = option(1, whole(0), "gradient steps of adaptation")
    episodes: int = option(20, whole(1), "episodes before each gradient step")
    deterministic: bool = option(False, flag(), "act by the mode of the policy instead of sampling")
    out: str | None = option(None, text("FILE.mp4|FILE.gif"), "where to write", "RUN_DIR/clip.mp4")


@dataclass(frozen=True)
class Export(Adapting):
    """Write a policy for Stable-Baselines3, which goes on learning from it."""

    run_dir: str = option(None, text("RUN_DIR"), "run whose policy is exported, or zoo:NAME")
    to: str = option("sb3", one_of("sb3"), "format: a PPO model of Stable-Baselines3, which PPO.load opens")
    task: str | None = option(
        None, text("JSON"), "task to adapt to first", "none, the policy is exported as it was meta-learned"
    )
    steps: int | None = option(None, whole(0), "gradient steps of adaptation to --task", "1")
    episodes: int | None = option(None, whole(1), "episodes of --task before each gradient step", "20")
    seed: int | None = option(None, whole(0), "root of every random draw of the adaptation", "0")
    out: str | None = option(None, _file(".zip"), "where to write", "RUN_DIR/policy.zip")


@dataclass(frozen=True)
class Zoo:
    """Copy an agent that comes with metarl, to go on with as with any run."""

    name: str = option(None, text("NAME"), "agent to copy, see metarl list zoo")
    out: str | None = option(None, text("RUN_DIR"), "new run directory", "runs/zoo/NAME")


@dataclass(frozen=True)
class List:
    """List what can be named."""

    what: str = option(None, one_of("algorithms", *PARTS, "zoo"), "kind of what is listed")


# The first option of each section of a configuration, in the order of its fields.
SECTIONS = {
    "family": "task",
    "model": "network",
    "seed": "training",
    "inner_steps": "inner loop",
    "meta_optimizer": "meta-update",
    "gamma": "advantages",
    "device": "machine",
    "logger": "logging",
    "max_skipped": "checkpoints and validation",
    "config": "files",
}
PRECEDENCE = (
    "A value given here wins over the --config file, which wins over the family's and the algorithm's own."
)


@dataclass(frozen=True)
class Command:
    """A command: its name, its help, its options in order, and the one that stands without ``--``."""

    name: str
    text: str
    groups: tuple[type, ...]
    positional: str
    required: bool = True  # that the positional one is given
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)  # instead of its fields' own
    sections: Mapping[str, str] = dataclasses.field(default_factory=dict)  # headings, by first option

    @property
    def fields(self) -> list[Field]:
        """Its options, the positional one first."""
        fields = [field for group in self.groups for field in dataclasses.fields(group)]
        return sorted(fields, key=lambda field: field.name != self.positional)

    def default(self, field: Field) -> Any:
        """Return the value of one of its options where neither command line nor file has one."""
        return self.defaults.get(field.name, field.metadata["default"])


def _plain(group: type, positional: str) -> Command:
    return Command(group.__name__.lower(), str(group.__doc__), (group,), positional)


TRAIN = Command(
    "train",
    f"Meta-train an agent on a family of tasks.\n\n{PRECEDENCE}",
    (TrainConfig, Files),
    "algorithm",
    required=False,
    sections=SECTIONS,
)
BASELINE = Command(
    "baseline",
    f"{Baseline.__doc__}\n\n{PRECEDENCE}",
    (Baseline, TrainConfig, Files),
    "kind",
    defaults={"algorithm": "maml"},
    sections={"algorithm": "task", **{name: SECTIONS[name] for name in SECTIONS if name != "family"}},
)
COMMANDS = {
    command.name: command
    for command in (
        TRAIN,
        _plain(Resume, "run_dir"),
        _plain(Evaluate, "run_dirs"),
        _plain(Report, "run_dirs"),
        _plain(Compare, "run_dirs"),
        _plain(Render, "run_dir"),
        _plain(Export, "run_dir"),
        BASELINE,
        _plain(Zoo, "name"),
        _plain(List, "what"),
    )
}
