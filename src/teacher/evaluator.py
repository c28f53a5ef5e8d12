"""Ranks held-out targets with a teacher, and keeps which experts it reads each user with."""

from dataclasses import replace

import torch
from torch import Tensor

from ..core.precision import best_device
from ..data.batches import token_batches
from ..data.dataset import Dataset
from ..evaluation.ranking import Evaluation, evaluate, rows_at_once
from ..evaluation.settings import MetricsSettings
from .gated_model import GatedLanguageModel


def evaluate_teacher(
    model: GatedLanguageModel, dataset: Dataset, split: str, metrics: MetricsSettings, title: str
) -> Evaluation:
    """Returns `evaluate` of a teacher in evaluation mode, which is moved to the best device, with its gates.

    Raises:
        UserError: See `evaluate`.
    """
    model.to(best_device())
    ranked = evaluate(
        model.score,
        dataset,
        split,
        metrics,
        history_length=model.history_length,
        device=best_device(),
        title=title,
    )
    gates = gates_of_users(model, dataset, split, rows_at_once(metrics, dataset, with_seen=False))
    return replace(ranked, lists=replace(ranked.lists, gates=gates))


@torch.inference_mode()
def gates_of_users(model: GatedLanguageModel, dataset: Dataset, split: str, at_once: int) -> Tensor:
    """Returns the weights of the experts for each history of `split`, `[n, E]` float32, each row's sum 1; their mean
    over layers where each layer has gates of its own.

    Args:
        model: In evaluation mode.
        dataset: The one that it ranks.
        split: "val" or "test".
        at_once: Histories that are gathered together.
    """
    examples, device = dataset.examples[split], best_device()
    gates = []
    for part in torch.arange(len(examples)).split(at_once):
        history = dataset.batch(examples.subset(part), model.history_length).history.to(device)
        chosen = token_batches(model.prompt_lengths(history), model.max_tokens)
        read = torch.cat([model.gates(history[rows]).float() for rows in chosen])[torch.cat(chosen).argsort()]
        gates.append(read.unflatten(1, (model.binding.mixtures, -1)).mean(1).cpu())
    return torch.cat(gates)
