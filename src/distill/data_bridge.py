"""The border between teacher files and student tensors: checks once, converts numbers once, joins by example id."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.artefact import MANIFEST, TEACHER_OUTPUTS, opened, read_tensors
from ..core.errors import UserError
from ..core.paths import command_line
from ..data.dataset import Dataset

DIRECTIONS = ("higher", "lower")
USER_STATES = "user_states.safetensors"


@dataclass(frozen=True)
class TeacherOutputs:
    """A teacher's knowledge of one dataset, in the student's item numbers.

    item_embeddings: `[num_items, d_teacher]` float32, row j for item j + 1.
    row_of_example: `[max train example id + 2]` int64, the row of `candidates` an example id has, -1 where the teacher
        was not asked; its last entry is -1 too, so that the id -1 ("no example") finds no row.
    candidates: `[n, K]` int64 item numbers 1..num_items, best first.
    distance: `[n, K]` float32, DLLM2Rec's confidence: smaller is surer. For log-probabilities it is their negative.
    user_states: `[n, d]` float16, the teacher's representation of each history, or None where it was not exported.
    """

    item_embeddings: Tensor
    row_of_example: Tensor
    candidates: Tensor
    distance: Tensor
    user_states: Tensor | None = None

    def only(self, example_id: Tensor) -> "TeacherOutputs":
        """Returns outputs as if the teacher had been asked about the examples `[m]` int64 alone."""
        row_of_example = torch.full_like(self.row_of_example, -1)
        row_of_example[example_id] = self.row_of_example[example_id]
        return replace(self, row_of_example=row_of_example)


def load_teacher_outputs(folder: Path, dataset: Dataset, score_direction: str | None) -> TeacherOutputs:
    """Reads teacher outputs (DESIGN §5): ours, with a manifest, or anyone's three files.

    Without `rankings.safetensors`, line n of the text files belongs to train example n.

    Args:
        folder: Holds `all_embeddings.pt`, `myrank_train.txt`, `confidence_train.txt`, perhaps more.
        dataset: The dataset they must belong to.
        score_direction: "higher" or "lower" is better; None takes it from the manifest.

    Raises:
        UserError: A file is missing, belongs to another dataset, or holds what cannot be.
    """
    manifest = opened(folder, TEACHER_OUTPUTS) if (folder / MANIFEST).is_file() else {}
    made_for = manifest.get("dataset_fingerprint", dataset.fingerprint)
    if made_for != dataset.fingerprint:
        raise UserError(
            f"The teacher outputs in {folder} were made for dataset {made_for}, not for {dataset.name} "
            f"{dataset.fingerprint}: export them again with `{command_line('run_teacher')}`."
        )
    direction = score_direction or manifest.get("score_direction")
    if direction not in DIRECTIONS:
        raise UserError(
            f"{folder} does not say whether a higher or a lower score is better: "
            "set distill.score_direction=higher (log-probability) or lower (distance)."
        )
    example_id, items, scores = _read_rankings(folder, dataset)
    _check_shapes(folder, example_id, items, scores)
    embeddings = _read_embeddings(folder / "all_embeddings.pt", dataset)
    _check_rankings(folder, dataset, example_id, items, scores)
    example_id, items, scores = example_id.long(), items.long(), scores.float()
    row_of_example = torch.full((int(dataset.examples["train"].example_id.max()) + 2,), -1)
    row_of_example[example_id] = torch.arange(len(example_id))
    distance = -scores if direction == "higher" else scores
    _check_direction(folder, direction, distance)
    return TeacherOutputs(embeddings, row_of_example, items + 1, distance, _read_user_states(folder, len(example_id)))


def _check_direction(folder: Path, direction: str, distance: Tensor) -> None:
    """Raises UserError where the teacher would be surer of its last items than of its first."""
    backwards = (distance[:, 0] > distance[:, -1]).float().mean()
    if backwards > 0.5:
        other = DIRECTIONS[1 - DIRECTIONS.index(direction)]
        raise UserError(
            f"The rankings in {folder} put the best item first, but on {backwards:.0%} of the lines its score is worse "
            f"than the last if {direction} is better: set distill.score_direction={other}, or turn the lines round."
        )


def _read_user_states(folder: Path, rows: int) -> Tensor | None:
    path = folder / USER_STATES
    if not path.is_file():
        return None
    states = read_tensors(path, "user_states")["user_states"]
    if states.dim() != 2 or len(states) != rows:
        raise UserError(f"{path} must hold one row for each of the {rows} rankings beside it: export it again.")
    if not states.is_floating_point() or not states.isfinite().all():
        raise UserError(f"{path} holds numbers that are not finite: export the teacher outputs again.")
    return states


def _read_rankings(folder: Path, dataset: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    if (folder / "rankings.safetensors").is_file():
        names = ("example_ids", "items", "scores")
        tensors = read_tensors(folder / "rankings.safetensors", *names)
        example_id, items, scores = (tensors[name] for name in names)
        return example_id, items, scores
    items = _read_rows(folder / "myrank_train.txt", np.int64)
    scores = _read_rows(folder / "confidence_train.txt", np.float32)
    train = dataset.examples["train"].example_id
    if len(items) != len(train):
        raise UserError(
            f"{folder / 'myrank_train.txt'} has {len(items)} lines for {len(train)} train examples of {dataset.name}: "
            "without rankings.safetensors there must be one line per example, in order."
        )
    return train, items, scores


def _read_rows(path: Path, dtype: type) -> Tensor:
    if not path.is_file():
        raise UserError(f"Teacher outputs lack {path}: export them with `{command_line('run_teacher')}`.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise UserError(f"{path} is empty: export it again.")
        rows: np.ndarray = np.loadtxt(text.splitlines(), dtype=dtype, ndmin=2, comments=None)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{path} is not a table of numbers with equally long lines ({str(error)[:100]}): export it again."
        ) from None
    if not text.endswith("\n"):  # cut within its last number it would still be read
        raise UserError(f"{path} does not end with a line break, as if truncated: copy it again or end that line.")
    return torch.from_numpy(rows)


def _read_embeddings(path: Path, dataset: Dataset) -> Tensor:
    if not path.is_file():
        raise UserError(f"Teacher outputs lack {path}: export them with `{command_line('run_teacher')}`.")
    try:
        embeddings = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # all within is PyTorch's: its unpickler raises whatever damaged bytes lead it to
        raise UserError(f"{path} is no tensor saved by PyTorch, or is cut short: export it again.") from None
    if not isinstance(embeddings, Tensor) or embeddings.dim() != 2 or len(embeddings) != dataset.num_items:
        raise UserError(f"{path} must hold one tensor with a row for each of the {dataset.num_items} items.")
    if not embeddings.is_floating_point() or embeddings.layout != torch.strided or not embeddings.numel():
        raise UserError(f"{path} must hold a dense tensor of floating-point numbers: export it again.")
    embeddings = embeddings.detach().float()  # float64 may lie outside float32
    if not embeddings.isfinite().all():
        raise UserError(f"{path} holds numbers that are not finite: export the teacher outputs again.")
    return embeddings


def _check_shapes(folder: Path, example_id: Tensor, items: Tensor, scores: Tensor) -> None:
    whole = (torch.int64, torch.int32, torch.int16, torch.uint8)
    _refuse(
        folder,
        {
            f"has {tuple(items.shape)} items but {tuple(scores.shape)} scores": items.shape != scores.shape,
            f"has {example_id.numel()} example ids but {len(items)} rows of items": example_id.shape != items.shape[:1],
            "has no items": items.dim() != 2 or items.numel() == 0,
            "has ids that are no whole numbers": example_id.dtype not in whole or items.dtype not in whole,
            "has scores that are no real numbers": not scores.is_floating_point(),
        },
    )


def _check_rankings(folder: Path, dataset: Dataset, example_id: Tensor, items: Tensor, scores: Tensor) -> None:
    train = dataset.examples["train"].example_id
    faults = {
        "names an example that is no train example": not torch.isin(example_id, train).all(),
        "names an example twice": len(example_id.unique()) != len(example_id),
        f"names items outside 0..{dataset.num_items - 1}": bool(((items < 0) | (items >= dataset.num_items)).any()),
        "names an item twice for one example": bool((items.sort(1).values.diff(dim=1) == 0).any()),
        "holds scores that are not finite": not scores.isfinite().all(),
    }
    _refuse(folder, faults)


def _refuse(folder: Path, faults: dict[str, bool]) -> None:
    found = [fault for fault, is_there in faults.items() if is_there]
    if found:
        raise UserError(f"The teacher's ranking in {folder} {', and '.join(found)}: export it again.")
