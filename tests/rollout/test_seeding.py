"""Addressed randomness: pinned bits, no two addresses alike, and what is no address."""

import itertools
import re

import numpy as np
import pytest

from metarl.core.errors import RequestError
from metarl.rollout import seeding


def test_the_bits_of_an_address_never_change():
    assert seeding.generator(1, "tasks", 0).integers(0, 2**32, 3).tolist() == [
        1579379715,
        3854156815,
        711498723,
    ]
    assert seeding.seeds(1, "starts", 2, 3, n=2).tolist() == [18098189466403274105, 1107626748450239036]
    assert seeding.generator(0, "init").random() == 0.36480310130787075


def test_purposes_keep_their_numbers():
    first = {"init": 1, "tasks": 2, "starts": 3, "actions": 4, "shots": 5, "minibatches": 6, "bootstrap": 7}
    assert seeding.PURPOSES.items() >= first.items()  # append only
    assert len(set(seeding.PURPOSES.values())) == len(seeding.PURPOSES)


def test_no_two_addresses_share_their_bits():
    indices = [(), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (1, 0, 0), (2**32 - 1,), (2, 1), (1, 2)]
    addresses = list(itertools.product((0, 1, 2**32, 2**64 - 1), seeding.PURPOSES, indices))
    numbers = np.array([seeding.seeds(seed, purpose, *i, n=2) for seed, purpose, i in addresses])
    assert np.unique(numbers).size == 2 * len(addresses)
    draws = {seeding.generator(seed, purpose, *i).bytes(16) for seed, purpose, i in addresses}
    assert len(draws) == len(addresses)


def test_purpose_and_length_are_no_index():
    # The key is (length, purpose, indices): nothing one may pass as indices can imitate another purpose.
    assert seeding.generator(3, "tasks", 2).random() != seeding.generator(3, "init", 1, 2).random()
    assert seeding.generator(3, "starts").random() != seeding.generator(3, "init", 3).random()


def test_each_call_starts_over_and_more_seeds_begin_with_fewer():
    one, two = seeding.generator(5, "actions", 1, 2), seeding.generator(5, "actions", 1, 2)
    assert np.array_equal(one.random(50), two.random(50))
    many = seeding.seeds(5, "starts", 7, n=400)
    assert many.dtype == np.uint64 and many.shape == (400,) and np.unique(many).size == 400
    assert np.array_equal(seeding.seeds(5, "starts", 7, n=3), many[:3])
    assert seeding.seeds(5, "starts", 7, n=0).shape == (0,)


@pytest.mark.parametrize("root", [0, 5, 2**32 - 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("indices", [(), (0,), (2, 7), (1, 2, 3), (1, 2, 2**32 - 1, 0, 9)])
def test_many_addresses_at_once_are_each_by_itself(root: int, indices: tuple[int, ...]) -> None:
    for last in (range(5), range(1, 2), range(2**32 - 3, 2**32), range(3, 3)):
        each = [seeding.seeds(root, "starts", *indices, i, n=7) for i in last]
        found = seeding.seeds_of_each(root, "starts", *indices, last=last, n=7)
        assert found.dtype == np.uint64 and np.array_equal(found, np.reshape(each, (len(last), 7)))
        for i, rng in zip(last, seeding.generators(root, "actions", *indices, last=last), strict=True):
            assert rng.bytes(40) == seeding.generator(root, "actions", *indices, i).bytes(40)
    assert seeding.seeds_of_each(root, "starts", *indices, last=range(2), n=0).shape == (2, 0)


def test_addresses_out_of_range_are_refused_in_many_too() -> None:
    for last in (range(-1, 2), range(2**32 - 1, 2**32 + 1)):
        with pytest.raises(RequestError, match=r"index 1 of 'starts' is"):
            seeding.seeds_of_each(1, "starts", 0, last=last, n=1)


def test_numpy_integers_are_as_good_as_ints():
    address = (np.int64(5), "tasks", np.uint32(3))
    assert np.array_equal(seeding.seeds(*address, n=4), seeding.seeds(5, "tasks", 3, n=4))


@pytest.mark.parametrize(
    ("seed", "purpose", "index", "message"),
    [
        (1, "task", 0, "unknown purpose 'task' of randomness; allowed: init, tasks, starts"),
        (-1, "tasks", 0, "seed is -1; allowed: integers from 0 to 2**64 - 1"),
        (2**64, "tasks", 0, "seed is 18446744073709551616; allowed: integers from 0 to 2**64 - 1"),
        (1, "tasks", -1, "index 0 of 'tasks' is -1; allowed: integers from 0 to 2**32 - 1"),
        (1, "tasks", 2**32, "index 0 of 'tasks' is 4294967296; allowed: integers from 0 to 2**32 - 1"),
    ],
)
def test_what_is_no_address_is_refused(seed, purpose, index, message):
    for draw in (seeding.generator, lambda *address: seeding.seeds(*address, n=1)):
        with pytest.raises(RequestError, match=f"^{re.escape(message)}"):
            draw(seed, purpose, index)


def test_a_negative_number_of_seeds_is_refused():
    with pytest.raises(RequestError, match=r"^n is -1; allowed: integers from 0"):
        seeding.seeds(1, "tasks", n=-1)
