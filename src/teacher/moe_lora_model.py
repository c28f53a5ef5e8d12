"""The adapter of iLoRA: low-rank updates in E blocks, mixed by gates that differ from example to example."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..core.errors import UserError


class GateBinding:
    """Carries the gates of one forward pass to the adapters that share it.

    Gates exist inside `with binding.bind(gates):` and nowhere else; an adapter that runs outside raises. For generation
    bind outside `generate`, each row as often as it has beams: `gates.repeat_interleave(num_beams, 0)`.

    Args:
        mixtures: 1 if all adapters share the gates. Or the number of adapters, if each has its own: then the gates of
            all stand side by side in the order of `adapters_of`, `[B, adapters * E]` instead of `[B, E]`.
    """

    def __init__(self, mixtures: int = 1) -> None:
        self.mixtures = mixtures
        self._open: list[Tensor | None] = []  # the scopes we are in, innermost last

    def bind(self, gates: Tensor) -> "Scope":
        """Returns the scope in which `gates` (`[B, E]`, or `[B, T, E]` for one mixture per token) are in force."""
        return Scope(self._open, gates if gates.dim() == 3 else gates.unsqueeze(1))

    def disabled(self) -> "Scope":
        """Returns the scope in which adapters add nothing."""
        return Scope(self._open, None)

    def checkpoint_contexts(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        """Returns the contexts of a forward pass and of its recomputation: `context_fn` of `torch.utils.checkpoint`.

        The recomputation runs in the backward pass, when the scope of its forward is closed or another's is open.
        """
        return nullcontext(), Scope(self._open, self.gates)

    @property
    def gates(self) -> Tensor | None:
        """`[B, 1, E]` or `[B, T, E]`; None inside `disabled()`."""
        if not self._open:
            raise RuntimeError("an iLoRA adapter ran outside `with binding.bind(gates):`")
        return self._open[-1]

    def mixture(self, gates: Tensor, place: int) -> Tensor:
        """Returns one adapter's part of `gates [..., E]`; all of them where one mixture is shared."""
        return gates if self.mixtures == 1 else gates.unflatten(-1, (self.mixtures, -1))[..., place, :]


class Scope:
    """Puts `gates` in force for the length of a `with` block, which may be entered again later.

    Args:
        open_scopes: The binding's.
        gates: See `GateBinding.gates`.
    """

    def __init__(self, open_scopes: list[Tensor | None], gates: Tensor | None) -> None:
        self._open = open_scopes
        self._gates = gates

    def __enter__(self) -> None:
        self._open.append(self._gates)

    def __exit__(self, *_: object) -> None:
        self._open.pop()


class MoELoRALinear(nn.Module):
    """`y = W x + b + alpha / (r / E) * Σ_e g_e B_e A_e x` (iLoRA, eq. of the instance-wise update), W and b frozen.

    Expert e owns the e-th block of r/E rows of `lora_A [r, in]` and of columns of `lora_B [out, r]`, so the sum equals
    `B ((A x) ⊙ repeat(g, r / E))`: one rank-r product, nothing of size E x out.

    Args:
        base_layer: The frozen linear layer, `in -> out`; may keep its weights in another form, such as 4 bits.
        r: Rank of all experts together; a multiple of `num_experts`.
        num_experts: E.
        alpha: Numerator of the scaling; the rank of ONE expert divides it, as in the reference.
        dropout: Share of the adapter's inputs dropped in training.
        binding: Where the gates of the forward pass come from.
        place: Which of the binding's mixtures is this layer's, if it does not share the only one.
    """

    def __init__(
        self,
        base_layer: nn.Linear,
        r: int,
        num_experts: int,
        alpha: float,
        dropout: float,
        binding: GateBinding,
        place: int = 0,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        device = base_layer.weight.device
        self.lora_A = nn.Parameter(torch.empty(r, base_layer.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, r, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.rank_per_expert = r // num_experts
        self.scaling = alpha / self.rank_per_expert
        self.dropout = nn.Dropout(dropout)
        self.binding = binding
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, in]` to `[B, T, out]`. Over a bf16 base the update is computed in the adapter's own dtype, then cast;
        under autocast in autocast's.

        Raises:
            UserError: `x` does not say which tokens are of one example, and so share its gates.
        """
        gates = self.binding.gates
        y = self.base_layer(x)
        if gates is None:
            return y
        if x.ndim < gates.ndim:
            inner, outer = self.base_layer.in_features, self.base_layer.out_features
            raise UserError(
                f"A linear layer from {inner} to {outer} features reads the tokens of all examples in one row, so that "
                "an adapter cannot tell whose gates are whose: leave it out of teacher.llm.target_modules (a list of "
                "the layers to adapt)."
            )
        inputs = x if torch.is_autocast_enabled(x.device.type) else x.to(self.lora_A.dtype)
        z = F.linear(self.dropout(inputs), self.lora_A) * self._rank_gates(gates)
        # On a CPU dB^T = z^T dy is several times as fast as dB = dy^T z, which F.linear(z, lora_B) would make.
        return y + (z @ self.lora_B.T.contiguous()).to(y.dtype)

    def _rank_gates(self, gates: Tensor) -> Tensor:
        """Returns `[..., r]`, what multiplies each of the r components, for gates `[..., E]` of the binding."""
        own = self.binding.mixture(gates, self.place)
        return self.scaling * own.repeat_interleave(self.rank_per_expert, dim=-1)


def inject_adapters(
    model: nn.Module,
    target_modules: str | Sequence[str],
    r: int,
    num_experts: int,
    alpha: float,
    dropout: float,
    gate_per_layer: bool = False,
) -> GateBinding:
    """Freezes `model` and puts a `MoELoRALinear` around its linear layers.

    Args:
        model: A language model.
        target_modules: See `target_layers`.
        r, num_experts, alpha, dropout: See `MoELoRALinear`.
        gate_per_layer: Whether every adapter takes a mixture of its own.

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
    layers = target_layers(model, target_modules)
    binding = GateBinding(len(layers) if gate_per_layer else 1)
    for place, (name, layer) in enumerate(layers.items()):
        _replace(model, name, MoELoRALinear(layer, r, num_experts, alpha, dropout, binding, place))
    return binding


def target_layers(model: nn.Module, target_modules: str | Sequence[str]) -> dict[str, nn.Linear]:
    """Returns the linear layers that are to get adapters, by name.

    Args:
        model: A language model without adapters.
        target_modules: Last names of the layers to adapt ("q_proj"), or "all-linear": all but the output head, as in
            PEFT.

    Raises:
        UserError: No layer has one of the names.
    """
    linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    if target_modules == "all-linear":
        head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
        target_modules = sorted({name.rpartition(".")[2] for name, layer in linear.items() if layer is not head})
    chosen = {name: layer for name, layer in linear.items() if name.rpartition(".")[2] in target_modules}
    missing = sorted(set(target_modules) - {name.rpartition(".")[2] for name in chosen})
    if missing:
        there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise UserError(
            f"The language model has no linear layer named {', '.join(missing)} (teacher.llm.target_modules); "
            f"it has: {there}."
        )
    return chosen


def adapters_of(model: nn.Module) -> dict[str, MoELoRALinear]:
    """Returns the adapters of `model` by the names of the layers they stand around."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MoELoRALinear)}


def train_adapters(model: nn.Module, mode: bool) -> None:
    """Puts the adapters of `model` into training mode, or back; its frozen layers stay in evaluation mode.

    Blocks that recompute their activations get the mode too, without the layers in them: Transformers asks this flag of
    theirs whether there will be a backward pass to recompute for.
    """
    model.eval()
    for module in model.modules():
        if isinstance(module, MoELoRALinear):
            module.dropout.train(mode)
        elif getattr(module, "gradient_checkpointing", False):
            module.training = mode


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
