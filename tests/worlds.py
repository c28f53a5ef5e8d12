"""A tiny world that every test can stand in: a dozen users, fifteen items, random but seeded."""

import random
from pathlib import Path

import torch
from torch import Tensor

from src.data.catalogue import Catalogue
from src.data.dataset import Dataset, Examples
from src.data.prepare import prepare_dataset
from src.data.settings import DatasetSettings
from tests.data import raw_folders

SHORTEST, LONGEST = 3, 11  # interactions of a user; three leave one train, one val, one test interaction


def tiny_logs(num_users: int = 12, num_items: int = 15, seed: int = 0) -> list[list[int]]:
    """Returns each user's item numbers, oldest first; every item occurs, items may repeat, lengths differ."""
    draw = random.Random(seed)
    logs = [draw.choices(range(1, num_items + 1), k=draw.randint(SHORTEST, LONGEST)) for _ in range(num_users)]
    logs[0], logs[1] = logs[0][:SHORTEST], draw.choices(range(1, num_items + 1), k=LONGEST)
    for item in range(1, num_items + 1):  # the rare ones go to the front of someone's log
        if not any(item in log for log in logs):
            logs[1 + item % (num_users - 1)].insert(0, item)
    return logs


def tiny_titles(num_items: int = 15) -> list[str]:
    """Returns a title per item; the last two items share one."""
    titles = [f"Film No. {item} (19{item + 50})" for item in range(1, num_items + 1)]
    return [*titles[:-1], titles[-2]]


def tiny_dataset(num_users: int = 12, num_items: int = 15, seed: int = 0, folder: Path | None = None) -> Dataset:
    """Returns a leave-one-out dataset in memory, or with `folder` the same one prepared from a raw log in there."""
    logs, titles = tiny_logs(num_users, num_items, seed), tiny_titles(num_items)
    if folder is not None:
        return _prepared(logs, titles, folder)
    return dataset_of(logs, titles)


def dataset_of(logs: list[list[int]], titles: list[str] | None = None, num_train: list[int] | None = None) -> Dataset:
    """Returns the dataset of literal logs over items 1..len(titles).

    Args:
        num_train: Interactions of each user's training part; the next one is val, the rest test. None = leave-one-out.
    """
    titles = titles or tiny_titles()
    num_train = num_train or [len(log) - 2 for log in logs]
    ends = {"train": [], "val": [], "test": []}
    for user, (log, first_val) in enumerate(zip(logs, num_train, strict=True)):
        for end in range(1, len(log)):  # the first interaction has no history
            split = "train" if end < first_val else "val" if end == first_val else "test"
            ends[split].append((user, end))
    examples, first = {}, 0
    for split, places in ends.items():
        user, end = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
        examples[split] = Examples(torch.arange(first, first + len(places)), user, end)
        first += len(places)
    raw_ids = [str(10 * item) for item in range(1, len(titles) + 1)]
    return Dataset(
        name="tiny",
        fingerprint="0123456789abcdef",
        folder=Path("nowhere"),
        item_log=torch.tensor([item for log in logs for item in log]),
        offsets=torch.tensor([0, *map(len, logs)]).cumsum(0),
        num_train=torch.tensor(num_train),
        catalogue=Catalogue(raw_ids, titles, [f"{title}; Drama" for title in titles]),
        examples=examples,
    )


def another_future() -> tuple[Dataset, Tensor]:
    """Returns the tiny world again, but for all that each user does from some interaction on, which is different, and
    the place of that interaction in the user's log, `[users]`.
    """
    logs, places = tiny_logs(), []
    for user, log in enumerate(logs):
        places.append((len(log) + user % 3) // 2)
        log[places[-1] :] = [1 + (item + 6) % 15 for item in log[places[-1] :]]
    return dataset_of(logs), torch.tensor(places)


def write_raw_log(logs: list[list[int]], titles: list[str], data_dir: Path) -> DatasetSettings:
    """Writes `data_dir/ml-1m/` in MovieLens-1M's layout (raw ids: 10 x item) and returns the settings that read it."""
    rows = [(user + 1, 10 * item, 5, 1000 + place) for user, log in enumerate(logs) for place, item in enumerate(log)]
    return raw_folders.ml_1m(data_dir, rows, {10 * item: title for item, title in enumerate(titles, start=1)})


def _prepared(logs: list[list[int]], titles: list[str], folder: Path) -> Dataset:
    return prepare_dataset(write_raw_log(logs, titles, folder / "raw"), [folder / "raw"], folder / "processed")
