"""Where the time of a training step goes, and how far it is from the machine's matrix products.

    python -m benchmarks.step_profile [overrides …]

Trains the shipped SASRec on MovieLens-1M for some steps, once with a clock and once under PyTorch's profiler. Shares
are of the profiled steps' wall time: each operator's own time, by what it belongs to. The arithmetic of a step (the
products of the encoder, of attention and of the scores, forward and backward, by number format) over its time is
compared with the best of several 2048 × 2048 × 2048 products in that format. Attention counts in full, though half of
its scores are masked.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from src.core.precision import encoder_precision
from src.data.dataset import Dataset
from src.exp.program.run import Run
from src.student.layers.dropout import Dropout
from src.student.trainer_baseline import NextItemModule

from .ours import FEW_ROWS, loader_of, new_module, prepared, run_of
from .side_by_side import markdown, parser, report
from .timing import TRAINER
from .work import Work, peak_rate

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
WARM_UP = 5


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    overrides = ["dataset=movielens", "student=sasrec_movielens", *arguments.overrides]
    with tempfile.TemporaryDirectory() as name:
        if arguments.quick:
            overrides += [*FEW_ROWS, f"paths.processed_dir={name}"]
            arguments.steps = 2
        run = run_of(overrides, Path(name))
        dataset = prepared(run)
    clock = Clock(arguments.steps)
    train(run, dataset, clock)
    profiled = Profiled(arguments.steps)
    train(run, dataset, profiled)
    shares = shares_of(profiled.events, profiled.seconds)
    work = work_of_step(run, dataset)
    peak = {dtype: peak_rate(dtype, 1 if arguments.quick else 10) for dtype in work}
    step = clock.seconds / arguments.steps
    at_peak = sum(work[dtype] / peak[dtype] for dtype in work)
    rows = [[what, f"{share:.1%}"] for what, share in shares.items()]
    rows += [["**one step**", f"{1000 * step:.1f} ms"]]
    for dtype in work:
        rate = f"{work[dtype] / 1e9:.1f} GFLOP; peak {peak[dtype] / 1e9:,.0f} GFLOP/s"
        rows += [[f"matrix products in {dtype}", rate]]
    rows += [["the products alone, at peak", f"{1000 * at_peak:.1f} ms = {at_peak / step:.0%} of the step"]]
    rows += [["reached", f"{sum(work.values()) / step / 1e9:,.0f} GFLOP/s"]]
    table = markdown(["where the time goes", "share"], rows)
    report("step_profile", arguments, table, shares=shares, step_seconds=step, flop=work, peak_flop_per_second=peak)


class Clock(L.Callback):
    """Measures the seconds of `steps` steps after the warm-up, then ends the training."""

    def __init__(self, steps: int) -> None:
        self.last = WARM_UP + steps - 1

    def begin(self) -> None:
        self.start = time.perf_counter()

    def end(self) -> None:
        self.seconds = time.perf_counter() - self.start

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == WARM_UP:
            self.begin()
        elif trainer.global_step > self.last:
            self.end()
            trainer.should_stop = True


class Profiled(Clock):
    """The same under the profiler; dropout's forward passes carry its name."""

    def on_fit_start(self, trainer: L.Trainer, module: NextItemModule) -> None:
        for part in module.modules():
            if isinstance(part, Dropout):
                named(part, "dropout")

    def begin(self) -> None:
        self.profile = profile(activities=[ProfilerActivity.CPU])
        self.profile.__enter__()
        super().begin()

    def end(self) -> None:
        super().end()
        self.profile.__exit__(None, None, None)
        self.events = self.profile.events()


def named(part: torch.nn.Module, name: str) -> None:
    """Lets the profiler see the forward passes of `part` under a name."""
    spans = []
    part.register_forward_pre_hook(lambda *_: spans.append(record_function(name).__enter__()))
    part.register_forward_hook(lambda *_: spans.pop().__exit__(None, None, None))


def train(run: Run, dataset: Dataset, callback: Clock) -> None:
    module = new_module(run, dataset)
    precision = encoder_precision(run.settings.student.train.precision)
    trainer = L.Trainer(**TRAINER, precision=precision, callbacks=[callback])
    trainer.fit(module, loader_of(run, dataset))


def shares_of(events: list[FunctionEvent], seconds: float) -> dict[str, float]:
    """Returns the share of `seconds` that each group's operators took themselves, and what was outside operators."""
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        spent[group_of(event)] += event.self_cpu_time_total / 1e6
    shares = {what: own / seconds for what, own in sorted(spent.items(), key=lambda pair: -pair[1])}
    return {**shares, "outside operators (Python, Lightning)": 1 - sum(shares.values())}


def group_of(event: FunctionEvent) -> str:
    names = [event.name]
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    if names[0] in PRODUCTS:
        return "scores: matrix products" if "_FullSoftmaxLoss" in names else "encoder: matrix products"
    if "_FullSoftmaxLoss" in names:
        return "scores: softmax and cross-entropy"
    if any("scaled_dot_product" in name for name in names):
        return "attention"
    if "dropout" in names:
        return "dropout, forward"
    if names[0].startswith("Optimizer.") or "aten::_fused_adamw_" in names:  # `step` itself calls the whole step
        return "optimiser"
    return "the rest (norms, GELU, embeddings, gathering batches)"


def work_of_step(run: Run, dataset: Dataset) -> dict[str, int]:
    """Returns the floating-point operations of one step's matrix products by number format."""
    module, batch = new_module(run, dataset), next(iter(loader_of(run, dataset)))
    with Work() as work:
        sum(module.loss_terms(batch).values()).backward()
    return dict(work.done)


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("overrides", nargs="*", default=[], help="of the shipped config, e.g. student=gru4rec")
    own.add_argument("--steps", type=int, default=20, help="training steps under the clock and under the profiler")
    main(own.parse_args())
