"""A log of one's own, from its file to a dataset."""

import logging
from itertools import pairwise

import polars as pl
import pytest

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.core.settings_reading import changed
from src.data.prepare import prepare_dataset, read_raw
from src.data.raw.layouts import LAYOUTS
from src.data.raw.log import find_raw_log
from tests.data.own_logs import ENDINGS, ITEMS, LOG, own, write_table
from tests.data.raw_folders import ml_100k

SESSIONS = pl.DataFrame(
    [(user, item, minute * 60, visit) for user, item, minute, visit in (
        ("a", "x", 0, 1), ("a", "y", 10, 1), ("b", "y", 15, 1), ("b", "x", 20, 1), ("b", "z", 50, 1),
        ("a", "z", 41, 2), ("a", "x", 60, 2), ("c", "z", 70, 1), ("c", "y", 75, 1), ("a", "y", 99, 3),
        ("a", "z", 100, 3),
    )],
    schema=["user", "item", "timestamp", "visit"], orient="row",
)  # fmt: skip


def prepared(tmp_path, settings):
    return prepare_dataset(settings, [], tmp_path / "processed")


def users_of(dataset) -> list[str]:
    return pl.read_parquet(dataset.folder / "users.parquet")["raw_id"].to_list()


def in_raw_ids(dataset) -> dict[str, list[str]]:
    items = ["", *dataset.catalogue.raw_ids]
    ends = dataset.offsets.tolist()
    logs = [[items[item] for item in dataset.item_log[a:b].tolist()] for a, b in pairwise(ends)]
    return dict(zip(users_of(dataset), logs, strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_format_makes_the_same_dataset(tmp_path, ending):
    items = write_table(tmp_path / "items.csv", ITEMS)
    dataset = prepared(tmp_path, own(write_table(tmp_path / f"log.{ending}", LOG), items))
    assert in_raw_ids(dataset) == {"u_17": ["x,y", "123", "00123", "a"], "u_2": ["00123", "a", "123"]}
    assert dataset.num_train.tolist() == [2, 1]
    assert dataset.catalogue.number("00123") == 1 and dataset.catalogue.title(1) == "Alien"
    assert dataset.catalogue.titles == ["Alien", 'Brazil, "the" film', "Charade (1963)", "Dune"]


def test_a_log_is_told_by_its_contents_and_ending_and_not_by_its_name(tmp_path):
    first, second = (write_table(tmp_path / name, LOG) for name in ("a.csv", "folder/of.2024.CSV"))
    assert find_raw_log(own(first), []).fingerprint == find_raw_log(own(second), []).fingerprint
    as_text = tmp_path / "a.tsv"
    as_text.write_bytes(first.read_bytes())
    items = write_table(tmp_path / "items.csv", ITEMS)
    fingerprints = {find_raw_log(own(*files), []).fingerprint for files in ((first,), (as_text,), (first, items))}
    write_table(first, LOG.head(6))
    fingerprints.add(find_raw_log(own(first), []).fingerprint)
    assert len(fingerprints) == 4


def test_the_log_that_nobody_named_and_the_one_that_is_not_there_are_told(tmp_path):
    with pytest.raises(UserError, match=r"dataset.interactions does not name the log"):
        find_raw_log(own(tmp_path / "log.csv").model_copy(update={"interactions": None}), [])
    with pytest.raises(UserError, match=r"dataset.interactions=.*log.csv cannot be read \(No such file"):
        find_raw_log(own(tmp_path / "log.csv"), [])


def test_filters_and_the_limit_hold_for_it_too(tmp_path):
    path = write_table(tmp_path / "log.csv", LOG)
    assert in_raw_ids(prepared(tmp_path, own(path, min_user_interactions=4))) == {"u_17": ["x,y", "123", "00123", "a"]}
    rated = own(path, min_rating=2, min_user_interactions=3)
    assert in_raw_ids(prepared(tmp_path, rated)) == {"u_17": ["x,y", "123", "00123", "a"]}
    limited = own(path, limit_data_rows=5, min_user_interactions=3)
    assert users_of(prepared(tmp_path, limited)) == ["u_17"]
    unrated = write_table(tmp_path / "unrated.csv", LOG.drop("rating"))
    with pytest.raises(UserError, match=r"dataset.min_rating=2.0, but .* has no ratings"):
        prepared(tmp_path, own(unrated, min_rating=2))


# --- titles


def test_without_an_items_file_there_are_ids_and_a_warning(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    dataset = prepared(tmp_path, own(write_table(tmp_path / "log.csv", LOG)))
    assert dataset.catalogue.raw_ids == ["00123", "123", "a", "x,y"]
    assert dataset.catalogue.titles == dataset.catalogue.texts == [""] * 4
    assert "4 of 4 items have no title: a language model has nothing to read" in caplog.text
    assert read_manifest(dataset.folder)["counts"]["untitled_items"] == 4


def test_untitled_items_are_refused_dropped_or_kept(tmp_path, caplog):
    path = write_table(tmp_path / "log.csv", LOG)
    items = write_table(tmp_path / "items.csv", ITEMS.filter(pl.col("item") != "x,y").with_columns(
        title=pl.when(pl.col("item") == "a").then(pl.lit("\u200b")).otherwise("title")))  # fmt: skip
    with pytest.raises(
        UserError, match=r"Item a of .*log.csv has no title in .*items.csv \(2 such items\).*untitled=drop"
    ):
        prepared(tmp_path, own(path, items))
    caplog.set_level(logging.WARNING)
    longer = write_table(tmp_path / "longer.csv", pl.concat([LOG, LOG[:1].with_columns(user=pl.lit("u_2"))]))
    seen = write_table(tmp_path / "seen.csv", ITEMS.filter(pl.col("item") != "x,y"))
    dropped = prepared(tmp_path, own(longer, seen, untitled="drop"))
    assert in_raw_ids(dropped) == {"u_17": ["123", "00123", "a"], "u_2": ["00123", "00123", "a", "123"]}
    assert not caplog.text
    kept = prepared(tmp_path, own(path, items, untitled="keep"))
    assert kept.catalogue.titles == ["Alien", 'Brazil, "the" film', "\u200b", ""]
    assert "2 of 4 items have no title" in caplog.text


# --- splits


def test_given_parts_and_what_happened_at_one_time(tmp_path):
    log = pl.DataFrame({"user": ["u"] * 4, "item": list("abcd"), "timestamp": [2, 2, 1, 2],
                        "part": ["test", "val", "train", "train"]})  # fmt: skip
    dataset = prepared(tmp_path, own(write_table(tmp_path / "log.csv", log), split="given"))
    assert in_raw_ids(dataset) == {"u": ["c", "d", "b", "a"]}
    assert {split: examples.end.tolist() for split, examples in dataset.examples.items()} == {
        "train": [1], "val": [2], "test": [3]
    }  # fmt: skip


def test_given_parts_that_go_back_in_time_are_refused(tmp_path):
    log = pl.DataFrame({"user": ["u"] * 4, "item": list("abcd"), "timestamp": [1, 2, 3, 4],
                        "part": ["train", "test", "val", "train"]})  # fmt: skip
    with pytest.raises(
        UserError, match=r"user u has an interaction of an earlier part after .* \(2 such interactions\)"
    ):
        prepared(tmp_path, own(write_table(tmp_path / "log.csv", log), split="given"))


def parts_of(dataset) -> dict[str, str]:
    """Which split a session is in; a session whose examples lay in two would be there as neither."""
    users = users_of(dataset)
    found: dict[str, set[str]] = {user: set() for user in users}
    for split, examples in dataset.examples.items():
        for user in examples.user.tolist():
            found[users[user]].add(split)
    return {user: "+".join(sorted(splits)) for user, splits in found.items()}


SHARES = {"split": "sessions", "val_share": 0.2, "test_share": 0.2}


def test_sessions_of_a_column_are_users_and_the_last_to_end_are_test(tmp_path):
    path = write_table(tmp_path / "log.csv", SESSIONS)
    dataset = prepared(tmp_path, own(path, columns={"session": "visit"}, **SHARES))
    assert in_raw_ids(dataset) == {"a#1": ["x", "y"], "a#2": ["z", "x"], "a#3": ["y", "z"], "b#1": ["y", "x", "z"],
                                   "c#1": ["z", "y"]}  # fmt: skip
    assert parts_of(dataset) == {"a#1": "train", "a#2": "train", "b#1": "train", "c#1": "val", "a#3": "test"}
    assert dataset.num_train.tolist() == [2, 2, 0, 3, 0]


def test_sessions_end_where_nothing_follows_for_longer_than_the_gap(tmp_path):
    path = write_table(tmp_path / "log.csv", SESSIONS)
    dataset = prepared(tmp_path, own(path, session_gap_minutes=30, **SHARES))
    # 41 minutes follow 10 after 31, 99 follow 60 after 39; b's 30 minutes are no gap
    assert in_raw_ids(dataset) == {"a#1": ["x", "y"], "a#2": ["z", "x"], "a#3": ["y", "z"], "b#1": ["y", "x", "z"],
                                   "c#1": ["z", "y"]}  # fmt: skip
    assert users_of(prepared(tmp_path, own(path, session_gap_minutes=29.5, min_user_interactions=2, **SHARES))) == [
        "a#1", "a#2", "a#3", "b#1", "c#1",
    ]  # fmt: skip


def test_sessions_that_would_be_called_the_same_are_refused(tmp_path):
    log = pl.DataFrame({"user": ["a#b", "a"], "visit": ["c", "b#c"], "item": ["x", "y"], "timestamp": [1, 2]})
    with pytest.raises(UserError, match="two sessions would be called the same"):
        prepared(tmp_path, own(write_table(tmp_path / "log.csv", log), columns={"session": "visit"}, **SHARES))


@pytest.mark.parametrize(("gap", "users"), [(2.5, ["7#1", "7#2", "9#1"]), (1, ["7#1", "7#2", "7#3", "9#1"])])
def test_any_log_with_times_has_sessions(tmp_path, gap, users):
    rows = [(7, 10, 3, 0), (7, 20, 3, 120), (7, 30, 3, 600), (7, 10, 3, 620), (9, 20, 3, 800), (9, 30, 3, 830)]
    chosen = changed(ml_100k(tmp_path, rows), {"split": "sessions", "session_gap_minutes": gap, "test_share": 0.3})
    frame, _ = read_raw(LAYOUTS[chosen.reader], find_raw_log(chosen, [tmp_path]), chosen)
    assert sorted(frame["user"].cast(pl.String).unique()) == users


def test_a_log_whose_only_owner_is_a_session_needs_neither(tmp_path):
    log = SESSIONS.select("item", "timestamp", session_id=pl.format("{}{}", "user", "visit"))
    path = write_table(tmp_path / "log.csv", log)
    dataset = prepared(tmp_path, own(path, columns={"user": "session_id"}, **SHARES))
    assert parts_of(dataset) == {"a1": "train", "a2": "train", "b1": "train", "c1": "val", "a3": "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"split": "sessions", "columns": {"timestamp": None}},
            "split=sessions needs real times, which dataset.columns",
        ),
        ({"split": "global_time", "columns": {"timestamp": None}}, "split=global_time needs real times, which dataset"),
        ({"session_gap_minutes": 5, "columns": {"session": "s"}}, "both tell sessions apart: one of them must be null"),
        ({"session_gap_minutes": 0.0}, "session_gap_minutes=0.0 must be null or a number above 0"),
        ({"separator": "é"}, "separator=é must be null or a text of one or two letters or signs of ASCII"),
        ({"columns": {"user": 3}}, "columns.user=3 must be a text"),
        ({"columns": {"usr": "x"}}, "columns.usr is not known"),
    ],
)
def test_settings_that_do_not_go_together_are_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, own(write_table(tmp_path / "log.csv", LOG), **change))


def test_the_items_file_goes_with_a_log(tmp_path):
    with pytest.raises(UserError, match=r"items=.* goes with interactions, which must name the file of the log"):
        own(None, tmp_path / "items.csv")
