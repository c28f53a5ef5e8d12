import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from src.core.data_utils import (
    TEST,
    TRAIN,
    VAL,
    examples_of,
    global_time,
    in_order,
    k_core,
    leave_one_out,
    moments_of,
    numbered,
    users_of,
    with_min_rating,
)


def frame(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user": pl.Int32, "item": pl.Int32, "timestamp": pl.Int64}, orient="row")


rows = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=40)


def test_a_rating_equal_to_the_least_is_kept():
    log = pl.DataFrame({"item": [1, 2, 3], "rating": [2.5, 3.0, 3.5]})
    assert with_min_rating(log, 3)["item"].to_list() == [2, 3]


@given(rows, st.integers(0, 4), st.integers(0, 4))
def test_k_core_equals_dropping_one_offender_at_a_time(rows, min_user, min_item):
    left = list(rows)
    while True:
        users = [user for user, _, _ in left]
        items = [item for _, item, _ in left]
        offenders = [r for r in left if users.count(r[0]) < min_user or items.count(r[1]) < min_item]
        if not offenders:
            break
        left.remove(offenders[0])
    kept = k_core(frame(rows), min_user, min_item)
    assert sorted(kept.rows()) == sorted(left)


def test_k_core_goes_on_until_nothing_changes():
    # Dropping item 3 leaves user 2 with one interaction, and dropping user 2 leaves item 2 with one.
    log = frame([(1, 1, 0), (1, 1, 1), (2, 2, 0), (2, 3, 1), (1, 2, 2)])
    assert k_core(log, 2, 2).rows() == [(1, 1, 0), (1, 1, 1)]


@given(rows)
def test_order_is_by_user_then_time_then_line(rows):
    expected = [row for _, row in sorted(enumerate(rows), key=lambda pair: (pair[1][0], pair[1][2], pair[0]))]
    ordered = in_order(frame(rows))
    assert ordered.select("user", "item", "timestamp").rows() == expected
    seen: dict[int, int] = {}
    for user, position in ordered.select("user", "position").rows():
        assert position == seen.get(user, 0)
        seen[user] = position + 1


def test_ties_in_time_keep_the_log_order():
    log = frame([(1, 9, 5), (2, 1, 5), (1, 3, 5), (1, 7, 4), (1, 5, 5)])
    assert in_order(log).filter(pl.col("user") == 1)["item"].to_list() == [7, 9, 3, 5]


def test_numbers_follow_raw_ids_as_numbers_not_as_text():
    log, raw_ids = numbered(frame([(10, 1, 0), (9, 1, 0), (100, 1, 0), (9, 1, 1)]), "user", first=1)
    assert raw_ids.to_list() == [9, 10, 100]
    assert log["user"].to_list() == [2, 1, 3, 1]
    assert log["user"].dtype == pl.Int32


def test_leave_one_out_worked_by_hand():
    log = leave_one_out(in_order(frame([(1, i, i) for i in range(1, 6)] + [(2, i, i) for i in range(1, 4)])))
    assert log["part"].to_list() == [TRAIN, TRAIN, TRAIN, VAL, TEST, TRAIN, VAL, TEST]
    assert users_of(log).rows() == [(1, 5, 3), (2, 3, 1)]
    assert examples_of(log, TRAIN, first_id=0).rows() == [(0, 1, 1), (1, 1, 2)]
    assert examples_of(log, VAL, first_id=2).rows() == [(2, 1, 3), (3, 2, 1)]
    assert examples_of(log, TEST, first_id=4).rows() == [(4, 1, 4), (5, 2, 2)]


def test_global_time_cuts_all_users_at_the_same_moments():
    log = frame([(1, 1, 0), (1, 1, 5), (1, 1, 8), (2, 1, 1), (2, 1, 2), (2, 1, 3),
                 (3, 1, 7), (3, 1, 9), (1, 1, 4), (2, 1, 6)])  # fmt: skip
    log = global_time(in_order(log), moments_of(log["timestamp"].sort(), 0.2, 0.2))
    parts = dict(log.select("timestamp", "part").rows())
    assert parts == {t: TRAIN if t < 6 else VAL if t < 8 else TEST for t in range(10)}
    assert users_of(log).rows() == [(1, 4, 3), (2, 4, 3), (3, 2, 0)]
    assert examples_of(log, VAL, 0).select("user", "end").rows() == [(2, 3)]  # user 3's first has no history


@given(rows, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_global_time_never_tears_a_moment_apart_and_train_comes_first(rows, val_share, test_share):
    log = frame(rows)
    log = global_time(in_order(log), moments_of(log["timestamp"].sort(), val_share, test_share))
    assert log.group_by("timestamp").agg(pl.col("part").n_unique())["part"].max() == 1
    for _, user in log.group_by("user"):
        assert user["part"].is_sorted()
    assert log.sort("timestamp")["part"].is_sorted()
    held_out = (log["part"] >= VAL).sum()
    assert held_out >= round(len(rows) * (val_share + test_share))  # a tie at the cut-off can only add
