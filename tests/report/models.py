"""Models of a stored run from literal ranks and lists."""

import torch

from src.report.stored import Figures, Model, Trained


def trained(
    rank: list[int],
    lists: list[list[int]] | None = None,
    sure: list[float] | None = None,
    likelihood: list[float] | None = None,
    name: str = "Model",
) -> Trained:
    """A training that ranked the targets so; without `lists` none were kept."""
    n = len(rank)
    figures = Figures(
        model=name, dataset="tiny", dataset_fingerprint="0", num_items=100, split="test", filter_seen=False,
        example_id=list(range(n)), user=list(range(n)), rank=rank, target=[1] * n, metrics={"NDCG@10": 0.5},
        parameters=10, ms_per_1000_users=2.0,
    )  # fmt: skip
    if lists is None:
        return Trained(figures, None)
    kept = {
        "top_items": torch.tensor(lists, dtype=torch.int32),
        "top_probability": torch.tensor(sure or [0.5] * n),
        "log_likelihood": torch.tensor(likelihood or [-1.0] * n),
    }
    return Trained(figures, kept)


def model(*trainings: Trained, subject: str = "distilled") -> Model:
    return Model(subject, list(trainings))
