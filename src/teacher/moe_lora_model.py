"""The adapter of iLoRA: low-rank updates in E blocks, mixed by gates that differ from example to example."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..core.errors import UserError


class GateBinding:
    """Carries the gates of one forward pass to the adapters that share it.

    Gates exist inside `with binding.bind(gates):` and nowhere else; an adapter that runs outside raises.
    """

    def __init__(self) -> None:
        self._gates: Tensor | None = None

    @contextmanager
    def bind(self, gates: Tensor) -> Iterator[None]:
        """Makes `gates` (`[B, E]`, or `[B, T, E]` for one mixture per token) the ones in force for the block."""
        before, self._gates = self._gates, gates if gates.dim() == 3 else gates.unsqueeze(1)
        try:
            yield
        finally:
            self._gates = before

    @property
    def gates(self) -> Tensor:
        """`[B, 1, E]` or `[B, T, E]`."""
        if self._gates is None:
            raise RuntimeError("an iLoRA adapter ran outside `with binding.bind(gates):`")
        return self._gates


class MoELoRALinear(nn.Module):
    """`y = W x + b + alpha / (r / E) * Σ_e g_e B_e A_e x` (iLoRA, eq. of the instance-wise update), W and b frozen.

    Expert e owns the e-th block of r/E rows of `lora_A [r, in]` and of columns of `lora_B [out, r]`, so the sum equals
    `B ((A x) ⊙ repeat(g, r / E))`: one rank-r product, nothing of size E x out.

    Args:
        base_layer: The frozen linear layer, `in -> out`.
        r: Rank of all experts together; a multiple of `num_experts`.
        num_experts: E.
        alpha: Numerator of the scaling; the rank of ONE expert divides it, as in the reference.
        dropout: Share of the adapter's inputs dropped in training.
        binding: Where the gates of the forward pass come from.
    """

    def __init__(
        self, base_layer: nn.Linear, r: int, num_experts: int, alpha: float, dropout: float, binding: GateBinding
    ) -> None:
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(r, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.rank_per_expert = r // num_experts
        self.scaling = alpha / self.rank_per_expert
        self.dropout = nn.Dropout(dropout)
        self.binding = binding

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, in]` to `[B, T, out]`. Over a bf16 base the update is computed in the adapter's own dtype, then cast;
        under autocast in autocast's."""
        g = self.scaling * self.binding.gates.repeat_interleave(self.rank_per_expert, dim=-1)  # [B, 1 or T, r]
        inputs = x if torch.is_autocast_enabled(x.device.type) else x.to(self.lora_A.dtype)
        z = nn.functional.linear(self.dropout(inputs), self.lora_A) * g
        return self.base_layer(x) + nn.functional.linear(z, self.lora_B).to(x.dtype)


def inject_adapters(
    model: nn.Module, target_modules: str | Sequence[str], r: int, num_experts: int, alpha: float, dropout: float
) -> GateBinding:
    """Freezes `model` and puts a `MoELoRALinear` around its linear layers.

    Args:
        model: A language model without its output head.
        target_modules: Last names of the layers to adapt ("q_proj"), or "all-linear", as in PEFT.
        r, num_experts, alpha, dropout: See `MoELoRALinear`.

    Returns:
        The binding that all adapters of `model` share.

    Raises:
        UserError: `r` is not a multiple of `num_experts`, or no layer has one of the names.
    """
    if r % num_experts:
        raise UserError(
            f"teacher.lora.r={r} is not divisible by teacher.lora.num_experts={num_experts}: "
            "every expert needs the same rank."
        )
    model.requires_grad_(False)
    binding = GateBinding()
    linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    if target_modules == "all-linear":
        target_modules = sorted({name.rpartition(".")[2] for name in linear})
    chosen = {name: layer for name, layer in linear.items() if name.rpartition(".")[2] in target_modules}
    missing = sorted(set(target_modules) - {name.rpartition(".")[2] for name in chosen})
    if missing:
        there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise UserError(
            f"The language model has no linear layer named {', '.join(missing)} (teacher.llm.target_modules); "
            f"it has: {there}."
        )
    for name, layer in chosen.items():
        parent, _, child = name.rpartition(".")
        adapter = MoELoRALinear(layer, r, num_experts, alpha, dropout, binding)
        setattr(model.get_submodule(parent), child, adapter)
    return binding
