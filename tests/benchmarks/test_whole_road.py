import polars as pl
import pytest

from benchmarks.whole_road import GIB, Size, table, write_log


def test_a_log_holds_every_item_and_the_evaluated_users_last_two_are_held_out(tmp_path):
    write_log(tmp_path, Size(users=30, items=90, length=5), evaluated=4)
    log = pl.read_parquet(tmp_path / "log.parquet")
    assert len(log) == 150 and log["item"].n_unique() == 90 and log["item"].max() == 89
    held_out = log.filter(pl.col("part") != "train").sort("user", "timestamp")
    assert held_out["user"].to_list() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert held_out["part"].to_list() == ["val", "test"] * 4 and set(held_out["timestamp"]) == {3, 4}
    assert pl.read_csv(tmp_path / "items.csv")["item"].to_list() == list(range(90))


def test_exponents_are_of_ten_times_as_many():
    sizes = {"base": Size(1, 1, 1), "users x 10": Size(10, 1, 1), "whole": Size(9, 9, 1)}
    measured = {
        name: {"seconds": {"export": seconds}, "memory": {"export": GIB / 2, "start": GIB}}
        for name, seconds in (("base", 2.0), ("users x 10", 20.0), ("whole", 7.0))
    }
    *_, stage, whole = table(sizes, measured).splitlines()
    assert stage == "| export | 2 s, 0.50 | 20 s, 0.50, 1.00 | 7 s, 0.50 |"
    assert whole == "| all | 2 s, 1.00 | 20 s, 1.00, 1.00 | 7 s, 1.00 |"


@pytest.mark.slow
def test_the_growth_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.whole_road import plot

    names = ("base", *(f"{name} x 10" for name in Size._fields))
    plot({name: {"seconds": {"prepare": 1.0, "export": 3.0}} for name in names}, tmp_path)
    assert (tmp_path / "whole_road.svg").read_text().count("exponent 1") >= 1
