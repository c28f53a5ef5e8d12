"""Seconds until validation NDCG@10 of RecBole's SASRec is reached, RecBole and ours, on the same leave-one-out data.

    python -m benchmarks.recbole_time_to_quality --envs DIR [--recbole-epochs 3] [--our-epochs 40] [--inner-size 64]

RecBole runs its default SASRec (64 wide, 2 blocks, 2 heads, histories of 50, dropout 0.5, cross-entropy, Adam
0.001, batches of 2,048 examples) with a feed-forward layer as wide as ours, so that both have the same number of
parameters; `--inner-size 256` gives its own default. Ours is the shipped student with histories of 50, dropout 0.2
and learning rate 0.005; `--same-rates` gives RecBole these two as well. Time runs from before the model is made, and
includes validation after every epoch. Both get the same log: the same users and validation items (checked), ranked
among all items, seen ones included.
"""

import argparse
import math
import tempfile
from pathlib import Path
from statistics import median

from .environments import python_of
from .ours import FEW_ROWS, prepared, run_of, write_log
from .side_by_side import Worker, in_turn, markdown, parser, report, with_peers

SAME_MODEL = [
    "student=sasrec",
    "student/loss=cross_entropy",
    "student.model.hidden_size=64",
    "student.model.num_blocks=2",
    "student.model.num_heads=2",
    "student.model.history_length=50",
    "student.model.dropout=0.2",
    "student.train.batch_targets=4096",
    "student.train.lr=0.005",
    "student.train.lr_schedule=constant",
    "student.train.patience=25",
    "metrics.filter_seen=false",
]
OUR_RATES = {"learning_rate": 0.005, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2}  # in RecBole's words


def main(arguments: argparse.Namespace) -> None:
    epochs = {"RecBole": arguments.recbole_epochs, "ours": arguments.our_epochs}
    rates = OUR_RATES if arguments.same_rates else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = [*SAME_MODEL, f"dataset={arguments.dataset}", f"student.train.max_epochs={epochs['ours']}"]
        if arguments.quick:
            overrides += [*FEW_ROWS, f"paths.processed_dir={folder}"]
            arguments.repeats = 1
        (folder / "log").mkdir()
        write_log(prepared(run_of(overrides, folder)), folder / "log" / "log.inter")
        recbole = {
            "task": "train",
            "data": name,
            "name": "log",
            "config": {"epochs": epochs["RecBole"], "inner_size": arguments.inner_size} | rates,
        }
        workers = {
            "RecBole": Worker(
                "recbole_sasrec", recbole, arguments.threads, folder, python_of(arguments.envs, "recbole")
            ),
            "ours": Worker("our_sasrec", {"task": "train", "overrides": overrides}, arguments.threads, folder),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    check_same_targets(facts)
    curves = {who: [one["curve"] for one in runs] for who, runs in measured.items()}
    goals = [max(curve, key=lambda point: point[1]) for curve in curves["RecBole"]]
    ours = [seconds_to(goal, curve) for (_, goal), curve in zip(goals, curves["ours"], strict=True)]
    theirs = [seconds for seconds, _ in goals]
    goal = median(ndcg for _, ndcg in goals)
    parameters = {who: facts[who]["parameters"] for who in facts}
    rows = [
        ["RecBole 1.2.1", f"{parameters['RecBole']:,}", f"{goal:.4f}", f"{median(theirs):.1f}", ""],
        [
            "ours",
            f"{parameters['ours']:,}",
            f"{goal:.4f}",
            f"{median(ours):.2f}",
            f"{median(theirs) / median(ours):.0f}×",
        ],
    ]
    table = markdown(["SASRec", "parameters", "validation NDCG@10 reached", "seconds", "faster"], rows)
    report("recbole_time_to_quality", arguments, table, parameters=parameters, curves=curves)


def check_same_targets(facts: dict[str, dict]) -> None:
    """Makes sure that both rank the same item for the same users in validation; forgets the lists."""
    theirs, ours = (facts[who].pop("targets") for who in ("RecBole", "ours"))
    if theirs != ours:
        raise RuntimeError("RecBole validates on other targets than we do")


def seconds_to(goal: float, curve: list[list[float]]) -> float:
    """Returns when `curve` first reaches `goal`; infinity if it never does (then raise --our-epochs)."""
    return min((seconds for seconds, ndcg in curve if ndcg >= goal), default=math.inf)


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--dataset", default="ml_100k", help="of conf/dataset")
    own.add_argument("--recbole-epochs", type=int, default=3)
    own.add_argument("--our-epochs", type=int, default=40)
    own.add_argument("--same-rates", action="store_true", help="RecBole with our learning rate and dropout")
    own.add_argument("--inner-size", type=int, default=64, help="width of RecBole's feed-forward layer")
    main(own.parse_args())
