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


def seeding(change: Any) -> Any:
    """``change(reset, seed, options)`` of each reset."""

    class Spoilt(One):
        def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return change(self.env.reset, seed, options)

    return one(Spoilt)


def small_seeds(reset: Any, seed: Any, options: Any) -> Any:
    np.random.RandomState(seed)
    return reset(seed=seed, options=options)


def in_place(reset: Any, seed: Any, options: Any) -> Any:
    out = reset(seed=seed, options=options)
    if options and "task" in options:
        options["task"]["goal"][:] = 0.0
    return out


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


class OtherActions(One):
    action_space: Any = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def other_task(obs: Any, info: Any, options: Any) -> Any:
    return obs, {"task": {"goal": -info["task"]["goal"]}}


SINGLE = {
    "double precision": (
        stepping(lambda obs, *rest: (obs.astype(np.float64), *rest)),
        r"observations are float64 \(2,\), expected float32 \(2,\)",
    ),
    "shape": (
        starting(lambda obs, info, options: (obs[:1], info)),
        r"observations are float32 \(1,\), expected float32 \(2,\)",
    ),
    "outside": (
        stepping(lambda obs, *rest: (obs + np.float32(9), *rest)),
        r"observation of row 0 at step 1 is \[.*\], outside Box",
    ),
    "NaN observation": (
        stepping(lambda obs, *rest: (obs * np.float32(np.nan), *rest)),
        r"observation of row 0 at step 1 is \[nan, nan\], outside Box",
    ),
    "NaN reward": (
        stepping(lambda obs, reward, *rest: (obs, np.nan, *rest)),
        r"reward of row 0 at step 1 is nan",
    ),
    "reward in an array": (
        stepping(lambda obs, reward, *rest: (obs, np.array([reward]), *rest)),
        r"reward is float64 \(1,\), expected float64 \(\)",
    ),
    "flags that count": (
        stepping(lambda obs, reward, terminated, truncated: (obs, reward, int(terminated), truncated)),
        r"terminated is int64 \(\), expected bool \(\)",
    ),
    "endless": (
        stepping(lambda obs, reward, terminated, truncated: (obs, reward, False, False)),
        r"row 1 goes on after step 4|make\(\): row 0 goes on after step 4, expected its end there",
    ),
    "seed ignored": (
        seeding(lambda reset, seed, options: reset(options=options)),
        r"observation\[0\] of row 0 after its reset is \S+, expected \S+ for the same seed",
    ),
    "small seeds": (seeding(small_seeds), "an environment raises ValueError: Seed must be between 0 and"),
    "seed not told": (one(SeedNotTold), r"gymnasium's check_env: .*super\(\)\.reset\(seed=seed\)"),
    "hidden state": (
        one(Remembering),
        r"reward of row 0 at step 1 is \S+, expected \S+ for the same seed, task and actions",
    ),
    "no task in info": (
        starting(lambda obs, info, options: (obs, {})),
        r"reset names no info\['task'\], expected a dict",
    ),
    "another task in info": (
        starting(other_task),
        r"info\['task'\] of row 0 has 'goal' \[.*\], expected \[.*\]",
    ),
    "tasks by another name": (
        starting(lambda obs, info, options: (obs, {"task": {"aim": info["task"]["goal"]}})),
        r"info\['task'\] has \['aim'\], expected \['goal'\]",
    ),
    "tasks of another shape": (
        starting(lambda obs, info, options: (obs, {"task": {"goal": info["task"]["goal"][None]}})),
        r"info\['task'\] has 'goal' of shape \(1, 2\), expected \(2,\)",
    ),
    "never without a task": (
        seeding(lambda reset, seed, options: reset(seed=seed, options={"task": options["task"]})),
        "an environment raises TypeError: 'NoneType' object",
    ),
    "task in place": (seeding(in_place), r"reset changes the task 'goal' that it is handed"),
    "other actions": (one(OtherActions), r"action_space is Box\(-1\.0, 1\.0, .*, expected the family"),
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


def showing(change: Any) -> type[Many]:
    """``change(before, obs, reward, terminated, truncated)`` of each step, where ``before`` had ended."""

    class Spoilt(Many):
        def seen(self, before: Any, *rest: Any) -> Step:
            return (*change(before, *rest[:-1]), rest[-1])

    return Spoilt


def resetting(change: Any) -> type[Many]:
    """``change(reset, seed, options)`` of each reset."""

    class Spoilt(Many):
        def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return change(self.env.reset, seed, options or {})

    return Spoilt


def one_task(reset: Any, seed: Any, options: Any) -> Any:
    obs, info = reset(seed=seed, options=options)
    return obs, {"task": {"goal": info["task"]["goal"][:1]}}


PAYING = showing(lambda before, obs, reward, *ends: (obs, np.where(before, 0.5, reward), *ends))
ENDS_OTHERWISE = showing(
    lambda before, obs, reward, terminated, truncated: (obs, reward, terminated | truncated, truncated)
)
# Wrong where there are two rows.
TWO_DIFFER = showing(
    lambda before, obs, reward, *ends: (obs, reward + 0.25 * (~before & (len(obs) == 2)), *ends)
)


class Restarting(Many):
    """Finished rows restart by themselves."""

    def seen(self, before: Any, obs: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Step:
        if before.any():
            obs, _ = self.env.reset(seed=0, options={"reset_mask": before})
            terminated, truncated = terminated & ~before, truncated & ~before
            self.done = terminated | truncated
        return obs, reward, terminated, truncated, info


class Mixed(Many):
    """Rows act by one another's actions, but for the last."""

    def step(self, actions: Any) -> Step:
        return super().step(np.concatenate([actions[:-1][::-1], actions[-1:]]))


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


VECTOR = {
    "no vector environment": (
        Nothing,
        r"make_vec\(3\) is a Nothing of no rows, expected a gymnasium\.vector",
    ),
    "number of rows": (Fewer, r"make_vec\(3\) is a Fewer of 7 rows, expected .* of 3 rows"),
    "autoreset": (NextStep, r"metadata\['autoreset_mode'\] is AutoresetMode\.NEXT_STEP, expected"),
    "one action": (OneActionForAll, r"action_space is Box\(-10.0, 10.0, \(2,\).*, expected Box"),
    "moving on": (
        showing(lambda before, obs, *rest: (np.where(before[:, None], np.float32(0.0), obs), *rest)),
        r"it has ended: the observation\[0\] of row 0 at step 5 is 0\.0, expected",
    ),
    "paying on": (PAYING, r"it has ended: the reward of row 0 at step 5 is 0\.5, expected 0\.0"),
    "forgetting": (
        showing(lambda before, *rest: (*rest[:-1], rest[-1] & ~before)),
        "it has ended: the flag truncated of row 0 at step 5 is False, expected True",
    ),
    "restarting": (Restarting, r"it has ended: the observation\[0\]"),
    "endless": (
        showing(lambda before, *rest: (*rest[:-1], rest[-1] & False)),
        r"row 0 goes on after step 4, expected its end there",
    ),
    "shape": (
        showing(lambda before, obs, *rest: (obs[:, :1], *rest)),
        r"observations are float32 \(3, 1\), expected float32 \(3, 2\)",
    ),
    "rewards in a column": (
        showing(lambda before, obs, reward, *ends: (obs, reward[:, None], *ends)),
        r"reward is float64 \(3, 1\), expected float64 \(3,\)",
    ),
    "mixed rows": (Mixed, r"observation\[0\] of row 0 at step 1 is \S+, expected \S+ as make\(\) gives it"),
    "mask ignored": (
        resetting(
            lambda reset, seed, options: reset(
                seed=seed, options={key: x for key, x in options.items() if key != "reset_mask"}
            )
        ),
        r"reset_mask leaves it out: the observation\[0\] of row 0 at step 2",
    ),
    "mask of nobody": (
        MaskOfNobody,
        r"observation\[0\] of row 1 after its reset is \S+, expected \S+ as make",
    ),
    "one seed": (
        resetting(lambda reset, seed, options: reset(seed=seed[:1] * len(seed), options=options)),
        r"observation\[0\] of row 1 after its reset is \S+, expected",
    ),
    "one task": (resetting(one_task), r"info\['task'\] has 'goal' of shape \(1, 2\), expected \(3, 2\)"),
    "ends otherwise": (
        ENDS_OTHERWISE,
        r"flag terminated of row 0 at step 4 is True, expected False as make\(\) gives it",
    ),
    "two differ": (TWO_DIFFER, r"reward of row 0 at step 1 is \S+, expected \S+ as make\(\)"),
}

ROUNDED = many(  # where every step is paid by a distance
    showing(lambda before, obs, reward, *ends: (obs, reward.astype(np.float32), *ends)), "finn2017"
)
VECTORS = {f"{how}, vector": (many(cls), words) for how, (cls, words) in VECTOR.items()}
VECTORS["rounded"] = ROUNDED, r"the reward of row 0 at step 1 is \S+, expected \S+ as make"
BROKEN = SINGLE | VECTORS


@pytest.mark.parametrize("how", list(BROKEN))
def test_a_family_broken_on_purpose_is_told_in_one_line(how: str) -> None:
    family, words = BROKEN[how]
    with pytest.raises(AssertionError, match=words) as caught:
        check_family(family)
    line = str(caught.value)
    assert line.startswith("family 'point-goal': ") and "\n" not in line and len(line) < 400
    assert ("make_vec(" in line) is (how in VECTORS)


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
        (One, AllArrive): r"metric is 'success', expected info\['success'\] at each",
        (Arrives, Silent): r"metric is 'success', expected info\['success'\] at each",
        (Arrives, InPairs): r"info\['success'\] is float64 \(3, 1\), expected .* \(3,\)",
        (Arrives, Late): r"success of row 0 at step 2 is 0.0, expected 1.0 as make",
    }
    for pair, words in wrong.items():
        with pytest.raises(AssertionError, match=words):
            check_family(judged(*pair))


def test_an_unspoilt_wrapper_is_not_blamed() -> None:
    for family in (one(One), many(Many)):
        check_family(family)


def test_a_tolerance_lets_rounding_pass_and_nothing_more() -> None:
    check_family(ROUNDED, tolerance=1e-6)
    for cls in (Mixed, TWO_DIFFER, ENDS_OTHERWISE, PAYING):
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
