"""The contract test of families, environments: each way to break them is told in one line."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorWrapper

from metarl.testing import check_family
from metarl_envs import HopperParams, PointGoal

Step = tuple[Any, Any, Any, Any, dict[str, Any]]
HORIZON = 4


class One(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment, to be spoilt by a subclass."""


class Many(VectorWrapper):
    """A vector environment, to be spoilt by a subclass."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.done = np.zeros(env.num_envs, bool)

    def step(self, actions: Any) -> Step:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        before, self.done = self.done, terminated | truncated
        return self.seen(before, obs, reward, terminated, truncated, info)

    def seen(
        self, before: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: dict[str, Any]
    ) -> Step:
        """What a step gives, where the rows ``before`` had ended."""
        return obs, reward, terminated, truncated, info


def one(cls: type[One]) -> Any:
    """The corners with other single environments: starts are drawn and nothing ends before the horizon."""
    family: Any = PointGoal("promp", horizon=HORIZON)
    make = family.make
    family.make = lambda: cls(make())
    return family


def many(cls: type, spec: str = "promp") -> Any:
    """The corners with other vector environments."""
    family: Any = PointGoal(spec, horizon=HORIZON)
    make_vec = family.make_vec
    family.make_vec = lambda num_envs: cls(make_vec(num_envs))
    return family


# Single environments ------------------


def stepping(change: Any) -> Any:
    """``change(obs, reward, terminated, truncated)`` of each step."""

    class Spoilt(One):
        def step(self, action: Any) -> Step:
            *seen, info = self.env.step(action)
            return (*change(*seen), info)

    return one(Spoilt)


def starting(change: Any) -> Any:
    """``change(obs, info, options)`` of each reset."""

    class Spoilt(One):
        def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return change(*self.env.reset(seed=seed, options=options), options or {})

    return one(Spoilt)


class SeedIgnored(One):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(options=options)


class SmallSeeds(One):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        np.random.RandomState(seed)
        return self.env.reset(seed=seed, options=options)


class SeedNotTold(One):
    """What a class that forgets ``super().reset(seed=seed)`` looks like."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        out = self.env.reset(seed=seed, options=options)
        self.unwrapped._np_random = None
        return out


class Remembering(One):
    steps = 0

    def step(self, action: Any) -> Step:
        obs, reward, *rest = self.env.step(action)
        self.steps += 1
        return (obs, reward + self.steps, *rest)


class NeedsTask(One):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed, options={"task": options["task"]})


class OtherActions(One):
    action_space: Any = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class InPlace(One):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        out = self.env.reset(seed=seed, options=options)
        if options and "task" in options:
            options["task"]["goal"][:] = 0.0
        return out


def other_task(obs: Any, info: Any, options: Any) -> Any:
    return obs, {"task": {"goal": -info["task"]["goal"]}}


SINGLE = {
    "double precision": (
        stepping(lambda obs, *rest: (obs.astype(np.float64), *rest)),
        r"make\(\): observations are float64 \(2,\), expected float32 \(2,\)",
    ),
    "shape": (
        starting(lambda obs, info, options: (obs[:1], info)),
        r"make\(\): observations are float32 \(1,\), expected float32 \(2,\)",
    ),
    "outside": (
        stepping(lambda obs, *rest: (obs + np.float32(9), *rest)),
        r"make\(\): the observation of row 0 at step 1 is \[.*\], outside Box",
    ),
    "NaN observation": (
        stepping(lambda obs, *rest: (obs * np.float32(np.nan), *rest)),
        r"make\(\): the observation of row 0 at step 1 is \[nan, nan\], outside Box",
    ),
    "NaN reward": (
        stepping(lambda obs, reward, *rest: (obs, np.nan, *rest)),
        r"make\(\): the reward of row 0 at step 1 is nan",
    ),
    "reward in an array": (
        stepping(lambda obs, reward, *rest: (obs, np.array([reward]), *rest)),
        r"make\(\): reward is float64 \(1,\), expected float64 \(\)",
    ),
    "flags that count": (
        stepping(lambda obs, reward, terminated, truncated: (obs, reward, int(terminated), truncated)),
        r"make\(\): terminated is int64 \(\), expected bool \(\)",
    ),
    "endless": (
        stepping(lambda obs, reward, terminated, truncated: (obs, reward, False, False)),
        r"make\(\): row 1 goes on after step 4|make\(\): row 0 goes on after step 4, expected its end there",
    ),
    "seed ignored": (
        one(SeedIgnored),
        r"make\(\): the observation\[0\] of row 0 after its reset is \S+, expected \S+ for the same seed",
    ),
    "small seeds": (one(SmallSeeds), "an environment raises ValueError: Seed must be between 0 and"),
    "seed not told": (one(SeedNotTold), r"make\(\): gymnasium's check_env: .*super\(\)\.reset\(seed=seed\)"),
    "hidden state": (
        one(Remembering),
        r"make\(\): the reward of row 0 at step 1 is \S+, expected \S+ for the same seed, task and actions",
    ),
    "no task in info": (
        starting(lambda obs, info, options: (obs, {})),
        r"make\(\): reset names no info\['task'\], expected a dict",
    ),
    "another task in info": (
        starting(other_task),
        r"make\(\): info\['task'\] of row 0 has 'goal' \[.*\], expected \[.*\]",
    ),
    "tasks by another name": (
        starting(lambda obs, info, options: (obs, {"task": {"aim": info["task"]["goal"]}})),
        r"make\(\): info\['task'\] has \['aim'\], expected \['goal'\]",
    ),
    "tasks of another shape": (
        starting(lambda obs, info, options: (obs, {"task": {"goal": info["task"]["goal"][None]}})),
        r"make\(\): info\['task'\] has 'goal' of shape \(1, 2\), expected \(2,\)",
    ),
    "never without a task": (one(NeedsTask), "an environment raises TypeError: 'NoneType' object"),
    "task in place": (one(InPlace), r"make\(\): reset changes the task 'goal' that it is handed"),
    "other actions": (
        one(OtherActions),
        r"make\(\): the action_space is Box\(-1\.0, 1\.0, .*, expected the family",
    ),
}


# Vector environments ------------------


class Nothing:
    metadata: dict[str, Any] = {}

    def __init__(self, env: Any) -> None:
        self.close = env.close


class Fewer(Many):
    num_envs: Any = 7


class NextStep(Many):
    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}


class OneActionForAll(Many):
    @property
    def action_space(self) -> Any:
        return self.env.single_action_space


class Moving(Many):
    """Observations of finished rows go on."""

    def seen(self, before: Any, obs: Any, *rest: Any) -> Step:
        return (np.where(before[:, None], np.float32(0.0), obs), *rest)


class Paying(Many):
    def seen(self, before: Any, obs: Any, reward: Any, *rest: Any) -> Step:
        return (obs, np.where(before, 0.5, reward), *rest)


class Forgetting(Many):
    """Flags are of this step alone."""

    def seen(self, before: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Step:
        return obs, reward, terminated, truncated & ~before, info


class Restarting(Many):
    """Finished rows restart by themselves."""

    def seen(self, before: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Step:
        if before.any():
            obs, _ = self.env.reset(seed=0, options={"reset_mask": before})
            terminated, truncated = terminated & ~before, truncated & ~before
            self.done = terminated | truncated
        return obs, reward, terminated, truncated, info


class Endless(Many):
    def seen(self, before: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Step:
        return obs, reward, terminated, truncated & False, info


class Short(Many):
    def seen(self, before: Any, *rest: Any) -> Step:
        obs, reward, terminated, truncated, info = rest
        return obs[:, :1], reward, terminated, truncated, info


class InARow(Many):
    def seen(self, before: Any, obs: Any, reward: Any, *rest: Any) -> Step:
        return (obs, reward[:, None], *rest)


class Rounded(Many):
    def seen(self, before: Any, obs: Any, reward: Any, *rest: Any) -> Step:
        return (obs, reward.astype(np.float32), *rest)


class Mixed(Many):
    """Rows act by one another's actions, but for the last."""

    def step(self, actions: Any) -> Step:
        return super().step(np.concatenate([actions[:-1][::-1], actions[-1:]]))


class MaskIgnored(Many):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        options = {key: x for key, x in (options or {}).items() if key != "reset_mask"}
        return self.env.reset(seed=seed, options=options)


class MaskOfNobody(Many):
    """A reset of some rows resets none, and says that it did."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if "reset_mask" not in (options or {}):
            self.last, self.info = self.env.reset(seed=seed, options=options)
            return self.last, self.info
        mask, goal = options["reset_mask"], self.info["task"]["goal"].copy()
        goal[mask] = options["task"]["goal"][mask]
        return self.last, {"task": {"goal": goal}}

    def seen(self, before: Any, obs: Any, *rest: Any) -> Step:
        self.last = obs
        return (obs, *rest)


class OneSeed(Many):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.env.reset(seed=seed[:1] * self.num_envs, options=options)


class OneTask(Many):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, {"task": {"goal": info["task"]["goal"][:1]}}


class EndsOtherwise(Many):
    def seen(self, before: Any, obs: Any, reward: Any, terminated: Any, *rest: Any) -> Step:
        return (obs, reward, terminated | rest[0], *rest)


class TwoDiffer(Many):
    """Wrong where there are two rows."""

    def seen(self, before: Any, obs: Any, reward: Any, *rest: Any) -> Step:
        return (obs, reward + 0.25 * (~before & (self.num_envs == 2)), *rest)


VECTOR = {
    "no vector environment": (
        Nothing,
        r"make_vec\(3\) is a Nothing of no rows, expected a gymnasium\.vector",
    ),
    "number of rows": (Fewer, r"make_vec\(3\) is a Fewer of 7 rows, expected .* of 3 rows"),
    "autoreset": (
        NextStep,
        r"make_vec\(3\): metadata\['autoreset_mode'\] is AutoresetMode\.NEXT_STEP, expected",
    ),
    "one action": (
        OneActionForAll,
        r"make_vec\(3\): the action_space is Box\(-10.0, 10.0, \(2,\).*, expected Box",
    ),
    "moving on": (
        Moving,
        r"make_vec\(3\): row 0 is not left alone, though it has ended: "
        r"the observation\[0\] of row 0 at step 5 is 0\.0, expected",
    ),
    "paying on": (Paying, r"it has ended: the reward of row 0 at step 5 is 0\.5, expected 0\.0"),
    "forgetting": (Forgetting, "it has ended: the flag truncated of row 0 at step 5 is False, expected True"),
    "restarting": (Restarting, r"row 0 is not left alone, though it has ended: the observation\[0\]"),
    "endless": (Endless, r"make_vec\(3\): row 0 goes on after step 4, expected its end there"),
    "shape": (Short, r"make_vec\(3\): observations are float32 \(3, 1\), expected float32 \(3, 2\)"),
    "rewards in a column": (InARow, r"make_vec\(3\): reward is float64 \(3, 1\), expected float64 \(3,\)"),
    "mixed rows": (
        Mixed,
        r"make_vec\(3\): the observation\[0\] of row 0 at step 1 is \S+, expected \S+ as make\(\) gives it",
    ),
    "mask ignored": (
        MaskIgnored,
        r"row 0 is not left alone, though reset_mask leaves it out: the observation\[0\] of row 0 at step 2",
    ),
    "mask of nobody": (
        MaskOfNobody,
        r"make_vec\(3\): the observation\[0\] of row 1 after its reset is \S+, expected \S+ as make",
    ),
    "one seed": (OneSeed, r"make_vec\(3\): the observation\[0\] of row 1 after its reset is \S+, expected"),
    "one task": (OneTask, r"make_vec\(3\): info\['task'\] has 'goal' of shape \(1, 2\), expected \(3, 2\)"),
    "ends otherwise": (
        EndsOtherwise,
        r"make_vec\(3\): the flag terminated of row 0 at step 4 is True, expected False as make\(\) gives it",
    ),
    "two differ": (
        TwoDiffer,
        r"make_vec\(2\): the reward of row 0 at step 1 is \S+, expected \S+ as make\(\)",
    ),
}

ROUNDED = many(Rounded, "finn2017")  # where every step is paid by a distance
BROKEN = {"rounded": (ROUNDED, r"make_vec\(3\): the reward of row 0 at step 1 is \S+, expected \S+ as make")}
BROKEN |= SINGLE | {f"{how}, vector": (many(cls), words) for how, (cls, words) in VECTOR.items()}


@pytest.mark.parametrize("how", list(BROKEN))
def test_a_family_broken_on_purpose_is_told_in_one_line(how: str) -> None:
    family, words = BROKEN[how]
    with pytest.raises(AssertionError, match=words) as caught:
        check_family(family)
    line = str(caught.value)
    assert line.startswith("family 'point-goal': ") and "\n" not in line and len(line) < 400


def test_episodes_of_one_step_are_told_if_there_is_no_other() -> None:
    class LongerOnce(One):
        seed = 0

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            self.seed = seed
            return self.env.reset(seed=seed, options=options)

        def step(self, action: Any) -> Step:
            obs, reward, *_, info = self.env.step(action)
            return obs, reward, self.seed != 19, False, info

    def ends(obs: Any, reward: Any, *_: Any) -> Any:
        return obs, reward, True, False

    with pytest.raises(AssertionError, match="20 episodes all end with their first step, expected longer"):
        check_family(stepping(ends))
    with pytest.raises(AssertionError, match=r"make_vec\(3\): "):  # which goes on, as only the last try does
        check_family(one(LongerOnce))


def test_success_is_told_and_told_alike() -> None:
    class Arrives(One):
        t = 0

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            self.t = 0
            return self.env.reset(seed=seed, options=options)

        def step(self, action: Any) -> Step:
            *seen, info = self.env.step(action)
            self.t += 1
            return (*seen, info | {"success": self.t == 2})

    class AllArrive(Many):
        key, wrong = "success", False

        def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            begins = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
            self.t = np.where(begins, 0, getattr(self, "t", np.zeros(self.num_envs, int)))
            self.done &= ~begins
            return self.env.reset(seed=seed, options=options)

        def seen(self, before: Any, *seen: Any) -> Step:
            self.t = self.t + 1
            arrived = (self.t == (3 if self.wrong else 2)) | before  # what has ended is not asked
            return (*seen[:-1], seen[-1] | {self.key: arrived})

    class Late(AllArrive):
        wrong = True

    class Silent(AllArrive):
        key = "arrived"

    class InPairs(AllArrive):
        def seen(self, before: Any, *seen: Any) -> Step:
            return (*seen[:-1], seen[-1] | {"success": np.ones((self.num_envs, 1))})

    def judged(single: type[One], vector: type[Many]) -> Any:
        family: Any = PointGoal("promp", horizon=HORIZON)
        make, make_vec, family.metric = family.make, family.make_vec, "success"
        family.make = lambda: single(make())
        family.make_vec = lambda num_envs: vector(make_vec(num_envs))
        return family

    check_family(judged(Arrives, AllArrive))
    wrong = {
        (One, AllArrive): r"make\(\): metric is 'success', expected info\['success'\] at each",
        (Arrives, Silent): r"make_vec\(3\): metric is 'success', expected info\['success'\] at each",
        (Arrives, InPairs): r"make_vec\(3\): info\['success'\] is float64 \(3, 1\), expected .* \(3,\)",
        (Arrives, Late): r"make_vec\(3\): the success of row 0 at step 2 is 0.0, expected 1.0 as make",
    }
    for pair, words in wrong.items():
        with pytest.raises(AssertionError, match=words):
            check_family(judged(*pair))


def test_an_unspoilt_wrapper_is_not_blamed() -> None:
    for family in (one(One), many(Many)):
        check_family(family)


def test_a_tolerance_lets_rounding_pass_and_nothing_more() -> None:
    check_family(ROUNDED, tolerance=1e-6)
    for cls in (Mixed, TwoDiffer, EndsOtherwise, Paying):
        with pytest.raises(AssertionError):
            check_family(many(cls), tolerance=1e-6)


def test_rows_that_end_early_are_watched_too() -> None:
    """Hoppers fall at different times, well before the horizon."""
    family: Any = HopperParams(horizon=60)
    make_vec = family.make_vec
    family.make_vec = lambda num_envs: Restarting(make_vec(num_envs))
    with pytest.raises(AssertionError, match="is not left alone, though it has ended") as caught:
        check_family(family)
    assert int(str(caught.value).split("at step ")[1].split()[0]) < 40
