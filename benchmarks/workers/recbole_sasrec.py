"""RecBole's SASRec: trains from scratch for some epochs, or ranks the test part, through RecBole's own trainer.

Settings: `task` ("train" or "evaluate"), `data` (folder of `<name>/<name>.inter`), `name`, `config` (RecBole's keys).
"""

import time
from typing import Any

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from ..timing import Line, num_parameters

# Leave-one-out over the whole catalogue, as RecBole calls it; its cross-entropy wants no negatives.
EVALUATION = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "train_neg_sample_args": None,
    "valid_metric": "NDCG@10",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "show_progress": False,
}


def main() -> None:
    line = Line()
    settings = line.settings
    config = Config(
        model="SASRec",
        dataset=settings["name"],
        config_dict={"data_path": settings["data"], **EVALUATION, **settings["config"]},
    )
    parts = data_preparation(config, create_dataset(config))
    facts = {"parameters": num_parameters(new_model(config, parts)), "targets": targets(parts[1])}
    if settings["task"] == "train":
        seeds = iter(range(10**6))
        line.serve(facts, lambda: train(config, parts, next(seeds)))
    else:
        trainer = Trainer(config, new_model(config, parts))
        line.serve(facts, lambda: evaluate(trainer, parts[2]))


def new_model(config: Config, parts: tuple) -> SASRec:
    return SASRec(config, parts[0].dataset).to(config["device"])


def train(config: Config, parts: tuple, seed: int) -> dict[str, Any]:
    """Returns seconds since the start and validation NDCG@10 after each epoch."""
    init_seed(seed, reproducibility=True)
    curve, start = [], time.perf_counter()
    trainer = Trainer(config, new_model(config, parts))
    trainer.fit(
        parts[0],
        parts[1],
        verbose=False,
        callback_fn=lambda epoch, ndcg: curve.append([time.perf_counter() - start, float(ndcg)]),
    )
    return {"curve": curve}


def evaluate(trainer: Trainer, part: Any) -> dict[str, Any]:
    start = time.perf_counter()
    trainer.evaluate(part, load_best_model=False)
    return {"seconds": time.perf_counter() - start}


def targets(part: Any) -> list[list[int]]:
    """Returns user and target of each validation example in the numbers of the `.inter` file, in that order."""
    data = part.dataset
    user, item = data.inter_feat[data.uid_field], data.inter_feat[data.iid_field]
    names = [data.id2token(data.uid_field, user), data.id2token(data.iid_field, item)]
    return sorted([int(one), int(other)] for one, other in zip(*names, strict=True))


if __name__ == "__main__":
    main()
