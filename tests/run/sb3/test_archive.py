"""Weights out of a zip of Stable-Baselines3: they are those of its policy, and nothing in it is run."""

import base64
import io
import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3 import A2C, PPO, SAC

from metarl.cli import main
from metarl.core.critic import values
from metarl.core.errors import RequestError
from metarl.run.sb3 import archive
from metarl.run.sb3.archive import read_archive
from metarl.run.sb3.ppo import ppo_of
from metarl.run.use.policy import Policy
from metarl.run.use.runs import load, train
from tiny_runs import agent, meta_of, same, starting_meta, tiny

OBS = np.random.default_rng(0).normal(0, 2, (64, 2)).astype(np.float32)
SPACES = {
    "point-goal": Box(-1.0, 1.0, (2,), np.float32),
    "tiny_families:Corridor": Discrete(3),
    "tiny_families:Crane": MultiDiscrete([3, 4]),
}
CRANE = {"family": "tiny_families:Crane"}


class Elsewhere(gymnasium.Env[Any, Any]):
    """An environment that Stable-Baselines3's users have: nothing of ours."""

    def __init__(self, family: str) -> None:
        size = 1 if "Corridor" in family else 2
        self.observation_space = Box(-9.0, 9.0, (size,), np.float32)
        self.action_space = SPACES[family]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action: Any) -> Any:
        seen = np.full(self.observation_space.shape, 0.1, np.float32)
        return seen, float(np.sum(action)), False, True, {}


def model(
    path: Path, family: str = "point-goal", kind: Any = PPO, learns: bool = True, **options: Any
) -> Any:
    """A model that its user trained and saved, all of whose weights have moved."""
    policy: dict[str, Any] = {"net_arch": [8], "ortho_init": False} | options.pop("policy_kwargs", {})
    env = Elsewhere(family)
    env.action_space = options.pop("space", env.action_space)
    made = kind("MlpPolicy", env, policy_kwargs=policy, device="cpu", seed=1, **options)
    if learns:
        made.learn(32)
    made.save(path)
    return made


def Without(policy: str, env: Any, policy_kwargs: Any, **options: Any) -> SAC:
    """SAC, which knows no ortho_init."""
    return SAC(policy, env, policy_kwargs={"net_arch": [8]}, buffer_size=10, **options)


def rewritten(path: Path, entry: str, change: Callable[[bytes], bytes]) -> Path:
    """The same zip with one entry changed."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    entries[entry] = change(entries[entry])
    out = path.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as new:
        for name, data in entries.items():
            new.writestr(name, data)
    return out


@pytest.mark.parametrize("family", SPACES)
def test_a_policy_trained_by_stable_baselines3_acts_here_as_there(family: str, tmp_path: Path) -> None:
    theirs = model(tmp_path / "model.zip", family, n_steps=32, batch_size=16)
    built = agent(family=family, init_from=str(tmp_path / "model.zip"))
    ours = Policy.of(built, starting_meta(built).model)
    obs = OBS[:, : theirs.observation_space.shape[0]]
    chosen = ours.predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(chosen, theirs.predict(obs, deterministic=True)[0], atol=1e-6)
    assert len(np.unique(chosen, axis=0)) > 1


def test_a_run_begins_with_it_and_goes_on(tmp_path: Path) -> None:
    theirs = model(tmp_path / "model.zip", n_steps=32, batch_size=16)
    line = f"train maml --family point-goal --hidden 8 --init-from {tmp_path / 'model.zip'}"
    small = "--family-arg horizon=10 --iterations 0 --tasks 2 --episodes 2 --threads 1 --device cpu --out run"
    assert main([*line.split(), *small.split()]) == 0
    found = load("run").meta.model["net.0.weight"]
    assert torch.equal(found, theirs.policy.state_dict()["mlp_extractor.policy_net.0.weight"])


def test_the_value_network_comes_with_it_if_the_run_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = model(tmp_path / "model.zip", n_steps=32, batch_size=16, gamma=0.9)
    built = agent(baseline="value", gamma=0.9, init_from=str(tmp_path / "model.zip"))
    params = starting_meta(built).model
    assert capsys.readouterr().err == "" and built.critic is not None
    with torch.no_grad():
        ours = values(built.critic)(params, torch.from_numpy(OBS)) / (1 - 0.9)
        expected = theirs.policy.predict_values(torch.from_numpy(OBS))[:, 0]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"baseline": "value"}, {"family": "tiny_families:Crane"}])
def test_out_and_in_again_is_the_same_policy(changes: dict[str, Any], tmp_path: Path) -> None:
    built = agent(**changes)
    params = meta_of(built).model
    ppo_of(built, params).save(tmp_path / "model.zip")
    again = starting_meta(agent(**changes, init_from=str(tmp_path / "model.zip"))).model
    assert list(again) == list(params)
    for name, value in params.items():
        torch.testing.assert_close(again[name], value, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("options", "changes", "told"),
    [
        ({"policy_kwargs": {"net_arch": [9]}}, {}, "has layers 2-9-2 with tanh for actions in Box, the "
         "network has layers 2-8-2 with tanh for actions in Box"),
        ({}, {"hidden": (8, 8)}, "for actions in Box, the network has layers 2-8-8-2"),
        ({"policy_kwargs": {"net_arch": [8, 8]}}, {}, "has layers 2-8-8-2"),
        ({"policy_kwargs": {"net_arch": {"pi": [8], "vf": [9]}}}, {"baseline": "value"},
         "has [9] for critic.0.bias, the network has [8]"),
        ({"family": "tiny_families:Corridor"}, {}, "has layers 1-8-3 with tanh for actions in Discrete(3)"),
        ({"space": Discrete(7)}, CRANE, "in Discrete(7), the network has layers 2-8-7 with tanh for actions "
         "in MultiDiscrete([3 4])"),
        ({"space": MultiDiscrete([4, 3])}, CRANE, "for actions in MultiDiscrete([4 3]), the"),
        ({"space": MultiBinary(7)}, CRANE, "for actions in MultiBinary(7), the"),
        ({"policy_kwargs": {"activation_fn": torch.nn.ReLU}}, {}, "8-2 with relu for actions in Box, the"),
        ({"policy_kwargs": {"activation_fn": torch.nn.ELU}}, {}, "8-2 with elu for actions in Box, the"),
        ({}, {"activation": "relu"}, "with tanh for actions in Box, the network has layers 2-8-2 with relu"),
        ({"use_sde": True}, {}, "explores by gSDE, the network by independent normals"),
        ({"kind": Without}, {}, "actor.latent_pi.0.weight and no action_net.weight; allowed: PPO and A2C"),
        ({}, {"family": "tiny_families:Spot", "hidden": None}, "cannot express model 'cnn'"),
    ],
)  # fmt: skip
def test_another_architecture_is_refused_and_both_sides_named(
    options: dict[str, Any], changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.zip"
    model(path, learns=False, **{name: dict(x) if isinstance(x, dict) else x for name, x in options.items()})
    with pytest.raises(RequestError) as refusal:
        starting_meta(agent(**changes, init_from=str(path)))
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


def test_without_hidden_layers_there_is_no_activation_to_differ_in(tmp_path: Path) -> None:
    theirs = model(tmp_path / "model.zip", learns=False, policy_kwargs={"net_arch": []})
    built = agent(hidden=(), activation="relu", init_from=str(tmp_path / "model.zip"))
    assert torch.equal(
        starting_meta(built).model["net.0.weight"], theirs.policy.state_dict()["action_net.weight"]
    )


def test_other_bounds_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model(tmp_path / "model.zip", learns=False, space=Box(-2.0, 3.0, (2,), np.float32))
    starting_meta(agent(init_from=str(tmp_path / "model.zip")))
    told = capsys.readouterr().err
    assert "acts in [-2. -2.] to [3. 3.], the family in [-1. -1.] to [1. 1.]; it is cut there" in told


def test_another_algorithm_with_the_same_policy_will_do(tmp_path: Path) -> None:
    theirs = model(tmp_path / "model.zip", kind=A2C)
    found = starting_meta(agent(init_from=str(tmp_path / "model.zip"))).model["log_std"]
    assert torch.equal(found, theirs.policy.state_dict()["log_std"])


class Sentinel:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def malicious_data(data: bytes, sentinel: Path) -> bytes:
    entries = json.loads(data)
    code = base64.b64encode(cloudpickle.dumps(Sentinel(sentinel))).decode()
    for name in ("policy_class", "policy_kwargs", "observation_space", "lr_schedule"):
        entries[name] = {":type:": "<class 'dict'>", ":serialized:": code}
    return json.dumps(entries).encode()


def test_the_sentinel_is_one(tmp_path: Path) -> None:
    """What the tests below forbid happens where Stable-Baselines3 itself loads such a file."""
    model(tmp_path / "model.zip", learns=False)
    bad = rewritten(tmp_path / "model.zip", "data", lambda data: malicious_data(data, tmp_path / "ran"))
    with pytest.raises(Exception):  # noqa: B017, PT011
        PPO.load(bad)
    assert (tmp_path / "ran").exists()


def test_a_malicious_zip_runs_nothing(tmp_path: Path) -> None:
    made, ran = model(tmp_path / "model.zip", learns=False), tmp_path / "ran"
    data = rewritten(tmp_path / "model.zip", "data", lambda old: malicious_data(old, ran))
    params = starting_meta(agent(init_from=str(data))).model  # read by a reader that runs nothing
    assert torch.equal(params["log_std"], made.policy.state_dict()["log_std"])
    weights = rewritten(tmp_path / "model.zip", "policy.pth", lambda _: saved_state(log_std=Sentinel(ran)))
    with pytest.raises(RequestError, match="more than tensors; it was not run"):
        train(tiny(init_from=str(weights)), tmp_path / "run")
    assert not ran.exists() and not (tmp_path / "run").exists()


def with_entry(path: Path, name: str, mode: int = 0o600) -> Path:
    """The same zip with one entry more."""
    out = path.with_name("more.zip")
    out.write_bytes(path.read_bytes())
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "a") as archive:  # of names twice
        archive.writestr(entry, b"../../etc/passwd")
    return out


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../policy.pth", 0o600),
        ("/tmp/policy.pth", 0o600),
        ("..\\policy.pth", 0o600),
        ("a/policy.pth", 0o600),
        ("code.py", 0o600),
        ("data.pth\n", 0o600),
        ("link.pth", stat.S_IFLNK | 0o777),
        ("policy.pth", 0o600),  # a second one, of which readers may see either
    ],
)
def test_entries_that_no_model_has_are_refused_before_one_is_read(
    name: str, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "model.zip", learns=False)
    bad = with_entry(tmp_path / "model.zip", name, mode)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(RequestError, match=r"no model of Stable-Baselines3: its entry .* is none of a"):
        read_archive(bad)


def saved_state(**state: Any) -> bytes:
    data = io.BytesIO()
    torch.save(state, data)
    return data.getvalue()


def test_numbers_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    theirs = model(tmp_path / "model.zip", learns=False).policy.state_dict()
    weight = theirs["action_net.weight"]
    for other, told in (
        (weight.long(), "no weights of a policy"),
        (weight.to_sparse(), "no weights of a policy"),
        (torch.zeros(1, 1).expand(2, 10**12), "no weights of a policy"),
        (torch.zeros(()), "no weights of a policy"),
        (weight.to("meta"), "no weights of a policy"),
        (weight[0], "layers 2-8-8 with"),
        (weight / 0, "has values that are not finite in net.2.weight"),
    ):
        state = saved_state(**theirs | {"action_net.weight": other})
        bad = rewritten(tmp_path / "model.zip", "policy.pth", lambda _, state=state: state)
        with pytest.raises(RequestError, match=told):
            starting_meta(agent(init_from=str(bad)))
    endless = saved_state(**theirs | {f"mlp_extractor.policy_net.{'9' * 5000}.weight": weight})
    bad = rewritten(tmp_path / "model.zip", "policy.pth", lambda _: endless)
    with pytest.raises(RequestError, match=r"mlp_extractor\.policy_net\.9+\.weight, the network has nothing"):
        starting_meta(agent(init_from=str(bad)))


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "model.zip"
    model(good, learns=False)

    def refused(path: Path, told: str) -> None:
        with pytest.raises(RequestError, match=told) as refusal:
            read_archive(path)
        assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)

    refused(rewritten(good, "data", lambda _: b"{"), "is no model of Stable-Baselines3")
    refused(rewritten(good, "data", lambda _: b"[]"), "no weights of a policy")
    refused(rewritten(good, "policy.pth", lambda old: old[:100]), "is no model of Stable-Baselines3")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("data", "{}")
    refused(tmp_path / "other.zip", "no model of Stable-Baselines3: .*policy.pth")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        other.writestr("data", json.dumps(list(range(999))))
    whole = packed.read_bytes()
    packed.write_bytes(whole[:50] + b"\xff" * 20 + whole[70:])
    refused(packed, "no model of Stable-Baselines3: ")
    monkeypatch.setattr(archive, "LIMIT", 1000)
    refused(good, "data is larger than 1000 bytes")


def test_weights_that_unpack_to_more_than_they_take_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is that of what comes out, of the zip and of the one inside it."""
    monkeypatch.setattr(archive, "LIMIT", 2**20)
    model(tmp_path / "model.zip", learns=False)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("policy/data/0", bytes(2**20 + 1))
    assert len(bomb.getvalue()) < 2**12
    path = rewritten(tmp_path / "model.zip", "policy.pth", lambda _: bomb.getvalue())
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(RequestError, match=f"policy.pth is larger than {2**20} bytes"):
        read_archive(path)
    path = rewritten(tmp_path / "model.zip", "policy.pth", lambda _: b"no zip, as torch wrote until 2020")
    with pytest.raises(RequestError, match="no model of Stable-Baselines3: File is not a zip file"):
        read_archive(path)


def test_a_run_that_is_resumed_reads_no_file_again(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    model(path, learns=False)
    run = train(tiny(init_from=str(path), iterations=1), tmp_path / "run")
    path.unlink()
    assert same(load(tmp_path / "run", "last").meta, run.meta)
