"""An exported policy learns on in plain Stable-Baselines3, where metarl's environments are but metarl need not be."""

import gymnasium
import metarl_envs  # noqa: F401  registers its environments with Gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy


class OneGoal(gymnasium.Wrapper):
    """The same task in every episode."""

    def reset(self, *, seed=None, options=None):
        """Gymnasium's, with the goal that the policy was adapted to."""
        return self.env.reset(seed=seed, options={"task": {"goal": [0.3, -0.2]}})


env = OneGoal(gymnasium.make("metarl/PointGoal-finn2017-v0"))

model = PPO.load("adapted.zip", env=env, learning_rate=1e-3, seed=1)
print("before: mean return %.1f" % evaluate_policy(model, model.get_env(), 20)[0])
model.learn(10_000)
print("after: mean return %.1f" % evaluate_policy(model, model.get_env(), 20)[0])
model.save("fine-tuned.zip")
