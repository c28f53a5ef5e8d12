"""One trained student's ranks on the CPU and on the GPU, in each number format: the same weights, the same users.

The student is trained here, on the CPU in float32, on a log that has something to learn: whoever took item i takes one
of the next three, three times out of four. Settings: `overrides` of the shipped config, `log` (arguments of
`ours.synthetic_dataset`), `steps` of training.
"""

from dataclasses import replace

import lightning as L
import torch
from torch import Tensor

from src.core.seed import generator
from src.data.dataset import Dataset
from src.evaluation.ranking import Evaluation, evaluate

from ..number_formats import FORMATS, SCORES_TOO, multiply_as, scorer
from ..ours import loader_of, new_module, run_of, synthetic_dataset
from ..timing import TRAINER, Line


def walks(num_users: int, interactions: int, num_items: int) -> Tensor:
    """Returns the items of all users, `[num_users * interactions]` int64."""
    draw = generator(0)
    steps = torch.randint(1, 4, (num_users, interactions), generator=draw)
    anywhere = torch.randint(0, num_items, (num_users, interactions), generator=draw)
    leaps = torch.rand(num_users, interactions, generator=draw) < 0.25
    leaps[:, 0] = True
    return (1 + torch.where(leaps, anywhere, steps).cumsum(1) % num_items).flatten()


def compared(evaluation: Evaluation, reference: Evaluation) -> dict[str, float]:
    """Returns NDCG@10, and how ranks and first ten differ from those of `reference`."""
    moved = (evaluation.rank - reference.rank).abs()
    lists = evaluation.lists.top_items[:, :10], reference.lists.top_items[:, :10]
    return {
        "NDCG@10": evaluation.metrics["NDCG@10"],
        "difference": evaluation.metrics["NDCG@10"] - reference.metrics["NDCG@10"],
        "ranks_moved": (moved > 0).double().mean().item(),
        "farthest": int(moved.max()),
        "other_lists": (lists[0] != lists[1]).any(1).double().mean().item(),
    }


def main() -> None:
    line = Line()
    settings = line.settings
    run = run_of([*settings["overrides"], "student.train.precision=32-true"])
    log = settings["log"]
    dataset: Dataset = replace(synthetic_dataset(**log), item_log=walks(**log))
    module = new_module(run, dataset)
    trainer = L.Trainer(**TRAINER | {"accelerator": "cpu", "max_steps": settings["steps"]})
    trainer.fit(module, loader_of(run, dataset))
    model = module.model.eval()

    def on(device: torch.device, number_format: str) -> Evaluation:
        multiply_as(number_format)
        model.to(device)
        score, length = scorer(model, number_format, device), model.history_length
        metrics = run.settings.metrics
        return evaluate(score, dataset, "test", metrics, history_length=length, device=device, title="test")

    def measure() -> dict[str, dict[str, float]]:
        cpu, gpu = torch.device("cpu"), torch.device("cuda")
        rows = [(cpu, "float32"), (cpu, "bf16"), (cpu, SCORES_TOO)]
        if torch.cuda.is_available():
            rows += [(gpu, each) for each in (*FORMATS, SCORES_TOO)]
        reference = on(*rows[0])
        names = {cpu: "CPU", gpu: "GPU"}
        return {f"{names[device]}, {each}": compared(on(device, each), reference) for device, each in rows}

    line.serve({}, measure)


if __name__ == "__main__":
    main()
