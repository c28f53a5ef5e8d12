import torch

from src.report.examples import chosen, example_users
from src.report.stored import read_run
from tests.report.runs import dataset_in, write_run


def test_most_gained_most_lost_and_others_at_random():
    gain = torch.zeros(40).double()
    gain[[5, 6, 7, 8]], gain[[20, 21, 22, 23]] = torch.tensor([0.1, 0.4, 0.2, 0.3]).double(), -0.5
    rows = chosen(gain, 40)
    assert list(rows)[:8] == [6, 8, 7, 5, 20, 21, 22, 23]
    assert list(rows.values()) == ["largest gain"] * 4 + ["largest loss"] * 4 + ["at random"] * 4
    assert rows == chosen(gain, 40)


def test_no_gain_is_told_of_a_target_that_did_not_rise_nor_a_loss_of_one_that_did_not_fall():
    gain = torch.zeros(40).double()
    gain[3], gain[7] = 0.5, -0.5
    rows = chosen(gain, 40)
    assert list(rows)[:2] == [3, 7]
    assert list(rows.values()) == ["largest gain", "largest loss", *["at random"] * 10]


def test_without_a_gain_all_are_drawn_and_few_examples_are_all_there_are():
    assert len(chosen(None, 40)) == 12 and set(chosen(None, 40).values()) == {"at random"}
    assert sorted(chosen(torch.arange(6).double(), 6)) == list(range(6))


def test_a_user_is_told_with_history_target_and_lists(tmp_path):
    dataset = dataset_in(tmp_path)
    run = read_run(write_run(tmp_path / "result_1", dataset, "popularity", "baseline", "teacher", "distilled"))
    told = {each.user: each for each in example_users(run, dataset)}
    assert set(told) == {f"User {user}" for user in range(1, 13)}  # raw ids
    for user in range(12):
        *history, target = dataset.item_log[dataset.offsets[user] : dataset.offsets[user + 1]].tolist()
        each = told[f"User {user + 1}"]
        assert [item.raw_id for item in each.history] == [str(10 * item) for item in history[-10:]]
        assert each.earlier == max(0, len(history) - 10)
        assert (each.target.raw_id, each.target.title) == (str(10 * target), dataset.catalogue.title(target))
        assert [found.model for found in each.lists] == [
            run.models[subject].name for subject in ("teacher", "distilled", "baseline")
        ]
        for found, subject in zip(each.lists, ("teacher", "distilled", "baseline"), strict=True):
            kept = run.models[subject].trainings[0]
            listed = kept.lists["top_items"][user, :5].tolist()
            assert [item.raw_id for item in found.items] == [str(10 * item) for item in listed]
            assert [item.is_target for item in found.items] == [item == target for item in listed]
            assert found.rank == str(kept.figures.rank[user])
            assert not any(item.is_target for item in found.items) or int(found.rank) <= 5
