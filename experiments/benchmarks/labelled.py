"""Speed and memory of meta-training on labelled examples: sinusoid and glyphs.

    .venv/bin/python experiments/benchmarks/labelled.py [--iterations 10] [--threads 2]

Second-order MAML in a fresh process for each line: the published sinusoid protocol (25 tasks, 2×40 network),
and glyphs 5-way 1-shot (four blocks of 32 filters, 8 tasks, 15 queries a class) with one and with five inner
steps. Peak memory is that of the whole process, above what it takes before the first iteration.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

from metarl.core.process import prepare_process
from metarl.run.agent.agent import build_agent
from metarl.run.config.train_config import TrainConfig
from metarl.run.train.iteration import Standing, iterate

CASES = {
    "sinusoid, 1 inner step": ({"family": "sinusoid", "inner_steps": 1, "threads": 1}, 20),
    "glyphs, 1 inner step": ({"family": "glyphs", "inner_steps": 1}, 1),
    "glyphs, 5 inner steps": ({"family": "glyphs", "inner_steps": 5}, 1),
}


def peak() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(name: str, iterations: int, threads: int) -> dict[str, float]:
    """Median seconds an iteration and the peak above the start, in this process."""
    options, factor = CASES[name]
    prepare_process()
    config = TrainConfig(**{"algorithm": "maml", "device": "cpu", "threads": threads, **options})
    agent = build_agent(config)
    meta = agent.initial_meta()
    standing, before, seconds = Standing(meta, agent.optimizer.init(meta)), peak(), []
    for _ in range(2 + iterations * factor):
        standing, row = iterate(agent, standing, None)
        seconds.append(row["seconds"])
    return {"seconds": statistics.median(seconds[2:]), "before": before, "peak": peak()}


def main() -> None:
    """Measure each case in a process of its own, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=10, help="iterations to time (sinusoid: × 20)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the glyph cases")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case, options.iterations, options.threads)))
        return
    for name in CASES:
        words = [sys.executable, __file__, "--case", name, "--iterations", str(options.iterations)]
        line = subprocess.run(
            [*words, "--threads", str(options.threads)], check=True, capture_output=True, text=True
        ).stdout
        found = json.loads(line)
        above = found["peak"] - found["before"]
        print(
            f"{name:24} {found['seconds']:8.4f} s   {found['peak']:6.0f} MB, {above:.0f} MB above the start"
        )


if __name__ == "__main__":
    main()
