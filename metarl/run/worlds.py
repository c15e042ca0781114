"""The two worlds, and which one a family lives in."""

from metarl.rollout.family import Family, is_supervised
from metarl.run.experience import World, gather
from metarl.run.lessons import deal, open_lessons
from metarl.run.probe import probe_network, probe_policy
from metarl.run.rollouts import open_rollouts

EPISODES = World("env_steps", open_rollouts, gather, probe_policy)
SHOTS = World("examples", open_lessons, deal, probe_network)


def world_of(family: Family) -> World:
    """The world of a family."""
    return SHOTS if is_supervised(family) else EPISODES
