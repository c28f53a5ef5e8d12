import pytest
import torch

from benchmarks.ours import write_log
from benchmarks.recommend_speed import check_everybody_has_a_list, histories, write_with_one_more
from benchmarks.served import synthetic_log
from benchmarks.side_by_side import measured_afresh
from benchmarks.timing import fastest
from tests.serve.served import serve
from tests.worlds import dataset_of, tiny_dataset, tiny_logs


def test_histories_are_all_long_or_as_short_as_on_amazon_toys():
    long, short = histories(20_000).values()
    assert long.tolist() == [50] * 20_000
    assert (short.min(), short.max()) == (4, 50)
    assert 8.5 < short.double().mean() < 9.5


def test_recbole_gets_one_interaction_more_so_that_it_reads_whole_histories(tmp_path):
    write_log(dataset_of([[1, 2, 3], [4, 5, 6, 7]]), tmp_path / "log.inter")
    write_with_one_more(tmp_path / "log.inter", tmp_path / "more.inter")
    head, *lines = (tmp_path / "more.inter").read_text().splitlines()
    assert head == "user_id:token\titem_id:token\ttimestamp:float"
    assert lines == [*(tmp_path / "log.inter").read_text().splitlines()[1:], "0\t3\t3", "1\t7\t4"]


def test_the_batch_size_of_least_processor_time_is_taken_once_all_is_warm():
    tried = []

    def measure(size: int) -> dict[str, float]:
        tried.append(size)
        return {"processor": abs(size - 5), "seconds": size}

    assert fastest([1, 4, 9], measure) == 4
    assert tried == [1, 1, 4, 9]


def test_who_leaves_users_without_a_list_is_noticed():
    check_everybody_has_a_list({"ours": [{"rows": 30}]}, 3)
    with pytest.raises(RuntimeError, match="RePlay made 29 rows for 3 users"):
        check_everybody_has_a_list({"ours": [{"rows": 30}], "RePlay": [{"rows": 29}]}, 3)


def test_a_synthetic_log_has_the_lengths_asked_for(tmp_path):
    dataset = synthetic_log(torch.tensor([3, 2, 4]), 7, tmp_path)
    assert dataset.offsets.tolist() == [0, 3, 5, 9]
    assert len(dataset.item_log) == 9 and 1 <= dataset.item_log.min() <= dataset.item_log.max() <= 7
    assert dataset.raw_user_ids() == ["user 0", "user 1", "user 2"]
    assert dataset.examples["test"].end.tolist() == [2, 1, 3]


@pytest.mark.slow
def test_what_recommending_to_all_users_takes_is_measured(tmp_path):
    model = serve(tmp_path / "served", "sasrec", tiny_dataset(folder=tmp_path))
    measured = measured_afresh("our_recommend", {"model": str(model), "chunk": 5}, 1)
    assert measured["rows"] == sum(min(10, 15 - len(set(log))) for log in tiny_logs())
    assert min(measured.values()) >= 0
