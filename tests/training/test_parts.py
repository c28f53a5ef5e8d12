import pytest
import torch

from src.data.rows import WindowBatch
from src.training import parts


def in_each_of(size: int, monkeypatch, ask):
    """Returns what `ask` finds in each of so many processes."""
    found = []
    for rank in range(size):
        monkeypatch.setattr(parts, "size", lambda: size)
        monkeypatch.setattr(parts, "rank", lambda rank=rank: rank)
        found.append(ask())
    return found


def batch_of(rows: int) -> WindowBatch:
    numbers = torch.arange(1, rows + 1).unsqueeze(1)
    return WindowBatch(numbers, 10 * numbers, 100 * numbers)


@pytest.mark.parametrize("rows", range(1, 8))
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_row_is_one_processs_own(rows, size, monkeypatch):
    batch = batch_of(rows)
    own = in_each_of(size, monkeypatch, lambda: parts.own_part(batch))
    for name in ("history", "target", "example_id"):
        together = torch.cat([getattr(part.batch, name)[: part.rows] for part in own])
        assert torch.equal(together, getattr(batch, name))
    assert [part.before for part in own] == [sum(part.rows for part in own[:rank]) for rank in range(size)]
    assert max(part.rows for part in own) - min(part.rows for part in own) <= 1
    assert all(len(part.batch.target) == max(1, part.rows) for part in own)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_mean_of_shares_is_the_whole_batchs_mean(rows, monkeypatch):
    batch, size = batch_of(rows), 3

    def own_share_of_the_mean():
        part = parts.own_part(batch)
        return parts.own_share(part.rows, rows) * part.batch.target.double().mean()

    shares = in_each_of(size, monkeypatch, own_share_of_the_mean)
    assert sum(shares) / size == pytest.approx(batch.target.double().mean())


def test_alone_nothing_is_changed():
    batch = batch_of(3)
    assert parts.own_part(batch).batch is batch
    assert parts.own_share(3, 3) == 1
    values = torch.tensor([0.1, 0.7, 0.3])
    assert torch.equal(parts.mean_over_parts(values, 3, 3), values.mean())
