"""Any Gymnasium environment as a family of tasks.

A subclass names the environment and what a task changes of it::

    class Pendulums(GymFamily):
        env = "Pendulum-v1"
        arguments = {"g": Uniform(5.0, 15.0, ood=(15.0, 18.0))}
        attributes = {"l": Uniform(0.5, 1.5)}

``metarl train maml --family my_module:Pendulums`` trains on it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from metarl_envs.any_gym import parts as gym_parts
from metarl_envs.any_gym.env import BuiltEnv, GymEnv
from metarl_envs.any_gym.look import errors_named, look, time_limit
from metarl_envs.any_gym.ranges import ValueRange, nth
from metarl_envs.any_gym.spaces import reader, writer
from metarl_envs.base.arguments import chosen_spec, known_split, no_others, positive_int
from metarl_envs.base.formulas import Floats, Refusal, Tasks, read_tasks
from metarl_envs.base.single_rows import SingleRows

RELATIVE = ("attributes", "fields")  # parts of which the environment has a value of its own


class GymFamily:
    """The base of families of a Gymnasium environment; a subclass sets the class attributes.

    Each of ``arguments``, ``attributes``, ``fields``, ``options`` and ``others`` maps names to a
    ``Uniform``, ``Scale`` or ``Choice``; a task is one draw of each, ``{name: float64 "n ..."}``.

    Args:
        spec: a key of ``specs``; None takes the first.
        horizon: time steps of an episode; None takes the class's or the environment's time limit.

    Attributes:
        name: what messages call it; the class's name if there is none.
        specs: names of variants and a line for each; the environment's id and the first line of the
            docstring if there are none. ``apply`` may read ``self.spec``.
        env: an id of Gymnasium's (``module:Name-v0`` imports the module first), or a callable, such as a
            class, that returns an environment.
        arguments: of the callable or of ``gymnasium.make``. The environment is made anew for each task.
        attributes: of ``env.unwrapped``, set before each reset; names may have dots.
        fields: of the MuJoCo model ``env.unwrapped.model``, set before each reset; the engine's derived
            constants follow.
        options: of ``env.reset(options=...)``.
        others: whatever ``apply`` makes of it.
        wrappers: each is called with the environment and returns one.
        horizon: time steps after which an episode is truncated; None takes the environment's time limit.
        num_tasks: the number of tasks, where every distribution is a ``Choice``.
        observation_space: a one-dimensional Box of floats, or an image (``spaces.reader``).
        action_space: as policies act (``spaces.writer``).

    Raises:
        ValueError: of one line: a name that the environment does not have, an empty range, a space that
            networks do not read, or an environment that ``look.look`` finds fault with.
    """

    name: str
    specs: Mapping[str, str]
    env: ClassVar[str | Callable[..., gymnasium.Env[Any, Any]]]
    arguments: Mapping[str, ValueRange] = {}
    attributes: Mapping[str, ValueRange] = {}
    fields: Mapping[str, ValueRange] = {}
    options: Mapping[str, ValueRange] = {}
    others: Mapping[str, ValueRange] = {}
    wrappers: Sequence[Callable[[Any], gymnasium.Env[Any, Any]]] = ()
    horizon: Any = None
    stepped = "python"

    def __init_subclass__(cls) -> None:
        """The names that a class does not give."""
        env = gym_parts.creator(cls)
        if not isinstance(getattr(cls, "name", None), str):
            cls.name = cls.__name__
        if not hasattr(cls, "specs"):
            known = env if isinstance(env, str) else getattr(env, "__name__", "v1")
            cls.specs = {known: next(iter((cls.__doc__ or "").strip().splitlines()), known)}

    def __init__(self, spec: str | None = None, *, horizon: int | None = None, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        self.title = f"{self.name}/{self.spec}"
        self._given_horizon = horizon
        self._parts = {part: gym_parts.entries(self, part) for part in gym_parts.PARTS}
        self._ranges = self._checked()
        counts = [d.count for d in self._ranges.values()]
        self.num_tasks = None if None in counts else prod(count or 0 for count in counts)
        with errors_named(self.title):
            self._draws_itself = self._check_creator()
            arguments = self._middle()
            env = self.build(arguments, None)
            limit = next((x for x in (horizon, self.horizon) if x is not None), None)
            self.horizon: int = positive_int(
                self.title, "horizon", time_limit(env, self.title) if limit is None else limit
            )
            own = self.own(env)
            self.task_shapes = {key: d.shape(own.get(key)) for key, d in self._ranges.items()}
            self.task_draws = sum(prod(shape) for shape in self.task_shapes.values())
            self.reader, self.writer = reader(env.observation_space), writer(env.action_space)
            self.observation_space: Box = self.reader.space
            self.action_space: Box | Discrete | MultiDiscrete = self.writer.space
            self._metadata = env.metadata
            self._spare: BuiltEnv | None = BuiltEnv(env, arguments, own)
            (looked_at,) = look(self).envs
            self._spare = cast(GymEnv, looked_at).inner

    def _checked(self) -> dict[str, ValueRange]:
        """All distributions by name, after a look at each."""
        known: dict[str, ValueRange] = {}
        for part, entries in self._parts.items():
            for key, one in entries.items():
                given = f"{self.title}: {part} has {key!r}"
                if not isinstance(one, ValueRange):
                    raise ValueError(f"{given}: {one!r}; allowed: Uniform, Scale, Choice")
                if trouble := one.fault():
                    raise ValueError(f"{given}, whose {one} {trouble}")
                if one.relative and part not in RELATIVE:
                    raise ValueError(f"{given}: a Scale, of nothing; allowed there: Uniform, Choice")
                if key in known:
                    raise ValueError(f"{given}, a name that another part has; allowed: each name once")
                known[key] = one
        if self._parts["others"] and type(self).apply is GymFamily.apply:
            given = f"others has {next(iter(self._parts['others']))!r}, and nothing reads it"
            raise ValueError(f"{self.title}: {given}; allowed: with a method apply(self, env, task)")
        if not known:
            raise ValueError(f"{self.title} changes nothing; allowed: one of {', '.join(gym_parts.PARTS)}")
        return known

    def _check_creator(self) -> bool:
        """A look at what makes environments; whether it takes a ``render_mode``."""
        env = gym_parts.creator(type(self))
        if not isinstance(env, str) and not callable(env):
            raise ValueError(f"{self.title}: env is {env!r}; allowed: an id of Gymnasium's, or a callable")
        if self._parts["fields"]:
            gym_parts.mujoco_fields(self.title)
        known = gym_parts.known_arguments(env)
        for key in self._parts["arguments"] if known is not None else ():
            if key not in (known or ()):
                given = f"arguments has {key!r}, which the environment has not"
                allowed = ", ".join(name for name in known or () if name != "render_mode") or "none"
                raise ValueError(f"{self.title}: {given}; allowed: {allowed}")
        return known is None or "render_mode" in known

    def _middle(self) -> dict[str, Any]:
        """Arguments for an environment to look at."""
        return self.arguments_of(
            {key: d.draw(np.full(d.shape(None), 0.5), False) for key, d in self._parts["arguments"].items()}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Families travel to other processes by their arguments."""
        return partial(type(self), self.spec, horizon=self._given_horizon), ()

    @property
    def task(self) -> Callable[[Floats], Tasks]:
        """Uniform numbers "n task_draws" to training tasks."""
        return partial(self._draw, ood=False)

    def _draw(self, u: Floats, ood: bool) -> Tasks:
        tasks, first = {}, 0
        for key, shape in self.task_shapes.items():
            size = prod(shape)
            columns = u[:, first : first + size].reshape(len(u), *shape)
            tasks[key] = self._ranges[key].draw(columns, ood)
            first += size
        return tasks

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> Tasks:
        """Tasks of a split, ``{name: float64 "n ..."}``; the first m are those of ``n=m``.

        Out of distribution, what has a range there is drawn from it and the rest as in training. Where there
        are finitely many tasks, validation and test take them in turn.

        Raises:
            ValueError: n below 1, or a split that there is not.
        """
        n = positive_int(self.title, "number of tasks", n)
        distributions = list(self._ranges.values())
        splits = ["train", "validation", "test", *(["ood"] if any(d.has_ood for d in distributions) else [])]
        known_split(self.title, split, splits)
        if self.num_tasks is not None and split in ("validation", "test"):
            return self._draw(np.stack(nth(distributions, np.arange(n)), axis=1), ood=False)
        return self._draw(rng.random((n, self.task_draws)), split == "ood")

    def refuse(self, tasks: Tasks) -> Iterable[Refusal]:
        """What the distributions cannot serve; numbers outside their ranges they can."""
        for key, one in self._ranges.items():
            yield Refusal(key, *one.refuse(tasks[key]))

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """What an oracle sees, float32 "n f": where each number stands in its training range of −1 to 1."""
        read = read_tasks(self, tasks)
        return np.concatenate(
            [d.features(read[key]) for key, d in self._ranges.items()], axis=1, dtype=np.float32
        )

    def arguments_of(self, task: dict[str, Any]) -> dict[str, Any]:
        """The constructor's arguments for one task."""
        return {key: d.value(task[key], None) for key, d in self._parts["arguments"].items()}

    def build(self, arguments: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """The environment of a constructor's arguments; where it has an id, without its time limit."""
        env = gym_parts.creator(type(self))
        kwargs = arguments if render_mode is None else arguments | {"render_mode": render_mode}
        with gym_parts.quiet():
            if isinstance(env, str):
                made = gymnasium.make(env, max_episode_steps=-1, disable_env_checker=True, **kwargs)
            else:
                made = env(**kwargs)
        for wrapper in self.wrappers:
            made = wrapper(made)
        return made

    def own(self, env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
        """A new environment's own values of attributes and fields, copied."""
        roots = {"attributes": env.unwrapped}
        if self._parts["fields"]:
            roots["fields"] = gym_parts.mujoco_fields(self.title).model_of(env, self.title)
        values = {}
        for part, root in roots.items():
            for key, one in self._parts[part].items():
                value = gym_parts.value_at(root, key, self.title, part)
                if one.relative and not gym_parts.is_numeric(value):
                    given = f"{part} has {key!r}, of which {value!r:.60} there is no Scale"
                    raise ValueError(f"{self.title}: {given}; allowed: numbers and arrays of numbers")
                values[key] = np.array(value) if isinstance(value, np.ndarray) else value
        return values

    def change(
        self, env: gymnasium.Env[Any, Any], own: dict[str, Any], task: dict[str, Any]
    ) -> dict[str, Any]:
        """Make the environment that of the task; the options for its reset."""
        values = {key: d.value(task[key], own.get(key)) for key, d in self._ranges.items()}
        for key in self._parts["attributes"]:
            gym_parts.put(env.unwrapped, key, values[key], in_place=False)
        if self._parts["fields"]:
            module = gym_parts.mujoco_fields(self.title)
            for key in self._parts["fields"]:
                gym_parts.put(module.model_of(env, self.title), key, values[key], in_place=True)
            module.settle(env)
        self.apply(env, values)
        return {key: values[key] for key in self._parts["options"]}

    def apply(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        """For a subclass: what else a task changes, before a reset of ``env``.

        Args:
            task: the value of each name, numbers as floats, those of a ``Choice`` as they were given there.
        """

    def make(self, render_mode: str | None = None) -> gymnasium.Env[NDArray[Any], Any]:
        """One environment; with a ``render_mode`` that it has, its ``render()`` gives pictures."""
        can = self._draws_itself and render_mode in self._metadata.get("render_modes", [])
        drawn = render_mode if can else None
        spare = self._spare if drawn is None else None
        self._spare = self._spare if spare is None else None
        env = GymEnv(self, spare, drawn)
        env.metadata = self._metadata
        return env

    def make_vec(self, num_envs: int) -> SingleRows:
        """``num_envs`` environments, stepped one after another."""
        return SingleRows(self, num_envs)
