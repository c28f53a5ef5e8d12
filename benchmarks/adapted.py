"""A language model of random weights, of any shape, with adapters around its layers: what a teacher trains, without a
dataset.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from src.core.precision import best_device
from src.teacher.language_model.recomputing import enable_gradient_checkpointing
from src.teacher.moe_lora_model import inject_adapters, train_adapters

R, NUM_EXPERTS, ALPHA = 8, 4, 32


def random_language_model(config: PretrainedConfig) -> PreTrainedModel:
    """Returns a model without its output head, drawn in bf16 on the best device."""
    with best_device():
        torch.set_default_dtype(torch.bfloat16)  # so that no float32 copy of the weights is ever made
        model = AutoModel.from_config(config)
        torch.set_default_dtype(torch.float32)
    return model


def with_adapters(model: PreTrainedModel, batch: int, tokens: int, checkpointing: bool) -> Callable[[], Tensor]:
    """Puts adapters around all linear layers of `model`; returns its forward pass over random inputs under autocast.

    The last token of the first prompt is padding: where there is none, attention has no mask, as it seldom is.
    """
    device = model.device
    with device:
        binding = inject_adapters(model, "all-linear", R, NUM_EXPERTS, ALPHA, 0.0)
        if checkpointing:
            enable_gradient_checkpointing(model, binding)
        train_adapters(model, True)
        prompts = torch.randn(batch, tokens, model.config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
        attended = torch.ones(batch, tokens, dtype=torch.long)
        attended[0, -1] = 0
        gates = torch.rand(batch, NUM_EXPERTS, requires_grad=True)

    def forward() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16), binding.bind(gates):
            return model(inputs_embeds=prompts, attention_mask=attended, use_cache=False).last_hidden_state

    return forward


def training_step(model: PreTrainedModel, forward: Callable[[], Tensor]) -> Callable[[], None]:
    """Returns what runs forward, backward and AdamW; gradients stay in memory, as they do over several batches."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)

    def step() -> None:
        states = forward()
        states.backward(torch.ones_like(states))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step
