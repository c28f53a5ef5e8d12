"""Our students trained step by step in Lightning.

Settings: `overrides` of the shipped config, `windows` ("newest": one per user, or "all"), `batch` (windows per batch;
null: the config's `batch_targets`), `warm_up`, `steps`.
"""

import torch
from torch.utils.data import DataLoader

from src.data.rows import TrainingWindows

from ..ours import WindowBatches, new_module, newest_windows, prepared, run_of, train_by_steps
from ..timing import Line, StepClock


def main() -> None:
    line = Line()
    settings = line.settings
    run = run_of(settings["overrides"])
    dataset = prepared(run)
    windows = TrainingWindows(dataset, run.settings.student.model.history_length)
    rows = newest_windows(dataset, windows) if settings["windows"] == "newest" else torch.arange(len(windows))
    batches = WindowBatches(windows, rows, settings["batch"], run.settings.student.train.batch_targets)
    loader = DataLoader(windows, sampler=batches, batch_size=None)
    train_by_steps(run, new_module(run, dataset), loader, StepClock(line))


if __name__ == "__main__":
    main()
