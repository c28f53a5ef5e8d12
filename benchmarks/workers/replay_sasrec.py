"""RePlay's SASRec trained step by step in Lightning, as RePlay's users do.

Settings: `log` (an `.inter` file), `num_items`, `length`, `width`, `blocks`, `heads`, `dropout`, `batch`, `warm_up`,
`steps`.
"""

from pathlib import Path

import lightning
import pandas as pd
from replay.data.nn.parquet.parquet_module import ParquetModule
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

from ..timing import TRAINER, Line, StepClock, stepping
from .replay_items import schema_of


def main() -> None:
    line = Line()
    settings = line.settings
    num_items, width = settings["num_items"], settings["width"]
    schema = schema_of(num_items, width)
    model = SasRec.from_params(
        schema,
        embedding_dim=width,
        num_heads=settings["heads"],
        num_blocks=settings["blocks"],
        max_sequence_length=settings["length"],
        dropout=settings["dropout"],
    )
    one_more = settings["length"] + 1  # the first item is no target, the last no input
    data = ParquetModule(
        batch_size=settings["batch"],
        metadata={"train": {"item_id": {"shape": one_more, "padding": num_items}}},
        transforms=make_default_sasrec_transforms(schema),
        train_path=str(sequences(settings["log"])),
    )
    clock = StepClock(line)
    callback = stepping(lightning, clock, lambda batch: int(batch["target_padding_mask"].sum()))
    trainer = lightning.Trainer(**TRAINER, callbacks=[callback])
    trainer.fit(LightningModule(model, OptimizerFactory(learning_rate=0.001)), data)


def sequences(log: str) -> Path:
    """Writes one row per user with its items, 0-based, oldest first, beside the log."""
    rows = pd.read_csv(log, sep="\t").set_axis(["user_id", "item_id", "position"], axis=1)
    rows["item_id"] -= 1
    path = Path(log).with_suffix(".parquet")
    rows.groupby("user_id")["item_id"].agg(list).reset_index().to_parquet(path)
    return path


if __name__ == "__main__":
    main()
