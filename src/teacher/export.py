"""Writes what the teacher knows: its rankings of training examples and its item embeddings, in DLLM2Rec's layout."""

import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.artefact import writing
from ..core.dataset import Dataset, Examples
from ..core.errors import UserError
from ..core.progress import progress
from .ilora_model import ILoRAModel
from .interfaces import best_items


@torch.inference_mode()
def export_teacher_outputs(
    model: ILoRAModel,
    dataset: Dataset,
    examples: Examples,
    folder: Path,
    *,
    k: int,
    exclude_seen: bool,
    user_states: bool,
    batch_examples: int,
    manifest: dict[str, Any],
) -> None:
    """Asks the teacher about `examples` and writes the teacher outputs (DESIGN §5), whole or not at all.

    Args:
        model: A trained teacher in evaluation mode.
        dataset: The dataset it was trained on.
        examples: Training examples to ask about.
        folder: Becomes the artefact.
        k: Items kept per example.
        exclude_seen: Leave the items of the example's history out of its ranking.
        user_states: Write the representation of every history, too (for hints), 2 bytes a number.
        batch_examples: Examples whose ranking is sorted out at once.
        manifest: What the outputs were made from; tokens, seconds and counts are added.

    Raises:
        UserError: `k` is more than there are items to rank for some example.
    """
    _check_k(dataset, examples, k, exclude_seen)
    with writing(folder, manifest) as temporary:
        start = time.perf_counter()
        items = torch.empty(len(examples), k, dtype=torch.long)
        scores, tokens_read = torch.empty(len(examples), k), 0
        order: list[Tensor] = []
        states: list[Tensor] = []
        with progress("teacher: ranking training examples", len(examples)) as advance:
            for asked, catalogue_scores, tokens, h_seq in model.scores_in_batches(dataset, examples):
                for part in torch.arange(len(asked)).split(batch_examples):
                    rows = asked[part]
                    seen = dataset.batch(examples.subset(rows), 1, with_seen=exclude_seen).seen
                    seen = None if seen is None else seen.to(catalogue_scores.device)
                    items[rows], scores[rows] = (each.cpu() for each in best_items(catalogue_scores[part], k, seen))
                if user_states:
                    order.append(asked)
                    states.append(h_seq.half().cpu())
                tokens_read += tokens
                advance(len(asked))
        write_rankings(temporary, examples.example_id, items - 1, scores)
        if user_states:
            rows = torch.cat(states)[torch.cat(order).argsort()]
            save_file({"user_states": rows}, temporary / "user_states.safetensors")
        torch.save(model.item_embeddings().float().cpu().clone(), temporary / "all_embeddings.pt")
        manifest |= {
            "kind": "teacher outputs",
            "k": k,
            "score_kind": "log_probability",
            "score_direction": "higher",
            "num_items": dataset.num_items,
            "num_examples": len(examples),
            "tokens_read": tokens_read,
            "seconds": round(time.perf_counter() - start, 3),
        }


def _check_k(dataset: Dataset, examples: Examples, k: int, exclude_seen: bool) -> None:
    most_seen = 0
    if exclude_seen:
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
