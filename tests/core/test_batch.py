"""Episodes and labelled examples as trees, and averages that count each step once."""

import dataclasses

import pytest
import torch

from metarl.core.batch import Episodes, Shots, every, masked_mean, undiscounted_returns
from metarl.core.params import concat, leaves, replace_leaves, split, tree_map
from tiny import close, episodes, model, one, randn, shots


def batch() -> Episodes:
    return episodes(1, model()[1])


def test_episodes_are_a_tree_of_all_their_fields() -> None:
    whole = dataclasses.replace(batch(), success=randn(9, 3, 2))
    fields = [getattr(whole, f.name) for f in dataclasses.fields(Episodes)]
    found = leaves(whole)
    assert len(found) == len(fields) == 11
    assert all(torch.equal(a, b) for a, b in zip(found, fields, strict=True))
    back = replace_leaves(whole, found)
    assert isinstance(back, Episodes) and torch.equal(back.final_obs, whole.final_obs)
    assert torch.equal(back.success, whole.success)


def test_success_that_nobody_speaks_of_is_no_part_of_the_tree() -> None:
    assert len(leaves(batch())) == 10
    assert tree_map(lambda x: x + 1, batch()).success is None
    assert concat([batch(), batch()]).success is None
    whole = dataclasses.replace(batch(), success=torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert torch.vmap(lambda b: b.success.mean())(whole).tolist() == [0.5, 1.0, 0.0]
    assert torch.equal(concat([whole, whole]).success[3:], whole.success)
    assert torch.equal(every(whole, 3).success, whole.success)


def test_rebuilding_accepts_what_transforms_put_into_the_leaves() -> None:
    shapes = tree_map(lambda x: x.shape, batch())
    assert isinstance(shapes, Episodes) and shapes.reward == (3, 2, 4)


def test_vmap_sees_one_task_at_a_time() -> None:
    sums = torch.vmap(lambda b: (b.reward * b.mask).sum() + b.final_obs.sum())(batch())
    for i in range(3):
        part = one(batch(), i)
        close(sums[i], (part.reward * part.mask).sum() + part.final_obs.sum())


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(Exception, match=r"mask|reward|log_prob"):
        dataclasses.replace(batch(), mask=torch.ones(3, 2, 5))
    with pytest.raises(Exception, match="terminated"):
        dataclasses.replace(batch(), terminated=torch.zeros(3, 2, 4))


def test_undiscounted_returns_by_hand() -> None:
    # Episode 1: 1 + 2 = 3 (the 9 is padding); episode 2: 4 + 5 + 6 = 15. Mean over the two: 9.
    reward = torch.tensor([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    small = dataclasses.replace(
        tree_map(lambda x: x[0, :, :3], batch()), reward=reward, mask=mask, final_obs=batch().final_obs[0]
    )
    assert float(undiscounted_returns(small)) == 9.0


def test_masked_mean_counts_steps_not_episodes() -> None:
    # An episode of one step worth 4 and one of three steps worth 0: mean 1 over steps, 2 over episodes.
    x = torch.tensor([[4.0, 7.0, 7.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert float(masked_mean(x, mask)) == 1.0
    assert float(masked_mean(x, torch.zeros_like(mask))) == 0.0  # nothing happened: no NaN


@pytest.mark.parametrize("task_axis", [True, False])
def test_every_thins_the_time_axis_alone(task_axis: bool) -> None:
    whole = batch() if task_axis else one(batch(), 0)
    thin = every(whole, 3)
    for name in ("obs", "action", "reward", "terminated", "truncated", "mask", "log_prob", "advantage"):
        full, part = getattr(whole, name), getattr(thin, name)
        time = whole.reward.ndim - 1
        assert torch.equal(part, full.index_select(time, torch.tensor([0, 3]))) and part.is_contiguous()
    assert torch.equal(thin.final_obs, whole.final_obs)


def test_every_with_stride_one_changes_nothing() -> None:
    assert all(torch.equal(a, b) for a, b in zip(leaves(every(batch(), 1)), leaves(batch()), strict=True))


# Labelled examples -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mse", "cross-entropy"])
def test_shots_are_a_tree_of_inputs_and_labels(kind: str) -> None:
    batch = shots(1, kind)
    assert all(map(torch.equal, leaves(batch), [batch.x, batch.y]))
    back = replace_leaves(batch, leaves(batch))
    assert isinstance(back, Shots) and torch.equal(back.y, batch.y)
    assert batch.y.dtype == (torch.float64 if kind == "mse" else torch.int64)
    parts = split(batch, 1)
    assert [tuple(part.x.shape) for part in parts] == [(1, 5, 2)] * 3
    assert all(map(torch.equal, leaves(concat(parts)), leaves(batch)))
    shapes = tree_map(lambda x: x.shape, batch)
    assert isinstance(shapes, Shots) and shapes.x == (3, 5, 2)


def test_vmap_sees_the_examples_of_one_task_at_a_time() -> None:
    batch = shots(1, "cross-entropy")
    sums = torch.vmap(lambda b: b.x.sum() + b.y[0] - b.y[1])(batch)
    close(sums, batch.x.sum((1, 2)) + batch.y[:, 0] - batch.y[:, 1])


def test_a_network_reads_observations_or_examples() -> None:
    assert torch.equal(batch().inputs, batch().obs)
    assert torch.equal(shots(1).inputs, shots(1).x)


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        shots(1).x = torch.zeros(3, 5, 2)  # type: ignore[misc]
