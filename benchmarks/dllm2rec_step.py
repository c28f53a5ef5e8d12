"""Seconds per training step of DLLM2Rec's own `main.py` and of ours at its setting.

    python -m benchmarks.dllm2rec_step --envs DIR --dllm2rec CLONE

DLLM2Rec (github.com/istarryn/DLLM2Rec) runs unmodified from a clone, on synthetic data of its own shape: 17,408 items,
histories of 10, 256 examples a step, the teacher's 10 best items per example and its item embeddings of 4,096 numbers,
alpha 0.5, lambda 0.7, ed 0.3, SASRec of 64. Ours is `student=sasrec_paper` with `distill.preset=paper` on the same
examples and the same three teacher files, in the training loop of a run; only examples with full histories, so that
nothing is won on padding. Steps are timed from one optimiser step to the next.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from src.data.dataset import Dataset

from .environments import python_of
from .ours import synthetic_dataset
from .side_by_side import Worker, in_turn, markdown, median_rate, parser, report, with_peers

BATCH, LENGTH, K = 256, 10, 10
NUM_ITEMS, TEACHER_WIDTH = 17_408, 4096
INTERACTIONS = 60  # of a user


def main(arguments: argparse.Namespace) -> None:
    timing = {"warm_up": 2, "steps": arguments.steps}
    num_items = NUM_ITEMS
    if arguments.quick:
        arguments.repeats, timing, num_items = 1, {"warm_up": 1, "steps": 1}, 1000
    steps = timing["warm_up"] + arguments.repeats * timing["steps"] + 2  # all within its first epoch
    world = {"num_users": -(-steps * BATCH // (INTERACTIONS - 3)), "interactions": INTERACTIONS, "num_items": num_items}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = synthetic_dataset(**world)
        write_examples(dataset, folder / "examples.npz")
        teacher = folder / "tocf" / "synthetic"
        write_teacher_outputs(dataset, teacher)
        theirs = {"clone": str(arguments.dllm2rec.resolve()), "num_items": num_items, "batch": BATCH, **timing}
        ours = {"teacher": str(teacher), "world": world, "batch": BATCH, **timing}
        workers = {
            "DLLM2Rec, main.py": Worker(
                "dllm2rec_main", theirs, arguments.threads, folder, python_of(arguments.envs, "dllm2rec")
            ),
            "ours, preset paper": Worker("our_paper_steps", ours, arguments.threads, folder),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    rates = {who: median_rate(runs) for who, runs in measured.items()}
    slowest = next(iter(rates.values()))
    rows = [
        [who, f"{facts[who]['parameters']:,}", f"{BATCH / rate:.3f}", f"{rate:,.0f}", f"{rate / slowest:.1f}×"]
        for who, rate in rates.items()
    ]
    heads = ["SASRec", "parameters", f"seconds per {BATCH} examples", "examples per second", "faster"]
    report("dllm2rec_step", arguments, markdown(heads, rows), facts=facts, measured=measured)


def write_examples(dataset: Dataset, path: Path) -> None:
    """Writes DLLM2Rec's columns of the training examples in its own numbers: items from 0, padding = num_items."""
    batch = dataset.batch(dataset.examples["train"], LENGTH)
    real = batch.history > 0
    seq = (batch.history - 1).where(real, dataset.num_items)
    np.savez(path, seq=seq.numpy(), len_seq=real.sum(1).numpy(), next=(batch.target - 1).numpy())


def write_teacher_outputs(dataset: Dataset, folder: Path) -> None:
    """Writes the three files of a teacher that knows nothing, line n for train example n."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    num_examples = len(dataset.examples["train"])
    ranked = np.stack([random.choice(dataset.num_items, K, replace=False) for _ in range(num_examples)])
    np.savetxt(folder / "myrank_train.txt", ranked, fmt="%d")
    np.savetxt(folder / "confidence_train.txt", np.sort(random.random((num_examples, K)), axis=1), fmt="%.6f")
    torch.save(torch.randn(dataset.num_items, TEACHER_WIDTH), folder / "all_embeddings.pt")


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--dllm2rec", type=Path, required=True, help="a clone of github.com/istarryn/DLLM2Rec")
    own.add_argument("--steps", type=int, default=5, help="training steps per measurement")
    given = own.parse_args()
    if not (given.dllm2rec / "main.py").is_file():
        own.error(f"{given.dllm2rec} holds no main.py: give --dllm2rec a clone of DLLM2Rec")
    main(given)
