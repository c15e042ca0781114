"""The determinism contract: fresh processes, whatever their threads, chunks and workers, end at equal bits.

Equality across processor models is not promised. That chunks of one task agree is not either: they take other
kernels.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

TRAIN = """
import hashlib, json, sys
import metarl
family, executor = sys.argv[1:3]
threads, chunk, workers = map(int, sys.argv[3:])
config = metarl.TrainConfig(
    algorithm="maml", family=family, family_arg={"horizon": 20}, hidden=(16,), seed=5, device="cpu",
    tasks=10, episodes=4, iterations=2, checkpoint_every=1, validation_tasks=3,
    threads=threads, chunk=chunk, executor=executor, workers=workers,
)
run = metarl.train(config, out="runs/" + "-".join(sys.argv[1:]))
assert run.iteration == 2 and run.agent.chunking[:2] == (chunk, threads) and run.config.executor == executor
sums = hashlib.sha256()
for name, value in run.meta.model.items():
    sums.update(name.encode() + value.numpy().tobytes())
for row in map(json.loads, (run.path / "metrics.jsonl").open()):
    del row["seconds"]
    assert "validation/return/step_1" in row
    sums.update(json.dumps(row).encode())
print(sums.hexdigest())
"""

# The first parallel call of a process is the one that may be served at low precision, so each is made first.
ACCURATE = """
import sys
import torch
from metarl.core.process import prepare_process
prepare_process()
torch.set_num_threads(2)
x = torch.linspace(-4, 4, 200_000)
for name in sys.argv[1:]:
    function = getattr(torch, name)
    found, exact = function(x).double(), function(x.double())
    print(float(((found - exact) / (exact.abs() + 1)).abs().max()))
"""


def fresh(calls: Sequence[tuple[str, ...]]) -> list[str]:
    """What each of these programs with arguments prints, two processes at a time."""

    def run(call: tuple[str, ...]) -> str:
        code, *arguments = call
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # for the families of the tests
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, calls))


def test_processes_threads_chunks_and_workers_end_at_the_same_bits() -> None:
    cases = [("point-goal", "inline", threads, chunk, "1") for threads in "12" for chunk in ("2", "5", "10")]
    cases += [("point-goal", "processes", "1", "5", "1"), ("point-goal", "processes", "2", "2", "2")]
    hashes = fresh([(TRAIN, *case) for case in cases])
    assert len(set(hashes)) == 1, dict(zip(cases, hashes, strict=True))
    assert len(hashes[0].strip()) == 64


@pytest.mark.parametrize("family", ["tiny_families:Corridor", "python_stepped:Stroll"])
def test_discrete_actions_and_environments_stepped_in_python_do_not_mind_workers_either(family: str) -> None:
    cases = [(family, "inline", "1", "5", "1"), *((family, "processes", "1", "5", n) for n in "12")]
    hashes = fresh([(TRAIN, *case) for case in cases])
    assert len(set(hashes)) == 1, dict(zip(cases, hashes, strict=True))


def test_the_first_parallel_calls_of_a_prepared_process_are_accurate() -> None:
    calls = [("tanh", "exp"), ("exp", "tanh"), ("sin", "cos"), ("sigmoid", "erf")] * 2
    for call, out in zip(calls, fresh([(ACCURATE, *call) for call in calls]), strict=True):
        errors = [float(line) for line in out.split()]
        assert len(errors) == 2
        assert max(errors) < 1e-6, (call, errors)
