import csv
import re

import numpy as np
import polars as pl
import pytest

from src.core.artefact import sha256_of
from src.core.errors import UserError
from src.serve.answers import Answer
from src.serve.batch import recommend_to_file
from src.serve.lists import Lists
from src.serve.recommender import Recommender
from tests.serve.served import remade

every_suffix = pytest.mark.parametrize("suffix", [".parquet", ".csv"])


@pytest.fixture
def files(recommender):
    return recommender.files


def written(folder, rows: dict, suffix: str = ".parquet"):
    """Writes a file of lists, in which each column may be another than in `run_recommend`'s; returns it."""
    path = folder / f"teacher{suffix}"
    frame = pl.DataFrame(rows)
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    return path


def rows_of(lists: dict[str, list[str]], by: str = "teacher") -> dict:
    """Columns of lists of raw item ids, by user."""
    flat = [(user, rank, item) for user, items in lists.items() for rank, item in enumerate(items, start=1)]
    return {
        "user": pl.Series([each[0] for each in flat], dtype=pl.String),
        "rank": pl.Series([each[1] for each in flat], dtype=pl.Int32),
        "item": pl.Series([each[2] for each in flat], dtype=pl.String),
        "title": ["of the file"] * len(flat),
        "score": pl.Series([-0.5 * each[1] for each in flat], dtype=pl.Float32),
        "by": pl.Series([by] * len(flat), dtype=pl.String),
    }


@every_suffix
def test_what_was_written_for_each_user_is_what_is_told_of_him(recommender, files, tmp_path, suffix):
    path, users = tmp_path / f"[a]*{suffix}", files.raw_user_ids
    recommend_to_file(recommender, users, path, k=4, chunk=5)
    lists = Lists.read(path, files)
    assert (lists.name, lists.version) == ("[a]*", sha256_of(path)[:16])
    assert len(lists.users) == len(users)
    for user, expected in zip(users, recommender.recommend(users, k=4), strict=True):
        found = lists.of(user)
        assert found.by == "precomputed"
        assert [each[:2] for each in found.items] == [each[:2] for each in expected.items]
        assert [each.score for each in found.items] == pytest.approx([each.score for each in expected.items])


@pytest.mark.parametrize("user", ["", "nobody", "\U0010ffff", "0"])
def test_of_another_user_there_is_no_list(files, tmp_path, user):
    known = files.raw_user_ids
    assert user not in known
    assert Lists.read(written(tmp_path, rows_of({known[3]: ["10"]})), files).of(user) is None


def test_lists_of_any_length_in_any_order_of_users_are_kept_apart(files, tmp_path):
    a, b, c = files.raw_user_ids[7], files.raw_user_ids[2], files.raw_user_ids[5]
    given = {a: ["30"], b: ["20", "10", "40"], c: ["50", "60"]}
    lists = Lists.read(written(tmp_path, rows_of(given)), files)
    assert {user: [each.raw_id for each in lists.of(user).items] for user in (a, b, c)} == given
    assert lists.of(b).items[1] == ("10", files.titles[0], -1.0)  # titles are the catalogue's
    assert lists.users.to_list() == sorted(given)


def test_they_are_held_as_arrays(files, tmp_path):
    path = tmp_path / "all.parquet"
    rows = rows_of({user: ["10", "20", "30"] for user in files.raw_user_ids})
    pl.DataFrame(rows).write_parquet(path)
    lists, n = Lists.read(path, files), len(files.raw_user_ids)
    held = {"first": (np.int64,), "lengths": (np.int32,), "items": (np.int32,), "scores": (np.float32,)}
    assert all(getattr(lists, name).dtype.type in kinds for name, kinds in held.items())
    assert [len(getattr(lists, name)) for name in held] == [n, n, 3 * n, 3 * n]
    assert isinstance(lists.users, pl.Series) and lists.raw_ids is files.raw_ids and lists.titles is files.titles


def test_a_list_by_popularity_is_told_as_one(files, tmp_path):
    a, b = files.raw_user_ids[:2]
    popular, own = rows_of({a: ["10", "20"]}, "popularity"), rows_of({b: ["20"]})
    path = written(tmp_path, {name: [*popular[name], *own[name]] for name in own} | dtypes(own, popular))
    lists = Lists.read(path, files)
    assert (lists.of(a).by, lists.of(b).by) == ("popularity", "precomputed")


def dtypes(own: dict, popular: dict) -> dict:
    """The columns whose types Python's lists would lose."""
    return {name: pl.concat([popular[name], own[name]]) for name in ("user", "rank", "item", "score")}


def test_who_stands_in_it_twice_has_the_first_list(files, tmp_path):
    a, b = files.raw_user_ids[:2]
    parts = [pl.DataFrame(rows_of(each)) for each in ({a: ["10", "20"]}, {a: ["30"]}, {b: ["40"]}, {a: ["50"]})]
    path = tmp_path / "twice.parquet"
    pl.concat(parts).write_parquet(path)
    lists = Lists.read(path, files)
    assert [each.raw_id for each in lists.of(a).items] == ["10", "20"]
    assert len(lists.users) == 2


def test_users_whom_the_log_does_not_know_are_passed_over_and_counted(files, tmp_path, caplog):
    user = files.raw_user_ids[4]
    path = written(tmp_path, rows_of({"new": ["10"], user: ["20"], "newer": ["30"]}))
    lists = Lists.read(path, files)
    assert lists.users.to_list() == [user] and lists.of("new") is None
    assert [each.raw_id for each in lists.of(user).items] == ["20"]
    assert "2 users whom the log does not know are passed over" in caplog.text


@pytest.mark.parametrize("lists", [{"new": ["10"]}, {}])
def test_a_file_without_a_user_of_the_log_is_refused(files, tmp_path, lists):
    with pytest.raises(UserError, match=r"teacher\.parquet names no user of the log .*\(tiny\)"):
        Lists.read(written(tmp_path, rows_of(lists)), files)


@every_suffix
def test_an_item_that_the_catalogue_does_not_know_is_named(files, tmp_path, suffix, sasrec_folder):
    user = files.raw_user_ids[0]
    path = written(tmp_path, rows_of({user: ["10", "999"]}), suffix)
    with pytest.raises(UserError, match=rf"teacher\{suffix} recommends item '999', which is not in the catalogue of"):
        Lists.read(path, files)


def changed(name: str, values: list | None, dtype: type[pl.DataType] | None = None):
    """Returns what gives two rows another column; None: takes it away."""

    def change(rows: dict) -> dict:
        rows = dict(rows)
        del rows[name]
        return rows if values is None else rows | {name: pl.Series(values, dtype=dtype)}

    return change


FAULTS = {
    "no users": (changed("user", None), "user"),
    "no ranks": (changed("rank", None), "rank"),
    "no items": (changed("item", None), "item"),
    "no scores": (changed("score", None), "score"),
    "no word of who": (changed("by", None), "by"),
    "a user is missing": (changed("user", [None, "x"], pl.String), "column user: String, 1 missing"),
    "an item is missing": (changed("item", ["10", None], pl.String), "column item: String, 1 missing"),
    "users are numbers": (changed("user", [1, 2]), "column user: Int64"),
    "scores are texts": (changed("score", ["a", "b"]), "column score: String"),
    "a score is NaN": (
        changed("score", [0.5, float("nan")], pl.Float32),
        "column score holds what is no finite number",
    ),
    "a score is infinite": (changed("score", [float("-inf"), 0.0], pl.Float32), "column score holds what is no finite"),
    "ranks from 0": (changed("rank", [0, 1], pl.Int32), "row 1: the ranks"),
    "a rank is left out": (changed("rank", [1, 3], pl.Int32), "row 2: the ranks"),
    "a rank twice, not the first": (changed("rank", [2, 2], pl.Int32), "row 1: the ranks"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_such_file_is_refused_in_a_sentence(files, tmp_path, fault):
    change, why = FAULTS[fault]
    user = files.raw_user_ids[0]
    path = written(tmp_path, change(rows_of({user: ["10", "20"]})))
    with pytest.raises(UserError, match=r"teacher\.parquet is no file of recommendations \(") as refused:
        Lists.read(path, files)
    assert why in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).endswith("make it with `run_recommend`, the teacher's with recommend.by=teacher.")


def test_a_list_that_goes_on_with_another_user_is_refused(files, tmp_path):
    a, b = files.raw_user_ids[:2]
    with pytest.raises(UserError, match="row 2: the ranks of a user do not count up from 1"):
        Lists.read(written(tmp_path, rows_of({a: ["10", "20"]}) | {"user": [a, b]}), files)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1"),
        ("a.csv", b""),
        ("a.csv", b"user,rank\n1,2\n"),
        ("a.csv", b"\xff\xfe\n"),
        ("a.json", b"[]"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(files, tmp_path, name, content):
    for path in (tmp_path / name, tmp_path / f"nowhere.{name}"):
        if path.name == name:
            path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{re.escape(path.name)} is no file of recommendations \(") as refused:
            Lists.read(path, files)
        assert "\n" not in str(refused.value)


def test_a_csv_whose_ranks_are_no_numbers_is_refused(files, tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["user", "rank", "item", "title", "score", "by"], ["1", "x", "10", "", "1", "model"]]
        )
    with pytest.raises(UserError, match=r"a\.csv is no file of recommendations \("):
        Lists.read(path, files)


def test_another_model_with_the_same_catalogue_reads_it_as_well(sasrec_folder, recommender, tmp_path):
    user = recommender.files.raw_user_ids[0]
    path = written(tmp_path, rows_of({user: ["30", "10"]}))
    other = Recommender.load(remade(sasrec_folder, tmp_path / "other", raw_ids=[str(10 * n) for n in range(15, 0, -1)]))
    answer = Lists.read(path, other.files).of(user)
    assert isinstance(answer, Answer) and [each.raw_id for each in answer.items] == ["30", "10"]
    assert answer.items[0].title == other.files.titles[other.files.item("30") - 1]
