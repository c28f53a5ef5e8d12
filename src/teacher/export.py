"""Writes what the teacher knows: its rankings of training examples and its item embeddings, in DLLM2Rec's layout."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ..core.artefact import TEACHER_OUTPUTS, making, unfinished, writing
from ..core.errors import UserError
from ..core.progress import progress
from ..core.sharing.claims import Claims
from ..core.sharing.work import Task, do_together
from ..data.dataset import Dataset, Examples
from .exporting.files import write_rankings
from .exporting.units import Ranking, Units
from .settings import ExportSettings

AT_ONCE = 1 << 20  # interactions that are looked at together
# What a tile holds at once for each example and item: float32 scores of language model and student, and the
# log-probabilities of both (`ensemble_scores`); or a pool's sum, a member's log-probabilities and their product.
BYTES_PER_SCORE = 20


@torch.inference_mode()
def export_teacher_outputs(
    model: Ranking,
    dataset: Dataset,
    examples: Examples,
    folder: Path,
    settings: ExportSettings,
    batch_examples: int,
    about: Callable[[], dict[str, Any]],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Asks the teacher about `examples` and writes the teacher outputs (DESIGN §5), whole or not at all.

    What was asked is kept beside `folder` unit by unit until all is there: an interrupted export goes on. Any number of
    processes that see `folder` may do this at the same time: each unit is asked by one of them, whoever finds all of
    them done writes the whole, and all end when it is there.

    Args:
        model: What ranks, in evaluation mode: a trained teacher, or its user encoder alone.
        dataset: The dataset it was trained on.
        examples: Training examples to ask about.
        folder: Becomes the artefact.
        settings: What is asked: how many items, which embeddings, and whether the representation of every history is
            written, too (for hints), 2 bytes a number; and when another process counts as lost.
        batch_examples: Examples whose scores of the whole catalogue are there at once, `BYTES_PER_SCORE` for each.
        about: Returns what the manifest says of the outputs' making, and is asked when all is ranked; tokens, seconds
            and counts are added.
        is_over: Whether another process has written the artefact since this one began.

    Raises:
        UserError: `settings.k` is more than there are items to rank for some example.
    """
    _check_k(dataset, examples, settings)
    parts = unfinished(folder)
    units, claims = Units(model, dataset, examples, settings, batch_examples, parts), Claims(settings.lost_after)
    with progress("teacher: ranking training examples", len(examples)) as advance:

        def ask(unit: int) -> None:
            units.ask(unit)
            advance(len(units.rows(unit)))

        def is_there(unit: int) -> bool:
            there = units.place(unit).is_dir()
            if there:
                advance(len(units.rows(unit)), "already there")
            return there

        def write() -> None:
            with making(folder):
                if not is_over():
                    _write(units, model, folder, about)
            shutil.rmtree(parts, ignore_errors=True)

        asked = [
            Task(units.claim(str(unit)), partial(is_there, unit), partial(ask, unit)) for unit in range(len(units))
        ]
        if do_together(asked, claims, is_over):
            do_together([Task(units.claim("whole"), is_over, write)], claims, is_over)


def _write(units: Units, model: Ranking, folder: Path, about: Callable[[], dict[str, Any]]) -> None:
    """Puts the units together; asks again for one that is damaged."""
    examples, settings, whole = units.examples, units.settings, _Whole(len(units.examples))
    for unit in range(len(units)):
        kept = units.kept(unit)
        whole.add(units.rows(unit), units.ask(unit) if kept is None else kept)
    vectors = model.text_embeddings() if settings.item_embeddings == "text" else model.item_embeddings()
    cost = {"tokens_read": int(whole.costs["tokens_read"]), "seconds": round(float(whole.costs["seconds"]), 3)}
    states = whole.rows["user_states"] if settings.user_states else None
    items, scores = whole.rows["items"], whole.rows["scores"]
    write_outputs(folder, examples.example_id, items, scores, vectors, {**about(), **cost}, states)


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


class _Whole:
    """What all units say, by the examples' own order: `rows`, `[n, …]` each; and the sums of what they cost."""

    COSTS = ("tokens_read", "seconds")

    def __init__(self, num_examples: int) -> None:
        self.num_examples = num_examples
        self.rows: dict[str, Tensor] = {}
        self.costs = dict.fromkeys(self.COSTS, 0.0)

    def add(self, rows: Tensor, told: dict[str, Tensor]) -> None:
        """Adds a unit: its rows `[m]` and what it says, `[m, …]` or `[1]`."""
        for name, value in told.items():
            if name in self.COSTS:
                self.costs[name] += value.item()
            else:
                self.rows.setdefault(name, value.new_empty(self.num_examples, *value.shape[1:]))[rows] = value


def _check_k(dataset: Dataset, examples: Examples, settings: ExportSettings) -> None:
    k = settings.k
    most_seen = _most_seen(dataset, examples) if settings.exclude_seen else 0
    if k > dataset.num_items - most_seen:
        without = f", {most_seen} of which some history has seen already" if most_seen else ""
        raise UserError(
            f"teacher.export.k={k} asks for more items than can be ranked: the catalogue has {dataset.num_items}"
            f"{without}. Use a smaller teacher.export.k (and distill.candidate_topk)."
        )


def _most_seen(dataset: Dataset, examples: Examples) -> int:
    """Returns the most different items that a history of the examples has: the longest first, until none that is left
    is longer than what was found.
    """
    longest = torch.zeros(dataset.num_users, dtype=torch.long).scatter_reduce(0, examples.user, examples.end, "amax")
    lengths, users = longest.sort(descending=True)
    before, first, most = F.pad(lengths.cumsum(0), (1, 0)), 0, 0
    while first < len(users) and lengths[first] > most:
        last = max(first + 1, int(torch.searchsorted(before, before[first] + AT_ONCE, right=True)) - 1)
        row = torch.arange(last - first).repeat_interleave(lengths[first:last])
        place = torch.arange(len(row)) + before[first] - before[first:last][row]
        pair = row * (dataset.num_items + 1) + dataset.item_log[dataset.offsets[users[first:last]][row] + place]
        most = max(most, int((pair.unique() // (dataset.num_items + 1)).bincount().max()))
        first = last
    return most
