"""Whether an ONNX file recommends what its student does, on every user of the test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...core.errors import UserError
from ...core.metrics import competing_scores, excluded_rivals, mean_metrics
from ...core.progress import progress
from ...data.dataset import Dataset
from ...student.models import SequentialRecommender
from ..graph import Graph
from .search import CHECKED_K

TOLERANCE = 1e-4  # between scores of PyTorch and onnxruntime, and between scores that count as the same
OF_SPREAD = 1e-2  # of how far a list's scores lie apart: what they may differ by where that is less
OF_SIZE = 1e-5  # of the largest score of a list: its rounding
LIST_LENGTH = CHECKED_K
BATCH = 256


@dataclass(frozen=True)
class Parity:
    """Both ways to rank the test users, held against each other.

    users: How many.
    filter_seen: Whether items of the history were left out, but for the target.
    largest_difference: Between the two scores of an item, among the `LIST_LENGTH` best of every user.
    other_lists: Users whose lists are not the same item by item; their scores are within `TOLERANCE` at every place.
    onnx, pytorch: `mean_metrics` at the cut-offs that a list of `LIST_LENGTH` tells.
    """

    users: int
    filter_seen: bool
    largest_difference: float
    other_lists: int
    onnx: dict[str, float]
    pytorch: dict[str, float]


def check_parity(
    student: SequentialRecommender, graph: Path, dataset: Dataset, filter_seen: bool, ks: Sequence[int]
) -> Parity:
    """Ranks every test user by PyTorch and by onnxruntime.

    Args:
        student: In evaluation mode, on the CPU.
        graph: Its file.
        dataset: Whose test examples.
        filter_seen: Whether items of the history are left out.
        ks: Cut-offs of the figures; those above `LIST_LENGTH` are left out.

    Raises:
        UserError: Scores differ by more than `TOLERANCE`, or by much for how far a list's scores lie apart, or there is
            nobody to rank.
    """
    session, examples = Graph(graph, torch.get_num_threads()), dataset.examples["test"]
    if len(examples) == 0:
        raise UserError(
            f"Dataset {dataset.name} has no test examples to hold a served model against PyTorch: loosen the filters "
            "or the split."
        )
    k = min(LIST_LENGTH, dataset.num_items)
    differences, agree, others, by_onnx, by_pytorch = [], True, 0, [], []
    with progress("served: parity", len(examples)) as advance, torch.inference_mode():
        for rows in torch.arange(len(examples)).split(BATCH):
            batch = dataset.batch(examples.subset(rows), student.history_length, with_seen=filter_seen)
            width = int((batch.history > 0).sum(1).max())
            none = torch.zeros_like(batch.target).unsqueeze(1)
            seen = none if batch.seen is None else excluded_rivals(batch.seen, batch.target)  # as figures are computed
            scores = competing_scores(student.predict(batch.history), seen)
            best, columns = scores.topk(k, dim=1)
            found, told = (
                torch.from_numpy(each) for each in session.best(batch.history[:, :width].numpy(), seen.numpy(), k)
            )
            left = best > -torch.inf
            own = scores.gather(1, (found - 1).clamp(min=0))
            gaps = torch.stack([(best - told).where(best != told, 0), (own - told).where(told > -torch.inf, 0)]).abs()
            differences.append(gaps.max())
            agree &= bool((gaps <= _allowed(best.where(left, best[:, :1]))).all())  # NaN does not
            others += int(((columns + 1 != found) & left).any(1).sum())
            by_pytorch.append(_rank(columns + 1, left, batch.target))
            by_onnx.append(_rank(found, left, batch.target))
            advance(len(rows))
    difference = float(torch.stack(differences).max())
    if not agree:
        much = "much for scores that lie so near together" if difference <= TOLERANCE else f"more than {TOLERANCE:.0e}"
        raise UserError(
            f"onnxruntime's scores of the student differ from PyTorch's by up to {difference:.1e}, which is {much}: "
            "this student cannot be served as it is."
        )
    told_ks = [each for each in ks if each <= LIST_LENGTH]
    figures = [mean_metrics(torch.cat(ranks), told_ks) for ranks in (by_onnx, by_pytorch)]
    return Parity(len(examples), filter_seen, difference, others, *figures)


def _allowed(best: torch.Tensor) -> torch.Tensor:
    """Returns by how much the scores of each list `[B, k]` may differ, `[B, 1]`."""
    spread = best.amax(1, keepdim=True) - best.amin(1, keepdim=True)
    size = best.abs().amax(1, keepdim=True)
    return torch.maximum(OF_SPREAD * spread, OF_SIZE * size).clamp(max=TOLERANCE)


def _rank(items: torch.Tensor, left: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the place of each target in its list, from 1; one behind the list where it is not in it."""
    hit = (items == target.unsqueeze(1)) & left
    return torch.where(hit.any(1), hit.int().argmax(1) + 1, items.shape[1] + 1)
