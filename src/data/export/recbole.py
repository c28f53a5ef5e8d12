"""RecBole's atomic files: the log, the items, and the split as benchmark files, all with raw ids.

Layout: a header line of `name:type`, fields separated by tabs, the values of a sequence by spaces; read by RecBole
1.2.1 with pandas, which takes some words for missing values.
"""

from pathlib import Path
from typing import Any

import polars as pl
import torch

from ...core.artefact import write_text
from ...core.errors import UserError
from ..dataset import Dataset, Examples
from .folder import exporting

BENCHMARK = {"train": "train", "val": "valid", "test": "test"}  # our split → the name within the file's
AT_ONCE = 1 << 16  # examples whose histories are written out together
# fmt: off
MISSING = frozenset((  # what pandas reads as no value
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
))
# fmt: on
CONFIG = """\
# What RecBole needs to read this export: data_path is the folder around the one that this file lies in.
dataset: "{name}"
benchmark_filename: [train, valid, test]
alias_of_item_id: [item_id_list]
load_col: {{inter: [user_id, item_id_list, item_id]}}
MAX_ITEM_LIST_LENGTH: {length}
"""


def export_recbole(dataset: Dataset, folder: Path, length: int, about: dict[str, Any]) -> None:
    """Writes `<name>.inter`, `<name>.item`, `<name>.{train,valid,test}.inter` and `<name>.yaml`.

    Args:
        dataset: Prepared, on the disk.
        folder: Becomes the dataset's folder; RecBole wants it to be called as the dataset.
        length: The newest so many items of a history are written.
        about: For the manifest.

    Raises:
        UserError: A raw id cannot stand in such files, or `folder` holds something else.
    """
    name = dataset.name
    items = pl.Series("item_id:token", dataset.catalogue.raw_ids, dtype=pl.String)
    users = pl.read_parquet(dataset.folder / "users.parquet")["raw_id"].alias("user_id:token")
    for raw_ids, whose in ((items, "Item"), (users, "User")):
        _refuse_unwritable(raw_ids, whose)
    with exporting(folder, "recbole", about) as temporary:
        log = pl.read_parquet(dataset.folder / "interactions.parquet", columns=["user", "item", "timestamp"])
        inter = pl.DataFrame([users.gather(log["user"]), items.gather(log["item"] - 1)])
        inter = inter.with_columns(log["timestamp"].alias("timestamp:float"))
        inter.write_csv(temporary / f"{name}.inter", separator="\t")
        titles = pl.Series("title:token_seq", dataset.catalogue.titles, dtype=pl.String)
        texts = pl.Series("text:token_seq", dataset.catalogue.texts, dtype=pl.String)
        words = [column.str.replace_all(r"\s+", " ") for column in (titles, texts)]
        pl.DataFrame([items, *words]).write_csv(temporary / f"{name}.item", separator="\t")
        for split, theirs in BENCHMARK.items():
            _write_examples(
                dataset, dataset.examples[split], users, items, length, temporary / f"{name}.{theirs}.inter"
            )
        write_text(temporary / f"{name}.yaml", CONFIG.format(name=name, length=length))


def _write_examples(
    dataset: Dataset, examples: Examples, users: pl.Series, items: pl.Series, length: int, path: Path
) -> None:
    """Writes one line per example: whose, the history oldest first, the target."""
    with path.open("wb") as file:
        for rows in torch.arange(len(examples)).split(AT_ONCE):
            some = examples.subset(rows)
            batch = dataset.batch(some, length)
            real = batch.history > 0
            flat = pl.DataFrame({"row": real.nonzero()[:, 0].numpy(), "item": (batch.history[real] - 1).numpy()})
            history = (
                flat.with_columns(items.gather(flat["item"]).alias("item"))
                .group_by("row", maintain_order=True)
                .agg(pl.col("item").str.join(" "))["item"]
            )
            frame = pl.DataFrame(
                [
                    users.gather(some.user.numpy()),
                    history.alias("item_id_list:token_seq"),
                    items.gather((batch.target - 1).numpy()),
                ]
            )
            frame.write_csv(file, separator="\t", include_header=rows[0].item() == 0)


def _refuse_unwritable(raw_ids: pl.Series, whose: str) -> None:
    wrong = raw_ids.filter(raw_ids.str.contains(r"\s") | raw_ids.is_in(list(MISSING)))
    if len(wrong):
        raise UserError(
            f"{whose} {wrong[0]!r} cannot be exported to RecBole, which separates ids by spaces and tabs and takes "
            f"{wrong[0]!r} for more than one or for none ({len(wrong)} such ids): rename them in the raw log."
        )
