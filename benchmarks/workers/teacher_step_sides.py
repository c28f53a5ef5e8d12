"""One side of `teacher_step`: the same training batches, forward and backward, again each time a line arrives.

Settings: `overrides` of the shipped config, `batches`, and `side`: "fused", "plain" or "ours".
"""

import time
from functools import partial
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.precision import autocast, resolve_precision
from src.core.settings_reading import changed
from src.teacher.ilora_model import ILoRAModel
from src.teacher.trainer_ilora import TeacherDataModule

from ..ours import new_teacher, prepared, run_of
from ..timing import Line, finish_on_device
from ..work import Work, peak_rate


def stored_scores_loss(model: ILoRAModel, h_seq: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(model.scores_of(h_seq, model.item_embeddings()), target - 1)


def main() -> None:
    line = Line()
    run, side = run_of(line.settings["overrides"]), line.settings["side"]
    dataset = prepared(run)
    model = new_teacher(run, dataset).train()
    if side == "fused":
        model.language_model.set_attn_implementation("sdpa")
    if side != "ours":
        model.catalogue_loss = partial(stored_scores_loss, model)
    train = changed(run.settings.teacher.train, {"max_val_examples": 1})
    data = TeacherDataModule(model, dataset, train, eval_batch_size=1, filter_seen=False, seed=0)
    batches = list(islice(data.train_dataloader(), line.settings["batches"]))

    def step(batch) -> float:
        with autocast(resolve_precision("auto"), torch.device("cpu")):
            loss = model.training_loss(batch)
        loss.backward()
        model.zero_grad()
        return float(loss.detach())

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        for batch in batches:
            step(batch)
        finish_on_device()
        return {"seconds": (time.perf_counter() - start) / len(batches)}

    with Work() as work:
        loss = sum(map(step, batches)) / len(batches)
    facts = {
        "loss": loss,
        "tokens": sum(int(model.prompt_lengths(batch.history).sum()) for batch in batches) / len(batches),
        "histories": sum(len(batch.history) for batch in batches) / len(batches),
        "seconds_at_peak": sum(flop / peak_rate(dtype, 10) for dtype, flop in work.done.items()) / len(batches),
    }
    line.serve(facts, measure)


if __name__ == "__main__":
    main()
