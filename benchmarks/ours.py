"""Our side of every comparison: the shipped config with overrides, its dataset, and what the stages make of them."""

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.core.logging import Stopwatch, quiet_libraries
from src.core.precision import encoder_precision
from src.core.seed import generator, seed_everything
from src.data.batches import token_batches
from src.data.catalogue import Catalogue
from src.data.dataset import Dataset, Examples
from src.data.rows import TrainingExamples, TrainingWindows, WindowBatch
from src.exp.program.config import compose_settings
from src.exp.program.run import Run
from src.exp.stages.road import Road
from src.student.factory import create_student
from src.student.trainer_baseline import NextItemModule, student_loss
from src.teacher.factory import create_teacher
from src.teacher.interfaces import TeacherModel
from src.teacher.prompts.templates import read_template
from src.training.memory import keep_freed_memory

from .timing import TRAINER, StepClock, stepping

# A small part of any MovieLens log, for smoke runs.
FEW_ROWS = ["dataset.limit_data_rows=5000", "dataset.min_user_interactions=5"]


def run_of(overrides: list[str], folder: Path | None = None) -> Run:
    """Returns a run of the shipped config with overrides, in `folder` (None: where this process was started)."""
    keep_freed_memory()  # as every command does when it starts
    folder = folder or Path.cwd()
    return Run(compose_settings(*overrides), folder, Stopwatch(folder))


def prepared(run: Run) -> Dataset:
    """Returns the dataset of a run, prepared where it is not there."""
    stage = Road(run).prepared
    stage.ensure()
    return stage.dataset


def new_module(run: Run, dataset: Dataset, kind: type[NextItemModule] = NextItemModule) -> NextItemModule:
    """Returns an untrained student with its loss and its optimiser, as the stage `baseline` makes them."""
    seed_everything(run.settings.student_seed)
    quiet_libraries()
    student = run.settings.student
    model = create_student(student.name, dataset.num_items, student.model.plain())
    return kind(model, student_loss(student, dataset), student.train)


def new_teacher(run: Run, dataset: Dataset) -> TeacherModel:
    """Returns an untrained teacher over an untrained user encoder."""
    settings = run.settings
    seed_everything(settings.seed)
    encoder = settings.teacher.user_encoder
    student = create_student(encoder.name, dataset.num_items, encoder.model.plain())
    template = read_template(settings.paths.prompts_dir, settings.dataset.prompt, settings.teacher.objective)
    return create_teacher(settings.teacher, dataset, student, template, settings.paths.language_models_dir)


def synthetic_dataset(num_users: int, interactions: int, num_items: int) -> Dataset:
    """Returns a leave-one-out dataset in memory: every user's log is drawn uniformly from the catalogue."""
    end = torch.arange(1, interactions).repeat(num_users)
    user = torch.arange(num_users).repeat_interleave(interactions - 1)
    part = {"train": end < interactions - 2, "val": end == interactions - 2, "test": end == interactions - 1}
    examples, first = {}, 0
    for split, chosen in part.items():
        examples[split] = Examples(torch.arange(first, first + int(chosen.sum())), user[chosen], end[chosen])
        first += len(examples[split])
    names = [str(item) for item in range(1, num_items + 1)]
    return Dataset(
        name="synthetic",
        fingerprint="synthetic",
        folder=Path(),
        item_log=torch.randint(1, num_items + 1, (num_users * interactions,), generator=generator(0)),
        offsets=torch.arange(num_users + 1) * interactions,
        num_train=torch.full((num_users,), interactions - 2),
        catalogue=Catalogue(names, names, names),
        examples=examples,
    )


class WindowBatches:
    """Row numbers of batches, drawn anew for every epoch.

    Args:
        windows: What is learned from.
        rows: `[n]` int64, the windows that take part.
        size: Windows per batch, of any length; None: of similar length, `positions` at most.
        positions: Places per batch, padding included.
    """

    def __init__(
        self, windows: TrainingWindows | TrainingExamples, rows: Tensor, size: int | None, positions: int
    ) -> None:
        self.rows, self.generator = rows, generator(0)
        self.lengths = windows.num_targets[rows] if size is None else torch.ones_like(rows)
        self.budget = positions if size is None else size

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self.rows[batch] for batch in token_batches(self.lengths, self.budget, self.generator)])

    def __len__(self) -> int:
        return len(token_batches(self.lengths, self.budget))


def loader_of(run: Run, dataset: Dataset) -> DataLoader:
    """Returns the training batches of a run: windows of similar length."""
    windows = TrainingWindows(dataset, run.settings.student.model.history_length)
    batches = WindowBatches(windows, torch.arange(len(windows)), None, run.settings.student.train.batch_targets)
    return DataLoader(windows, sampler=batches, batch_size=None)


def newest_windows(dataset: Dataset, windows: TrainingWindows) -> Tensor:
    """Returns the row of each user's newest window, `[n]` int64."""
    end_of_part = dataset.offsets[:-1] + dataset.num_train
    return torch.isin(windows.first_target + windows.num_targets, end_of_part).nonzero().squeeze(1)


def num_targets(batch: WindowBatch) -> int:
    return int((batch.target > 0).sum())


def train_by_steps(run: Run, module: NextItemModule, batches: DataLoader, clock: StepClock) -> None:
    """Trains until `clock` ends the process."""
    precision = encoder_precision(run.settings.student.train.precision)
    trainer = L.Trainer(**TRAINER, precision=precision, callbacks=[stepping(L, clock, num_targets)])
    trainer.fit(module, batches)


def write_log(dataset: Dataset, path: Path, newest_train: int | None = None) -> None:
    """Writes the log as a RecBole `.inter` file: user, item (our numbers), position in the user's log as the time.

    Args:
        newest_train: None writes everything; n only each user's newest n training interactions.
    """
    counts = dataset.offsets.diff()
    user = torch.repeat_interleave(torch.arange(dataset.num_users), counts)
    position = torch.arange(len(user)) - dataset.offsets[user]
    kept = torch.ones_like(user, dtype=torch.bool)
    if newest_train is not None:
        kept = (position < dataset.num_train[user]) & (position >= dataset.num_train[user] - newest_train)
    columns = {"user_id:token": user, "item_id:token": dataset.item_log, "timestamp:float": position}
    frame = pl.DataFrame({name: column[kept].numpy() for name, column in columns.items()})
    frame.write_csv(path, separator="\t")
