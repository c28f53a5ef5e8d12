import polars as pl
import pytest

from src.core.errors import UserError
from src.data.check import check_log
from src.data.raw.log import find_raw_log
from tests.data.own_logs import ITEMS, own, write_table
from tests.data.raw_folders import amazon_games, ml_100k

DAY = 86_400
ROWS = [  # user, item, day, stars: in order of time a has x y z x, b has x y z, c has z z w
    ("a", "x", 1, 5), ("a", "y", 2, 4), ("a", "z", 4, 3), ("a", "x", 9, 5),
    ("b", "x", 5, 1), ("b", "y", 6, 2), ("b", "z", 7, 4),
    ("c", "z", 3, 5), ("c", "z", 3, 5), ("c", "w", 8, 2),
]  # fmt: skip


def log_of(rows=ROWS) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", "rating"], orient="row")
    return frame.with_columns(pl.col("timestamp") * DAY)


def checked(tmp_path, frame=None, items=None, **change):
    path = write_table(tmp_path / "log.csv", log_of() if frame is None else frame)
    settings = own(path, items, **change)
    return check_log(settings, find_raw_log(settings, []))


def test_a_log_worked_by_hand(tmp_path):
    log = checked(tmp_path)["log"]
    assert (log["interactions"], log["users"], log["items"]) == (10, 3, 4)
    assert log["density"] == pytest.approx(10 / 12)
    assert log["interactions_per_user"]["median"] == 3 and log["interactions_per_user"]["mean"] == pytest.approx(10 / 3)
    assert (log["interactions_per_item"]["least"], log["interactions_per_item"]["most"]) == (1, 4)
    assert log["largest_user"] == ["a", 0.4] and log["largest_item"] == ["z", 0.4]
    assert (log["first"], log["last"]) == ("1970-01-02 00:00:00", "1970-01-10 00:00:00")
    assert (log["duplicates"], log["distinct_times"]) == (1, 9)
    assert log["tied"] == pytest.approx(0.2) and log["repeated"] == pytest.approx(0.2)
    assert log["untitled_items"] == 4


def test_what_each_filter_would_leave(tmp_path):
    left = {row.pop("filter"): tuple(row.values()) for row in checked(tmp_path, min_item_interactions=2)["filters"]}
    assert left == {
        "none": (10, 3, 4),
        "min_user_interactions=2 min_item_interactions=2": (9, 3, 3),
        "min_user_interactions=3 min_item_interactions=3": (0, 0, 0),  # c loses w and falls short, so y and z do
        "min_user_interactions=5 min_item_interactions=5": (0, 0, 0),
        "min_user_interactions=10 min_item_interactions=10": (0, 0, 0),
        "min_rating=2": (9, 3, 4),
        "min_rating=3": (7, 3, 3),
        "min_rating=4": (6, 3, 3),
        "min_rating=5": (4, 2, 2),
        "as the settings say": (9, 3, 3),
    }


def test_ratings_without_end_are_tried_at_their_quartiles(tmp_path):
    many = [(user, item, n, n) for n, (user, item) in enumerate((u, i) for u in "abcd" for i in "wxyz")]
    tried = [row["filter"] for row in checked(tmp_path, log_of(many))["filters"] if "rating" in row["filter"]]
    assert tried == ["min_rating=4", "min_rating=8", "min_rating=11"]


def test_a_rating_that_is_tried_is_told_as_it_must_be_written(tmp_path):
    rated = log_of().with_columns(rating=pl.Series([0.5, 4.1, 1234567.0, 1234568.0, *[0.5] * 6]))
    tried = {row["filter"]: row["interactions"] for row in checked(tmp_path, rated)["filters"]}
    assert [tried[f"min_rating={least}"] for least in ("4.1", "1234567", "1234568")] == [3, 2, 1]
    assert checked(tmp_path, rated, min_rating=1234567.0)["filters"][-1]["interactions"] == 2


def test_a_split_worked_by_hand(tmp_path):
    split = checked(tmp_path)["split"]
    # train: a has x y (days 1, 2), b has x (5), c has z (3); test: a's x (9), b's z (7), c's w (8)
    assert split["examples"] == {"train": 1, "val": 3, "test": 3}
    assert split["cold_items"] == 1 and split["cold_targets"] == pytest.approx(1 / 3)
    assert (split["test_users"], split["test_users_without_history"]) == (3, 0)
    assert split["later_in_training"] == 0


def test_the_leak_by_time_is_the_share_of_training_after_a_target(tmp_path):
    early = [("c", "z", 3, 5), ("c", "x", 3, 5), ("c", "y", 4, 2), ("c", "x", 4.5, 2)]
    split = checked(tmp_path, log_of([*ROWS[:7], *early]), split="leave_one_out")["split"]
    # train at days 1 2 5 3 3; targets at 9, 7 and 4.5: one in five is later than the third
    assert split["later_in_training"] == pytest.approx(1 / 15)
    assert checked(tmp_path, split="global_time", val_share=0.3, test_share=0.3)["split"]["later_in_training"] == 0


def warned(facts, words: str) -> bool:
    return sum(words in warning for warning in facts["warnings"]) == 1


def test_what_makes_results_worthless_is_told(tmp_path):
    facts = checked(tmp_path)
    for words in ("1 rows repeat user, item and time", "User a has 40% of", "Item z has 40% of", "4 of 4 items have no",
                  "There are 3 test examples", "33% of the test targets"):  # fmt: skip
        assert warned(facts, words), words
    assert len(facts["warnings"]) == 6
    assert warned(checked(tmp_path, log_of().with_columns(timestamp=pl.lit(7))), "All times are equal")
    by_two = log_of().with_columns(timestamp=pl.int_range(10) // 2)
    assert warned(checked(tmp_path, by_two), "80% of the interactions have the time of another")
    leaking = log_of([(user, item, day + 9 * (user == "a"), 5) for user, item, day, _ in ROWS])
    assert warned(checked(tmp_path, leaking), "Leak by time: a test target is older than 33% of the training")
    newcomers = [*ROWS[:4], ("b", "x", 7, 5), ("b", "x", 8, 5), ("d", "y", 10, 1)]
    by_time = {"split": "global_time", "val_share": 0.2, "test_share": 0.3}
    assert warned(checked(tmp_path, log_of(newcomers), **by_time), "1 of 2 test users have no history")


def test_a_split_that_cannot_be_is_a_warning(tmp_path):
    facts = checked(tmp_path, log_of(ROWS[:5]))
    assert "1 of 2 users have fewer than three interactions" in facts["split"]["refused"]
    assert facts["warnings"][-1] == facts["split"]["refused"]
    assert facts["filters"][-1]["filter"] == "as the settings say"
    nothing = checked(tmp_path, min_rating=6)
    assert "is left after dataset.min_rating" in nothing["warnings"][-1]


def test_titles_are_counted_and_untitled_items_told_before_they_are_refused(tmp_path):
    items = write_table(tmp_path / "items.csv", ITEMS.with_columns(item=pl.Series(["x", "y", "z", "q", "r"])))
    facts = checked(tmp_path, items=items)
    assert facts["log"]["untitled_items"] == 1
    assert warned(facts, "1 of 4 items have no title")
    assert checked(tmp_path, items=items, untitled="drop")["filters"][-1] == {
        "filter": "as the settings say", "interactions": 9, "users": 3, "items": 3
    }  # fmt: skip


def test_sessions_are_the_users_of_their_log(tmp_path):
    facts = checked(tmp_path, split="sessions", session_gap_minutes=24 * 60, val_share=0.33, test_share=0.5)
    assert facts["log"]["users"] == 6  # a on days 1 and 2, 4, 9; b on 5 to 7; c on 3, 8
    assert facts["split"]["examples"] == {"train": 1, "val": 1, "test": 2}


def test_shipped_layouts_are_checked_too_and_places_are_no_times(tmp_path):
    for make, timed in ((ml_100k, True), (amazon_games, False)):
        settings = make(tmp_path)
        facts = check_log(settings, find_raw_log(settings, [tmp_path]))
        assert ("first" in facts["log"], "later_in_training" in facts["split"]) == (timed, timed)
        assert facts["log"]["untitled_items"] == 0


def test_an_empty_log_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no interactions"):
        checked(tmp_path, log_of().head(0))
