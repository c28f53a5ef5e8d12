"""Top ten lists for all users of a log, users per second: RecBole's and RePlay's batch prediction, and `run_recommend`.

    python -m benchmarks.recommend_speed --envs DIR [--users 20000]

A synthetic log over 12,000 items; untrained SASRec, 64 wide, 2 blocks, 2 heads, 50 items read (what the weights are
changes no time), once with histories of 50 each, once of 4 to 50, 9 on average, as on Amazon Toys. What is timed, the
model and the log being in memory (RePlay's log, as it wants it, in a Parquet file):

- RecBole: `full_sort_topk` (recbole.utils.case_study) batch by batch, then one pandas table by raw id, in memory. It
  leaves nothing out: what a user has seen competes, as always for RecBole's sequential models.
- RePlay: Lightning's `predict` with `SeenItemsFilter` and `PolarsTopItemsCallback`, then its Polars table, in memory,
  in the numbers of users and items that RePlay works with.
- Ours: `recommend_to_file`, what was seen left out, raw ids and titles, to a Parquet file that is on the disk when the
  time ends.

Each peer works in batches of the size that it was fastest with among a few; ours in its own. Both wall and processor
time are told: where others use the machine, the latter says more.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl
import torch

from src.core.seed import generator

from .environments import python_of
from .ours import write_log
from .served import SIZES, serve_untrained, synthetic_log
from .side_by_side import Worker, in_turn, markdown, median_of, parser, report, with_peers

K, CHUNK = 10, 20_000
LENGTH = SIZES["history_length"]
THEIRS = {"length": LENGTH, "width": SIZES["hidden_size"], "blocks": SIZES["num_blocks"], "heads": SIZES["num_heads"]}
RECBOLE = {
    "hidden_size": SIZES["hidden_size"],
    "inner_size": SIZES["hidden_size"],
    "n_layers": SIZES["num_blocks"],
    "n_heads": SIZES["num_heads"],
    "MAX_ITEM_LIST_LENGTH": LENGTH,
}


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.repeats, arguments.users, arguments.items, arguments.batches = 1, 200, 100, [64]
    rows, everything = [], {}
    for told, lengths in histories(arguments.users).items():
        facts, measured = measure(lengths, arguments)
        speeds = [
            {who: arguments.users / median_of(runs, clock) for who, runs in measured.items()}
            for clock in ("seconds", "processor")
        ]
        for who in measured:
            row = [told, who, f"{facts[who]['parameters']:,}", facts[who].get("batch", "")]
            for speed in speeds:
                row += [f"{speed[who]:,.0f}", f"{speed['ours'] / speed[who]:.1f}×" if who != "ours" else ""]
            rows.append(row)
        everything[told] = {"facts": facts, "measured": measured}
    heads = ["histories", "top ten of every user", "parameters", "batch", "users per second", "ours / it"]
    heads += ["of processor time", "ours / it"]
    report("recommend_speed", arguments, markdown(heads, rows), cases=everything)


def histories(num_users: int) -> dict[str, torch.Tensor]:
    """Returns lengths of histories `[num_users]` by what the table calls them."""
    some = torch.empty(num_users).geometric_(1 / 6, generator=generator(0)).long()
    return {"50": torch.full((num_users,), LENGTH), "4 to 50": (some + 3).clamp(max=LENGTH)}


def measure(lengths: torch.Tensor, arguments: argparse.Namespace) -> tuple[dict, dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = synthetic_log(lengths, arguments.items, folder)
        parameters = serve_untrained(dataset, folder / "served")
        log = folder / "log.inter"
        write_log(dataset, log)
        (folder / "more").mkdir()
        write_with_one_more(log, folder / "more" / "more.inter")
        asked = {"k": K, "batches": arguments.batches}
        recbole = {"data": name, "name": "more", "config": RECBOLE, **asked}
        replay = {"log": str(log), "num_items": arguments.items, **THEIRS, **asked}
        ours = {"model": str(folder / "served"), "chunk": CHUNK}

        def peer(which: str, settings: dict) -> Worker:
            python = python_of(arguments.envs, which)
            return Worker(f"{which}_recommend", settings, arguments.threads, folder, python)

        workers = {
            "RecBole 1.2.1": peer("recbole", recbole),
            "RePlay 0.22.0": peer("replay", replay),
            "ours": Worker("our_recommend", ours, arguments.threads, folder),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    facts["ours"]["parameters"] = parameters
    check_everybody_has_a_list(measured, len(lengths))
    return facts, measured


def write_with_one_more(log: Path, to: Path) -> None:
    """Writes a log with each user's last interaction once more: RecBole reads histories up to the last, its target."""
    frame = pl.read_csv(log, separator="\t")
    last = frame.group_by("user_id:token", maintain_order=True).last()
    more = last.with_columns(pl.col("timestamp:float") + 1)
    pl.concat([frame, more]).write_csv(to, separator="\t")


def check_everybody_has_a_list(measured: dict[str, list[dict]], num_users: int) -> None:
    for who, runs in measured.items():
        if any(run["rows"] != K * num_users for run in runs):
            raise RuntimeError(f"{who} made {runs[0]['rows']} rows for {num_users} users")


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--users", type=int, default=20_000)
    own.add_argument("--items", type=int, default=12_000, help="of the catalogue")
    own.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024], help="sizes that peers try")
    main(own.parse_args())
