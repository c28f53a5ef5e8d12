import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.step_profile import group_of, named, shares_of
from benchmarks.work import Work
from src.student.layers.dropout import Dropout
from src.training.softmax import full_softmax_loss


def test_work_counts_products_forward_and_backward_by_format():
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    with Work() as work:
        (left @ right).sum().backward()
        left.detach().bfloat16() @ right.detach().bfloat16()
    assert work.done == {"float32": 3 * (2 * 3 * 4 * 5), "bfloat16": 2 * 3 * 4 * 5}


def test_work_counts_attention_on_the_cpu():
    q = torch.randn(2, 3, 7, 8, requires_grad=True)  # [B, heads, L, D/heads]: two products forward, five backward
    with Work() as work:
        F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
    assert work.done == {"float32": (2 + 5) * 2 * (2 * 3 * 7 * 7 * 8)}


def test_operators_are_told_apart_by_what_called_them():
    dropout = Dropout(0.5)
    named(dropout, "dropout")
    hidden, table = torch.randn(4, 8, requires_grad=True), torch.randn(9, 8, requires_grad=True)
    optimizer = torch.optim.AdamW([hidden, table], fused=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        full_softmax_loss(dropout(hidden @ torch.randn(8, 8)), table, torch.arange(4), torch.float32).backward()
        optimizer.step()
    groups = {(event.name, group_of(event)) for event in profiled.events()}
    assert ("aten::mm", "encoder: matrix products") in groups
    assert ("aten::mm", "scores: matrix products") in groups
    assert ("aten::exp_", "scores: softmax and cross-entropy") in groups
    assert ("aten::random_", "dropout, forward") in groups
    assert ("aten::_fused_adamw_", "optimiser") in groups
    assert {group for name, group in groups if name == "aten::exp_"} == {"scores: softmax and cross-entropy"}


def test_shares_and_what_is_outside_operators_make_the_whole():
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        torch.ones(8) + 1
    shares = shares_of(profiled.events(), seconds=10.0)
    assert sum(shares.values()) == 1.0
    assert shares["outside operators (Python, Lightning)"] > 0.9
