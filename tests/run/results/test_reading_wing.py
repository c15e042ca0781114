"""Whatever reads results and makes pages opens in a moment: it loads no torch, and nothing that trains."""

import subprocess
import sys
from pathlib import Path

import pytest

import metarl.run

# Of today's one folder; by rooms it would be every module of results/ and report/.
NAMES = (
    "comparable", "comparison", "curve", "figures", "groups", "measures", "next_commands", "pooled",
    "report*", "results", "statistics", "svg",
)  # fmt: skip
ROOMS = ("results", "report", "log")
RUN = Path(metarl.run.__file__).parent
FILES = [
    *(path for name in NAMES for path in sorted(RUN.glob(f"{name}.py"))),
    *(path for room in ROOMS for path in sorted((RUN / room).glob("*.py")) if path.stem != "mirrors"),
]
MODULES = sorted(".".join(["metarl", "run", *path.relative_to(RUN).with_suffix("").parts]) for path in FILES)
LOOK = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sorted(sys.modules))"
DOING = ("agent", "experience", "trainer", "evaluation", "runs", "checkpoint", "networks", "sb3")


def loaded(module: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after one import."""
    done = subprocess.run([sys.executable, "-c", LOOK, module], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) >= 20


@pytest.mark.parametrize("module", MODULES)
def test_no_module_of_the_reading_wing_loads_torch(module: str) -> None:
    modules = loaded(module)
    assert module in modules and "torch" not in modules
    assert not [name for name in modules if name.startswith("metarl.run.") and name.split(".")[2] in DOING]


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.split(".")[-1] in ("groups", "comparison", "results")]
)
def test_results_know_neither_pages_nor_figures(module: str) -> None:
    assert "matplotlib" not in loaded(module)
