"""The groups of users and items that figures are told by."""

import torch

from ..data.dataset import Dataset
from ..evaluation.slices import Slicing, slicings

SPLIT = "test"
QUARTERS = ("least active quarter", "second quarter", "third quarter", "most active quarter")


def groups_of(dataset: Dataset, history_buckets: list[int]) -> dict[str, Slicing]:
    """Returns the ways to part the test examples: by target popularity, history length and the user's activity."""
    return {**slicings(dataset, SPLIT, history_buckets), "activity": activity(dataset)}


def activity(dataset: Dataset) -> Slicing:
    """Returns the test examples by how many training interactions their users have, in quarters of all users; users
    with equally many are in one quarter, the lower one.
    """
    counts = dataset.num_train
    below = torch.searchsorted(counts.sort().values, counts)
    return Slicing(QUARTERS, (4 * below // len(counts))[dataset.examples[SPLIT].user])
