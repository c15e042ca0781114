"""Where a run computes and collects: what is chosen, and why."""

import pytest
import torch

from metarl.core.errors import RequestError
from metarl.run.config.devices import choose_device, choose_executor
from metarl_envs.few_shot.sinusoid import Sinusoid
from metarl_envs.plane.point_goal import PointGoal
from python_stepped import Stroll


def test_cpu_is_cpu() -> None:
    assert choose_device("cpu") == (torch.device("cpu"), "asked for")


def test_auto_takes_processes_for_environments_stepped_in_python_alone() -> None:
    python, native, labelled = Stroll(), PointGoal(), Sinusoid()
    assert choose_executor("auto", 4, python) == ("processes", "auto: environments stepped in Python")
    assert choose_executor("auto", 1, python) == ("inline", "auto: one core")
    assert choose_executor("auto", 4, native) == ("inline", "auto: all rows step together")
    assert choose_executor("auto", 4, labelled) == ("inline", "auto: labelled examples")
    for name in ("inline", "processes"):
        assert choose_executor(name, 1, native) == (name, "asked for")


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "auto: no CUDA device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a fast one")
    assert choose_device("auto") == (torch.device("cuda"), "auto: a fast one")
    assert choose_device("cuda") == (torch.device("cuda"), "asked for: a fast one")


def test_cuda_asked_for_and_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        RequestError, match=r"^device 'cuda' is not available \(.*\); allowed here: auto, cpu$"
    ):
        choose_device("cuda")
