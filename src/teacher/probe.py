"""What a trained teacher's language model lives on: its ranking when one thing that it is shown is taken away."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..core.metrics import log_likelihood_of_target, rank_of_target
from ..data.dataset import ExampleBatch
from .gating import OneExpert
from .ilora_model import ILoRAModel
from .user_pass import UserPassModel

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Probed:
    """How the language model alone ranks, shown something else.

    name: What it was shown.
    rank: `[n]` int64, of the targets.
    cross_entropy: In nats an example, over the items that compete.
    """

    name: str
    rank: Tensor
    cross_entropy: float


def alterations(model: ILoRAModel) -> list[str]:
    """Returns the names of what can be taken from this teacher, `AS_IT_IS` first."""
    ids = ["no ids at markers", "no ids on the item side"] if model.shows_ids else []
    adapters = ["no adapters"] if any("lora_" in name for name, _ in model.named_parameters()) else []
    mixes = not isinstance(model.router, OneExpert)
    experts = [name for name in GATES if name != "no adapters"] if mixes else []
    return [AS_IT_IS, "titles of other items", "texts of other items", *ids, *adapters, *experts]


@torch.no_grad()
def probe(
    model: ILoRAModel,
    batches: Sequence[ExampleBatch],
    name: str,
    generator: torch.Generator,
    done: Callable[[int], object] = lambda _: None,
) -> Probed:
    """Returns how the language model ranks by itself under one of `alterations`.

    Args:
        model: In evaluation mode.
        batches: Examples, on its device.
        name: Which alteration.
        generator: Of whose titles, texts and gates it is shown instead.
        done: Told the number of examples ranked since it was last called.
    """
    ranks, likelihoods = [], []
    with _altered(model, name, generator):
        for batch in batches:
            scores = model.own_scores(batch)
            ranks.append(rank_of_target(scores, batch.target, batch.seen).cpu())
            likelihoods.append(log_likelihood_of_target(scores, batch.target, batch.seen).cpu())
            done(len(batch.target))
    return Probed(name, torch.cat(ranks), -float(torch.cat(likelihoods).double().mean()))


@contextmanager
def _altered(model: ILoRAModel, name: str, generator: torch.Generator) -> Iterator[None]:
    others = torch.randperm(len(model.item_texts), generator=generator)
    changes: dict[str, Any] = {}
    if name == "titles of other items":
        changes["prompts"] = _retitled(model.prompts, others)
        if isinstance(model, UserPassModel):
            changes["user_prompts"] = _retitled(model.user_prompts, others)
    elif name == "texts of other items":
        changes["item_texts"] = model.item_texts[others.to(model.item_texts.device)]
    elif name == "no ids at markers":
        changes["ids_at_markers"] = False
    elif name == "no ids on the item side":
        changes["ids_of_items"] = False
    elif name in GATES:
        changes["router"] = _Regated(model.router, partial(GATES[name], generator=generator), model.binding.mixtures)
    elif name != AS_IT_IS:
        raise ValueError(name)
    before = {attribute: getattr(model, attribute) for attribute in changes}
    try:
        for attribute, value in changes.items():
            setattr(model, attribute, value)
        yield
    finally:
        for attribute, value in before.items():
            setattr(model, attribute, value)


def _retitled(prompts: Any, others: Tensor) -> Any:
    """Returns prompts in which each item has the title, and so the tokens, of another one, but its own marker."""
    found = copy(prompts)
    found.pieces = [prompts.pieces[0], *(prompts.pieces[1 + other] for other in others.tolist())]
    found.piece_lengths = torch.cat([prompts.piece_lengths[:1], prompts.piece_lengths[1 + others]])
    return found


class _Regated(nn.Module):
    """A router whose gates are changed by `how`, which takes and returns `[n, mixtures, E]`."""

    def __init__(self, router: nn.Module, how: Callable[[Tensor], Tensor], mixtures: int) -> None:
        super().__init__()
        self.router, self.how, self.mixtures = router, how, mixtures

    def forward(self, states: Tensor) -> Tensor:
        return self.how(self.router(states).unflatten(-1, (self.mixtures, -1))).flatten(-2)


def _no_adapters(gates: Tensor, generator: torch.Generator) -> Tensor:
    return torch.zeros_like(gates)


def _equal(gates: Tensor, generator: torch.Generator) -> Tensor:
    return torch.full_like(gates, 1 / gates.shape[-1])


def _mean(gates: Tensor, generator: torch.Generator) -> Tensor:
    return gates.mean(0, keepdim=True).expand_as(gates)


def _reversed(gates: Tensor, generator: torch.Generator) -> Tensor:
    return gates.flip(-1)


def _of_others(gates: Tensor, generator: torch.Generator) -> Tensor:
    return gates[torch.randperm(len(gates), generator=generator).to(gates.device)]


GATES = {  # adapters that nothing flows through add nothing
    "no adapters": _no_adapters,
    "equal gates": _equal,
    "the mean gates of a batch": _mean,
    "gates in reverse order": _reversed,
    "gates of other histories": _of_others,
}
