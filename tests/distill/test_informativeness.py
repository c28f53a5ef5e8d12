import math

import pytest
import torch
import torch.nn.functional as F

from src.distill.informativeness import committee_divergence, ground_truth_error, look_ahead, mean_one, output_gradient

m, N, D = 5, 7, 3


def states() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    hidden, items = (torch.randn(rows, D, generator=draw, dtype=torch.float64) for rows in (m, N))
    return hidden, items, hidden @ items.T, torch.randint(N, (m,), generator=draw)


def test_the_error_is_the_cross_entropy_of_each_example():
    _, _, scores, target = states()
    assert torch.allclose(ground_truth_error(scores, target), F.cross_entropy(scores, target, reduction="none"))


def test_a_committee_s_divergence_by_hand():
    members = [torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log(), torch.tensor([[0.1, 0.9], [0.5, 0.5]]).log()]
    first = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert committee_divergence(members).tolist() == pytest.approx([first, 0], abs=1e-6)


def test_the_output_gradient_is_autograd_s():
    hidden, items, _, target = states()
    items.requires_grad_()
    F.cross_entropy(hidden @ items.T, target).backward()
    _, _, scores, _ = states()
    assert torch.allclose(output_gradient(hidden, scores, target), items.grad)


def test_look_ahead_is_the_product_of_gradients_and_negative_ones_count_nothing():
    hidden, items, scores, target = states()
    gradient = torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = look_ahead(hidden, scores, gradient, lambda s: F.cross_entropy(s, target, reduction="none"))
    products = []
    for i in range(m):
        free = items.clone().requires_grad_()
        F.cross_entropy(hidden[i : i + 1] @ free.T, target[i : i + 1]).backward()
        products.append((free.grad * gradient).sum())
    products = torch.stack(products)
    assert (products > 0).any() and (products < 0).any()
    assert torch.allclose(found, products.clamp(min=0))


def test_weights_are_one_on_average_even_where_nothing_helps():
    assert mean_one(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert mean_one(torch.zeros(3)).tolist() == [1, 1, 1]
