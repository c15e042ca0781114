"""The base of the MuJoCo families: arguments, splits, and what happens where MuJoCo is not installed."""

import subprocess
import sys

import numpy as np
import pytest

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


def test_specs_name_their_version_and_their_horizon() -> None:
    for cls in FAMILIES:
        assert list(cls.specs) == list(cls.variants) and all(", v1: " in x for x in cls.specs.values())
    assert (CheetahVel().horizon, CheetahVel("promp").horizon) == (200, 100)


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
