"""What an experiment costs the driver when there are many: `python -m tests.benchmarks.many_experiments [50 200]`.

Each study has so many experiments of five rounds with trivial training (an output prompt of width 2, 16 images of
32 px, one epoch), run by a process of its own on an embedded Ray of two CPUs. Prints seconds per round and the driver's
peak memory, and writes many_experiments.json beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import table

STUDY = """
study: many
storage: {storage}
backbone: {{name: tf_efficientnet_lite0, weights: package, image_size: 32}}
datasets: [{{name: mnist, num_train: 16, num_val: 20, num_test: 20}}]
methods: [{{name: lion, input: false, output: {{width: 2}}}}]
seeds: {seeds}
train: {{epochs: 1, batch_size: 16}}
lottery: {{rounds: 5, prune: 0.1}}
"""
RUN = """
import resource, sys
import ray
from lion_ray import pipeline
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
status = pipeline.main([sys.argv[1]])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
sys.exit(status)
"""


def measure(num_experiments: int) -> dict[str, float]:
    """One study from nothing to its end, and once more when everything is done."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "many.yaml"
        file.write_text(STUDY.format(storage=folder, seeds=list(range(num_experiments))))
        seconds, peak = run(file)
        again, _ = run(file)
    rounds = 5 * num_experiments
    return {
        "rounds": rounds,
        "seconds": seconds,
        "ms per round": 1e3 * seconds / rounds,
        "driver peak MiB": peak,
        "seconds when done": again,
    }


def run(file: Path) -> tuple[float, float]:
    """Seconds, and the driver's peak resident MiB."""
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, check=True)
    peak = next(line for line in ended.stdout.splitlines() if line.startswith("PEAK "))
    return time.monotonic() - started, float(peak.split()[1])


def main() -> None:
    """Measure what the command line names."""
    counts = [int(count) for count in sys.argv[1:]] or [50, 100, 200, 500]
    file = Path(__file__).with_suffix(".json")
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    for count in counts:
        found[str(count)] = measure(count)
        print(table(f"{count} experiments", {str(count): found[str(count)]}), flush=True)
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
