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

from metarl_envs.any_gym import parts
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
        """Fill in the names that a class does not give."""
        env = parts.creator(cls)
        if not isinstance(getattr(cls, "name", None), str):
            cls.name = cls.__name__
        if not hasattr(cls, "specs"):
            spec = env if isinstance(env, str) else getattr(env, "__name__", "v1")
            cls.specs = {spec: next(iter((cls.__doc__ or "").strip().splitlines()), spec)}

    def __init__(self, spec: str | None = None, *, horizon: int | None = None, **unknown: object) -> None:
        no_others(self.name, unknown, ["horizon"])
        self.spec = chosen_spec(self.name, spec, self.specs)
        self.title = f"{self.name}/{self.spec}"
        self._asked_horizon = horizon
        self._parts = {part: parts.entries(self, part) for part in parts.PARTS}
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
            originals = self.originals(env)
            self.task_shapes = {key: d.shape(originals.get(key)) for key, d in self._ranges.items()}
            self.task_draws = sum(prod(shape) for shape in self.task_shapes.values())
            self.reader, self.writer = reader(env.observation_space), writer(env.action_space)
            self.observation_space: Box = self.reader.space
            self.action_space: Box | Discrete | MultiDiscrete = self.writer.space
            self._metadata = env.metadata
            self._spare: BuiltEnv | None = BuiltEnv(env, arguments, originals)
            (env_looked_at,) = look(self).envs
            self._spare = cast(GymEnv, env_looked_at).inner

    def _checked(self) -> dict[str, ValueRange]:
        """Return all ranges by name, each checked."""
        ranges: dict[str, ValueRange] = {}
        for part, entries in self._parts.items():
            for key, one in entries.items():
                entry = f"{self.title}: {part} has {key!r}"
                if not isinstance(one, ValueRange):
                    raise ValueError(f"{entry}: {one!r}; allowed: Uniform, Scale, Choice")
                if fault := one.fault():
                    raise ValueError(f"{entry}, whose {one} {fault}")
                if one.relative and part not in RELATIVE:
                    raise ValueError(f"{entry}: a Scale, of nothing; allowed there: Uniform, Choice")
                if key in ranges:
                    raise ValueError(f"{entry}, a name that another part has; allowed: each name once")
                ranges[key] = one
        if self._parts["others"] and type(self).apply is GymFamily.apply:
            entry = f"others has {next(iter(self._parts['others']))!r}, and nothing reads it"
            raise ValueError(f"{self.title}: {entry}; allowed: with a method apply(self, env, task)")
        if not ranges:
            raise ValueError(f"{self.title} changes nothing; allowed: one of {', '.join(parts.PARTS)}")
        return ranges

    def _check_creator(self) -> bool:
        """Check the maker of environments; return True if it takes a ``render_mode``."""
        env = parts.creator(type(self))
        if not isinstance(env, str) and not callable(env):
            raise ValueError(f"{self.title}: env is {env!r}; allowed: an id of Gymnasium's, or a callable")
        if self._parts["fields"]:
            parts.mujoco_fields(self.title)
        accepted = parts.known_arguments(env)
        for key in self._parts["arguments"] if accepted is not None else ():
            if key not in (accepted or ()):
                refused = f"arguments has {key!r}, which the environment has not"
                allowed = ", ".join(name for name in accepted or () if name != "render_mode") or "none"
                raise ValueError(f"{self.title}: {refused}; allowed: {allowed}")
        return accepted is None or "render_mode" in accepted

    def _middle(self) -> dict[str, Any]:
        """Return arguments for an environment to look at."""
        return self.arguments_of(
            {key: d.draw(np.full(d.shape(None), 0.5), False) for key, d in self._parts["arguments"].items()}
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes by the arguments alone."""
        return partial(type(self), self.spec, horizon=self._asked_horizon), ()

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
        """Draw tasks of a split, ``{name: float64 "n ..."}``; the first m are those of ``n=m``.

        Out of distribution, what has a range there is drawn from it and the rest as in training. Where there
        are finitely many tasks, validation and test take them in turn.

        Raises:
            ValueError: n below 1, or a split that there is not.
        """
        n = positive_int(self.title, "number of tasks", n)
        ranges = list(self._ranges.values())
        splits = ["train", "validation", "test", *(["ood"] if any(d.has_ood for d in ranges) else [])]
        known_split(self.title, split, splits)
        if self.num_tasks is not None and split in ("validation", "test"):
            return self._draw(np.stack(nth(ranges, np.arange(n)), axis=1), ood=False)
        return self._draw(rng.random((n, self.task_draws)), split == "ood")

    def refuse(self, tasks: Tasks) -> Iterable[Refusal]:
        """Name what the ranges cannot serve; numbers outside them they can."""
        for key, one in self._ranges.items():
            yield Refusal(key, *one.refuse(tasks[key]))

    def task_features(self, tasks: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return what an oracle sees, float32 "n f": each number's place in its training range of −1 to 1."""
        read = read_tasks(self, tasks)
        return np.concatenate(
            [d.features(read[key]) for key, d in self._ranges.items()], axis=1, dtype=np.float32
        )

    def arguments_of(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments for one task."""
        return {key: d.value(task[key], None) for key, d in self._parts["arguments"].items()}

    def build(self, arguments: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Make the environment of a constructor's arguments; where it has an id, without its time limit."""
        env = parts.creator(type(self))
        kwargs = arguments if render_mode is None else arguments | {"render_mode": render_mode}
        with parts.quiet():
            if isinstance(env, str):
                made = gymnasium.make(env, max_episode_steps=-1, disable_env_checker=True, **kwargs)
            else:
                made = env(**kwargs)
        for wrapper in self.wrappers:
            made = wrapper(made)
        return made

    def originals(self, env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
        """Return a new environment's own values of attributes and fields, copied."""
        roots = {"attributes": env.unwrapped}
        if self._parts["fields"]:
            roots["fields"] = parts.mujoco_fields(self.title).model_of(env, self.title)
        values = {}
        for part, root in roots.items():
            for key, one in self._parts[part].items():
                value = parts.value_at(root, key, self.title, part)
                if one.relative and not parts.is_numeric(value):
                    refused = f"{part} has {key!r}, of which {value!r:.60} there is no Scale"
                    raise ValueError(f"{self.title}: {refused}; allowed: numbers and arrays of numbers")
                values[key] = np.array(value) if isinstance(value, np.ndarray) else value
        return values

    def change(
        self, env: gymnasium.Env[Any, Any], originals: dict[str, Any], task: dict[str, Any]
    ) -> dict[str, Any]:
        """Make the environment that of the task; return the options for its reset."""
        values = {key: d.value(task[key], originals.get(key)) for key, d in self._ranges.items()}
        for key in self._parts["attributes"]:
            parts.put(env.unwrapped, key, values[key], in_place=False)
        if self._parts["fields"]:
            module = parts.mujoco_fields(self.title)
            for key in self._parts["fields"]:
                parts.put(module.model_of(env, self.title), key, values[key], in_place=True)
            module.settle(env)
        self.apply(env, values)
        return {key: values[key] for key in self._parts["options"]}

    def apply(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        """Change in ``env``, before its reset, all else that a task changes; for a subclass.

        Args:
            task: the value of each name, numbers as floats, those of a ``Choice`` as they were given there.
        """

    def make(self, render_mode: str | None = None) -> gymnasium.Env[NDArray[Any], Any]:
        """Return one environment; with a ``render_mode`` that it has, its ``render()`` gives pictures."""
        can = self._draws_itself and render_mode in self._metadata.get("render_modes", [])
        drawn = render_mode if can else None
        spare = self._spare if drawn is None else None
        self._spare = self._spare if spare is None else None
        env = GymEnv(self, spare, drawn)
        env.metadata = self._metadata
        return env

    def make_vec(self, num_envs: int) -> SingleRows:
        """Return ``num_envs`` environments, stepped one after another."""
        return SingleRows(self, num_envs)
