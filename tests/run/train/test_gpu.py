"""A GPU gives what the CPU gives, up to rounding."""

from pathlib import Path

import pytest
import torch

from metarl.core.params import to_device
from metarl.run.use.runs import load, train
from tiny_runs import rows, tiny

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    ("algorithm", "meta_optimizer"), [("maml", "adam"), ("maml", "trpo"), ("fomaml", "sgd")]
)
def test_an_iteration_on_the_gpu_is_that_of_the_cpu(
    tmp_path: Path, algorithm: str, meta_optimizer: str
) -> None:
    options = {"algorithm": algorithm, "meta_optimizer": meta_optimizer, "iterations": 1, "max_kl": 1e-3}
    runs = {device: train(tiny(device=device, **options), tmp_path / device) for device in ("cpu", "cuda")}
    assert runs["cuda"].config.device == "cuda"
    assert {x.device.type for x in runs["cuda"].meta.model.values()} == {"cuda"}
    start = runs["cpu"].agent.initial_meta().model
    for name, value in to_device(runs["cuda"].meta.model, "cpu").items():
        torch.testing.assert_close(value, runs["cpu"].meta.model[name], rtol=1e-4, atol=1e-4)
    moved = max(float((runs["cpu"].meta.model[n] - x).abs().max()) for n, x in start.items())
    assert moved > 5e-4  # more than the tolerance: the step is seen
    (on_gpu,), (on_cpu,) = rows(tmp_path / "cuda"), rows(tmp_path / "cpu")
    assert on_gpu.keys() == on_cpu.keys()
    assert on_gpu["return/step_0"] == pytest.approx(on_cpu["return/step_0"], rel=1e-5)
    assert on_gpu["return/step_1"] == pytest.approx(on_cpu["return/step_1"], rel=1e-3)


def test_a_run_of_the_gpu_is_loaded_evaluated_and_adapted_there(tmp_path: Path) -> None:
    train(tiny(device="cuda"), tmp_path / "run")
    run = load(tmp_path / "run", "last")
    assert {x.device.type for x in run.meta.model.values()} == {"cuda"}
    again = train(tiny(device="cuda", iterations=1), tmp_path / "again").learn(1)
    for name, value in run.meta.model.items():
        torch.testing.assert_close(value, again.meta.model[name])
    assert len(run.evaluate(tasks=3, steps=1, episodes=2).per_task) == 3
    policy = run.adapt(task={"goal": [0.1, 0.2]}, episodes=2)
    assert policy.predict([0.0, 0.0])[0].shape == (2,)
