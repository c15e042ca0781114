"""Returns and advantages: numbers worked by hand, and the definitions summed in loops."""

import pytest
import torch
from torch import Tensor

import reference
from metarl.core.returns import credit, discounted_returns, gae, normalise
from tiny import close, masks, randn


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def yes(*values: int) -> Tensor:
    return torch.tensor([values], dtype=torch.bool)


def test_discounted_returns_by_hand() -> None:
    # Three steps, gamma 1/2: 3; 2 + 3/2 = 3.5; 1 + 3.5/2 = 2.75. The 9 is padding.
    out = discounted_returns(row(1, 2, 3, 9), row(1, 1, 1, 0), 0.5)
    assert out.tolist() == [[2.75, 3.5, 3.0, 0.0]]


def test_what_follows_the_last_step_is_discounted_too() -> None:
    # As above, with 8 after the third step: 3 + 4 = 7; 2 + 3.5 = 5.5; 1 + 2.75 = 3.75.
    out = discounted_returns(row(1, 2, 3, 9), row(1, 1, 1, 0), 0.5, row(8)[0])
    assert out.tolist() == [[3.75, 5.5, 7.0, 0.0]]


def test_credit_by_hand() -> None:
    # Returns 1, 4, 10 are measured against 7, 5.5, 2.5: -6, -1.5, 7.5. Episodes of 2 and 4 steps are 3 on
    # average, of 4 and 4 steps 4, of 1 and 1 step 1; the deviations 3, 0 and 6 have the mean square 15.
    lengths = torch.tensor([[2, 4], [4, 4], [1, 1]])
    mask = (torch.arange(4) < lengths[..., None]).double()
    found = credit(row(1, 4, 10)[0], row(3, 0, 6)[0], mask)
    close(found * 15**0.5, torch.tensor([-6 / 3, -1.5 / 4, 7.5 / 1], dtype=torch.float64), 1e-6)
    alone = credit(row(3)[0], row(1)[0], torch.ones(1, 1, 4, dtype=torch.float64))
    close(alone, torch.tensor([3 / 4], dtype=torch.float64), 1e-6)  # nobody to be compared with


def test_gae_of_a_terminated_episode_by_hand() -> None:
    # gamma = lambda = 1/2, values 1. Deltas: 1 + 1/2 - 1 = 0.5; 2 + 1/2 - 1 = 1.5; 3 + 0 - 1 = 2.
    # Advantages: 2; 1.5 + 2/4 = 2; 0.5 + 2/4 = 1. The final value (2) and the padding (9, 7) do not count.
    out = gae(row(1, 2, 3, 9), row(1, 1, 1, 7), row(2)[0], yes(0, 0, 1, 0), row(1, 1, 1, 0), 0.5, 0.5)
    assert out.tolist() == [[1.0, 2.0, 2.0, 0.0]]


def test_gae_of_a_truncated_episode_by_hand() -> None:
    # As above, but the third delta is 3 + 2/2 - 1 = 3: advantages 3; 1.5 + 3/4; 0.5 + 2.25/4.
    out = gae(row(1, 2, 3, 9), row(1, 1, 1, 7), row(2)[0], yes(0, 0, 0, 0), row(1, 1, 1, 0), 0.5, 0.5)
    assert out.tolist() == [[1.0625, 2.25, 3.0, 0.0]]


@pytest.mark.parametrize("ends", [True, False])
def test_gae_of_an_episode_that_fills_its_row_is_the_same(ends: bool) -> None:
    short = gae(row(1, 2, 3), row(1, 1, 1), row(2)[0], yes(0, 0, ends), row(1, 1, 1), 0.5, 0.5)
    padded = gae(row(1, 2, 3, 9), row(1, 1, 1, 7), row(2)[0], yes(0, 0, ends, 0), row(1, 1, 1, 0), 0.5, 0.5)
    assert torch.equal(short, padded[:, :3])


def test_truncation_is_not_termination() -> None:
    """Reward 1 a step is worth 1/(1 - gamma) under a time limit, (1 - gamma^n)/(1 - gamma) before an end."""
    gamma, steps = 0.9, 5
    left = torch.arange(steps, 0, -1, dtype=torch.float64)
    ones, never = torch.ones(1, steps, dtype=torch.float64), torch.zeros(1, steps, dtype=torch.bool)
    last = never.clone()
    last[0, -1] = True
    for_ever = torch.full((1,), 1 / (1 - gamma), dtype=torch.float64)
    endless, finite = for_ever.expand(1, steps), ((1 - gamma**left) / (1 - gamma))[None]
    zero = torch.zeros(1, steps, dtype=torch.float64)
    for lam in (0.0, 0.5, 1.0):  # at the exact values every advantage is 0
        close(gae(ones, endless, for_ever, never, ones, gamma, lam), zero, 1e-12)
        close(gae(ones, finite, for_ever, last, ones, gamma, lam), zero, 1e-12)
        # The other way round, each is off by what was forgotten: gamma^n V, discounted by lambda too.
        wrong = gae(ones, endless, for_ever, last, ones, gamma, lam)
        close(wrong[0], -(gamma**left) * lam ** (left - 1) * for_ever)


def test_gae_equals_its_definition_on_ragged_episodes() -> None:
    mask, reward, value, final = masks(), randn(1, 3, 2, 4), randn(2, 3, 2, 4), randn(3, 3, 2)
    terminated = torch.zeros(3, 2, 4, dtype=torch.bool)
    terminated[0, 1, 1] = terminated[1, 0, 0] = terminated[2, 1, 2] = True
    fast = gae(reward, value, final, terminated, mask, 0.9, 0.7)
    for i in range(3):
        slow = reference.gae(reward[i], value[i], final[i], terminated[i], mask[i], 0.9, 0.7)
        close(fast[i], slow)


def test_discounted_returns_equal_their_definition_on_ragged_episodes() -> None:
    mask, reward = masks(), randn(1, 3, 2, 4)
    fast = discounted_returns(reward, mask, 0.9)
    for i in range(3):
        close(fast[i], reference.discounted_returns(reward[i], mask[i], 0.9))


def test_gae_with_lambda_one_and_no_values_is_the_return() -> None:
    mask, reward, nothing = masks(), randn(1, 3, 2, 4), torch.zeros(3, 2, 4, dtype=torch.float64)
    never = torch.zeros(3, 2, 4, dtype=torch.bool)
    fast = gae(reward, nothing, nothing[..., 0], never, mask, 0.9, 1.0)
    close(fast, discounted_returns(reward, mask, 0.9))


def test_normalise_gives_each_task_mean_0_and_standard_deviation_1() -> None:
    # Tasks of very different scale: one mean and one deviation over all of them would not do.
    mask, scale = masks(), torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)[:, None, None]
    x = scale * (randn(1, 3, 2, 4) + 3) + 1e6 * (1 - mask)  # the padding would dominate
    out = normalise(x, mask)
    for i in range(3):
        valid = out[i][mask[i] > 0]
        assert float(valid.mean()) == pytest.approx(0, abs=1e-6)
        assert float(valid.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert bool((out[mask == 0] == 0).all())


def test_normalise_over_episodes_jointly() -> None:
    # 2 good and 2 bad steps in different episodes stay apart; per-episode centring would give zeros.
    x = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    close(normalise(x, torch.ones_like(x)), x, 1e-6)


def test_normalise_of_equal_advantages_is_zero() -> None:
    x = torch.full((1, 2, 3), 5.0)
    assert torch.equal(normalise(x, torch.ones_like(x)), torch.zeros_like(x))


def test_normalise_does_not_see_the_scale() -> None:
    mask, x = masks(), randn(1, 3, 2, 4)
    close(normalise(10 * x, mask), normalise(x, mask), 1e-6)
