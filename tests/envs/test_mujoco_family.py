"""The base of the MuJoCo families: arguments, splits, and what happens where MuJoCo is not installed."""

import subprocess
import sys

import numpy as np
import pytest

import metarl_envs
from metarl.rollout.family import TaskFamily
from metarl_envs import AntDir, AntGoal, CheetahDir, CheetahVel, HopperParams, HumanoidDir, SwimmerVel
from metarl_envs.robots.family import MujocoFamily

FAMILIES = MujocoFamily.__subclasses__()


def fresh_python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_without_mujoco_its_families_say_what_to_install_and_all_others_work() -> None:
    told = fresh_python("""
import sys
sys.modules["mujoco"] = None  # from here on importing it fails
import metarl
from metarl.cli import main
print(metarl.make("point-goal").make_vec(2).reset(seed=0)[0].shape)
for name in ("cheetah-vel", "walker-params"):
    try:
        metarl.make(name)
    except metarl.RequestError as error:
        print(error)
print(main("train maml --family ant-dir --out nowhere".split()))
print(main(["list", "families"]))
""").splitlines()
    assert told[0] == "(2, 2)"
    needs = "needs MuJoCo from 3.17 on, but not 4.0.0: pip install 'metarl-toolkit[mujoco]'"
    for line, name in zip(told[1:3], ("cheetah-vel", "walker-params"), strict=True):
        assert line.startswith(f"{name} {needs} (import of mujoco halted;")
    assert told[3] == "2" and told[-1] == "0" and "humanoid-dir" in told  # listed all the same


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("mujoco.__version__ = '4.0.0'", "MuJoCo 4.0.0 computes a wrong Hessian in its Newton solver"),
        ("sys.modules['mujoco.batch'] = None", "import of mujoco.batch halted; None in sys.modules"),
    ],
)
def test_versions_that_will_not_do_are_refused(code: str, reason: str) -> None:
    told = fresh_python(f"""
import sys, mujoco, metarl_envs
{code}
try:
    metarl_envs.CheetahVel()
except ValueError as error:
    print(error)
""")
    assert told.startswith("cheetah-vel needs MuJoCo from 3.17 on, but not 4.0.0: ") and reason in told


@pytest.mark.parametrize("cls", FAMILIES)
def test_families_keep_to_the_protocol_and_name_what_is_allowed(cls: type) -> None:
    family = cls()
    assert isinstance(family, TaskFamily) and list(cls.specs) == list(cls.variants)
    assert all(", v1: " in text and "\n" not in text for text in cls.specs.values())
    specs = ", ".join(cls.specs)
    for args, message in [
        ({"spec": "old"}, f"unknown spec 'old'; allowed: {specs}"),
        ({"horizont": 3}, "unknown argument 'horizont'; allowed: horizon, threads"),
        ({"horizon": 0}, "horizon is 0; allowed: integers from 1"),
        ({"threads": 0}, "threads is 0; allowed: integers from 1"),
    ]:
        with pytest.raises(ValueError, match=f"^{cls.name}: {message}$"):
            cls(**args)
    with pytest.raises(
        ValueError, match=f"^{cls.name}/{family.spec}: num_envs is 0; allowed: integers from 1$"
    ):
        family.make_vec(0)


def test_every_family_is_found_by_name() -> None:
    from metarl.rollout.registry import families

    for cls in FAMILIES:
        assert families[cls.name] is cls and getattr(metarl_envs, cls.__name__) is cls


@pytest.mark.parametrize(("cls", "spec"), [(cls, spec) for cls in FAMILIES for spec in cls.specs])
def test_splits_begin_alike_and_are_reproducible(cls: type, spec: str) -> None:
    family = cls(spec)
    splits = ["train", "validation", "test"] + ["ood"] * (family.model.spec.aim.ood is not None)
    for split in splits:
        five = family.sample_tasks(5, np.random.default_rng(1), split)
        three = family.sample_tasks(3, np.random.default_rng(1), split)
        assert all(np.array_equal(five[key][:3], three[key]) for key in five)
        features = family.task_features(five)
        assert features.dtype == np.float32 and features.shape[0] == 5
        flat = [value.reshape(5, -1) for value in five.values()]
        assert np.array_equal(features, np.concatenate(flat, axis=1).astype(np.float32))
    other = family.sample_tasks(40, np.random.default_rng(2))
    mine = family.sample_tasks(40, np.random.default_rng(1))
    assert any(not np.array_equal(mine[key], other[key]) for key in mine)
    with pytest.raises(ValueError, match=f"no split 'all'; allowed: {', '.join(splits)}$"):
        family.sample_tasks(1, np.random.default_rng(0), "all")
    with pytest.raises(ValueError, match=r"number of tasks is 0; allowed: integers from 1$"):
        family.sample_tasks(0, np.random.default_rng(0))


def test_two_directions_are_taken_in_turn_where_something_is_measured() -> None:
    for cls in (CheetahDir, AntDir, HumanoidDir):
        family = cls()
        assert family.num_tasks == 2
        first = family.sample_tasks(5, np.random.default_rng(0), "test")["direction"].reshape(5, -1)[:, 0]
        assert first.tolist() == [-1.0, 1.0, -1.0, 1.0, -1.0]
        with pytest.raises(ValueError, match=r"no split 'ood'; allowed: train, validation, test$"):
            family.sample_tasks(1, np.random.default_rng(0), "ood")
    drawn = CheetahDir().sample_tasks(1000, np.random.default_rng(0))["direction"]
    assert abs(drawn.mean()) < 0.1 and np.abs(np.diff(drawn)).sum() < 1200  # no turns
    for endless in (CheetahVel(), AntDir("promp-2d"), AntGoal(), SwimmerVel(), HopperParams()):
        assert endless.num_tasks is None
