import torch

from benchmarks.ours import WindowBatches, newest_windows, synthetic_dataset, write_log
from benchmarks.workers.padded_loop import padded
from src.data.rows import TrainingWindows
from tests.worlds import dataset_of


def test_the_newest_window_of_each_user_holds_its_newest_targets():
    dataset = dataset_of([[1, 2, 3, 4, 5, 6, 7], [8, 9, 10], [11, 12, 13, 14, 15]])  # training: 5, 1 and 3 of them
    windows = TrainingWindows(dataset, 3)

    rows = newest_windows(dataset, windows)

    assert windows[rows].target.tolist() == [[3, 4, 5], [12, 13, 0]]


def test_a_log_for_peers_has_our_numbers_and_each_users_newest_training_part(tmp_path):
    dataset = dataset_of([[1, 2, 3, 4, 5], [6, 7, 8]])
    heads = "user_id:token\titem_id:token\ttimestamp:float\n"

    write_log(dataset, tmp_path / "whole.inter")
    write_log(dataset, tmp_path / "newest.inter", newest_train=2)

    whole = ["0\t1\t0", "0\t2\t1", "0\t3\t2", "0\t4\t3", "0\t5\t4", "1\t6\t0", "1\t7\t1", "1\t8\t2"]
    assert (tmp_path / "whole.inter").read_text() == heads + "\n".join(whole) + "\n"
    assert (tmp_path / "newest.inter").read_text() == heads + "0\t2\t1\n0\t3\t2\n1\t6\t0\n"


def test_batches_hold_every_chosen_window_once_and_are_drawn_anew():
    dataset = synthetic_dataset(num_users=40, interactions=8, num_items=20)
    windows = TrainingWindows(dataset, 3)  # 5 targets each: a window of 3 and one of 2
    rows = torch.arange(0, len(windows), 2)
    for size, largest in ((7, 7), (None, 10)):
        batches = WindowBatches(windows, rows, size, positions=30)
        first, second = list(batches), list(batches)
        assert torch.cat(first).sort().values.equal(rows)
        assert not torch.cat(first).equal(torch.cat(second))
        assert len(batches) == len(first)
        assert max(len(batch) for batch in first) == largest


def test_synthetic_examples_are_leave_one_out():
    dataset = synthetic_dataset(num_users=2, interactions=5, num_items=30)
    assert dataset.examples["train"].end.tolist() == [1, 2, 1, 2]
    assert dataset.examples["val"].end.tolist() == [3, 3]
    assert dataset.examples["test"].end.tolist() == [4, 4]
    assert torch.cat([part.example_id for part in dataset.examples.values()]).tolist() == list(range(8))
    assert dataset.batch(dataset.examples["test"], 4).history.equal(dataset.item_log.view(2, 5)[:, :4])


def test_padded_rows_keep_their_targets():
    dataset = synthetic_dataset(num_users=2, interactions=6, num_items=20)
    windows = TrainingWindows(dataset, 5)
    batch = windows[torch.arange(2)]

    wide = padded(batch, 5)

    assert wide.history.shape == wide.target.shape == wide.example_id.shape == (2, 5)
    assert wide.history[:, :3].equal(batch.history) and not wide.history[:, 3:].any() and not wide.target[:, 3:].any()
    assert (wide.example_id[:, 3:] == -1).all()
