"""A policy network of one's own; ``metarl train maml --model network:Policy`` finds it from here."""

import torch
from torch import nn


class Policy(nn.Module):
    """Observation to (mean, log_std) of a Gaussian; logits alone would be read as discrete actions."""

    def __init__(self, observation_space, action_space):
        super().__init__()
        actions = action_space.shape[0]
        self.body = nn.Sequential(nn.Linear(observation_space.shape[0], 64), nn.RMSNorm(64), nn.Tanh())
        self.mean = nn.Linear(64, actions)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, obs):
        """Any leading axes in, the same leading axes out."""
        mean = self.mean(self.body(obs))
        return mean, self.log_std.clamp(min=-5).expand_as(mean)
