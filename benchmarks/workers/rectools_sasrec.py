"""RecTools' SASRec trained step by step in RecTools' own loop.

Settings: `log` (an `.inter` file), `length`, `width`, `blocks`, `heads`, `dropout`, `batch`, `warm_up`, `steps`.
"""

import pandas as pd
import pytorch_lightning
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from ..timing import TRAINER, Line, StepClock, stepping


def main() -> None:
    line = Line()
    settings = line.settings
    log = pd.read_csv(settings["log"], sep="\t").set_axis([Columns.User, Columns.Item, Columns.Datetime], axis=1)
    log[Columns.Datetime] = pd.to_datetime(log[Columns.Datetime], unit="s")
    log[Columns.Weight] = 1
    callback = stepping(pytorch_lightning, StepClock(line), lambda batch: int((batch["yw"] > 0).sum()))
    model = SASRecModel(
        n_factors=settings["width"],
        n_blocks=settings["blocks"],
        n_heads=settings["heads"],
        dropout_rate=settings["dropout"],
        session_max_len=settings["length"],
        batch_size=settings["batch"],
        loss="softmax",
        get_trainer_func=lambda: pytorch_lightning.Trainer(**TRAINER, callbacks=[callback]),
    )
    model.fit(Dataset.construct(log))


if __name__ == "__main__":
    main()
