"""Routers: from a representation of the user's history to the weights of the experts."""

from torch import Tensor, nn

from ..core.errors import UserError


class LinearRouter(nn.Module):
    """`g = softmax(W u)` (iLoRA, the gating network of the paper); `[B, d_user]` to `[B, E]`, rows sum to one."""

    def __init__(self, d_user: int, num_experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_user, num_experts, bias=False)

    def forward(self, user: Tensor) -> Tensor:
        return self.linear(user).softmax(-1)


class MLPRouter(nn.Module):
    """`g = softmax(W2 GELU(W1 u + b1) + b2)`, 128 hidden units; `[B, d_user]` to `[B, E]`, rows sum to one."""

    def __init__(self, d_user: int, num_experts: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_user, 128), nn.GELU(), nn.Linear(128, num_experts))

    def forward(self, user: Tensor) -> Tensor:
        return self.layers(user).softmax(-1)


ROUTERS: dict[str, type[nn.Module]] = {"linear": LinearRouter, "mlp": MLPRouter}


def router_named(name: str) -> type[nn.Module]:
    """Returns the class of a router (config key `teacher.router`), made from `(d_user, num_experts)`.

    Raises:
        UserError: There is no router of that name.
    """
    if name not in ROUTERS:
        raise UserError(f"teacher.router={name} is not known: use one of {', '.join(ROUTERS)}.")
    return ROUTERS[name]
