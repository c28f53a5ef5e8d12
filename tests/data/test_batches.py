import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.data.batches import BatchLoader, loader_in_order, token_batches

LENGTHS = st.lists(st.integers(1, 30), max_size=25)


def literal_batches(lengths: list[int], max_tokens: int) -> list[list[int]]:
    """Longest rows first; a row opens a new batch when the one under way would grow past the budget."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@given(LENGTHS, st.integers(1, 100))
def test_without_a_generator_batches_equal_a_literal_loop(lengths, max_tokens):
    batches = token_batches(torch.tensor(lengths, dtype=torch.int64), max_tokens)
    assert [batch.tolist() for batch in batches] == literal_batches(lengths, max_tokens)


@given(LENGTHS, st.integers(1, 100), st.integers(0, 9))
def test_drawn_batches_hold_every_row_once_under_the_budget_and_rows_of_similar_length(lengths, max_tokens, seed):
    batches = token_batches(torch.tensor(lengths, dtype=torch.int64), max_tokens, torch.Generator().manual_seed(seed))
    rows = [batch.tolist() for batch in batches]
    assert sorted(row for batch in rows for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens for batch in rows)
    literal = [sorted(lengths[row] for row in batch) for batch in literal_batches(lengths, max_tokens)]
    assert sorted(sorted(lengths[row] for row in batch) for batch in rows) == sorted(literal)


def test_a_generator_draws_the_order_of_batches_and_who_goes_together():
    lengths = torch.tensor([1] * 20 + [2] * 20)
    draws = [
        [batch.tolist() for batch in token_batches(lengths, 4, torch.Generator().manual_seed(seed))]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert {frozenset(batch) for batch in draws[0]} != {frozenset(batch) for batch in draws[2]}
    longest = [int(lengths[batch].max()) for batch in draws[0]]
    assert longest != sorted(longest, reverse=True)


def test_one_generator_draws_every_epoch_anew():
    generator = torch.Generator().manual_seed(0)
    first, second = ([b.tolist() for b in token_batches(torch.ones(30), 3, generator)] for _ in range(2))
    assert first != second


class Numbers:
    """Rows that are their own numbers."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, rows: torch.Tensor) -> list[int]:
        return rows.tolist()


def test_rows_in_order_come_as_many_at_a_time_as_asked_for():
    assert list(loader_in_order(Numbers(), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(loader_in_order(Numbers(), 100)) == [list(range(7))]


def loader(seed: int) -> BatchLoader:
    return BatchLoader(Numbers(), torch.tensor([1, 2, 3, 1, 2, 3, 1]), 4, torch.Generator().manual_seed(seed))


def test_a_loader_gives_the_batches_that_its_generator_draws():
    expected = token_batches(torch.tensor([1, 2, 3, 1, 2, 3, 1]), 4, torch.Generator().manual_seed(3))
    assert list(loader(3)) == [batch.tolist() for batch in expected]


@pytest.mark.parametrize("given_before", [0, 1, 3])
def test_a_loader_goes_on_behind_the_last_batch_that_was_given(given_before):
    first = loader(3)
    batches = iter(first)
    before = [next(batches) for _ in range(given_before)]
    again = loader(4)
    again.load_state_dict(first.state_dict())
    assert before + list(again) == list(loader(3))
