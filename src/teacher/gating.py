"""Routers: from a representation of the user's history to the weights of the experts.

Every router takes `[..., d_user]` and returns `[..., E]`, rows that are not negative and sum to one.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from .choices import ROUTERS
from .settings import DropoutRouterSettings, NoisyRouterSettings, RouterSettings, TopKRouterSettings

HIDDEN = 128  # of the routers with two layers, as in the reference


class Router(nn.Module):
    """From `[..., d_user]` to the weights `[..., E]`; constructed as `(d_user, num_experts, **its own settings)`."""

    Settings: ClassVar[type[RouterSettings]] = RouterSettings  # of `teacher.router`


class LinearRouter(Router):
    """`g = softmax(W u)` (iLoRA, the gating network of the paper)."""

    def __init__(self, d_user: int, num_experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_user, num_experts, bias=False)

    def forward(self, user: Tensor) -> Tensor:
        return self.logits(user).softmax(-1)

    def logits(self, user: Tensor) -> Tensor:
        return self.linear(user)


class MLPRouter(Router):
    """`g = softmax(W2 GELU(W1 u + b1) + b2)`, 128 hidden units."""

    def __init__(self, d_user: int, num_experts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_user, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, num_experts))

    def forward(self, user: Tensor) -> Tensor:
        return self.layers(user).softmax(-1)


class DropoutRouter(LinearRouter):
    """`g = softmax(dropout(W u))`: in training some logits are zero, and their experts as good as an average one.

    Args:
        dropout: Share of the logits dropped.
    """

    Settings = DropoutRouterSettings

    def __init__(self, d_user: int, num_experts: int, dropout: float) -> None:
        super().__init__(d_user, num_experts)
        self.dropout = nn.Dropout(dropout)

    def logits(self, user: Tensor) -> Tensor:
        return self.dropout(super().logits(user))


class TopKRouter(LinearRouter):
    """`g = softmax` over the k largest of `W u`, zero elsewhere. With k = 1 the one gate is 1 and W learns nothing.

    Args:
        top_k: k, at most E.
    """

    Settings = TopKRouterSettings

    def __init__(self, d_user: int, num_experts: int, top_k: int) -> None:
        super().__init__(d_user, num_experts)
        self.top_k = _at_most(top_k, num_experts)

    def logits(self, user: Tensor) -> Tensor:
        return _only_largest(super().logits(user), self.top_k)


class PaperTopKRouter(TopKRouter):
    """`g = softmax` over the k largest of `p = softmax(W u)`: the reference's code takes the softmax twice.

    Kept gates lie close together, since probabilities differ by at most one: their ratio is at most e.
    """

    def logits(self, user: Tensor) -> Tensor:
        return _only_largest(self.linear(user).softmax(-1), self.top_k)


class NoisyRouter(LinearRouter):
    """`g = softmax(W u + noise_std ε)`, ε standard normal, in training; without noise otherwise.

    The reference's code adds noise in evaluation too.

    Args:
        noise_std: Standard deviation of the noise.
    """

    Settings = NoisyRouterSettings

    def __init__(self, d_user: int, num_experts: int, noise_std: float) -> None:
        super().__init__(d_user, num_experts)
        self.noise_std = noise_std

    def logits(self, user: Tensor) -> Tensor:
        return _noisy(super().logits(user), self.noise_std, self.training)


class NoisyMLPRouter(Router):
    """`g = softmax(W2 ReLU(W1 u) + noise_std ε)`, 128 hidden units, noise in training alone.

    Args:
        noise_std: Standard deviation of the noise.
    """

    Settings = NoisyRouterSettings

    def __init__(self, d_user: int, num_experts: int, noise_std: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_user, HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, num_experts, bias=False)
        )
        self.noise_std = noise_std

    def forward(self, user: Tensor) -> Tensor:
        return _noisy(self.layers(user), self.noise_std, self.training).softmax(-1)


def create_router(settings: RouterSettings, d_user: int, num_experts: int) -> Router:
    """Returns a router from `[..., d_user]` to `[..., num_experts]`.

    Raises:
        UserError: There is no router of that name.
    """
    own = {name: value for name, value in settings.plain().items() if name != "name"}
    router: Router = ROUTERS[settings.name](d_user, num_experts, **own)
    return router


class PerLayerRouter(nn.Module):
    """A router for every adapted layer: `[..., d_user]` to `[..., layers * E]`, the gates of each layer side by side.

    Args:
        routers: One per layer, in the order of `adapters_of`.
    """

    def __init__(self, routers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.routers = nn.ModuleList(routers)

    def forward(self, user: Tensor) -> Tensor:
        return torch.cat([router(user) for router in self.routers], dim=-1)


class OneExpert(nn.Module):
    """`g = 1`: with one expert the adapters are plain LoRA, the same for every user."""

    def forward(self, user: Tensor) -> Tensor:
        return user.new_ones(*user.shape[:-1], 1)


def _only_largest(values: Tensor, k: int) -> Tensor:
    """Returns `values [..., E]` with all but the k largest at minus infinity."""
    largest, places = values.topk(k, dim=-1)
    return torch.full_like(values, -torch.inf).scatter(-1, places, largest)


def _noisy(logits: Tensor, std: float, training: bool) -> Tensor:
    return logits + std * torch.randn_like(logits) if training else logits


def _at_most(top_k: int, num_experts: int) -> int:
    if top_k > num_experts:
        raise UserError(f"teacher.router.top_k={top_k} is more than teacher.lora.num_experts={num_experts}.")
    return top_k
