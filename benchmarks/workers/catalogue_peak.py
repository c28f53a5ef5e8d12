"""Peak resident memory of a short training over a synthetic catalogue.

Settings: `num_items`, `overrides` of the shipped config, `steps`.
"""

import time

import lightning as L
import torch
from torch.utils.data import DataLoader

from src.core.precision import encoder_precision
from src.data.dataset import Dataset
from src.data.rows import TrainingWindows
from src.exp.program.run import Run

from ..ours import WindowBatches, new_module, run_of, synthetic_dataset
from ..timing import TRAINER, Line, reset_peak, status


def main() -> None:
    line = Line()
    run = run_of(line.settings["overrides"])
    dataset = synthetic_dataset(num_users=2000, interactions=50, num_items=line.settings["num_items"])
    train(run, synthetic_dataset(num_users=20, interactions=5, num_items=10), 1)  # what is loaded once is not counted

    def measure() -> dict[str, int]:
        before, steps = reset_peak(), line.settings["steps"]
        seconds = train(run, dataset, steps)
        return {"peak": status("VmHWM") - before, "before": before, "seconds_per_step": seconds / steps}

    line.serve({}, measure)


def train(run: Run, dataset: Dataset, steps: int) -> float:
    """Returns the seconds that the training loop took."""
    module = new_module(run, dataset)
    windows = TrainingWindows(dataset, run.settings.student.model.history_length)
    batches = WindowBatches(windows, torch.arange(len(windows)), None, run.settings.student.train.batch_targets)
    precision = encoder_precision(run.settings.student.train.precision)
    trainer = L.Trainer(**TRAINER, max_steps=steps, precision=precision)
    loader = DataLoader(windows, sampler=batches, batch_size=None)
    start = time.perf_counter()
    trainer.fit(module, loader)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
