"""The loop that one writes first: our SASRec on rows padded to full length, in plain PyTorch.

Settings: `overrides` of the shipped config, `batch` (windows per batch), `real_positions_only` (our loss at the real
positions instead of PyTorch's cross-entropy over the logits of all), `warm_up`, `steps`.
"""

from itertools import count

import torch
import torch.nn.functional as F

from src.core.precision import best_device
from src.data.rows import TrainingWindows, WindowBatch
from src.student.trainer_baseline import NextItemModule

from ..ours import WindowBatches, new_module, num_targets, prepared, run_of
from ..timing import Line, StepClock, num_parameters


def main() -> None:
    line = Line()
    settings = line.settings
    run = run_of(settings["overrides"])
    dataset = prepared(run)
    length = run.settings.student.model.history_length
    windows = TrainingWindows(dataset, length)
    batches = WindowBatches(windows, torch.arange(len(windows)), settings["batch"], 0)
    module = new_module(run, dataset).to(best_device()).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=run.settings.student.train.lr, weight_decay=0.0, fused=True)
    loss_of = loss_at_real_positions if settings["real_positions_only"] else loss_at_all_positions
    clock = StepClock(line)
    for _ in count():
        for rows in batches:
            batch = padded(windows[rows], length).to(best_device())
            optimizer.zero_grad()
            loss_of(module, batch).backward()
            optimizer.step()
            clock.step_done(lambda: {"parameters": num_parameters(module)}, num_targets(batch))


def padded(batch: WindowBatch, length: int) -> WindowBatch:
    """Returns the batch with every row padded to `length` places."""
    more = (0, length - batch.history.shape[1])
    return WindowBatch(F.pad(batch.history, more), F.pad(batch.target, more), F.pad(batch.example_id, more, value=-1))


def loss_at_all_positions(module: NextItemModule, batch: WindowBatch) -> torch.Tensor:
    scores = module.model.score(module.model.encode(batch.history))  # [B, L, num_items]
    return F.cross_entropy(scores.flatten(0, 1), batch.target.flatten() - 1, ignore_index=-1)


def loss_at_real_positions(module: NextItemModule, batch: WindowBatch) -> torch.Tensor:
    return sum(module.loss_terms(batch).values())


if __name__ == "__main__":
    main()
