"""Memory of one training step of the teacher, tensor by tensor, from the model's shape; checked on a small one.

    python -m benchmarks.teacher_memory

Llama 2 7B, 8 examples of 512 tokens, adapters of rank 8 around all seven projections, frozen bf16 weights, autocast to
bf16, gradient checkpointing, AdamW, ranking 10,000 items. The same formulas are held against a small Llama on this
machine: what a block keeps for its backward pass (every saved tensor counted) and the peak of a whole step (PyTorch's
allocator). Where there is a GPU, the step runs there at full size with random weights, without the ranking part.
"""

import argparse
from copy import deepcopy

import torch
from transformers import LlamaConfig

from src.training.softmax import TILE
from tests.memory import peak_bytes

from .adapted import R, random_language_model, training_step, with_adapters
from .kept import kept_for_backward
from .side_by_side import markdown, parser, report

GIB = 2**30
LLAMA_2_7B = LlamaConfig()  # its shape is Transformers' default
SMALL = LlamaConfig(
    vocab_size=64, hidden_size=512, intermediate_size=1376, num_hidden_layers=4, num_attention_heads=8
)  # fmt: skip
SMALL_BATCH = (4, 64)
NUM_ITEMS, D_ITEM = 10_000, 64


def main(arguments: argparse.Namespace) -> None:
    budget = budget_of(LLAMA_2_7B, arguments.examples, arguments.tokens)
    rows = [[part, f"{size / GIB:.2f}"] for part, size in budget.items()]
    rows.append(["**together**", f"**{sum(budget.values()) / GIB:.2f}**"])
    checks = [[part, f"{formula:,}", f"{found:,}", f"{formula / found - 1:+.1%}"] for part, formula, found in checked()]
    if torch.cuda.is_available():
        size = (arguments.examples, arguments.tokens)
        formula, found = step_budget(LLAMA_2_7B, *size) + weights_budget(LLAMA_2_7B), peak_on_gpu(LLAMA_2_7B, *size)
        checks.append(["full size on the GPU: peak", f"{formula:,}", f"{found:,}", f"{formula / found - 1:+.1%}"])
    tables = [
        markdown(["Llama 2 7B, one step", "GiB"], rows),
        markdown(["small Llama, one step, bytes", "formula", "measured", "off by"], checks),
    ]
    report("teacher_memory", arguments, "\n\n".join(tables), budget=budget, checks=checks)


def budget_of(config: LlamaConfig, batch: int, tokens: int) -> dict[str, int]:
    """Returns the bytes of all that one training step holds at its peak, when the last block's gradients are computed.

    Gradients of earlier steps are counted as there, as they are when several batches make one step.
    """
    d, layers = config.hidden_size, config.num_hidden_layers
    adapters = layers * adapter_parameters(config)
    maps = D_ITEM * d + d * d + 2 * d + d * d + 3 * d + d * d + D_ITEM * d + NUM_ITEMS  # of `ILoRAModel`
    return {
        "frozen weights, bf16": 2 * frozen_parameters(config),
        "adapters, their gradients and AdamW's averages, float32": 4 * 4 * adapters,
        "projector, query and item maps, the same four": 4 * 4 * maps,
        "item texts, [items, d] float32": 4 * NUM_ITEMS * d,
        "the item side, [items, d + d_item + 1]: float32, bf16, its gradient twice": 14 * NUM_ITEMS * (d + D_ITEM + 1),
        "a tile of scores, bf16": 2 * min(TILE, batch * NUM_ITEMS),
        f"inputs of the other {layers - 1} blocks, [n, d]": kept_by_checkpoints(config, batch, tokens),
        **{f"one block, {part}": size for part, size in kept_by_a_block(config, batch, tokens).items()},
        "outside the blocks: last norm, rotary": kept_by_the_rest(config, batch, tokens),
        "gradients in flight in the MLP, 2 [n, f]": in_flight(config, batch, tokens),
    }


def adapter_parameters(config: LlamaConfig) -> int:
    """Returns the parameters of all adapters of one block: r (in + out) of each projection."""
    d, f = config.hidden_size, config.intermediate_size
    kv = config.num_key_value_heads * config.head_dim
    return R * (2 * (d + d) + 2 * (d + kv) + 3 * (d + f))


def frozen_parameters(config: LlamaConfig) -> int:
    """Returns the weights of the model without its output head."""
    d, f = config.hidden_size, config.intermediate_size
    kv = config.num_key_value_heads * config.head_dim
    block = 2 * d * d + 2 * d * kv + 3 * d * f + 2 * d
    return config.vocab_size * d + config.num_hidden_layers * block + d


def kept_by_a_block(config: LlamaConfig, batch: int, tokens: int) -> dict[str, int]:
    """Returns the bytes that one block keeps for its backward pass under autocast, by kind of tensor.

    bf16 numbers but for the norms (float32), n = batch x tokens, d = hidden size, f = intermediate size.
    """
    n, d, f, heads = batch * tokens, config.hidden_size, config.intermediate_size, config.num_attention_heads
    return {
        "norms: inputs in float32, 2 [n, d], and their scales": 2 * (4 * n * d + 4 * n),
        "inputs of q, k, v and of gate, up: 2 [n, d]": 2 * 2 * n * d,
        "attention: q, k, v and its output, 4 [n, d]; softmax sums": 2 * 4 * n * d + 4 * n * heads,
        "attention: its mask, [batch, tokens, tokens]": 2 * n * tokens,
        "MLP: gate, SiLU(gate), up, their product, 4 [n, f]": 2 * 4 * n * f,
        "adapters: A x before and after the gates, 7 x 2 [n, r]": 2 * 7 * 2 * n * R,
        "adapters: their matrices in bf16, and the gates": 2 * adapter_parameters(config) + 4 * 7 * batch * R,
    }


def kept_by_the_rest(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the bytes kept outside the blocks: the last norm's input and scales, rotary sines and cosines."""
    n = batch * tokens
    return 4 * n * config.hidden_size + 4 * n + 2 * 2 * tokens * config.head_dim


def kept_by_checkpoints(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the bytes of the blocks' inputs; the first block's is the prompt's embeddings, counted by who made it."""
    return 2 * batch * tokens * config.hidden_size * (config.num_hidden_layers - 1)


def in_flight(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the bytes of the gradients that the backward pass of a block holds at its widest place."""
    return 2 * 2 * batch * tokens * config.intermediate_size


def step_budget(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the bytes that a forward and backward pass of the language model takes beyond what was there, with
    gradient checkpointing.
    """
    return (
        kept_by_checkpoints(config, batch, tokens)
        + sum(kept_by_a_block(config, batch, tokens).values())
        + kept_by_the_rest(config, batch, tokens)
        + in_flight(config, batch, tokens)
    )


def stored_step_budget(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the same where every block keeps what its backward pass needs, and nothing is computed again.

    The peak is then at the beginning of the backward pass: in the last norm, which holds 5 [n, d] in float32 and one in
    bf16 (found by PyTorch's allocator at several widths), or in the MLP of the last block.
    """
    in_the_norm = (5 * 4 + 2) * batch * tokens * config.hidden_size
    return (
        config.num_hidden_layers * sum(kept_by_a_block(config, batch, tokens).values())
        + kept_by_the_rest(config, batch, tokens)
        + max(in_the_norm, in_flight(config, batch, tokens))
    )


def weights_budget(config: LlamaConfig) -> int:
    """Returns the bytes of frozen weights, adapters, their gradients and AdamW's averages."""
    return 2 * frozen_parameters(config) + 4 * 4 * config.num_hidden_layers * adapter_parameters(config)


def checked() -> list[tuple[str, int, int]]:
    """Returns what was compared on the small Llama, with the formula's bytes and the measured ones."""
    batch, tokens = SMALL_BATCH
    shallow = deepcopy(SMALL)
    shallow.num_hidden_layers = SMALL.num_hidden_layers - 1
    kept = {}
    for config in (SMALL, shallow):
        model = random_language_model(config)
        forward = with_adapters(model, batch, tokens, checkpointing=False)
        kept[config.num_hidden_layers] = kept_for_backward(forward, model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - trained
    block = sum(kept_by_a_block(SMALL, batch, tokens).values())
    return [
        ("frozen weights", 2 * frozen_parameters(shallow), 2 * frozen),
        ("adapters", 4 * shallow.num_hidden_layers * adapter_parameters(shallow), 4 * trained),
        ("kept by a block", block, kept[SMALL.num_hidden_layers] - kept[shallow.num_hidden_layers]),
        ("peak of a step with gradient checkpointing", step_budget(SMALL, batch, tokens), small_peak(True)),
        ("peak of a step without", stored_step_budget(SMALL, batch, tokens), small_peak(False)),
    ]


def small_peak(checkpointing: bool) -> int:
    """Returns the bytes that a forward and backward pass of the small Llama takes beyond what was there."""
    forward = with_adapters(random_language_model(SMALL), *SMALL_BATCH, checkpointing)
    upstream = torch.ones_like(forward())

    def step() -> None:
        forward().backward(upstream)

    step()  # gradients are there from now on
    return peak_bytes(step)


def peak_on_gpu(config: LlamaConfig, batch: int, tokens: int) -> int:
    """Returns the most memory allocated in two steps of forward, backward and AdamW."""
    torch.cuda.reset_peak_memory_stats()
    model = random_language_model(config)
    step = training_step(model, with_adapters(model, batch, tokens, checkpointing=True))
    for _ in range(2):
        step()
    return torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("--examples", type=int, default=8)
    own.add_argument("--tokens", type=int, default=512, help="of each example")
    main(own.parse_args())
