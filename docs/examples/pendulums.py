"""A Gymnasium environment as a family: pendulums whose gravity and length cannot be seen.

``metarl train maml --family pendulums:Pendulums`` trains on it from the folder of this file.
"""

from metarl_envs import GymFamily, Uniform


class Pendulums(GymFamily):
    """Pendulums of unknown gravity and length."""

    name = "pendulums"
    env = "Pendulum-v1"
    arguments = {"g": Uniform(5.0, 15.0, ood=(15.0, 18.0))}  # gymnasium.make("Pendulum-v1", g=...)
    attributes = {"l": Uniform(0.5, 1.5)}  # env.unwrapped.l = ... before each reset
