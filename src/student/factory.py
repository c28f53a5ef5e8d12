"""Makes students and losses of their settings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import UserError
from ..core.seed import generator
from .choices import LOSSES, STUDENTS
from .losses import NextItemLoss
from .models import SequentialRecommender
from .settings import LossSettings

VISIBLE = 1e-4  # share of the change at and behind an item; what cannot see it does not change at all
ROUNDING = 1e-6  # share of the states themselves
MANY = 2**16  # numbers


def create_student(name: str, num_items: int, architecture: Mapping[str, Any]) -> SequentialRecommender:
    """Returns a freshly initialised student.

    Args:
        name: Key `student.name`.
        num_items: Size of the catalogue.
        architecture: The constructor's other arguments (key `student.model`).

    Raises:
        UserError: There is no student of that name, or it reads ahead although its class says that it is causal.
    """
    model: SequentialRecommender = STUDENTS[name](num_items, **architecture)
    if model.causal and _reads_ahead(model):
        raise UserError(
            f"student.name={name} reads ahead: its class says that it is causal, but the state at a position changes "
            "with later items, so that training would show it its targets; set causal = False in the class (it is then "
            "trained example by example), or hide later items."
        )
    return model


@torch.no_grad()
def _reads_ahead(model: SequentialRecommender) -> bool:
    """Whether a state changes with later items, as the student begins, or with other weights.

    Fresh weights alone could hide it: behind a gate that begins at zero, everything looks causal. The student stays as
    it is, and nothing is drawn from PyTorch's common generator.
    """
    if model.history_length < 2:
        return False
    training = [module for module in model.modules() if module.training]
    model.eval()
    history = _that_part_ways(model)
    found = _shows_later(model.encode(history))  # first: lazy layers have no weights before
    found = found or _shows_later(functional_call(_Encoder(model), _perturbed(model), history))
    for module in training:
        module.training = True
    return found


class _Encoder(nn.Module):
    """A student whose `forward` is `encode`, which is what `functional_call` calls."""

    def __init__(self, student: SequentialRecommender) -> None:
        super().__init__()
        self.student = student

    def forward(self, history: Tensor) -> Tensor:
        return self.student.encode(history)


def _that_part_ways(model: SequentialRecommender) -> Tensor:
    """Returns whole histories `[4, L]`: one, and three that part from it at the places `_places(L)` for good."""
    length = model.history_length
    one = torch.randint(model.num_items, (length,), generator=generator(0))
    parted = torch.arange(length) >= torch.tensor(_places(length)).unsqueeze(1)
    return torch.cat([one.unsqueeze(0), (one + parted) % model.num_items]) + 1


def _places(length: int) -> list[int]:
    return [1, length // 2, length - 1]


def _shows_later(states: Tensor) -> bool:
    """Whether of the states `[4, L, D]` of `_that_part_ways` some differ before their histories do."""
    changes = (states[1:] - states[0]).abs().amax(2)  # [3, L]
    length = changes.shape[1]
    if length == 1:
        return True  # one of the whole history
    rounding = ROUNDING * float(states.abs().max())
    return any(
        float(change[:place].max()) > max(rounding, VISIBLE * float(change[place:].max()))
        for change, place in zip(changes, _places(length), strict=True)
    )


def _perturbed(model: SequentialRecommender) -> dict[str, Tensor]:
    """Returns weights for `_Encoder` with which no gate is closed and no layer is without effect.

    Each number moves by 1/2 to 1, up or down, divided by the root of a matrix's inputs so that no softmax saturates.
    Large tables with a row for each item stay as they are: they take the most time, and are no gates.
    """
    draw, weights = generator(0), {}
    for name, parameter in model.named_parameters():
        of_items = parameter.dim() > 1 and len(parameter) - model.num_items in (0, 1)
        if parameter.requires_grad and not (of_items and parameter.numel() > MANY):
            size = torch.rand(parameter.shape, generator=draw) / 2 + 0.5
            sign = 2.0 * torch.randint(2, parameter.shape, generator=draw) - 1
            inputs = parameter[0].numel() if parameter.dim() > 1 else 1
            weights[f"student.{name}"] = parameter + (sign * size / inputs**0.5).to(parameter)
    return weights


def create_loss(settings: LossSettings, item_counts: Tensor, dtype: torch.dtype) -> NextItemLoss:
    """Returns the loss that `settings` describe.

    Args:
        settings: Key `student.loss`.
        item_counts: `[num_items]`, training interactions of each item.
        dtype: Of cross-entropy's matrix products.

    Raises:
        UserError: There is no loss of that name.
    """
    own = {name: value for name, value in settings.plain().items() if name != "name"}
    return LOSSES[settings.name].made(item_counts, dtype, **own)
