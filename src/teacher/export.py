"""Writes what the teacher knows: its rankings of training examples and its item embeddings, in DLLM2Rec's layout."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core.artefact import EXPORTED_PART, TEACHER_OUTPUTS, fingerprint, opened, unfinished, writing
from ..core.errors import UserError
from ..core.progress import Advance, progress
from ..data.dataset import Dataset, Examples
from .ensemble.calibration import EnsembleMember
from .ensemble.opinion_pool import OpinionPool
from .interfaces import Scored, best_items
from .settings import ExportSettings

PART = 4096  # examples after whose ranking what was found is on disk
RANKED = "ranked.safetensors"  # within a part

log = logging.getLogger(__name__)


class Ranking(Protocol):
    """What is asked of a model whose rankings are written; see `TeacherModel`."""

    def scores_in_batches(self, dataset: Dataset, examples: Examples) -> Iterator[Scored]: ...

    def item_embeddings(self) -> Tensor: ...

    def text_embeddings(self) -> Tensor: ...

    def trained_state(self) -> dict[str, Tensor]:
        """Returns the weights that its rankings depend on, beside those that nobody trained."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


@torch.inference_mode()
def export_teacher_outputs(
    model: Ranking,
    dataset: Dataset,
    examples: Examples,
    folder: Path,
    settings: ExportSettings,
    batch_examples: int,
    about: Callable[[], dict[str, Any]],
) -> None:
    """Asks the teacher about `examples` and writes the teacher outputs (DESIGN §5), whole or not at all.

    What was asked is kept beside `folder` part by part until all is there: an interrupted export goes on.

    Args:
        model: What ranks, in evaluation mode: a trained teacher, or its user encoder alone.
        dataset: The dataset it was trained on.
        examples: Training examples to ask about.
        folder: Becomes the artefact.
        settings: What is asked: how many items, which embeddings, and whether the representation of every history is
            written, too (for hints), 2 bytes a number.
        batch_examples: Examples whose ranking is sorted out at once.
        about: Returns what the manifest says of the outputs' making, and is asked when all is ranked; tokens, seconds
            and counts are added.

    Raises:
        UserError: `settings.k` is more than there are items to rank for some example.
    """
    _check_k(dataset, examples, settings)
    parts = unfinished(folder)
    key = _key(model, examples, settings)
    found = []
    with progress("teacher: ranking training examples", len(examples)) as advance:
        for number, rows in enumerate(torch.arange(len(examples)).split(PART)):
            part = _kept(parts / f"{key}-{number}")
            if part is None:
                part = _ask(model, dataset, examples.subset(rows), settings, batch_examples, advance)
                with writing(parts / f"{key}-{number}", EXPORTED_PART, {}) as temporary:
                    save_file(part, temporary / RANKED)
            else:
                advance(len(rows), "already there")
            found.append(part)
    whole = {name: _concatenated([part[name] for part in found]) for name in found[0]}
    vectors = model.text_embeddings() if settings.item_embeddings == "text" else model.item_embeddings()
    cost = {
        "tokens_read": int(whole["tokens_read"].sum()),
        "seconds": round(float(whole["seconds"].sum()), 3),
    }
    states = whole["user_states"] if settings.user_states else None
    write_outputs(folder, examples.example_id, whole["items"], whole["scores"], vectors, {**about(), **cost}, states)
    shutil.rmtree(parts, ignore_errors=True)


def write_outputs(
    folder: Path,
    example_id: Tensor,
    items: Tensor,
    scores: Tensor,
    embeddings: Tensor,
    about: dict[str, Any],
    user_states: Tensor | None = None,
) -> None:
    """Writes teacher outputs, whole or not at all.

    Args:
        folder: Becomes the artefact.
        example_id: `[n]` int64.
        items: `[n, k]` int64 item numbers, best first.
        scores: `[n, k]` float32 log-probabilities, falling.
        embeddings: `[num_items, d]` float, row j for item j + 1.
        about: What the manifest says beside counts and the meaning of scores.
        user_states: `[n, d]` float16, or None.
    """
    told = {
        "k": items.shape[1],
        "score_kind": "log_probability",
        "score_direction": "higher",
        "num_items": len(embeddings),
        "num_examples": len(example_id),
    }
    with writing(folder, TEACHER_OUTPUTS, {**about, **told}) as temporary:
        write_rankings(temporary, example_id, items - 1, scores)
        if user_states is not None:
            save_file({"user_states": user_states}, temporary / "user_states.safetensors")
        torch.save(embeddings.float().cpu().clone(), temporary / "all_embeddings.pt")


def _ask(
    model: Ranking,
    dataset: Dataset,
    examples: Examples,
    settings: ExportSettings,
    batch_examples: int,
    advance: Advance,
) -> dict[str, Tensor]:
    """Returns `items [n, k]` int64, `scores [n, k]`, perhaps `user_states [n, d]` float16, and what they cost."""
    start, tokens_read = time.perf_counter(), 0
    items, scores = torch.empty(len(examples), settings.k, dtype=torch.long), torch.empty(len(examples), settings.k)
    order: list[Tensor] = []
    states: list[Tensor] = []
    for asked, catalogue_scores, tokens, h_seq in model.scores_in_batches(dataset, examples):
        for part in torch.arange(len(asked)).split(batch_examples):
            rows = asked[part]
            seen = dataset.batch(examples.subset(rows), 1, with_seen=settings.exclude_seen).seen
            seen = None if seen is None else seen.to(catalogue_scores.device)
            items[rows], scores[rows] = (each.cpu() for each in best_items(catalogue_scores[part], settings.k, seen))
        if settings.user_states:
            if h_seq is None:
                raise UserError(
                    "teacher.export.user_states=true asks for representations of the histories, and this teacher has "
                    "none: set it to false."
                )
            order.append(asked)
            states.append(h_seq.half().cpu())
        tokens_read += tokens
        advance(len(asked))
    cost = {
        "tokens_read": torch.tensor([tokens_read]),
        "seconds": torch.tensor([time.perf_counter() - start], dtype=torch.float64),
    }
    more = {"user_states": _concatenated(states)[torch.cat(order).argsort()]} if settings.user_states else {}
    return {"items": items, "scores": scores, **more, **cost}


def _concatenated(parts: list[Tensor]) -> Tensor:
    with torch.autocast("cpu", enabled=False):  # which knows no float16
        return torch.cat(parts)


def _key(model: Ranking, examples: Examples, settings: ExportSettings) -> str:
    """Returns what parts of the same export have in common: the teacher's trained weights, how it ranks by them, and
    what it is asked.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.trained_state().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().contiguous().numpy().tobytes())
    digest.update(examples.example_id.numpy().tobytes())
    ranks_by = how_it_ranks(model)
    autocast = torch.is_autocast_enabled(next(model.parameters()).device.type)  # which differs between machines
    return fingerprint(digest.hexdigest(), settings.key(), ranks_by, autocast)


def how_it_ranks(model: object) -> dict[str, float] | None:
    """Returns what was chosen on validation of how a model ranks; None of one that ranks as it was trained."""
    if isinstance(model, EnsembleMember):
        return model.calibration._asdict()
    return model.ranks_by if isinstance(model, OpinionPool) else None


def _kept(folder: Path) -> dict[str, Tensor] | None:
    """Returns what a part holds; None where there is none, or one that has changed since it was written."""
    if not folder.is_dir():
        return None
    try:
        opened(folder, EXPORTED_PART)
    except UserError as error:
        log.warning("Asked again: %s", error)
        return None
    return load_file(folder / RANKED)


def _check_k(dataset: Dataset, examples: Examples, settings: ExportSettings) -> None:
    k = settings.k
    most_seen = 0
    if settings.exclude_seen:
        longest = torch.zeros(dataset.num_users, dtype=torch.long).scatter_reduce(
            0, examples.user, examples.end, "amax"
        )
        histories = zip(dataset.offsets.tolist(), longest.tolist(), strict=False)
        most_seen = max(len(set(dataset.item_log[start : start + end].tolist())) for start, end in histories)
    if k > dataset.num_items - most_seen:
        without = f", {most_seen} of which some history has seen already" if most_seen else ""
        raise UserError(
            f"teacher.export.k={k} asks for more items than can be ranked: the catalogue has {dataset.num_items}"
            f"{without}. Use a smaller teacher.export.k (and distill.candidate_topk)."
        )


def write_rankings(folder: Path, example_id: Tensor, items: Tensor, scores: Tensor) -> None:
    """Writes the two text files and `rankings.safetensors`.

    Args:
        folder: Where.
        example_id: `[n]` int64.
        items: `[n, K]` int64 in DLLM2Rec's numbers 0..num_items-1, best first.
        scores: `[n, K]` float32.
    """
    tensors = {"example_ids": example_id, "items": items, "scores": scores}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "rankings.safetensors")
    _write_rows(folder / "myrank_train.txt", items, "%d")
    _write_rows(folder / "confidence_train.txt", scores, "%.7g")


def _write_rows(path: Path, rows: Tensor, number_format: str) -> None:
    line = " ".join([number_format] * rows.shape[1])
    path.write_text("".join(line % tuple(row) + "\n" for row in rows.tolist()), encoding="ascii")
