"""Spaces as networks see them: what an observation becomes, number by number, and what is refused."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple

from metarl_envs.any_gym.spaces import reader, writer
from row_by_row import refused

GREY, BYTE, NINE = Box(0, 255, (6, 5), np.uint8), Box(0, 255, (1,), np.uint8), Box(-9.0, 9.0, (1,))


def checked(space: gymnasium.Space[Any], obs: Any) -> Any:
    """What is read of an observation, in the reader's space."""
    found = reader(space)
    read = found.read(obs)
    assert read in found.space and read.dtype == found.space.dtype
    return read


@pytest.mark.parametrize(
    ("space", "obs", "wanted"),
    [
        (Box(-1.0, 1.0, (2,), np.float64), np.array([0.5, 0.1]), [0.5, 0.1]),
        (Box(-1.0, 1.0, (), np.float32), np.float32(0.5), [0.5]),
        (Box(-1.0, 1.0, (2, 2), np.float32), np.array([[1.0, 0.5], [0.25, 0.0]]), [1, 0.5, 0.25, 0]),
        (Box(-5, 5, (2,), np.int64), np.array([-5, 3]), [-5, 3]),
        (Box(0, 255, (3,), np.uint8), np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (Discrete(3, start=2), 3, [0, 1, 0]),
        (MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (Dict({"b": Discrete(2), "a": BYTE}), {"b": 1, "a": np.array([255], np.uint8)}, [1, 0, 1]),
        (Tuple([Discrete(2), Dict({"x": NINE})]), (0, {"x": np.array([7.0], np.float32)}), [1, 0, 7]),
    ],
)
def test_everything_but_images_becomes_a_vector(space: Any, obs: Any, wanted: list[float]) -> None:
    read = checked(space, obs)
    assert read.dtype == np.float32 and read.tolist() == np.array(wanted, np.float32).tolist()


def test_the_bounds_follow() -> None:
    space = reader(Dict({"a": Box(0, 255, (1,), np.uint8), "b": Box(-2.0, np.inf, (1,), np.float64)})).space
    assert space == Box(np.array([0, -2], np.float32), np.array([1, np.inf], np.float32), dtype=np.float32)
    low = np.zeros((6, 5, 1), np.float32)
    low[2, 3] = -1.0
    assert reader(Box(low, low + 2.0, dtype=np.float32)).space.low[0, 2, 3] == -1.0


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((7, 8, 3), np.uint8, (2, 0, 1)),  # (height, width, channels)
        ((3, 7, 8), np.uint8, (0, 1, 2)),  # (channels, height, width)
        ((4, 84, 84), np.uint8, (0, 1, 2)),
        ((6, 6, 6), np.uint8, (2, 0, 1)),  # a tie: channels last
        ((7, 8, 3), np.float32, (2, 0, 1)),
        ((7, 8, 3), np.float64, (2, 0, 1)),
        ((6, 5), np.uint8, None),  # grey
        ((2, 7, 8, 3), np.uint8, (0, 3, 1, 2)),  # two frames
        ((4, 6, 5, 1), np.uint8, (0, 3, 1, 2)),
    ],
)
def test_images_have_their_channels_first(shape: tuple[int, ...], dtype: Any, axes: Any) -> None:
    obs = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    space = Box(0, 255, shape, dtype)
    read = checked(space, obs)
    turned = obs[None] if axes is None else np.transpose(obs, axes)
    wanted = turned.reshape(-1, *turned.shape[-2:])
    assert read.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert np.array_equal(read, wanted) and read.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((4, 5, 3), np.uint8), ((6, 5), np.float32), ((7, 8, 3), np.int64), ((2, 7, 8, 3), np.float32)],
)
def test_what_only_resembles_an_image_is_a_vector(shape: tuple[int, ...], dtype: Any) -> None:
    assert reader(Box(0, 200, shape, dtype)).space.shape == (int(np.prod(shape)),)


@pytest.mark.parametrize(
    ("space", "line"),
    [
        (Text(5), "observation space Text"),
        (Sequence(Discrete(2)), "observation space Sequence"),
        (Graph(Discrete(2), None), "observation space Graph"),
        (
            Dict({"a": Discrete(2), "b": Text(5)}),
            "a part of Dict; allowed: Box, Discrete, MultiDiscrete, Multi",
        ),
        (Tuple([Dict({"b": Text(5)})]), "a part of Tuple; allowed"),
        (Dict({}), "has no numbers"),
        (Box(0.0, 1.0, (0,)), "has no numbers"),
    ],
)
def test_other_observations_are_refused(space: Any, line: str) -> None:
    with refused(line):
        reader(space)


@pytest.mark.parametrize(
    ("space", "obs", "line"),
    [
        (GREY, np.full((6, 5), 256), "observation from 256 to 256; allowed: Box(0, 255"),
        (GREY, np.full((6, 5), -1.0), "observation from -1.0 to -1.0"),
        (GREY, np.zeros((5, 6), np.uint8), "observation of shape (5, 6); allowed: (6, 5)"),
        (Box(0, 9, (2,), np.int8), np.array([300, 0]), "observation from 0 to 300"),
    ],
)
def test_what_a_cast_would_hide_is_told(space: Any, obs: Any, line: str) -> None:
    with refused(line):
        reader(space).read(obs)


def test_actions_by_hand() -> None:
    two, write = writer(
        Box(np.array([[-1.0], [-2.0]], np.float64), np.array([[1.0], [2.0]], np.float64), dtype=np.float64)
    )
    assert two == Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))
    written = write(np.array([5.0, 0.5], np.float32))
    assert written.tolist() == [[1.0], [0.5]] and written.dtype == np.float64
    scalar = writer(Box(-1.0, 1.0, ()))
    assert scalar.space.shape == (1,) and scalar.write(np.array([0.5])).shape == ()
    one = writer(Discrete(3, start=-1))
    assert one.space == Discrete(3, start=-1)
    assert one.write(np.float64(-1)) in one.space
    grid = MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[0, 1], [2, 3]]))
    many = writer(grid)
    assert many.space == MultiDiscrete([2, 3, 4, 5], start=[0, 1, 2, 3])
    assert many.write(np.array([1, 2, 3, 4])).tolist() == [[1, 2], [3, 4]]
    assert many.write(np.array([1, 2, 3, 4])) in grid


@pytest.mark.parametrize(
    "space",
    [Dict({"a": Discrete(2)}), Tuple([Discrete(2)]), MultiBinary(2), Box(0, 9, (2,), np.int64), Text(3)],
)
def test_other_actions_are_refused(space: Any) -> None:
    with refused("action space ", "Box of floats, Discrete, MultiDiscrete"):
        writer(space)
