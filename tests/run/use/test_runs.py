"""Runs as users hold them."""

from pathlib import Path

import numpy as np

from metarl.run.train.callbacks import Callback
from metarl.run.use.runs import Run, load, resume, train
from tiny_runs import same, tiny


class Starts(Callback):
    """The runs that began to train."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_training_start(self, run: Run) -> None:
        self.runs.append(run)


def test_each_way_to_a_run_gives_one_that_can_do_everything(tmp_path: Path) -> None:
    starts = Starts()
    trained = train(tiny(), tmp_path / "run", [starts])
    resumed = resume(str(tmp_path / "run"), 3, [starts])
    loaded = load(str(tmp_path / "run"), "last")
    assert starts.runs == [trained, resumed]
    for run, iteration in ((trained, 2), (resumed, 3), (loaded, 3)):
        assert isinstance(run, Run)
        assert (run.iteration, run.path) == (iteration, tmp_path / "run")
        assert run.adapt(task={"goal": [0.1, 0.2]}, episodes=2).predict([0.0, 0.0])[0].shape == (2,)
        assert len(run.evaluate(tasks=2, steps=1, episodes=2).mean) == 2
    assert same(resumed.meta, loaded.meta)


def test_the_policy_of_a_run_is_its_initialisation(tmp_path: Path) -> None:
    run = train(tiny(), tmp_path / "run")
    assert same(run.policy.params, run.meta.model)
    obs = np.array([0.3, -0.1], np.float32)
    x = np.tanh(run.meta.model["net.0.weight"].numpy() @ obs + run.meta.model["net.0.bias"].numpy())
    mean = run.meta.model["net.2.weight"].numpy() @ x + run.meta.model["net.2.bias"].numpy()
    np.testing.assert_allclose(run.policy.predict(obs, deterministic=True)[0], mean.clip(-1, 1), rtol=1e-5)


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    shown = repr(train(tiny(iterations=1), tmp_path / "run"))
    for part in ("run", "maml", "point-goal", "1"):
        assert part in shown
