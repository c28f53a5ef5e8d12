"""A plain model in the place of one with adapters, for one mixture of its experts."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from src.teacher.moe_lora_model import adapters_of


@torch.no_grad()
def merged(model: nn.Module, gates: Tensor) -> nn.Module:
    """Returns a copy of `model` whose layers have the weights `W + scaling * B diag(repeat(g, r / E)) A`.

    Args:
        model: A model with adapters.
        gates: `[E]` for all layers, or `[layers, E]` in the order of `adapters_of`.
    """
    plain = deepcopy(model)
    adapters = adapters_of(plain)
    for (name, adapter), own in zip(adapters.items(), gates.expand(len(adapters), -1), strict=True):
        rank_gates = own.repeat_interleave(len(adapter.lora_A) // len(own))
        adapter.base_layer.weight += adapter.scaling * (adapter.lora_B * rank_gates) @ adapter.lora_A
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, adapter.base_layer)
    return plain
