from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.core.errors import UserError
from src.core.seed import generator
from src.data import stored
from src.data.catalogue import Catalogue
from src.data.dataset import Dataset, Examples
from src.data.prepare import prepare_dataset
from tests.data import raw_folders
from tests.worlds import tiny_dataset

NUM_ITEMS = 6


def dataset_of(logs: list[list[int]], num_train: list[int], train: list[tuple[int, int]]) -> Dataset:
    lengths = torch.tensor([0, *map(len, logs)])
    ids = [str(item) for item in range(1, NUM_ITEMS + 1)]
    users, ends = torch.tensor(train, dtype=torch.int64).reshape(-1, 2).T
    return Dataset(
        name="tiny",
        fingerprint="0",
        folder=Path(),
        item_log=torch.tensor([item for log in logs for item in log]),
        offsets=lengths.cumsum(0),
        num_train=torch.tensor(num_train),
        catalogue=Catalogue(ids, ids, ids),
        examples={"train": Examples(torch.arange(len(train)), users, ends)},
    )


def literal_window(log: list[int], end: int, length: int) -> tuple[list[int], int]:
    shown = []
    for position in range(end):
        shown.append(log[position])
        if len(shown) > length:
            del shown[0]
    while len(shown) < length:
        shown.append(0)
    return shown, log[end]


@given(
    st.lists(st.lists(st.integers(1, NUM_ITEMS), min_size=2, max_size=9), min_size=1, max_size=5),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_batches_equal_a_literal_loop(logs, length, random):
    train = [(user, end) for user, log in enumerate(logs) for end in range(1, len(log))]
    dataset = dataset_of(logs, [len(log) for log in logs], train)
    rows = [random.randrange(len(train)) for _ in range(5)]
    batch = dataset.batch(dataset.examples["train"].subset(torch.tensor(rows)), length)
    expected = [literal_window(logs[train[row][0]], train[row][1], length) for row in rows]
    assert batch.example_id.tolist() == rows
    assert batch.history.tolist() == [window for window, _ in expected]
    assert batch.target.tolist() == [target for _, target in expected]
    assert batch.history.dtype == batch.target.dtype == torch.int64


def test_the_whole_history_is_gathered_where_seen_items_are_asked_for():
    dataset = dataset_of([[1, 2, 1, 3], [4, 5]], [4, 2], [(0, 3), (1, 1)])
    train = dataset.examples["train"]
    assert dataset.batch(train, 1).seen is None
    batch = dataset.batch(train, 1, with_seen=True).to("cpu")
    assert batch.history.tolist() == [[1], [4]]
    assert batch.seen.tolist() == [[1, 2, 1], [4, 0, 0]]


def test_item_one_is_not_padding():
    dataset = dataset_of([[1, 2, 1, 1], [1, 1]], [4, 2], [(0, 2), (0, 3), (1, 1)])
    batch = dataset.batch(dataset.examples["train"], 4)
    assert batch.history.tolist() == [[1, 2, 0, 0], [1, 2, 1, 0], [1, 0, 0, 0]]
    assert batch.target.tolist() == [1, 1, 1]
    assert (batch.history > 0).sum(1).tolist() == [2, 3, 1]


def test_only_the_training_part_is_counted():
    dataset = dataset_of([[1, 2, 1, 3], [1, 5, 6]], [2, 1], [])
    assert dataset.train_item_counts().tolist() == [0, 2, 1, 0, 0, 0, 0]


def test_each_interaction_knows_the_train_example_it_is_the_target_of():
    dataset = dataset_of([[1, 2, 1, 3], [1, 5, 6]], [3, 2], [(0, 1), (0, 2), (1, 1)])
    assert dataset.example_of_interaction().tolist() == [-1, 0, 1, -1, -1, 2, -1]


def test_a_batch_moves_to_a_device_whole():
    dataset = dataset_of([[1, 2]], [2], [(0, 1)])
    batch = dataset.batch(dataset.examples["train"], 3).to("meta")
    assert {batch.example_id.device.type, batch.history.device.type, batch.target.device.type} == {"meta"}


def test_a_written_dataset_is_read_back(tmp_path):
    dataset = prepare_dataset(raw_folders.ml_100k(tmp_path), [tmp_path], tmp_path / "processed")
    again = Dataset.load(dataset.folder)
    assert again.item_log.tolist() == [1, 3, 2, 2, 1, 2, 3]
    assert again.offsets.tolist() == [0, 4, 7]
    assert (again.num_users, again.num_items, again.name) == (2, 3, "tiny")
    assert again.folder.name == again.fingerprint == dataset.fingerprint
    assert again.item_log.dtype == torch.int32
    assert again.offsets.dtype == again.num_train.dtype == torch.int64


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="no artefact"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize(("most", "expected"), [(5, 5), (-1, 12), (12, 12), (100, 12)])
def test_a_sample_is_drawn_without_replacement_and_kept_in_order(most, expected):
    examples = tiny_dataset().examples["val"]
    drawn = examples.sample(most, generator(3)).example_id.tolist()
    assert len(set(drawn)) == len(drawn) == expected
    assert drawn == sorted(drawn)
    assert set(drawn) <= set(examples.example_id.tolist())


def test_samples_differ_by_seed():
    examples = tiny_dataset().examples["val"]
    drawn = [examples.sample(5, generator(seed)).example_id.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_users_are_known_by_the_raw_logs_ids(tmp_path):
    dataset = tiny_dataset(folder=tmp_path)
    assert dataset.raw_user_ids() == [str(user) for user in range(1, 13)]


def long_dataset(tmp_path, monkeypatch) -> Dataset:
    monkeypatch.setattr(stored, "MAPPED_FROM", 1)
    return prepare_dataset(raw_folders.ml_100k(tmp_path), [tmp_path], tmp_path / "processed")


def columns(dataset: Dataset) -> list[list[int]]:
    of_examples = [[e.example_id, e.user, e.end] for e in dataset.examples.values()]
    return [each.tolist() for each in (dataset.item_log, *(column for e in of_examples for column in e))]


def test_a_long_datasets_columns_are_mapped_and_equal(tmp_path, monkeypatch):
    loaded = prepare_dataset(raw_folders.ml_100k(tmp_path), [tmp_path], tmp_path / "processed")
    assert not loaded.folder.with_name(f"{loaded.folder.name}.mapped").exists()
    before = {path.name: path.read_bytes() for path in loaded.folder.iterdir()}
    mapped = long_dataset(tmp_path, monkeypatch)
    files = mapped.folder.with_name(f"{mapped.folder.name}.mapped")
    assert columns(mapped) == columns(loaded) and mapped.fingerprint == loaded.fingerprint
    assert np.load(files / "interactions.item.npy").dtype == np.int32
    assert {path.name: path.read_bytes() for path in loaded.folder.iterdir()} == before
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(files / "interactions.item.npy") in maps.read_text()
    batches = [each.batch(each.examples["test"], 2, with_seen=True) for each in (mapped, loaded)]
    for name in ("example_id", "history", "target", "seen"):
        one, other = (getattr(batch, name) for batch in batches)
        assert torch.equal(one, other) and one.dtype == torch.int64


def test_mapped_columns_are_made_again_where_they_have_changed(tmp_path, monkeypatch):
    dataset = long_dataset(tmp_path, monkeypatch)
    expected = columns(dataset)
    path = dataset.folder.with_name(f"{dataset.folder.name}.mapped") / "interactions.item.npy"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-4] + b"\x01\0\0\0")
    assert columns(Dataset.load(dataset.folder)) == expected
    path.unlink()
    assert columns(Dataset.load(dataset.folder)) == expected
    assert path.read_bytes() == content


def test_where_nothing_can_be_mapped_the_log_is_loaded_and_that_is_told(tmp_path, monkeypatch, caplog):
    dataset = long_dataset(tmp_path, monkeypatch)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stored, "making", refuse)
    monkeypatch.setattr(stored, "_is_of", lambda *_: False)
    assert columns(Dataset.load(dataset.folder)) == columns(dataset)
    assert "cannot be written (Permission denied): the log is loaded into memory" in caplog.text


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6))
def test_the_training_part_is_told_by_place(parts):
    dataset = dataset_of([[1] * (train + more) for train, more in parts], [train for train, _ in parts], [])
    expected = [place < train for train, more in parts for place in range(train + more)]
    assert dataset.in_training_part.tolist() == expected
