import pytest
import torch

from src.core.errors import UserError
from src.teacher.generation.candidates import draw_candidates, shuffled
from tests.worlds import dataset_of, tiny_dataset

DATASET = tiny_dataset(num_items=30)
TEST = DATASET.examples["test"]


def test_a_list_holds_the_target_once_and_nothing_that_the_user_has_met():
    lists = draw_candidates(DATASET, TEST, 10, seed=0)
    batch = DATASET.batch(TEST, int(TEST.end.max()))
    for row, items in enumerate(lists.tolist()):
        assert len(set(items)) == 10
        assert items.count(int(batch.target[row])) == 1
        assert not (set(items) - {int(batch.target[row])}) & set(batch.history[row].tolist())


def test_the_target_may_stand_anywhere():
    lists = draw_candidates(DATASET, TEST, 5, seed=0)
    target = DATASET.batch(TEST, 1).target
    assert len(set((lists == target.unsqueeze(1)).nonzero()[:, 1].tolist())) > 1


def test_a_list_is_its_examples_own_whatever_else_is_asked_for():
    lists = draw_candidates(DATASET, TEST, 10, seed=3)
    some = torch.tensor([7, 2])
    assert torch.equal(draw_candidates(DATASET, TEST.subset(some), 10, seed=3), lists[some])
    assert not torch.equal(draw_candidates(DATASET, TEST, 10, seed=4), lists)


def test_all_items_that_are_left_may_be_asked_for_but_not_more():
    world = dataset_of([[1, 2, 3]], ["a", "b", "c", "d", "e"])
    assert sorted(draw_candidates(world, world.examples["test"], 3, 0)[0].tolist()) == [3, 4, 5]
    with pytest.raises(UserError, match=r"candidates=4 asks for more items than example 1 leaves: .* all but 2 of"):
        draw_candidates(world, world.examples["test"], 4, 0)


def test_a_shuffled_list_has_its_examples_own_order_whatever_else_is_asked_for():
    lists, ids = torch.arange(50).reshape(10, 5), torch.arange(100, 110)
    mixed = shuffled(lists, ids, seed=3)
    assert torch.equal(mixed.sort(1).values, lists)
    some = torch.tensor([7, 2])
    assert torch.equal(shuffled(lists[some], ids[some], seed=3), mixed[some])
    assert not torch.equal(shuffled(lists, ids, seed=4), mixed)
    assert len(set(map(tuple, (mixed % 5).tolist()))) > 1
