"""DLLM2Rec's and iLoRA's frames: one row per example, histories in item numbers from 0, padded at the end.

Source: the loaders of both programs' public code. Their `main.py` reads `val_data.csv` and `test_data.csv` as they are,
but `train_data` and `data_statis` from pickled pandas tables. Those are not written here: a pickle is read by the
version of pandas that wrote it, and only the environment that reads it knows which one that is. `CONVERSION` makes
them there.
"""

from pathlib import Path
from typing import Any

import polars as pl
import torch

from ...core.artefact import write_text
from ..dataset import Dataset, Examples
from .folder import exporting

AT_ONCE = 1 << 16  # examples whose histories are written out together
CONVERSION = """\
# Run in this folder, in the environment of DLLM2Rec or iLoRA: the pickled tables that their programs read.
import json
import pandas as pd

for name, theirs in {"train": "train", "val": "Val", "test": "Test"}.items():  # iLoRA writes them so
    pd.read_csv(f"{name}_data.csv", converters={"seq": json.loads}).to_pickle(f"{theirs}_data.df")
pd.read_csv("data_statis.csv").to_pickle("data_statis.df")
"""


def export_dllm2rec(dataset: Dataset, folder: Path, length: int, about: dict[str, Any]) -> None:
    """Writes `{train,val,test}_data.csv` (`seq`, `len_seq`, `next`), `data_statis.csv`, `id2name.txt`, `items.csv`
    (item number, raw id, title) and `to_pickle.py`.

    Row n of a frame is example n of our split. Item numbers are 0..N-1, N is padding.

    Args:
        dataset: What is exported.
        folder: `data/<name>` in a checkout of DLLM2Rec.
        length: The newest so many items of a history are written; its `main.py` takes 10 alone.
        about: For the manifest.

    Raises:
        UserError: `folder` holds something else.
    """
    with exporting(folder, "dllm2rec", about) as temporary:
        for split, examples in dataset.examples.items():
            _write_frame(dataset, examples, length, temporary / f"{split}_data.csv")
        sizes = pl.DataFrame({"seq_size": [length], "item_num": [dataset.num_items]})
        sizes.write_csv(temporary / "data_statis.csv")
        catalogue = dataset.catalogue
        titles = pl.Series("title", catalogue.titles, dtype=pl.String).str.replace_all(r"\s+", " ")
        names = "".join(f"{number}::{title}\n" for number, title in enumerate(titles))
        write_text(temporary / "id2name.txt", names)
        items = pl.DataFrame({"item": range(len(titles)), "raw_id": catalogue.raw_ids, "title": titles})
        items.write_csv(temporary / "items.csv")
        write_text(temporary / "to_pickle.py", CONVERSION)


def _write_frame(dataset: Dataset, examples: Examples, length: int, path: Path) -> None:
    with path.open("wb") as file:
        for rows in torch.arange(len(examples)).split(AT_ONCE):
            batch = dataset.batch(examples.subset(rows), length)
            real = batch.history > 0
            seq = pl.Series("seq", (batch.history - 1).where(real, dataset.num_items).numpy())
            joined = seq.arr.to_list().cast(pl.List(pl.String)).list.join(", ")
            frame = pl.DataFrame({"seq": joined, "len_seq": real.sum(1).numpy(), "next": (batch.target - 1).numpy()})
            frame = frame.with_columns(seq=pl.format("[{}]", "seq"))
            frame.write_csv(file, include_header=rows[0].item() == 0)
