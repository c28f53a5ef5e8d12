"""Shapes of language models, the arithmetic of a teacher's training step over them, and the memory it needs.

Matrix products alone are counted, a multiplication and an addition each: for n tokens and P weights of the frozen
linear layers 2 P n forwards and 2 P n backwards (the gradient of the input; frozen weights need none of their own),
and 2 P n once more where blocks are computed again. Adapters, which learn, take 2, 4 and 2 times their own size.
Attention counts in full, though half of its scores are masked: 4 n T d_a a block forwards (d_a: all heads together),
2.5 times that backwards, where the kernel computes the scores once more.
"""

from typing import Literal

from transformers import GemmaConfig, LlamaConfig

from .adapted import R
from .teacher_memory import (
    LLAMA_2_7B,
    adapter_parameters,
    frozen_parameters,
    in_flight,
    kept_by_a_block,
    kept_by_the_rest,
    step_budget,
    stored_step_budget,
    weights_budget,
)

Task = Literal["recomputing", "storing", "reading"]  # a training step with or without checkpoints; no gradient at all
TASKS: dict[Task, str] = {
    "recomputing": "training, blocks computed again",
    "storing": "training, all kept",
    "reading": "reading",
}

SMOLLM2_135M = LlamaConfig(  # config.json of HuggingFaceTB/SmolLM2-135M
    vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3,
)  # fmt: skip
GEMMA_2B = GemmaConfig(  # Gemma (2024), table 1
    vocab_size=256_000, hidden_size=2048, intermediate_size=16_384, num_hidden_layers=18, num_attention_heads=8,
    num_key_value_heads=1, head_dim=256,
)  # fmt: skip
TINY = GemmaConfig(  # for smoke runs
    vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16,
)  # fmt: skip
SHAPES = {"SmolLM2 135M": SMOLLM2_135M, "Gemma 2B": GEMMA_2B, "Llama 2 7B": LLAMA_2_7B}

# What a process takes beside PyTorch's tensors (the GPU's context, cuBLAS), and what the allocator's gaps may take.
CONTEXT = 2**30
GAPS = 1.05
# nf4 with double quantisation: half a byte a weight, a byte for 64 of them, 4 bytes for 256 such (QLoRA, section 3).
FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)


def linear_parameters(config: LlamaConfig) -> int:
    """Returns the frozen weights of one block's linear layers."""
    d, f = config.hidden_size, config.intermediate_size
    heads, kv = (number * config.head_dim for number in (config.num_attention_heads, config.num_key_value_heads))
    return 2 * d * heads + 2 * d * kv + 3 * d * f


def forward_flop(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the operations of a forward pass over `[batch, tokens]`."""
    parameters = linear_parameters(config) + adapter_parameters(config)
    return config.num_hidden_layers * (2 * batch * tokens * parameters + _attention_flop(config, batch, tokens))


def step_flop(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the operations of a forward and backward pass that computes nothing twice."""
    parameters = linear_parameters(config) + 2 * adapter_parameters(config)
    attention = 5 * _attention_flop(config, batch, tokens) // 2
    backward = config.num_hidden_layers * (2 * batch * tokens * parameters + attention)
    return forward_flop(config, batch, tokens) + backward


def recomputing_step_flop(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the operations of a forward and backward pass with gradient checkpointing.

    Recomputation ends with the last tensor that is needed: a block's last product, B of the last adapter, is left out.
    """
    left_out = config.num_hidden_layers * 2 * batch * tokens * R * config.hidden_size
    return step_flop(config, batch, tokens) + forward_flop(config, batch, tokens) - left_out


def _attention_flop(config: LlamaConfig, batch: int, tokens: int) -> int:
    return 2 * 2 * batch * tokens**2 * config.num_attention_heads * config.head_dim


FLOP = {"recomputing": recomputing_step_flop, "storing": step_flop, "reading": forward_flop}


def flop_of(config: LlamaConfig, task: Task, batch: int, tokens: int) -> int:
    """Returns the floating-point operations of one step of `task`."""
    return FLOP[task](config, batch, tokens)


def bytes_of(config: LlamaConfig, task: Task, bits: int, batch: int, tokens: int) -> int:
    """Returns the bytes that PyTorch's tensors take at the peak of `task`: `teacher_memory`'s formulas.

    Args:
        bits: 16, or 4: then one layer's weights are there in bf16, too, while it computes.
    """
    adapters = config.num_hidden_layers * adapter_parameters(config)
    needed = {
        "recomputing": lambda: weights_budget(config) + step_budget(config, batch, tokens),
        "storing": lambda: weights_budget(config) + stored_step_budget(config, batch, tokens),
        "reading": lambda: 2 * frozen_parameters(config) + 4 * adapters + reading_budget(config, batch, tokens),
    }[task]()
    if bits == 4:
        linear = config.num_hidden_layers * linear_parameters(config)
        widest = config.hidden_size * max(config.intermediate_size, config.num_attention_heads * config.head_dim)
        needed += round((FOUR_BITS - 2) * linear) + 2 * widest
    return needed


def reading_budget(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns a bound: reading holds no more at once than one block would keep, and what it has in flight."""
    block = sum(kept_by_a_block(config, batch, tokens).values())
    return block + kept_by_the_rest(config, batch, tokens) + in_flight(config, batch, tokens)


def why_left_out(config: LlamaConfig, task: Task, bits: int, batch: int, tokens: int, free: int | None) -> str | None:
    """Returns why a row is not tried on a device with `free` bytes (None: memory is not looked at), or None.

    Weights of 4 bits are made from those of 16: these must fit, too.
    """
    needed = bytes_of(config, task, bits, batch, tokens)
    if bits == 4:
        needed = max(needed, 2 * frozen_parameters(config))
    needed = round(GAPS * needed) + CONTEXT
    if free is None or needed <= free:
        return None
    return f"left out: {needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} free"
