"""The linear feature baseline against one least-squares problem a task, and advantages end to end."""

import dataclasses

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.advantages import (
    IMAGES_AT_ONCE,
    explained_variance,
    fit_linear,
    image_features,
    linear_features,
    with_advantage,
)
from metarl.core.batch import Episodes
from tiny import close, episodes, masks, model, one, randn

GAMMA, LAM = 0.9, 0.8


def batch() -> Episodes:
    return episodes(1, model()[1])


def long_batch() -> Episodes:
    """3 tasks × 6 episodes × 9 steps: more steps than features, so that the fit means something."""
    mask = (
        (torch.arange(9)[None, None, :] < torch.tensor([[9, 4, 7, 1, 9, 5]])[..., None])
        .double()
        .expand(3, 6, 9)
    )
    last = mask * (1 - torch.cat([mask[..., 1:], torch.zeros(3, 6, 1)], -1))
    even = (torch.arange(6) % 2 == 0)[None, :, None]
    obs, reward = 2 * randn(1, 3, 6, 9, 2), randn(2, 3, 6, 9)
    return Episodes(
        obs=obs,
        action=randn(3, 3, 6, 9, 2),
        reward=reward + obs[..., 0],
        terminated=(last > 0) & even,
        truncated=(last > 0) & ~even,
        mask=mask.contiguous(),
        log_prob=torch.zeros_like(reward),
        final_obs=randn(4, 3, 6, 2),
        advantage=torch.zeros_like(reward),
        target=torch.zeros_like(reward),
    )


def slow_advantage(part: Episodes) -> tuple[Tensor, Tensor, Tensor]:
    """One task's advantage before normalisation, its values and its returns, all in loops."""
    returns = reference.discounted_returns(part.reward, part.mask, GAMMA)
    weights = reference.fit_linear(part.obs, part.mask, returns)
    value = torch.stack(
        [torch.stack([reference.features(o, t) @ weights for t, o in enumerate(e)]) for e in part.obs]
    )
    final = torch.zeros_like(part.reward[:, 0])
    return reference.gae(part.reward, value, final, part.terminated, part.mask, GAMMA, LAM), value, returns


def test_features_of_images_by_hand() -> None:
    """Nine means a channel, row by row: of 2×2 pixels in a 6×6 image, of bytes out of 255; then the clock."""
    rows = torch.arange(6).repeat_interleave(6).reshape(6, 6)
    image = torch.stack([10 * rows, rows.T, torch.full((6, 6), 255)])
    means = [5.0, 5.0, 5.0, 25.0, 25.0, 25.0, 45.0, 45.0, 45.0, *[0.5, 2.5, 4.5] * 3, *[255.0] * 9]
    clock = [0.5, 0.25, 0.125, 1.0]
    time = torch.tensor([50.0], dtype=torch.float64)
    found = image_features(image.to(torch.uint8)[None], time)
    close(found, torch.tensor([[*(m / 255 for m in means), *clock]], dtype=torch.float64), 1e-7)
    found = image_features(image.double()[None], time)  # numbers that are no bytes are clipped to 10
    close(found, torch.tensor([[*(min(m, 10.0) for m in means), *clock]], dtype=torch.float64))


def test_many_images_are_read_a_few_at_a_time_and_each_as_it_is_alone() -> None:
    images = torch.randint(256, (3, IMAGES_AT_ONCE // 2, 2, 5, 7), dtype=torch.uint8)
    time = torch.arange(IMAGES_AT_ONCE // 2).double()
    found = image_features(images, time)
    assert found.shape == (3, IMAGES_AT_ONCE // 2, 2 * 9 + 4)
    for task, step in ((0, 0), (1, 3), (2, -1)):
        close(found[task, step], image_features(images[task, step], time[step]), 1e-7)


def test_advantages_of_images_are_those_of_their_few_means() -> None:
    part = long_batch()
    images = torch.randint(256, (3, 6, 9, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    advantage, found = with_advantage(dataclasses.replace(part, obs=images.to(torch.uint8)), GAMMA, LAM)
    for i in range(3):
        mask = part.mask[i]
        returns = reference.discounted_returns(part.reward[i], mask, GAMMA)
        time = torch.arange(9).double()[:, None] / 100
        clock = torch.cat([time, time**2, time**3, torch.ones_like(time)], 1).expand(6, 9, 4)
        x = torch.cat([images[i].flatten(2) / 255, clock], -1)
        design = x[mask > 0]  # of a square: 1e-5 is added to it
        weights = torch.linalg.solve(design.T @ design + 1e-5 * torch.eye(13), design.T @ returns[mask > 0])
        close(found.explained[i], explained_variance(x @ weights, returns, mask), 1e-6)
    assert bool((found.explained > 0).all()) and bool(advantage.advantage.any())


def test_features_by_hand() -> None:
    # Observation (-2, 30), the second clipped to 10; squares 4, 100; t = 50: 0.5, 0.25, 0.125; 1.
    found = linear_features(torch.tensor([[-2.0, 30.0]]), torch.tensor([50.0]))
    assert found.tolist() == [[-2.0, 10.0, 4.0, 100.0, 0.5, 0.25, 0.125, 1.0]]
    close(found[0], reference.features(torch.tensor([-2.0, 30.0], dtype=torch.float64), 50))


def test_the_first_step_has_time_zero() -> None:
    found = linear_features(torch.zeros(1, 3, 1), torch.arange(3.0))
    assert found[0, :, 2].tolist() == pytest.approx([0.0, 0.01, 0.02])


def test_fit_is_the_ridge_solution_of_each_task() -> None:
    part = long_batch()
    features = linear_features(part.obs, torch.arange(9.0))
    target = randn(5, 3, 6, 9)
    weights = fit_linear(features, part.mask, target)
    assert weights.shape == (3, 8)
    for i in range(3):
        close(weights[i], reference.fit_linear(part.obs[i], part.mask[i], target[i]), 1e-6)


def test_ridge_is_as_strong_as_stated() -> None:
    # One feature of 1 in two steps, returns 3 and 3: w = 6 / (2 + ridge).
    ones = torch.ones(1, 2, 1, dtype=torch.float64)
    found = fit_linear(ones, ones[..., 0], 3 * ones[..., 0], ridge=1.0)
    assert float(found) == pytest.approx(2.0)
    assert float(fit_linear(ones, ones[..., 0], 3 * ones[..., 0])) == pytest.approx(6 / (2 + 1e-5), rel=1e-12)


def test_advantages_equal_the_definition() -> None:
    whole = long_batch()
    found, estimate = with_advantage(whole, GAMMA, LAM)
    for i in range(3):
        slow, value, returns = slow_advantage(one(whole, i))
        steps = whole.mask[i] > 0
        expected = (slow[steps] - slow[steps].mean()) / slow[steps].std(correction=0)
        close(found.advantage[i][steps], expected, 1e-6)
        assert bool((found.advantage[i][~steps] == 0).all())
        left = (returns - value)[steps].var(correction=0) / returns[steps].var(correction=0)
        close(estimate.explained[i], 1 - left, 1e-6)
        close(estimate.std[i], slow[steps].std(correction=0), 1e-6)
        close(estimate.start_return[i], returns[:, 0].mean(), 1e-12)


def test_what_the_horizon_cuts_off_is_worth_nothing() -> None:
    whole = long_batch()
    terminated = dataclasses.replace(
        whole, terminated=whole.terminated | whole.truncated, truncated=torch.zeros_like(whole.truncated)
    )
    found = [with_advantage(batch, GAMMA, LAM)[0].advantage for batch in (whole, terminated)]
    close(found[0], found[1])


def test_fit_and_advantage_are_per_task() -> None:
    whole = long_batch()
    changed = dataclasses.replace(whole, reward=whole.reward.clone())
    changed.reward[1] = 7 * changed.reward[1] ** 2
    before, after = (with_advantage(b, GAMMA, LAM) for b in (whole, changed))
    for i, same in enumerate((True, False, True)):
        assert torch.equal(before[0].advantage[i], after[0].advantage[i]) is same
        assert torch.equal(before[1].explained[i], after[1].explained[i]) is same


def test_ten_times_the_reward_is_the_same_update() -> None:
    whole = long_batch()
    ten = dataclasses.replace(whole, reward=10 * whole.reward)
    before, after = (with_advantage(b, GAMMA, LAM)[0].advantage for b in (whole, ten))
    close(after, before, 1e-6)


def test_padding_has_no_say() -> None:
    whole = long_batch()
    empty = 1 - whole.mask
    other = dataclasses.replace(whole, reward=whole.reward + 50 * empty, obs=whole.obs + 5 * empty[..., None])
    before, after = (with_advantage(b, GAMMA, LAM) for b in (whole, other))
    close(after[0].advantage, before[0].advantage, 1e-6)
    close(after[1].explained, before[1].explained, 1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, -7.7, 1e6])
def test_equal_returns_leave_nothing_to_explain(value: float) -> None:
    """Also where their mean is not the number itself, by a rounding error."""
    returns = torch.full((1, 3, 5), value, dtype=torch.float64)
    guess = returns + 1e-9 * randn(1, 1, 3, 5)
    assert explained_variance(guess, returns, torch.ones_like(returns)).tolist() == [0.0]


def test_returns_that_the_features_carry_are_explained() -> None:
    mask, x = masks(), randn(1, 3, 2, 4)
    close(explained_variance(x, x, mask), torch.ones(3, dtype=torch.float64))
    close(explained_variance(torch.zeros_like(x), x, mask), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(explained_variance(x, torch.ones_like(x), mask), torch.zeros(3, dtype=torch.float64))


def test_float32_batches_lose_nothing_in_the_fit() -> None:
    whole = long_batch()
    single = Episodes(**{f.name: _single(getattr(whole, f.name)) for f in dataclasses.fields(whole)})
    found, _ = with_advantage(single, GAMMA, LAM)
    assert found.advantage.dtype == torch.float32
    close(found.advantage.double(), with_advantage(whole, GAMMA, LAM)[0].advantage, 1e-3)


def _single(x: Tensor | None) -> Tensor | None:
    return x.float() if x is not None and x.dtype == torch.float64 else x
