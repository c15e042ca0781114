"""House rules that no linter knows: who imports the front door, how large code may grow, what loads what."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("metarl/**/*.py"), *ROOT.glob("envs/metarl_envs/**/*.py")])
OPTIONAL = ["imageio", "metaworld", "mujoco"]

LINES_A_FILE = 300
LINES_A_FUNCTION = 60


def front_door_imports(source: str) -> Iterator[int]:
    """Lines that import the package ``metarl`` itself, which would pull every floor into each of them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "metarl" for alias in node.names):
            yield node.lineno  # ``import metarl.core.batch`` binds metarl as well
        elif isinstance(node, ast.ImportFrom) and node.module == "metarl":
            yield node.lineno


def outgrown(source: str) -> Iterator[str]:
    """What is longer than a file or a function may be, in words."""
    if (lines := len(source.splitlines())) > LINES_A_FILE:
        yield f"{lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:  # documentation may be as long as its example needs
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > LINES_A_FUNCTION:
                yield f"{node.name} (line {node.lineno}): {lines} lines"


# What runs code that stands in what it opens, or unpacks it to wherever it says.
CARELESS = ("eval", "exec", "system", "extract", "extractall", "unpack_archive", "unsafe_load", "full_load")
# Between a run and its own worker processes, and within Meta-World, which keeps its tasks so in memory.
UNPICKLING = {
    "metarl/rollout/worker.py",
    "metarl/rollout/worker_process.py",
    "envs/metarl_envs/manipulation/envs.py",
}


def careless(source: str) -> Iterator[str]:
    """Calls that would run what a file holds, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = ast.unparse(node.func).rpartition(".")
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if (
            (name in CARELESS and owner != "re")
            or (
                name in ("load", "loads", "Unpickler")
                and owner.endswith(("pickle", "dill", "joblib", "shelve"))
            )
            or (name == "load" and owner == "torch" and given.get("weights_only") != "True")
            or (name == "load" and owner in ("np", "numpy") and "allow_pickle" in given)
            or (name == "load" and owner == "yaml" and given.get("Loader") != "_Reader")
            or given.get("shell") == "True"
        ):
            yield f"{ast.unparse(node.func)} (line {node.lineno})"


def fresh_python(code: str) -> str:
    """What a new interpreter prints: nothing is loaded there, and jaxtyping's hook is not installed."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def requirements(extra: str | None = None) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [r for r in map(Requirement, named) if r.name != project["name"]]


def test_checks_see_what_they_forbid() -> None:
    lines = [
        "import torch",
        "import metarl",
        "from metarl import core",
        "import metarl.core",
        "from metarl.core import x",
    ]
    assert list(front_door_imports("\n".join(lines))) == [2, 3, 4]
    body = "    pass\n" * LINES_A_FUNCTION
    assert list(outgrown(f"def f():\n{body}")) == ["f (line 1): 61 lines"]
    assert not list(outgrown(f'def f():\n    """A.\n\n    B.\n    """\n{body[9:]}'))
    assert list(outgrown("x = 1\n" * (LINES_A_FILE + 1))) == ["301 lines"]
    assert len(SOURCES) > 10
    for call in (
        "eval(x)",
        "os.system(x)",
        "z.extractall()",
        "pickle.loads(x)",
        "cloudpickle.load(f)",
        "pickle.Unpickler(f)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, Loader=yaml.Loader)",
        "yaml.unsafe_load(f)",
        "subprocess.run(x, shell=True)",
    ):
        assert len(list(careless(f"x = {call}"))) == 1, call
    for call in (
        "torch.load(f, weights_only=True)",
        "json.load(f)",
        "np.load(f)",
        "yaml.load(f, Loader=_Reader)",
    ):
        assert not list(careless(f"x = {call}")), call


def test_nobody_inside_imports_the_front_door() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in front_door_imports(path.read_text())
    ]
    assert not found


def test_files_and_functions_stay_small() -> None:
    found = [f"{path.relative_to(ROOT)}: {what}" for path in SOURCES for what in outgrown(path.read_text())]
    assert not found


def test_nothing_runs_what_it_opens() -> None:
    names = {str(path.relative_to(ROOT)): path.read_text() for path in SOURCES}
    found = {name: calls for name, source in names.items() if (calls := list(careless(source)))}
    assert set(found) == UNPICKLING
    assert all("pickle.load" in call for calls in found.values() for call in calls)


def test_importing_metarl_alone_loads_no_library() -> None:
    loaded = fresh_python(
        "import metarl, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ).split()
    assert not {"torch", "numpy", "gymnasium", "stable_baselines3", "wandb", *OPTIONAL} & set(loaded)


def test_every_module_imports_without_the_extras() -> None:
    code = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # from here on importing one of them fails
import metarl, metarl_envs
for module in pkgutil.walk_packages(metarl.__path__, "metarl."):
    importlib.import_module(module.name)
    print(module.name)
"""
    assert "metarl.core.batch" in fresh_python(code).split()


def test_gymnasium_makes_our_environments_by_name() -> None:
    fresh_python("import gymnasium; gymnasium.make('metarl_envs:metarl/PointGoal-finn2017-v0').close()")


# metaworld pins another mujoco than ours, hence lives in an environment of its own.
@pytest.mark.parametrize("extra", [None, "mujoco", "video", "rl2", "thirdparty", "dev"])
def test_constraints_pin_every_dependency(extra: str | None) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)  # no host, no local build
    pins = dict(line.split("==") for line in lines)
    for requirement in requirements(extra):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_metaworld_has_pins_of_its_own_beside_the_others() -> None:
    pins: dict[str, str] = {}
    for name in ("constraints.txt", "constraints-metaworld.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] != "#"]
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
        given = dict(line.split("==") for line in lines)
        assert set(pins) & set(given) <= {"mujoco"}  # which the Makefile leaves out of the first file
        pins |= given
    for requirement in requirements("metaworld"):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_all_holds_every_extra_for_users_but_metaworld() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all", "dev", "metaworld", "thirdparty"}
