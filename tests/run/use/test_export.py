"""Policies as PPO models: the same actions, in a process without metarl, and learning that goes on."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import PPO

from metarl.cli import main
from metarl.core.errors import RequestError
from metarl.run.agent.agent import Agent
from metarl.run.sb3.ppo import own_randomness, ppo_of
from metarl.run.sb3.vec_env import TaskVecEnv
from metarl.run.use.export import export_run
from metarl.run.use.policy import Policy
from metarl.run.use.runs import Run, train
from tiny_runs import TINY, agent, meta_of, pupil, tiny

OBS = np.random.default_rng(0).normal(0, 2, (64, 2)).astype(np.float32)
KINDS: dict[str, dict[str, Any]] = {
    "box": {},
    "deep relu": {"hidden": (8, 5, 3), "activation": "relu", "init_std": 0.3},
    "discrete": {"family": "tiny_families:Corridor"},
    "choices": {"family": "tiny_families:Crane"},
    "value": {"baseline": "value", "gamma": 0.9},
    "oracle": {"observe_task": True},
    "linear": {"hidden": ()},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(iterations=1), tmp_path_factory.mktemp("exported") / "run")


def saved(model: PPO, path: Path) -> PPO:
    """As ``PPO.load`` opens it."""
    model.save(path)
    return PPO.load(path, device="cpu")


def width(built: Agent) -> int:
    """Numbers of an observation."""
    return int(np.prod(built.episodic.observation_space.shape or ()))


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_probabilities_are_ours(kind: str, tmp_path: Path) -> None:
    built = agent(**KINDS[kind])
    params = meta_of(built).model
    ours = Policy.of(built, params)
    theirs = saved(ours.to_sb3(), tmp_path / "policy.zip")
    obs = OBS[:, : width(built)]
    obs = np.concatenate([obs, OBS[::-1]], 1) if kind == "oracle" else obs
    chosen, _ = theirs.predict(obs, deterministic=True)
    np.testing.assert_allclose(chosen, ours.predict(obs, deterministic=True)[0], atol=1e-6)
    assert np.unique(chosen, axis=0).shape[0] > 1
    seen = torch.from_numpy(obs)
    with torch.no_grad():
        distribution = built.apply(params, seen)
        action = distribution.mode()
        action = action + 0.3 if action.is_floating_point() else action.flip(0)
        _, log_prob, entropy = theirs.policy.evaluate_actions(seen, action)
    np.testing.assert_allclose(log_prob, distribution.log_prob(action), atol=2e-6)
    np.testing.assert_allclose(entropy, distribution.entropy(), atol=2e-6)
    assert theirs.gamma == built.config.gamma


@pytest.mark.parametrize("kind", ["box", "deep relu", "oracle"])
def test_random_actions_are_ours_where_the_noise_is(kind: str, tmp_path: Path) -> None:
    built = agent(**KINDS[kind])
    params = meta_of(built).model
    theirs = saved(Policy.of(built, params).to_sb3(), tmp_path / "policy.zip")
    obs = torch.randn(64, width(built))
    with torch.no_grad(), own_randomness(5):
        drawn, _, log_prob = theirs.policy(obs)
        torch.manual_seed(5)
        distribution = built.apply(params, obs)
        expected = distribution.sample(torch.randn(64, 2))
    assert len(np.unique(drawn, axis=0)) == 64
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    np.testing.assert_allclose(log_prob, distribution.log_prob(expected), atol=2e-6)


def test_actions_are_cut_to_the_bounds_as_ours_are(tmp_path: Path) -> None:
    built = agent()
    params = {name: 40 * x for name, x in meta_of(built).model.items()}
    ours, box = Policy.of(built, params), built.episodic.action_space
    assert isinstance(box, Box)
    chosen = saved(ours.to_sb3(), tmp_path / "p.zip").predict(OBS, deterministic=True)[0]
    np.testing.assert_array_equal(chosen, ours.predict(OBS, deterministic=True)[0])
    assert np.isin(chosen, [box.low[0], box.high[0]]).mean() > 0.3


def test_without_one_it_starts_anew_and_alike() -> None:
    built = agent()
    models = [ppo_of(built, meta_of(built).model, init_seed=seed) for seed in (0, 0, 1)]
    first, again, other = (model.policy.state_dict()["value_net.weight"] for model in models)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_spread_too_small_to_count_is_ours_too() -> None:
    built = agent()
    params = meta_of(built).model | {"log_std": torch.tensor([-50.0, 0.5])}
    found = ppo_of(built, params).policy.state_dict()["log_std"]
    np.testing.assert_allclose(found, [np.log(1e-6), 0.5], rtol=1e-6)


def test_learning_starts_from_the_policy_and_goes_on() -> None:
    built = agent()
    params = meta_of(built).model
    env: Any = TaskVecEnv(built.episodic, 8, {"goal": [0.4, -0.3]})
    model = ppo_of(built, params, env, n_steps=10, batch_size=40, learning_rate=0.01)
    assert (model.n_envs, model.n_steps, model.learning_rate) == (8, 10, 0.01)
    weight = model.policy.state_dict()["action_net.weight"]
    assert torch.equal(weight, params["net.2.weight"])
    weight = weight.clone()
    model.learn(80)
    moved = (model.policy.state_dict()["action_net.weight"] - weight).abs().max()
    assert 0 < moved < 0.3  # a few Adam steps away, not drawn anew


def test_a_seed_is_ppo_s_and_without_one_nobody_s_generators_move(run: Run) -> None:
    def learned(seed: int) -> Any:
        torch.manual_seed(9)
        env: Any = TaskVecEnv(run.agent.episodic, 4)
        model = run.to_sb3(env, seed=seed, n_steps=10, batch_size=20).learn(40)
        assert model.seed == seed
        return model.policy.state_dict()["action_net.weight"]

    with own_randomness(0):
        assert torch.equal(learned(5), learned(5)) and not torch.equal(learned(5), learned(6))
        before = torch.get_rng_state()
        run.to_sb3()
        assert torch.equal(torch.get_rng_state(), before)


ELSEWHERE = """
import sys
sys.modules.update(metarl=None, metarl_envs=None)  # importing either would fail
import gymnasium, numpy as np
from gymnasium.spaces import Box
from stable_baselines3 import PPO
class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box({low}, {high}, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    def reset(self, seed=None, options=None):
        self.at = np.zeros(2, np.float32)
        return self.at, {{}}
    def step(self, action):
        self.at = (self.at + action / 10).astype(np.float32)
        return self.at, -float(np.abs(self.at - 0.3).sum()), False, bool(np.abs(self.at).max() > 0.9), {{}}
model = PPO.load({path!r}, env=Walk(), device="cpu", n_steps=64)
print(*model.predict(np.array([0.5, -0.5], np.float32), deterministic=True)[0])
model.learn(64)
print(*model.predict(np.array([0.5, -0.5], np.float32), deterministic=True)[0])
"""


def test_plain_stable_baselines3_opens_it_and_fine_tunes(run: Run, tmp_path: Path) -> None:
    path = export_run(run.path, tmp_path / "policy.zip", task='{"goal": [0.3, -0.2]}', steps=2, episodes=3)
    box: Any = run.agent.episodic.observation_space
    code = ELSEWHERE.format(path=str(path), low=float(box.low[0]), high=float(box.high[0]))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    before, after = (np.array(line.split(), float) for line in ran.stdout.splitlines())
    adapted = run.adapt({"goal": [0.3, -0.2]}, steps=2, episodes=3)
    expected = adapted.predict(np.array([0.5, -0.5]), deterministic=True)[0]
    np.testing.assert_allclose(before, expected, atol=1e-6)
    assert (before != after).any()


def test_the_command_line_writes_what_python_makes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run.path), "--to", "sb3"]) == 0
    made = run.path / "policy.zip"
    assert f'PPO.load("{made}"' in capsys.readouterr().out
    model = PPO.load(made, device="cpu")
    np.testing.assert_allclose(
        model.predict(OBS, deterministic=True)[0], run.policy.predict(OBS, deterministic=True)[0], atol=1e-6
    )
    options = ["--episodes", "3", "--inner-lr", "0.5", "--out", "adapted.zip", "--checkpoint", "last"]
    assert main(["export", str(run.path), "--task", '{"goal": [0.3, -0.2]}', *options]) == 0
    assert zipfile.is_zipfile("adapted.zip") and not list(Path().glob(".adapted*"))
    adapted = run.adapt({"goal": [0.3, -0.2]}, episodes=3, inner_lr=0.5)
    found = PPO.load("adapted.zip", device="cpu").policy.state_dict()["log_std"]
    np.testing.assert_allclose(found, adapted.params["log_std"])


def test_what_cannot_be_asked_for_is_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {
        "--steps 3": "steps is about adapting to a task, which is not given; allowed: --task",
        "--task [1]": "a task is JSON such as",
        '--task {"gaol":[0,0]}': "goal",
        "--out policy.pth": "out must be the name of a file that ends in .zip, got 'policy.pth'",
        "--out nowhere/policy.zip": "nowhere/policy.zip cannot be written",
        "--to onnx": "to must be one of sb3, got 'onnx'",
    }
    for words, why in lines.items():
        assert main(["export", str(run.path), *words.split()]) == 2
        told = capsys.readouterr().err
        assert why in told and told.count("\n") == 1
    assert not Path("policy.pth").exists()


def cannot(**changes: Any) -> str:
    built = agent(**changes)
    with pytest.raises(RequestError) as refusal:
        ppo_of(built, built.initial_meta().model)
    return str(refusal.value)


def test_a_policy_that_cannot_be_expressed_is_refused_with_both_sides_named() -> None:
    spot = cannot(family="tiny_families:Spot", hidden=None)
    assert spot == "Stable-Baselines3's MlpPolicy cannot express model 'cnn'; allowed: model mlp"
    for name in ("Corridor", "Crane"):
        told = cannot(family=f"tiny_families:{name}", family_arg={"first": 2})
        assert "start=" in told and told.endswith("allowed: actions that count from 0")
    taught = pupil()
    with pytest.raises(RequestError, match="'sinusoid', which gives labelled examples; allowed: fam"):
        ppo_of(taught, taught.initial_meta().model)


def test_another_environment_s_spaces_are_refused() -> None:
    built = agent()
    with pytest.raises(RequestError, match=r"environment's observation_space is Box.*4,.*policy's is Box"):
        ppo_of(built, None, gymnasium.make("CartPole-v1"))


def test_a_policy_made_by_hand_says_what_is_missing() -> None:
    built = agent()
    space = built.episodic.observation_space
    made = Policy(built.apply, built.initial_meta().model, space, built.episodic.action_space)
    with pytest.raises(RequestError, match=r"needs a policy of a run"):
        made.to_sb3()


def test_nobody_else_waits_for_stable_baselines3() -> None:
    code = (
        "import sys, metarl.cli\n"
        "from metarl.run.config.train_config import TrainConfig\nfrom metarl.run.use.runs import train\n"
        f"train(TrainConfig(**{TINY | {'iterations': 0}!r}), 'run').evaluate(tasks=2, steps=0, episodes=1)\n"
        "print('stable_baselines3' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "False", ran.stderr
