"""Users per second of full-ranking evaluation, RecBole's and ours, same users, same model size.

    python -m benchmarks.evaluation_speed --envs DIR [--datasets ml_100k movielens]

Each test target is ranked against the whole catalogue, seen items included, by an untrained SASRec (64 wide, 2
blocks, histories of 50; what the weights are changes no time). Time is that of the whole call: histories gathered,
scored, ranked, metrics computed. RecBole computes its five default metrics at 10; we compute HR, NDCG, Recall and
MRR at 1, 5, 10, 20, coverage and popularity, and keep every user's rank.
"""

import argparse
import tempfile
from pathlib import Path

from .environments import python_of
from .ours import FEW_ROWS, prepared, run_of, write_log
from .recbole_time_to_quality import SAME_MODEL, check_same_targets
from .side_by_side import Worker, in_turn, markdown, median_of, parser, report, with_peers


def main(arguments: argparse.Namespace) -> None:
    rows, everything = [], {}
    if arguments.quick:
        arguments.repeats, arguments.datasets = 1, arguments.datasets[:1]
    for dataset in arguments.datasets:
        facts, measured = measure(dataset, arguments)
        users = facts["ours"]["test_users"]
        speed = {who: users / median_of(measured[who], "seconds") for who in measured}
        for who, name in (("RecBole", "RecBole 1.2.1"), ("ours", "ours")):
            faster = f"{speed['ours'] / speed['RecBole']:.1f}×" if who == "ours" else ""
            rows.append([dataset, name, f"{users:,}", f"{speed[who]:,.0f}", faster])
        everything[dataset] = {"facts": facts, "measured": measured}
    table = markdown(["dataset", "evaluation", "users", "users per second", "faster"], rows)
    report("evaluation_speed", arguments, table, datasets=everything)


def measure(dataset: str, arguments: argparse.Namespace) -> tuple[dict, dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = [*SAME_MODEL, f"dataset={dataset}"]
        if arguments.quick:
            overrides += [*FEW_ROWS, f"paths.processed_dir={folder}"]
        (folder / "log").mkdir()
        write_log(prepared(run_of(overrides, folder)), folder / "log" / "log.inter")
        recbole = {"task": "evaluate", "data": name, "name": "log", "config": {"inner_size": 64}}
        python = python_of(arguments.envs, "recbole")
        workers = {
            "RecBole": Worker("recbole_sasrec", recbole, arguments.threads, folder, python),
            "ours": Worker("our_sasrec", {"task": "evaluate", "overrides": overrides}, arguments.threads, folder),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    check_same_targets(facts)
    return facts, measured


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--datasets", nargs="+", default=["ml_100k", "movielens"], help="of conf/dataset")
    main(own.parse_args())
