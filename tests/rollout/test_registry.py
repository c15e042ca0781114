"""Families by name: installed, broken, registered, one's own, and arguments that they refuse."""

import importlib.metadata
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import metarl.core.registry as parts
import metarl.rollout.registry as registry
from metarl.core.errors import RequestError
from metarl.core.registry import Registry
from metarl.rollout.family import SupervisedFamily, TaskFamily, is_supervised
from metarl_envs import PointGoal

GROUP = "metarl.families"
OWN = """
from metarl_envs import PointGoal

class Mine(PointGoal):
    name = "mine"

class Loose(PointGoal):
    def __init__(self, spec=None, horizon=3):
        super().__init__(spec)
        self.horizon = horizon

class Picky:
    def __init__(self, spec=None, size=1):
        if size > 2:
            raise ValueError("size is 9;\\nallowed: up to 2")
        self.name = "picky"

class Lesson:
    def __init__(self, spec=None):
        self.name, self.spec, self.num_tasks = "lesson", "v1", None

    def sample_tasks(self, n, rng, split="train"):
        return {}

    def sample_shots(self, tasks, rng):
        return {}

maker = Mine
number = 3
"""


@pytest.fixture
def installed(monkeypatch):
    """A fresh registry over entry points of one's choice: ``installed(name="module:Class", ...)``."""

    def install(*points: tuple[str, str]) -> Registry[type, None]:
        found = [EntryPoint(name, value, GROUP) for name, value in points]
        monkeypatch.setattr(parts, "entry_points", lambda group: found if group == GROUP else [])
        fresh = Registry("family", GROUP, no_facts=None, accepts=type, allowed="a class")
        monkeypatch.setattr(registry, "families", fresh)
        return fresh

    return install


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's file ``own_family.py`` in the working directory, as it is for the console script."""
    (tmp_path / "own_family.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "own_family", raising=False)
    yield
    sys.modules.pop("own_family", None)


POINT = ("point-goal", "metarl_envs.plane.point_goal:PointGoal")
BROKEN = ("broken", "no_such_package_at_all:Family")


def test_the_distribution_installs_point_goal():
    if not importlib.metadata.entry_points(group=GROUP):
        pytest.skip("metarl-toolkit is not installed (pip install -e .)")
    assert registry.families["point-goal"] is PointGoal
    assert registry.make("point-goal").spec == "finn2017"


def test_families_of_either_kind_are_made_and_told_apart(installed):
    installed(POINT, ("sinusoid", "metarl_envs.few_shot.sinusoid:Sinusoid"))
    episodes, examples = registry.make("point-goal"), registry.make("sinusoid", "reptile", shots=7)
    assert (is_supervised(episodes), is_supervised(examples)) == (False, True)
    assert (is_supervised(PointGoal), is_supervised(type(examples))) == (False, True)
    assert (examples.spec, examples.shots) == ("reptile", 7)
    assert isinstance(episodes, TaskFamily) and not isinstance(episodes, SupervisedFamily)
    assert isinstance(examples, SupervisedFamily) and not isinstance(examples, TaskFamily)


def test_make_hands_on_spec_and_arguments(installed):
    families = installed(POINT)
    family = registry.make("point-goal", "promp", horizon=7)
    assert type(family) is PointGoal and (family.spec, family.horizon) == ("promp", 7)
    assert (
        families.names() == ["point-goal"] and "point-goal" in families and list(families) == ["point-goal"]
    )


def test_a_broken_family_breaks_only_itself_and_says_why(installed):
    families = installed(BROKEN, POINT)
    assert families.names() == ["broken", "point-goal"]
    assert families["point-goal"] is PointGoal
    reason = (
        r"^family 'broken' \(no_such_package_at_all:Family\) cannot be imported: "
        r"ModuleNotFoundError: No module named 'no_such_package_at_all'$"
    )
    for _ in range(2):
        with pytest.raises(RequestError, match=reason):
            registry.make("broken")


def test_listing_names_imports_nothing(installed, own_module):
    families = installed(("mine", "own_family:Mine"))
    assert families.names() == ["mine"] and "own_family" not in sys.modules
    sys.path.append(".")
    assert families["mine"].name == "mine" and "own_family" in sys.modules


def test_unknown_names_list_what_there_is(installed):
    installed(BROKEN, POINT)
    with pytest.raises(RequestError, match=r"^unknown family 'point-gaol'; allowed: broken, point-goal$"):
        registry.make("point-gaol")


def test_registered_families_stand_beside_installed_ones(installed):
    families = installed(POINT)
    families.register("local")(PointGoal)
    assert families.names() == ["local", "point-goal"] and families["local"] is PointGoal
    with pytest.raises(
        RequestError, match=r"^family 'point-goal' is already installed; allowed: another name$"
    ):
        families.register("point-goal")(type("Other", (PointGoal,), {}))


def test_two_distributions_with_one_name_are_refused_unless_they_agree(installed):
    assert (
        installed(POINT, POINT)["point-goal"] is PointGoal
    )  # installed twice, as by an editable one over a wheel
    families = installed(POINT, ("point-goal", "other:Family"))
    with pytest.raises(
        RequestError,
        match=r"twice; allowed: metarl_envs.plane.point_goal:PointGoal or other:Family$",
    ):
        families["point-goal"]


def test_a_family_of_ones_own_is_found_in_the_working_directory(installed, own_module):
    installed(POINT)
    family = registry.make("own_family:Mine", "promp", horizon=3)
    assert (family.name, family.spec, family.horizon) == ("mine", "promp", 3)
    assert registry.make("metarl_envs.plane.point_goal:PointGoal").name == "point-goal"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_file:X",
            "family 'no_such_file:X' cannot be imported: ModuleNotFoundError: No module named 'no_such",
        ),
        (
            "own_family:Nine",
            "family 'own_family:Nine' cannot be imported: AttributeError: module 'own_family' has no",
        ),
        ("own_family:number", "family 'own_family:number' is of type int; allowed: a class"),
        (":Mine", "family ':Mine' cannot be imported: ValueError: Empty module name"),
    ],
)
def test_what_is_no_class_is_refused_in_one_line(installed, own_module, name, message):
    installed(POINT)
    with pytest.raises(RequestError) as error:
        registry.make(name)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize("horizon", [0, None, "3", True, 2.0])
def test_a_horizon_that_is_none_is_refused(installed, own_module, horizon):
    installed()
    with pytest.raises(
        RequestError, match=f"'own_family:Loose' has a horizon of {horizon!r}; allowed: whole"
    ):
        registry.make("own_family:Loose", horizon=horizon)
    assert registry.make("own_family:Loose", horizon=np.int64(3)).horizon == 3


def test_an_error_inside_ones_own_module_is_told(installed, own_module, tmp_path):
    (tmp_path / "own_family.py").write_text("1 / 0", encoding="utf-8")
    installed(POINT)
    with pytest.raises(RequestError, match=r"cannot be imported: ZeroDivisionError: division by zero$"):
        registry.make("own_family:Mine")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("point-goal", {"spec": "finn"}, "point-goal: unknown spec 'finn'; allowed: finn2017, promp"),
        ("point-goal", {"horizont": 3}, "point-goal: unknown argument 'horizont'; allowed: horizon"),
        ("point-goal", {"horizon": 0}, "point-goal: horizon is 0; allowed: integers from 1"),
        ("own_family:Picky", {"size": 9}, "family 'own_family:Picky': size is 9;"),
        (
            "own_family:Picky",
            {"sise": 9},
            "family 'own_family:Picky': Picky.__init__() got an unexpected keyword argument",
        ),
        (
            "own_family:Picky",
            {},
            "family 'own_family:Picky' lacks spec, num_tasks, observation_space, action_space, sample_tasks, "
            "task_features, horizon, make, make_vec (metarl.rollout.family)",
        ),
        (
            "own_family:Lesson",
            {},
            "family 'own_family:Lesson' lacks observation_space, action_space, task_features, metric "
            "(metarl.rollout.family)",
        ),
    ],
)
def test_refused_arguments_become_one_line(installed, own_module, name, args, message):
    installed(POINT)
    with pytest.raises(RequestError) as error:
        registry.make(name, **args)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
