import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.rows import ChosenRows, ExampleRows, TrainingExamples, TrainingWindows, WindowBatch, newest
from tests.worlds import dataset_of, tiny_dataset

Window = list[tuple[int, int, int]]  # (last history item, target, example id) of each position


def literal_windows(logs: list[list[int]], num_train: list[int], length: int) -> list[Window]:
    """Cuts each training part from its end backwards; example ids count the train examples in order."""
    windows, example_id = [], 0
    for log, end in zip(logs, num_train, strict=True):
        positions = []
        for place in range(1, end):
            positions.append((log[place - 1], log[place], example_id))
            example_id += 1
        while positions:
            windows.append(positions[-length:])
            del positions[-length:]
    return windows


def as_windows(batch: WindowBatch) -> list[Window]:
    rows = []
    for history, target, example_id in zip(batch.history, batch.target, batch.example_id, strict=True):
        positions = list(zip(history.tolist(), target.tolist(), example_id.tolist(), strict=True))
        n = sum(item != 0 for item in target.tolist())
        assert positions[n:] == [(0, 0, -1)] * (len(positions) - n)
        rows.append(positions[:n])
    return rows


@st.composite
def parts(draw) -> tuple[list[list[int]], list[int]]:
    logs = draw(st.lists(st.lists(st.integers(1, 15), min_size=1, max_size=12), min_size=1, max_size=5))
    logs.append([1, 1, 1, 1])  # so that there is something to learn from, and nothing but item 1 in it
    return logs, [*(draw(st.integers(0, len(log))) for log in logs[:-1]), 3]


@given(parts(), st.integers(1, 13))
@settings(deadline=None)
def test_every_train_example_is_the_target_of_exactly_one_position(world, length):
    logs, num_train = world
    dataset = dataset_of(logs, num_train=num_train)
    windows = TrainingWindows(dataset, length)
    found = as_windows(windows[torch.arange(len(windows))])
    assert sorted(found) == sorted(literal_windows(logs, num_train, length))
    ids = [example_id for window in found for _, _, example_id in window]
    assert sorted(ids) == dataset.examples["train"].example_id.tolist()


def test_each_position_shows_the_history_of_its_example():
    dataset = tiny_dataset()
    windows = TrainingWindows(dataset, 4)
    batch, train = windows[torch.arange(len(windows))], dataset.examples["train"]
    for row, place in (batch.target > 0).nonzero().tolist():
        example = train.subset(train.example_id == batch.example_id[row, place])
        expected = dataset.batch(example, place + 1)
        assert batch.history[row, : place + 1].tolist() == expected.history[0].tolist()
        assert batch.target[row, place] == expected.target[0]


def test_windows_by_hand():
    dataset = dataset_of([[1, 2, 1, 1, 3, 4, 5], [6, 7, 8, 9]])
    windows = TrainingWindows(dataset, 3)
    batch = windows[torch.tensor([0, 1, 2])]
    assert batch.history.tolist() == [[2, 1, 1], [1, 0, 0], [6, 0, 0]]
    assert batch.target.tolist() == [[1, 1, 3], [2, 0, 0], [7, 0, 0]]
    assert batch.example_id.tolist() == [[1, 2, 3], [0, -1, -1], [4, -1, -1]]
    assert windows[torch.tensor([2])].history.tolist() == [[6]]  # padded to the longest of the asked


@given(parts(), st.integers(2, 6), st.data())
@settings(deadline=None)
def test_with_overlap_every_target_has_so_many_items_before_it_or_all(world, length, data):
    logs, num_train = world
    overlap = data.draw(st.integers(1, length - 1))
    dataset = dataset_of(logs, num_train=num_train)
    windows, train = TrainingWindows(dataset, length, overlap), dataset.examples["train"]
    batch = windows[torch.arange(len(windows))]
    assert batch.history.shape[1] <= length
    row, place = (batch.target > 0).nonzero(as_tuple=True)
    example = batch.example_id[row, place]
    assert sorted(example.tolist()) == train.example_id.tolist()  # each once
    first = int(train.example_id[0])
    for at, where, which in zip(row.tolist(), place.tolist(), example.tolist(), strict=True):
        user, end = int(train.user[which - first]), int(train.end[which - first])
        shown = batch.history[at, : where + 1].tolist()
        assert shown == logs[user][end - len(shown) : end] and batch.target[at, where] == logs[user][end]
        assert len(shown) == end or len(shown) > overlap


def test_item_one_is_not_padding():
    windows = TrainingWindows(dataset_of([[1, 1, 1, 1, 1]]), 4)
    batch = windows[torch.tensor([0])]
    assert batch.history.tolist() == batch.target.tolist() == [[1, 1]]
    assert batch.example_id.tolist() == [[0, 1]]


def test_example_rows_are_batches_of_the_dataset():
    dataset = tiny_dataset()
    examples = dataset.examples["val"]
    rows = ExampleRows(dataset, examples, 5, with_seen=True)
    batch = rows[torch.tensor([3, 0])]
    expected = dataset.batch(examples.subset(torch.tensor([3, 0])), 5, with_seen=True)
    assert len(rows) == 12
    assert ExampleRows(dataset, examples, 5, with_seen=False)[torch.tensor([3])].seen is None
    for name in ("example_id", "history", "target", "seen"):
        assert torch.equal(getattr(batch, name), getattr(expected, name))


def test_chosen_rows_are_numbered_anew():
    windows = TrainingWindows(tiny_dataset(), 4)
    chosen = ChosenRows(windows, torch.tensor([7, 2, 5]))
    assert len(chosen) == 3
    found, expected = chosen[torch.tensor([2, 0])], windows[torch.tensor([5, 7])]
    for name in ("history", "target", "example_id"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_training_examples_are_the_train_split_one_target_each():
    dataset = tiny_dataset()
    rows = TrainingExamples(dataset, 4)
    assert len(rows) == len(dataset.examples["train"])
    batch, expected = rows[torch.arange(len(rows))], dataset.batch(dataset.examples["train"], 4)
    assert torch.equal(batch.history, expected.history)
    assert torch.equal(batch.target, expected.target.unsqueeze(1))
    assert torch.equal(batch.example_id, expected.example_id.unsqueeze(1))
    assert rows.num_targets.tolist() == [1] * len(rows)
    first = int((dataset.examples["train"].end == 1).nonzero()[0])
    assert rows[torch.tensor([first])].history.shape == (1, 1)  # padded to the longest of the asked


def test_a_batch_moves_to_a_device_whole():
    batch = WindowBatch(*torch.ones(3, 2, 2)).to(torch.device("meta"))
    assert {batch.history.device.type, batch.target.device.type, batch.example_id.device.type} == {"meta"}


def test_the_newest_items_are_kept():
    history = torch.tensor([[3, 1, 4, 1, 5], [2, 9, 0, 0, 0]])
    assert newest(history, 3).tolist() == [[4, 1, 5], [2, 9, 0]]
    assert newest(history[1:], 4).tolist() == [[2, 9]]
    assert newest(history, 9).tolist() == history.tolist()
