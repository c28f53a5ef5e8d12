"""What it costs to start: help, a wrong key, a stage whose artefact is there, in processor seconds of whole processes.

python -m benchmarks.startup
"""

import resource
import statistics
import subprocess
import sys

from src.core.paths import ROOT

CASES = {
    "--help": ["run_all", "--help"],
    "a wrong value": ["run_all", "seed=-1"],
    "a wrong key": ["run_all", "student.train.learning_rate=1"],
    "a finished stage": ["run_prepare"],
    "the plan": ["run_all", "dry_run=true"],
}


def processor_seconds(command: str, *overrides: str) -> float:
    """Returns user and system time of one start, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", f"src.exp.{command}", *overrides], cwd=ROOT, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    for name, (command, *overrides) in CASES.items():
        processor_seconds(command, *overrides)  # writes byte code, prepares the dataset
        print(f"{name:18}{statistics.median(processor_seconds(command, *overrides) for _ in range(5)):6.2f} s")


if __name__ == "__main__":
    main()
