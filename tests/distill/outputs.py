"""Invented teacher outputs of a dataset: ours, or the three files of anyone's teacher."""

from pathlib import Path

import torch
from torch import Tensor

from src.core.artefact import TEACHER_OUTPUTS, writing
from src.data.dataset import Dataset
from src.teacher.export import write_rankings

D_TEACHER, K = 4, 3


def ranking_of(num_rows: int, num_items: int, k: int = K, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns 0-based items `[n, k]`, each once per row, and log-probabilities `[n, k]`, best first."""
    draw = torch.Generator().manual_seed(seed)
    items = torch.rand(num_rows, num_items, generator=draw).argsort(1)[:, :k]
    return items, -(torch.rand(num_rows, k, generator=draw) * 3 + 0.1).cumsum(1)


def embeddings_of(num_items: int, seed: int = 0) -> Tensor:
    return torch.randn(num_items, D_TEACHER, generator=torch.Generator().manual_seed(seed))


def write_outputs(
    folder: Path, dataset: Dataset, example_id: Tensor, items: Tensor, scores: Tensor, **manifest: str
) -> None:
    """Writes outputs as the teacher's export does."""
    about = {"dataset_fingerprint": dataset.fingerprint, "score_direction": "higher", **manifest}
    with writing(folder, TEACHER_OUTPUTS, about) as temporary:
        write_rankings(temporary, example_id, items, scores)
        torch.save(embeddings_of(dataset.num_items), temporary / "all_embeddings.pt")


def make_bare(folder: Path) -> None:
    """Leaves the three files that every teacher has."""
    (folder / "manifest.json").unlink()
    (folder / "rankings.safetensors").unlink()
