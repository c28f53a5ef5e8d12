"""A served model over a synthetic log, for those who measure what it answers."""

from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from src.core.seed import generator, seed_everything
from src.data.catalogue import Catalogue
from src.data.dataset import Dataset, Examples
from src.serve.onnx.export import write_served
from src.student.factory import create_student

from .timing import num_parameters

SIZES = {"hidden_size": 64, "history_length": 50, "num_blocks": 2, "num_heads": 2, "dropout": 0.0}
CHECKED = 100  # users whom PyTorch ranks, too, before a served model is written


def synthetic_log(lengths: Tensor, num_items: int, folder: Path) -> Dataset:
    """Returns a log of items drawn uniformly, and writes its users into `folder`; the last items of some are examples.

    Args:
        lengths: `[num_users]` int64, interactions of each user, at least 2.
        num_items: Of the catalogue.
        folder: Of the dataset.
    """
    raw_user_ids = [f"user {user}" for user in range(len(lengths))]
    pl.DataFrame({"raw_id": raw_user_ids}).write_parquet(folder / "users.parquet")
    names = [f"item {item}" for item in range(1, num_items + 1)]
    checked = torch.arange(min(CHECKED, len(lengths)))
    return Dataset(
        name="synthetic",
        fingerprint="synthetic",
        folder=folder,
        item_log=torch.randint(1, num_items + 1, (int(lengths.sum()),), generator=generator(0)),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        num_train=lengths - 2,
        catalogue=Catalogue(names, names, names),
        examples={"test": Examples(checked, checked, lengths[checked] - 1)},
    )


def serve_untrained(dataset: Dataset, folder: Path) -> int:
    """Writes `folder`, a served SASRec of `SIZES` that was never trained; returns how many parameters it has."""
    seed_everything(0)
    student = create_student("sasrec", dataset.num_items, SIZES).eval()
    about = {"dataset": dataset.name, "student": "untrained", "student_is_distilled": False, "seed": 0}
    about |= {"student_name": "sasrec", "architecture": SIZES}
    write_served(folder, student, dataset, about, filter_seen=True, ks=[10])
    return num_parameters(student)
