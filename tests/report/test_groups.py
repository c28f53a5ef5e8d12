import torch

from src.report.groups import QUARTERS, activity, groups_of
from tests.worlds import dataset_of, tiny_dataset


def test_users_are_parted_by_how_many_training_interactions_they_have():
    dataset = dataset_of([[1] * length for length in (3, 4, 5, 6, 7, 8, 9, 10)])
    assert activity(dataset).slice_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert activity(dataset).names == QUARTERS


def test_users_with_equally_many_are_in_one_quarter():
    dataset = dataset_of([[1] * length for length in (3, 9, 9, 9)])
    assert activity(dataset).slice_of.tolist() == [0, 1, 1, 1]


def test_groups_are_of_the_test_examples():
    dataset = tiny_dataset()
    found = groups_of(dataset, [2, 5])
    assert list(found) == ["target popularity", "history length", "activity"]
    assert {len(each.slice_of) for each in found.values()} == {len(dataset.examples["test"])}
    assert torch.equal(found["history length"].slice_of, (dataset.examples["test"].end > 2).long() + (
        dataset.examples["test"].end > 5).long())  # fmt: skip
