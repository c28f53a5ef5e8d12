import torch

from src.data.dataset import Dataset
from src.student.datamodule import StudentDataModule
from tests.data.test_rows import Window, as_windows
from tests.worlds import dataset_of, tiny_dataset


def module(
    dataset: Dataset, seed: int = 0, every_position: bool = True, filter_seen: bool = False
) -> StudentDataModule:
    return StudentDataModule(
        dataset,
        history_length=4,
        every_position=every_position,
        overlap=0,
        batch_targets=12,
        eval_batch_size=5,
        filter_seen=filter_seen,
        seed=seed,
    )


def epoch(data: StudentDataModule) -> list[list[Window]]:
    return [as_windows(batch) for batch in data.train_dataloader()]


def test_an_epoch_holds_every_window_once_within_the_budget():
    data = module(tiny_dataset())
    windows = as_windows(data.training[torch.arange(len(data.training))])
    batches = epoch(data)
    assert sorted(window for batch in batches for window in batch) == sorted(windows)
    assert len(batches) > 3 and all(len(batch) * max(map(len, batch)) <= 12 for batch in batches)


def test_positions_that_windows_repeat_do_not_count_as_targets():
    dataset = dataset_of([[1, 2, 3, 4, 5] * 8 for _ in range(30)])
    batches = {}
    for overlap in (0, 2):
        data = StudentDataModule(dataset, 4, True, overlap, 40, 5, filter_seen=False, seed=0)
        batches[overlap] = [int((batch.target > 0).sum()) for batch in data.train_dataloader()]
    assert sum(batches[0]) == sum(batches[2]) == len(dataset.examples["train"])
    assert max(batches[0]) == max(batches[2]) == 40 and abs(len(batches[2]) - len(batches[0])) < 3


def test_epochs_differ_and_a_seed_repeats_them():
    data, again, other = module(tiny_dataset()), module(tiny_dataset()), module(tiny_dataset(), seed=1)
    first, second = epoch(data), epoch(data)
    assert first != second
    assert [epoch(again), epoch(again)] == [first, second]
    assert epoch(other) != first


def test_validation_shows_every_example_in_order():
    dataset = tiny_dataset()
    batches = list(module(dataset).val_dataloader())
    expected = dataset.batch(dataset.examples["val"], 4)
    assert [len(batch.target) for batch in batches] == [5, 5, 2]
    for name in ("example_id", "history", "target"):
        assert torch.equal(torch.cat([getattr(batch, name) for batch in batches]), getattr(expected, name))


def test_validation_leaves_out_seen_items_where_asked():
    dataset = tiny_dataset()
    assert all(batch.seen is None for batch in module(dataset).val_dataloader())
    expected = dataset.batch(dataset.examples["val"].subset(torch.arange(5)), 4, with_seen=True)
    assert torch.equal(next(iter(module(dataset, filter_seen=True).val_dataloader())).seen, expected.seen)


def test_encoders_that_read_a_history_as_a_whole_are_trained_by_example():
    data = module(tiny_dataset(), every_position=False)
    batches = list(data.train_dataloader())
    assert all(batch.target.shape == (len(batch.history), 1) for batch in batches)
    ids = torch.cat([batch.example_id.flatten() for batch in batches])
    assert ids.sort().values.tolist() == data.dataset.examples["train"].example_id.tolist()
