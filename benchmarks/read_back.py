"""What RecBole and DLLM2Rec read of our exports, with their own loaders, compared with what was exported.

    python -m benchmarks.read_back --envs DIR --dllm2rec CLONE

MovieLens-100K, its first 20,000 lines, leave-one-out, users with at least four interactions (of one with three, RecBole
holds out the last alone). RecBole loads the benchmark files, and the whole log, which it splits by itself; DLLM2Rec's
`main.py` runs unmodified for one epoch. The teacher outputs are invented: ten items per example with log-probabilities.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from src.api import load_dataset
from src.data.dataset import SPLITS, Dataset
from src.data.export.dllm2rec import export_dllm2rec
from src.data.export.recbole import export_recbole
from src.data.export.settings import LENGTHS
from src.distill.data_bridge import TeacherOutputs
from src.distill.kd_losses import confidence_weights
from src.distill.reference_files import export_teacher_files

from .environments import python_of
from .side_by_side import Worker, markdown, parser, report, with_peers

K, TEACHER_WIDTH = 10, 4096
Row = tuple[str, str, str]  # what was compared, what was exported, what was read


def main(arguments: argparse.Namespace) -> None:
    rows = 2_000 if arguments.quick else 20_000
    dataset = load_dataset("dataset=ml_100k", f"dataset.limit_data_rows={rows}", "dataset.min_user_interactions=4")
    with tempfile.TemporaryDirectory() as name:
        table = [*recbole(dataset, Path(name), arguments), *dllm2rec(dataset, Path(name), arguments)]
    report("read_back", arguments, markdown(["what", "exported", "read"], table))


def recbole(dataset: Dataset, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    export_recbole(dataset, folder / dataset.name, LENGTHS["recbole"], {})
    settings = {"data": str(folder), "name": dataset.name}
    with Worker("recbole_reads", settings, arguments.threads, folder, python_of(arguments.envs, "recbole")) as worker:
        read = worker.facts
    users = pl.read_parquet(dataset.folder / "users.parquet")["raw_id"].to_list()
    table: list[Row] = []
    for split, theirs, itself in zip(SPLITS, read["by split"], read["by itself"], strict=True):
        ours = raw_examples(dataset, split, users)
        table.append((f"RecBole, {split}: examples in order", f"{len(ours):,}", same(ours, theirs)))
        table.append((f"RecBole, {split}: the same from the log alone", f"{len(ours):,}", same_rows(ours, itself)))
    return table


def raw_examples(dataset: Dataset, split: str, users: list[str]) -> list[list[Any]]:
    examples, raw = dataset.examples[split], ["", *dataset.catalogue.raw_ids]
    batch = dataset.batch(examples, LENGTHS["recbole"])
    histories = [[raw[item] for item in history if item] for history in batch.history.tolist()]
    rows = zip(examples.user.tolist(), histories, batch.target.tolist(), strict=True)
    return [[users[user], history, raw[target]] for user, history, target in rows]


def dllm2rec(dataset: Dataset, folder: Path, arguments: argparse.Namespace) -> list[Row]:
    name, train = dataset.name, dataset.examples["train"]
    outputs = invented_outputs(dataset)
    export_dllm2rec(dataset, folder / "data" / name, LENGTHS["dllm2rec"], {})
    export_teacher_files(outputs, dataset, folder / "tocf" / name, TEACHER_WIDTH, {})
    settings = {"clone": str(arguments.dllm2rec.resolve()), "name": name}
    with Worker("dllm2rec_reads", settings, arguments.threads, folder, python_of(arguments.envs, "dllm2rec")) as worker:
        read = worker.facts
    table: list[Row] = []
    for split in SPLITS:
        columns = numbered_examples(dataset, split)
        ours = [list(row) for row in zip(*columns[: len(read[split][0])], strict=True)]
        table.append((f"DLLM2Rec, {split}: rows in order", f"{len(ours):,}", same(ours, read[split])))
    candidates = (outputs.candidates - 1).tolist()
    weights = confidence_weights(outputs.distance[read["last_batch"]])
    theirs = torch.tensor(read["weight_confidence"])
    order = bool((theirs.argsort(1) == weights.argsort(1)).all())
    difference = float((theirs - weights).abs().max())
    return [
        *table,
        ("DLLM2Rec: items", f"{dataset.num_items:,}", f"{read['item_num']:,}"),
        ("DLLM2Rec: the teacher's items per train example", f"{len(train):,}", same(candidates, read["candidates"])),
        (
            "DLLM2Rec: item embeddings",
            f"{dataset.num_items} × {TEACHER_WIDTH}",
            " × ".join(map(str, read["embeddings"])),
        ),
        (
            "DLLM2Rec: confidence weights of its last batch",
            f"{len(weights)} × {K}",
            f"{'the same order' if order else 'ANOTHER ORDER'}, at most {difference:.0e} apart",
        ),
    ]


def numbered_examples(dataset: Dataset, split: str) -> tuple[list[list[int]], list[int], list[int]]:
    """Returns DLLM2Rec's columns in its numbers, by a way of its own: item by item."""
    seq, len_seq, following = [], [], []
    for user, end in zip(
        *(part.tolist() for part in (dataset.examples[split].user, dataset.examples[split].end)), strict=True
    ):
        log = dataset.item_log[dataset.offsets[user] : dataset.offsets[user + 1]].tolist()
        history = [item - 1 for item in log[max(0, end - LENGTHS["dllm2rec"]) : end]]
        seq.append(history + [dataset.num_items] * (LENGTHS["dllm2rec"] - len(history)))
        len_seq.append(len(history))
        following.append(log[end] - 1)
    return seq, len_seq, following


def invented_outputs(dataset: Dataset) -> TeacherOutputs:
    draw = torch.Generator().manual_seed(0)
    num_examples = len(dataset.examples["train"])
    scores = torch.randn(num_examples, dataset.num_items, generator=draw).log_softmax(1)
    best = scores.topk(K)
    return TeacherOutputs(
        item_embeddings=torch.randn(dataset.num_items, 8, generator=draw),
        row_of_example=torch.cat([torch.arange(num_examples), torch.tensor([-1])]),
        candidates=best.indices + 1,
        distance=-best.values,
    )


def same(ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """Says of how many rows the two agree, where each stands at its place."""
    if ours == theirs:
        return f"{len(theirs):,}, all the same"
    equal = sum(one == other for one, other in zip(ours, theirs, strict=False))
    return f"{len(theirs):,}, {equal:,} THE SAME"


def same_rows(ours: list[list[Any]], theirs: list[list[Any]]) -> str:
    """The same of rows in any order."""
    return same(sorted(ours), sorted(theirs))


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--dllm2rec", type=Path, required=True, help="a clone of github.com/istarryn/DLLM2Rec")
    given = own.parse_args()
    if not (given.dllm2rec / "main.py").is_file():
        own.error(f"{given.dllm2rec} holds no main.py: give --dllm2rec a clone of DLLM2Rec")
    main(given)
