from copy import deepcopy

import torch
from transformers import LlamaConfig, LlamaModel

from benchmarks import adapted
from benchmarks.adapted import NUM_EXPERTS, R, random_language_model, with_adapters
from benchmarks.kept import kept_for_backward
from benchmarks.teacher_memory import (
    LLAMA_2_7B,
    adapter_parameters,
    budget_of,
    frozen_parameters,
    kept_by_a_block,
    kept_by_the_rest,
)
from src.teacher.moe_lora_model import inject_adapters

TINY = LlamaConfig(
    vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
)  # fmt: skip


def test_the_full_models_parameters_are_counted_one_by_one():
    with torch.device("meta"):
        model = LlamaModel(LLAMA_2_7B)
        assert sum(p.numel() for p in model.parameters()) == frozen_parameters(LLAMA_2_7B)
        inject_adapters(model, "all-linear", R, NUM_EXPERTS, 32, 0.0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == LLAMA_2_7B.num_hidden_layers * adapter_parameters(LLAMA_2_7B)


def test_what_blocks_keep_is_every_tensor_that_is_saved(monkeypatch):
    monkeypatch.setattr(adapted, "best_device", lambda: torch.device("cpu"))
    deeper = deepcopy(TINY)
    deeper.num_hidden_layers = 3
    kept = []
    for config in (TINY, deeper):
        model = random_language_model(config)
        forward = with_adapters(model, 2, 8, checkpointing=False)
        kept.append(kept_for_backward(forward, model.parameters()))
    block = sum(kept_by_a_block(TINY, 2, 8).values())
    assert kept[1] - kept[0] == block
    assert kept[0] == 2 * block + kept_by_the_rest(TINY, 2, 8)


def test_eight_examples_of_512_tokens_fit_one_a100():
    assert sum(budget_of(LLAMA_2_7B, 8, 512).values()) < 40 * 10**9
