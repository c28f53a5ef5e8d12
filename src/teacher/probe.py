"""What a trained teacher's language model lives on: its ranking when one thing that it is shown is taken away."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.metrics import log_likelihood_of_target, rank_of_target
from ..data.dataset import ExampleBatch
from ..evaluation.probed import OTHER_TITLES
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
    experts = [name for name in (*GATES, *GATES_OF_OTHERS) if name != "no adapters"] if mixes else []
    return [AS_IT_IS, OTHER_TITLES, "texts of other items", *ids, *adapters, *experts]


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
        name: Which alteration; those to the gates of others read everything twice.
        generator: Of whose titles, texts and gates it is shown instead.
        done: Told the number of examples ranked since it was last called.
    """
    gates = _gates(model, batches) if name in GATES_OF_OTHERS else None
    ranks, likelihoods = [], []
    with _altered(model, name, gates, generator):
        for batch in batches:
            scores = model.own_scores(batch)
            ranks.append(rank_of_target(scores, batch.target, batch.seen).cpu())
            likelihoods.append(log_likelihood_of_target(scores, batch.target, batch.seen).cpu())
            done(len(batch.target))
    return Probed(name, torch.cat(ranks), -float(torch.cat(likelihoods).double().mean()))


def _gates(model: ILoRAModel, batches: Sequence[ExampleBatch]) -> Tensor:
    """Returns all gates that the router gives while `batches` are ranked, `[n, mixtures, E]`, as they are read."""
    seen: list[Tensor] = []

    def keep(gates: Tensor) -> Tensor:
        seen.append(gates)
        return gates

    with _replaced(model, {"router": _Regated(model.router, keep, model.binding.mixtures)}):
        for batch in batches:
            model.own_scores(batch)
    return torch.cat(seen)


def _altered(
    model: ILoRAModel, name: str, gates: Tensor | None, generator: torch.Generator
) -> AbstractContextManager[None]:
    others = torch.randperm(len(model.item_texts), generator=generator)
    if name == AS_IT_IS:
        return _replaced(model, {})
    if name == OTHER_TITLES:
        users = {"user_prompts": _retitled(model.user_prompts, others)} if isinstance(model, UserPassModel) else {}
        return _replaced(model, {"prompts": _retitled(model.prompts, others), **users})
    if name == "texts of other items":
        return _replaced(model, {"item_texts": model.item_texts[others.to(model.item_texts.device)]})
    if name == "no ids at markers":
        return _replaced(model, {"ids_at_markers": False})
    if name == "no ids on the item side":
        return _replaced(model, {"ids_of_items": False})
    how = GATES[name] if gates is None else GATES_OF_OTHERS[name](gates, generator)
    return _replaced(model, {"router": _Regated(model.router, how, model.binding.mixtures)})


@contextmanager
def _replaced(model: ILoRAModel, changes: dict[str, Any]) -> Iterator[None]:
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


def _equal(gates: Tensor) -> Tensor:
    return torch.full_like(gates, 1 / gates.shape[-1])


def _reversed(gates: Tensor) -> Tensor:
    return gates.flip(-1)


def _mean_of(everyone: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    return everyone.mean(0).expand_as


def _of_others(everyone: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Returns what gives each history, in the order of reading, the gates of one other, and each one's to one."""
    drawn = torch.randperm(len(everyone), generator=generator).to(everyone.device)
    others = torch.empty_like(everyone)
    others[drawn] = everyone[drawn.roll(1)]  # one round: nobody keeps its own
    parts = iter(others)

    def given(gates: Tensor) -> Tensor:
        return torch.stack([next(parts) for _ in gates])

    return given


# What the router's gates `[n, mixtures, E]` become; adapters that nothing flows through add nothing.
GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "no adapters": torch.zeros_like,
    "equal gates": _equal,
    "gates in reverse order": _reversed,
}
GATES_OF_OTHERS = {"the mean gates": _mean_of, "gates of other histories": _of_others}
