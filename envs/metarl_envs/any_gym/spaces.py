"""Gymnasium's spaces as networks read and write them: observations become one Box, actions one flat array."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Tuple,
    flatdim,
    flatten,
    flatten_space,
)
from numpy.typing import NDArray

SMALLEST = 5  # pixels in height and width of what counts as an image


class Reader(NamedTuple):
    """Observations as networks read them: their space, and the function that makes one of an observation."""

    space: Box
    read: Callable[[Any], NDArray[Any]]


class Writer(NamedTuple):
    """Actions as policies give them: their space, and the function that makes the environment's of one."""

    space: Box | Discrete | MultiDiscrete
    write: Callable[[Any], Any]


def reader(space: gymnasium.Space[Any]) -> Reader:
    """Return the reader of a space's observations.

    * A Box that is an image is brought to (channels, height, width) in its own type (float64 in single
      precision): three axes, or in uint8 two (grey) or four (frames, which become channels), with at least
      ``SMALLEST`` pixels in height and width. The channels are the shorter of the first and the last axis,
      the last where both are equal; of four axes the first are the frames.
    * Everything else becomes a vector of float32 by Gymnasium's ``flatten``: other Boxes, Discrete and
      MultiDiscrete (one-hot), MultiBinary, Dict and Tuple of all these. Numbers in uint8 are divided by 255.

    Raises:
        ValueError: a space, or a part of one, that is none of these; it says what is allowed.
    """
    parts = list(_parts(space))
    for part in parts:
        if not isinstance(part, Box | Discrete | MultiDiscrete | MultiBinary):
            allowed = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these"
            within = "" if part is space else f", a part of {type(space).__name__}"
            raise ValueError(f"observation space {part}{within}; allowed: {allowed}")
    if isinstance(space, Box) and (order := _image(space)):
        return _image_reader(space, order)
    if not sum(map(flatdim, parts)):
        raise ValueError(f"observation space {space} has no numbers; allowed: one or more")
    if isinstance(space, Box) and space.dtype.kind == "f":
        return _vector_reader(space)  # the most frequent, and four times as fast as ``flatten``
    sizes = [(flatdim(part), 255 if part.dtype == np.uint8 else 1) for part in parts]
    top_values = np.concatenate([np.full(size, top, np.float32) for size, top in sizes])

    def read(obs: Any) -> NDArray[Any]:
        return np.asarray(flatten(space, _within(space, obs)) / top_values, np.float32)

    flat = flatten_space(space)
    assert isinstance(flat, Box), "all parts are arrays"
    low, high = (np.asarray(bound, np.float32) / top_values for bound in (flat.low, flat.high))
    return Reader(Box(low, high, dtype=np.float32), read)


def _vector_reader(space: Box) -> Reader:
    def read(obs: Any) -> NDArray[Any]:
        vector = np.asarray(obs, np.float32)
        if vector.shape != space.shape:
            raise ValueError(f"observation of shape {vector.shape}; allowed: {space.shape}")
        return vector.ravel()

    low, high = (bound.ravel().astype(np.float32) for bound in (space.low, space.high))
    return Reader(Box(low, high, dtype=np.float32), read)


def _parts(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    """Yield the leaves of a space in the order of ``flatten``."""
    if isinstance(space, Dict | Tuple):
        for part in space.spaces.values() if isinstance(space, Dict) else space.spaces:
            yield from _parts(part)
    else:
        yield space


def _within(space: gymnasium.Space[Any], obs: Any) -> Any:
    """Refuse an observation whose misfit to a type of whole numbers ``flatten`` would not notice."""
    if isinstance(space, Box) and space.dtype.kind in "iu" and np.asarray(obs).dtype != space.dtype:
        numbers = np.asarray(obs)
        if ((numbers < space.low) | (numbers > space.high)).any():
            raise ValueError(f"observation from {numbers.min()} to {numbers.max()}; allowed: {space}")
    return obs


def _image(space: Box) -> tuple[int, ...]:
    """Return the axes of an image in the order (frames,) channels, height, width; () if it is none."""
    axes, grey = len(space.shape), space.dtype == np.uint8
    if axes not in ((2, 3, 4) if grey else (3,)) or (not grey and space.dtype.kind != "f"):
        return ()
    frames, picture = tuple(range(axes - 3)), tuple(range(max(axes - 3, 0), axes))
    if axes > 2:
        first, last = picture[0], picture[-1]
        channels_last = space.shape[last] <= space.shape[first]
        picture = (last, *picture[:-1]) if channels_last else picture
    if min(space.shape[axis] for axis in picture[-2:]) < SMALLEST:
        return ()
    return (*frames, *picture)


def _image_reader(space: Box, order: tuple[int, ...]) -> Reader:
    dtype: type[np.uint8] | type[np.float32] = np.uint8 if space.dtype == np.uint8 else np.float32
    height_width = tuple(space.shape[axis] for axis in order[-2:])

    def turn(image: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(image.transpose(order).reshape(-1, *height_width), dtype)

    def read(obs: Any) -> NDArray[Any]:
        image: NDArray[Any] = np.asarray(_within(space, obs))
        if image.shape != space.shape:
            raise ValueError(f"observation of shape {image.shape}; allowed: {space.shape}")
        return turn(image)

    return Reader(Box(turn(space.low), turn(space.high), dtype=dtype), read)


def writer(space: gymnasium.Space[Any]) -> Writer:
    """Return the writer of a space's actions.

    Policies act by Discrete, or by one axis of numbers: a Box of floats, cut to its bounds, or MultiDiscrete.

    Raises:
        ValueError: another space; it says what is allowed.
    """
    if isinstance(space, Discrete):
        return Writer(space, np.int64)
    if isinstance(space, MultiDiscrete):
        choices, shape, dtype = space.nvec.ravel(), space.shape, space.dtype
        flat = MultiDiscrete(choices, start=np.asarray(space.start).ravel())
        return Writer(flat, lambda action: np.asarray(action, dtype).reshape(shape))
    if isinstance(space, Box) and space.dtype.kind == "f" and space.low.size:
        low, high, dtype = space.low, space.high, space.dtype
        flat_box = Box(low.ravel().astype(np.float32), high.ravel().astype(np.float32), dtype=np.float32)
        return Writer(
            flat_box,
            lambda action: np.minimum(np.maximum(np.asarray(action, dtype).reshape(low.shape), low), high),
        )
    raise ValueError(f"action space {space}; allowed: Box of floats, Discrete, MultiDiscrete")
