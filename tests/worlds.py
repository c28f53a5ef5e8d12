"""A tiny world for tests: users, items and a random but seeded log, split leave-one-out."""

from pathlib import Path

import torch

from src.core.catalogue import Catalogue
from src.core.dataset import Dataset, Examples


def tiny_dataset(num_users: int = 12, num_items: int = 15, seed: int = 0) -> Dataset:
    """Every user has 4 to 9 interactions; the last is the test target, the one before it the validation target."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 10, (num_users,), generator=draw)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    num_train = lengths - 2
    train = [(user, end) for user in range(num_users) for end in range(1, int(num_train[user]))]
    val = [(user, int(num_train[user])) for user in range(num_users)]
    test = [(user, int(num_train[user]) + 1) for user in range(num_users)]
    examples, first_id = {}, 0
    for split, pairs in {"train": train, "val": val, "test": test}.items():
        user, end = torch.tensor(pairs).T
        examples[split] = Examples(torch.arange(first_id, first_id + len(pairs)), user, end)
        first_id += len(pairs)
    numbers = range(1, num_items + 1)
    titles = [f"Film {number} ({1980 + number})" for number in numbers]
    return Dataset(
        name="tiny",
        fingerprint=f"world{num_users}x{num_items}s{seed}",
        folder=Path(),
        item_log=torch.randint(1, num_items + 1, (int(offsets[-1]),), generator=draw),
        offsets=offsets,
        num_train=num_train,
        catalogue=Catalogue([str(100 + number) for number in numbers], titles, [f"{title}; Drama" for title in titles]),
        examples=examples,
    )
