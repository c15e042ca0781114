"""An exported policy goes on learning in plain Stable-Baselines3: adapted.zip becomes fine-tuned.zip."""

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy


class OneGoal(gymnasium.Wrapper):
    """The same task in every episode."""

    def reset(self, *, seed=None, options=None):
        """Gymnasium's, with the goal that the policy was adapted to."""
        return self.env.reset(seed=seed, options={"task": {"goal": [0.3, -0.2]}})


def mean_return(model):
    """Of twenty episodes."""
    return evaluate_policy(model, model.get_env(), 20)[0]


env = OneGoal(gymnasium.make("metarl_envs:metarl/PointGoal-finn2017-v0"))

model = PPO.load("adapted.zip", env=env, learning_rate=1e-3, seed=1)
print(f"before: mean return {mean_return(model):.1f}")
model.learn(6_000)
print(f"after: mean return {mean_return(model):.1f}")
model.save("fine-tuned.zip")
