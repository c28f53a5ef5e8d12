import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.distill.negatives import sample_negatives, unseen_column
from tests.golden import load_golden


def test_unseen_columns_by_hand():
    taken = torch.tensor([[3, 0, 1, 3]]).expand(3, -1)  # of 5 items, 2, 4 and 5 are left: columns 1, 3, 4
    assert unseen_column(taken, torch.tensor([0, 1, 2])).tolist() == [1, 3, 4]


@given(st.integers(2, 12), st.data())
@settings(deadline=None)
def test_the_orders_enumerate_exactly_what_is_left(num_items, data):
    taken = data.draw(st.lists(st.integers(0, num_items - 1), min_size=1, max_size=8))
    left = [item - 1 for item in range(1, num_items + 1) if item not in taken]
    columns = unseen_column(torch.tensor([taken] * len(left)), torch.arange(len(left)))
    assert columns.tolist() == left


def test_draws_are_uniform_repeatable_and_unseen():
    history, target = torch.tensor([[1, 4, 0]]).expand(6000, -1), torch.full((6000,), 6)
    drawn = sample_negatives(history, target, 7, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=7)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    assert ((counts[[1, 2, 4, 6]] - 1500).abs() < 5 * (6000 * 0.25 * 0.75) ** 0.5).all()
    assert torch.equal(drawn, sample_negatives(history, target, 7, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_golden_mask_of_what_may_be_drawn(seed):
    golden, hparams = load_golden(f"case6_dllm2rec_loss_seed{seed}")
    N = hparams["N"]
    history = (golden["negmask/seq"] + 1) % (N + 1)  # the reference pads with N and starts items at 0
    for row, target, allowed in zip(history, golden["target"] + 1, golden["negmask/neg_tensor"], strict=True):
        columns = allowed.nonzero().squeeze(1)
        taken = torch.cat([row, target.unsqueeze(0)]).expand(len(columns), -1)
        assert torch.equal(unseen_column(taken, torch.arange(len(columns))), columns)
