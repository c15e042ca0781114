"""Gymnasium environments as families: what a task changes of them, held against environments made by hand."""

import pickle
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text

from metarl.core.errors import RequestError
from metarl.rollout.family import lacking
from metarl.rollout.registry import make
from metarl.testing import check_family
from metarl_envs import Choice, GymFamily, Scale, Uniform
from row_by_row import refused


class Pendulums(GymFamily):
    """Pendulums of unknown gravity and length.

    More about them.
    """

    env = "Pendulum-v1"
    arguments = {"g": Uniform(5.0, 15.0, ood=(15.0, 18.0))}
    attributes = {"l": Uniform(0.5, 1.5)}
    horizon = 12


class Carts(GymFamily):
    name = "carts"
    env = "CartPole-v1"
    attributes = {"force_mag": Choice([5.0, 10.0]), "gravity": Choice([9.8, 20.0, 1.6])}
    horizon = 15


class Hoppers(GymFamily):
    env = "Hopper-v5"
    fields = {"body_mass": Scale(0.5, 2.0), "opt.gravity": Scale(0.9, 1.1)}
    horizon = 10


class Toy(gymnasium.Env[Any, Any]):
    """Shows everything that it was given; its constructor writes down how often it was called."""

    observation_space: Any = Dict({"n": Discrete(4), "x": Box(-99.0, 99.0, (5,), np.float64)})
    action_space: Any = MultiDiscrete([2, 3])
    made: list[Any] = []

    def __init__(self, size: int = 3, word: Any = None, render_mode: str | None = None) -> None:
        self.made.append((size, word, render_mode))
        self.size, self.word, self.render_mode = size, word, render_mode
        self.level, self.inside, self.closed = 0.0, {"deep": 2.0}, False
        self.part = Part()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.start, self.t = float(self.np_random.random()), 0
        self.options = options or {}
        return self.look(), {"who": "toy"}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.last = action
        return self.look(), np.float32(self.level), False, False, {"is_success": self.t == 2}

    def look(self) -> Any:
        given = float(self.options.get("goal", -1.0))
        numbers = [self.size, self.level, self.part.mass, given, self.start]
        return {"n": self.t % 4, "x": np.array(numbers, np.float64)}

    def close(self) -> None:
        self.closed = True


class Part:
    def __init__(self) -> None:
        self.mass = 4.0


class Toys(GymFamily):
    env = Toy
    arguments = {"size": Choice([3, 5]), "word": Choice(["a", "b"], ood=["c"])}
    attributes = {"level": Uniform(0.0, 1.0), "part.mass": Scale(0.5, 2.0)}
    options = {"goal": Uniform(5.0, 6.0)}
    others = {"note": Uniform([0.0, 0.0], [1.0, 1.0])}
    horizon = 6

    def apply(self, env: Any, task: Any) -> None:
        env.unwrapped.noted = task["note"], task["word"]


TASK = {"size": 5.0, "word": 1.0, "level": 0.25, "part.mass": 0.5, "goal": 5.5, "note": np.array([0.1, 0.2])}


@pytest.mark.parametrize("cls", [Pendulums, Carts, Hoppers, Toys])
def test_the_contract_is_kept(cls: Any) -> None:
    check_family(cls())


def test_names_and_numbers_of_a_family() -> None:
    family = Pendulums()
    assert (family.name, family.spec, family.title) == ("Pendulums", "Pendulum-v1", "Pendulums/Pendulum-v1")
    assert family.specs == {"Pendulum-v1": "Pendulums of unknown gravity and length."}
    assert (family.horizon, Pendulums(horizon=7).horizon, family.num_tasks) == (12, 7, None)
    assert family.stepped == "python" and not lacking(family)
    assert (Carts().name, Carts().num_tasks) == ("carts", 6)
    assert Toys().spec == "Toy" and Toys().title == "Toys/Toy"


def test_the_time_limit_is_the_environments_own_unless_a_horizon_is_given() -> None:
    class Whole(Pendulums):
        horizon = None

    assert Whole().horizon == 200  # of Gymnasium's registry
    assert Whole(horizon=300).horizon == 300
    env = Whole(horizon=201).make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[3] for _ in range(201)]
    assert ends == [False] * 200 + [True]

    class Made(GymFamily):
        env = staticmethod(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=30))
        attributes = {"l": Uniform(0.5, 1.5)}

    assert Made().horizon == 30


def test_a_task_is_the_environment_made_by_hand() -> None:
    """Pendulum's own equations with g = 12 and l = 0.7, from the state where the family starts."""
    env: Any = Pendulums().make()
    obs, info = env.reset(seed=4, options={"task": {"g": 12.0, "l": 0.7}})
    assert info["task"] == {"g": 12.0, "l": 0.7}
    angle, speed = np.arctan2(obs[1], obs[0]), obs[2]
    for torque in (0.5, -1.0, 9.0):
        u = np.clip(torque, -2.0, 2.0)  # beyond the bounds is the bound
        cost = angle**2 + 0.1 * speed**2 + 0.001 * u**2
        speed = speed + (3 * 12.0 / (2 * 0.7) * np.sin(angle) + 3.0 / 0.7**2 * u) * 0.05
        angle = angle + speed * 0.05
        obs, reward, *_ = env.step(np.array([torque], np.float32))
        assert np.allclose(obs, [np.cos(angle), np.sin(angle), speed], atol=1e-5)
        assert np.isclose(reward, -cost, atol=1e-5)


def test_everything_that_a_task_changes_arrives() -> None:
    Toy.made.clear()
    env: Any = Toys().make()
    obs, info = env.reset(seed=1, options={"task": TASK})
    toy = env.inner.env
    assert isinstance(toy, Toy) and Toy.made[-1] == (5, "b", None) and type(toy.size) is int
    one_hot, numbers = obs[:4].tolist(), obs[4:8].tolist()
    assert one_hot == [1, 0, 0, 0] and numbers == [5.0, 0.25, 2.0, 5.5]
    assert toy.noted[0].tolist() == [0.1, 0.2] and toy.noted[1] == "b"
    assert info["who"] == "toy" and info["task"]["part.mass"] == 0.5
    _, reward, _, _, info = env.step(np.array([1, 2]))
    assert type(reward) is float and reward == 0.25 and toy.last.tolist() == [1, 2]
    assert info["success"] is False and env.step(np.array([1, 2]))[4]["success"] is True
    env.reset(seed=1, options={"task": TASK})
    assert toy.part.mass == 2.0  # scaled from the first value again, not from the last


def test_an_environment_is_kept_while_its_arguments_are_the_same() -> None:
    family = Toys()
    Toy.made.clear()
    env: Any = family.make()
    assert Toy.made == []  # the one that was looked at
    env.reset(seed=1, options={"task": TASK})
    env.reset(seed=2, options={"task": {**TASK, "level": 0.75}})
    assert Toy.made == [(5, "b", None)]
    first = env.inner.env
    env.reset(seed=3, options={"task": {**TASK, "word": 0.0}})
    assert Toy.made == [(5, "b", None), (5, "a", None)] and first.closed
    last = env.inner.env
    env.close()
    assert last.closed


def test_fields_of_the_engine_and_what_follows_from_them() -> None:
    import mujoco

    family = Hoppers()
    shapes = {"body_mass": (5,), "opt.gravity": (3,)}
    assert family.task_shapes == shapes and family.task_draws == 8
    factors = np.array([1.0, 2.0, 1.0, 0.5, 1.0])
    plain: Any = gymnasium.make("Hopper-v5").unwrapped
    env: Any = family.make()
    for _ in range(2):
        env.reset(seed=0, options={"task": {"body_mass": factors, "opt.gravity": [1.0, 1.0, 1.05]}})
        model = env.inner.env.unwrapped.model
        assert np.array_equal(model.body_mass, plain.model.body_mass * factors)
        assert np.allclose(model.opt.gravity, [0.0, 0.0, -9.81 * 1.05])
        # The root's subtree weighs what all bodies weigh together: it is derived, not given.
        assert np.isclose(model.body_subtreemass[0], model.body_mass.sum())
    assert not np.isclose(model.body_subtreemass[0], plain.model.body_subtreemass[0])
    one = {"body_mass": np.ones(5), "opt.gravity": np.ones(3)}
    env.reset(seed=0, options={"task": one})
    plain.reset(seed=0)
    data = env.inner.env.unwrapped.data
    plain.set_state(data.qpos.copy(), data.qvel.copy())
    for _ in range(5):  # factors of 1 are Gymnasium's own Hopper
        action = np.array([0.5, -0.5, 1.0], np.float32)
        assert np.allclose(env.step(action)[0], plain.step(action)[0], atol=1e-6)
    assert isinstance(model, mujoco.MjModel)


def test_tasks_by_hand() -> None:
    family = Toys()
    u = np.array([[0.0, 0.5, 0.5, 0.5, 0.25, 0.0, 0.5]])
    tasks = family.task(u)
    wanted = {"size": [3.0], "word": [1.0], "level": [0.5], "part.mass": [1.0], "goal": [5.25]}
    assert {key: x.tolist() for key, x in tasks.items()} == wanted | {"note": [[0.0, 0.5]]}
    features = family.task_features(tasks)
    assert features.dtype == np.float32
    assert features.tolist() == [[-1.0, 0.0, 1.0, 0.0, 0.0, 0.0, -0.5, -1.0, 0.0]]  # word is one of three
    rng = np.random.default_rng(0)
    assert set(family.sample_tasks(9, rng, "ood")["word"].tolist()) == {2.0}
    far = Pendulums().sample_tasks(50, rng, "ood")
    assert far["g"].min() >= 15 and far["g"].max() < 18 and far["l"].min() >= 0.5 and far["l"].max() < 1.5
    with refused("carts/CartPole-v1: no split 'ood'; allowed: train, validation, test"):
        Carts().sample_tasks(1, rng, "ood")
    seen = Carts().sample_tasks(6, rng, "test")
    assert len({*zip(seen["force_mag"].tolist(), seen["gravity"].tolist(), strict=True)}) == 6


def test_a_task_that_a_choice_does_not_have_is_refused() -> None:
    with refused("carts/CartPole-v1: task 'gravity' of row 0 is 3.0; allowed: 9.8, 20, 1.6"):
        Carts().make().reset(options={"task": {"force_mag": 5.0, "gravity": 3.0}})
    with refused("reset option 'tsk'; allowed: task"):
        Carts().make().reset(options={"tsk": {}})


def test_seeds_are_honoured_by_one_and_by_many() -> None:
    env, many = Pendulums().make(), Pendulums().make_vec(2)
    first, named = env.reset(seed=2**63)
    assert np.array_equal(first, env.reset(seed=2**63)[0])
    follows, named_next = env.reset()
    assert not np.array_equal(first, follows) and named["task"] != named_next["task"]
    rows, info = many.reset(seed=[2**63, 1])
    assert np.array_equal(rows[0], first) and info["task"]["g"][0] == named["task"]["g"]
    assert np.array_equal(many.reset()[0][0], follows)


def test_pictures() -> None:
    class Drawn(Toy):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 7}

        def render(self) -> Any:
            if self.size == 3:
                raise gymnasium.error.DependencyNotInstalled("no pygame")
            return np.full((2, 2, 3), self.t)

    class Pictures(Toys):
        env = Drawn
        specs = {"drawn": ""}

    env: Any = Pictures().make(render_mode="rgb_array")
    assert env.render_mode == "rgb_array" and env.metadata["render_fps"] == 7
    env.reset(seed=0, options={"task": TASK})
    env.step(np.zeros(2, int))
    assert env.render()[0, 0].tolist() == [1, 1, 1] and Toy.made[-1][2] == "rgb_array"
    env.reset(seed=0, options={"task": {**TASK, "size": 3.0}})
    with pytest.raises(RuntimeError, match="no pygame"):
        env.render()
    assert Pictures().make(render_mode="human").render_mode is None
    assert Toys().make(render_mode="rgb_array").render_mode is None  # it has no such mode


def test_wrappers_and_callables() -> None:
    class Wrapped(GymFamily):
        def env(self: Any = 1.5) -> Any:
            toy = Toy()
            toy.level = self
            return toy

        wrappers = [lambda env: gymnasium.wrappers.TransformReward(env, lambda reward: 2 * reward)]
        arguments = {"self": Uniform(1.0, 2.0)}
        horizon = 3

    env = Wrapped().make()
    env.reset(seed=0, options={"task": {"self": 1.25}})
    assert env.step(np.zeros(2, int))[1] == 2.5


def test_families_travel_by_their_arguments() -> None:
    twin = pickle.loads(pickle.dumps(Pendulums(horizon=5)))
    assert isinstance(twin, Pendulums) and twin.horizon == 5


class NoSpaces(Toy):
    observation_space: Any = Dict({"n": Text(4), "x": Box(-99.0, 99.0, (5,), np.float64)})


class NoActions(Toy):
    action_space: Any = Dict({"n": Discrete(4)})


LENGTH = {"attributes": {"l": Uniform(0.5, 1.5)}}
LEVEL: dict[str, Any] = {"attributes": {"level": Uniform(0.0, 1.0)}, "horizon": 5}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"arguments": {"gg": Uniform(1, 2)}}, "arguments has 'gg', which the environment has not; allowed: g"),
    ({"env": lambda: Toy(), "arguments": {"x": Uniform(0, 1)}}, "has not; allowed: none"),
    ({"attributes": {"length": Uniform(1, 2)}}, "'length', which PendulumEnv has not; allowed: dt, g, l, m"),
    (
        {**LEVEL, "env": Toy, "attributes": {"part.weight": Uniform(1, 2)}},
        "attributes has 'part.weight', which Toy has not; allowed: mass",
    ),
    ({**LEVEL, "env": Toy, "attributes": {"inside": Scale(1, 2)}}, "'inside', of which {'deep': 2.0} there"),
    ({"env": "Hopper-v5", "fields": {"body_mas": Scale(1, 2)}}, "'body_mas', which MjModel has not"),
    ({"fields": {"body_mass": Scale(1, 2)}}, "MuJoCo model, and PendulumEnv has none (env.unwrapped.model)"),
    (
        {"attributes": {"l": Uniform(2, 1)}},
        "attributes has 'l', whose Uniform(low=2, high=1, ood=None) is empty",
    ),
    ({"attributes": ["l", "m"]}, "attributes is ['l', 'm']; allowed: a dict"),
    ({"attributes": {"l": 3.0}}, "attributes has 'l': 3.0; allowed: Uniform, Scale, Choice"),
    (
        {"arguments": {"g": Scale(1, 2)}},
        "arguments has 'g': a Scale, of nothing; allowed there: Uniform, Choice",
    ),
    (
        {"arguments": {"g": Uniform(1, 2)}, "attributes": {"g": Uniform(1, 2)}},
        "'g', a name that another part has",
    ),
    ({}, "Bad/Pendulum-v1 changes nothing; allowed: one of arguments, attributes, fields, options"),
    ({"env": "Pendulun-v1", **LENGTH}, "Bad/Pendulun-v1: NameNotFound"),
    ({"env": "nowhere:X-v1", **LENGTH}, "ModuleNotFoundError: No module named 'nowhere'"),
    ({"env": 3, **LENGTH}, "Bad/v1: env is 3"),
    ({**LENGTH, "horizon": 0}, "Bad/Pendulum-v1: horizon is 0; allowed: integers from 1"),
    ({"env": NoSpaces, **LEVEL}, "Bad/NoSpaces: observation space Text(1, 4"),
    ({"env": NoActions, **LEVEL}, "Bad/NoActions: action space Dict('n': Discrete(4)); allowed: Box"),
    ({"env": Toy, **LEVEL, "horizon": None}, "Bad/Toy: the environment has no time limit"),
    ({"env": Toy, **LEVEL, "others": {"note": Uniform(0, 1)}}, "others has 'note', and nothing reads it"),
]


@pytest.mark.parametrize(("body", "words"), WRONG)
def test_what_is_wrong_is_told_at_construction_in_one_line(body: dict[str, Any], words: str) -> None:
    cls = type("Bad", (GymFamily,), {"env": "Pendulum-v1", **body})
    with refused("Bad/", words) as caught:
        cls()
    assert len(str(caught.value)) < 300


def test_fields_without_the_extra_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.delitem(sys.modules, "metarl_envs.any_gym.mujoco_fields", raising=False)
    monkeypatch.delattr("metarl_envs.any_gym.mujoco_fields", raising=False)
    with refused("Hoppers/Hopper-v5: fields need MuJoCo", "'metarl-toolkit[mujoco]'"):
        Hoppers()


def test_arguments_are_checked_and_the_registry_passes_the_line_on() -> None:
    with refused("Pendulums: unknown argument 'length'; allowed: horizon"):
        Pendulums(length=2)
    with refused("Pendulums: unknown spec 'v2'; allowed: Pendulum-v1"):
        Pendulums("v2")
    with refused("Pendulums/Pendulum-v1: horizon is -1; allowed: integers from 1", error=RequestError):
        make(f"{__name__}:Pendulums", horizon=-1)
