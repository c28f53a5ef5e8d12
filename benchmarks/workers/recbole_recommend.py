"""RecBole's SASRec recommends to all users of a log through its own `full_sort_topk`, again each time a line arrives.

What RecBole reads of a user is the history of his test example: all but the last interaction of the log.

Settings: `data` (folder of `<name>/<name>.inter`), `name`, `config` (RecBole's keys), `k`, `batches` (sizes, of which
the fastest is taken).
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils.case_study import full_sort_topk

from ..timing import Clock, Line, fastest, num_parameters
from .recbole_sasrec import EVALUATION, new_model


def main() -> None:
    line = Line()
    settings = line.settings
    config = Config(
        model="SASRec",
        dataset=settings["name"],
        config_dict={"data_path": settings["data"], **EVALUATION, **settings["config"]},
    )
    parts = data_preparation(config, create_dataset(config))
    model, test = new_model(config, parts).eval(), parts[2]
    dataset = test.dataset
    users = dataset.inter_feat[dataset.uid_field].numpy()

    def measure(size: int) -> dict[str, Any]:
        clock = Clock()
        found = [full_sort_topk(users[i : i + size], model, test, settings["k"]) for i in range(0, len(users), size)]
        scores, items = (torch.cat(each).flatten().numpy() for each in zip(*found, strict=True))
        table = pd.DataFrame(
            {
                "user": dataset.id2token(dataset.uid_field, np.repeat(users, settings["k"])),
                "item": dataset.id2token(dataset.iid_field, items),
                "score": scores,
            }
        )
        return {**clock.read(), "rows": len(table)}

    best = fastest(settings["batches"], measure)
    line.serve({"parameters": num_parameters(model), "batch": best}, lambda: measure(best))


if __name__ == "__main__":
    main()
