import csv
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

import src.serve.recommender
from src.core.artefact import unfinished
from src.core.errors import UserError
from src.serve.batch import check_output, read_users, recommend_to_file
from src.serve.recommender import Recommender
from tests.serve.served import remade

SUFFIXES = [".parquet", ".csv"]
COLUMNS = {
    "user": pl.String, "rank": pl.Int32, "item": pl.String, "title": pl.String, "score": pl.Float32, "by": pl.String,
}  # fmt: skip
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def users(recommender) -> list[str]:
    """Seven users, one twice, one unknown."""
    known = recommender.files.raw_user_ids
    return [known[4], known[0], "nobody", known[7], known[4], known[11], known[2]]


def rows(recommender: Recommender, users: list[str], **asked) -> list[tuple]:
    answers = recommender.recommend(users, **asked)
    return [
        (user, rank, each.raw_id, each.title, each.score, answer.by)
        for user, answer in zip(users, answers, strict=True)
        for rank, each in enumerate(answer.items, start=1)
    ]


def read(path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, schema=COLUMNS)


def same(found: pl.DataFrame, expected: list[tuple]) -> bool:
    assert dict(found.schema) == COLUMNS
    told = found.rows()
    return [row[:4] + row[5:] for row in told] == [row[:4] + row[5:] for row in expected] and all(
        math.isclose(row[4], other[4], rel_tol=1e-5) for row, other in zip(told, expected, strict=True)
    )


def approximately(expected: list[tuple]) -> list[tuple]:
    return [(*row[:4], pytest.approx(row[4], rel=1e-5)) for row in expected]


@every_suffix
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_a_file_holds_what_users_are_recommended(recommender, users, tmp_path, suffix, chunk):
    recommend_to_file(recommender, users, tmp_path / f"found{suffix}", k=4, chunk=chunk)
    found = read(tmp_path / f"found{suffix}")
    assert same(found, rows(recommender, users, k=4))
    assert set(found["by"]) == {"model", "popularity"} and len(found) == 28
    assert [path.name for path in tmp_path.glob("[!.]*")] == [f"found{suffix}"]


@every_suffix
def test_what_was_seen_may_be_recommended_again(recommender, users, tmp_path, suffix):
    path = tmp_path / f"found{suffix}"
    recommend_to_file(recommender, users, path, k=15, filter_seen=False)
    assert same(read(path), rows(recommender, users, k=15, filter_seen=False))
    assert len(read(path)) == 7 * 15


def test_who_ranked_is_called_as_it_is_told(recommender, users, tmp_path):
    recommend_to_file(recommender, users, tmp_path / "found.csv", k=1, by="teacher")
    assert [row[-1] for row in read(tmp_path / "found.csv").rows()] == [
        "popularity" if user == "nobody" else "teacher" for user in users
    ]


def test_those_who_have_seen_much_get_what_is_left_in_batches_too(recommender, tmp_path, monkeypatch):
    monkeypatch.setattr(src.serve.recommender, "AT_ONCE", 2)
    everyone = [*recommender.files.raw_user_ids, "nobody"]
    recommend_to_file(recommender, everyone, tmp_path / "found.csv", k=40)
    found = read(tmp_path / "found.csv")
    assert same(found, rows(recommender, everyone, k=40))
    seen = sum(len(set(recommender.files.history(user))) for user in everyone)
    assert len(found) == 15 * len(everyone) - seen


@every_suffix
def test_nobody_gets_a_file_without_rows(recommender, tmp_path, suffix):
    recommend_to_file(recommender, [], tmp_path / f"found{suffix}")
    assert same(read(tmp_path / f"found{suffix}"), [])


def test_ids_that_a_table_could_misread_stay_whole(recommender, tmp_path):
    users = ['a"b', "a,b", "", "a\nb", " a ", "羅生門", "=1+1", "007"]
    recommend_to_file(recommender, users, tmp_path / "found.csv", k=1, chunk=3)
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        header, *found = csv.reader(file)
    assert header == list(COLUMNS)
    assert [row[0] for row in found] == users


@pytest.mark.parametrize("name", ["[1].parquet", "a*b.parquet", "a b.csv", "deeper/than/is/there.csv"])
def test_a_file_may_have_any_name(recommender, users, tmp_path, name):
    recommend_to_file(recommender, users, tmp_path / name, k=2, chunk=2)
    assert same(read_plain(tmp_path / name), rows(recommender, users, k=2))


def read_plain(path) -> pl.DataFrame:
    """Polars would take some names for patterns."""
    plain = path.with_name(f"plain{path.suffix}")
    plain.write_bytes(path.read_bytes())
    return read(plain)


def test_without_a_history_it_can_be_refused(recommender, users, tmp_path):
    with pytest.raises(UserError, match="User 'nobody' has no history in the log"):
        recommend_to_file(recommender, users, tmp_path / "found.csv", empty_history="refuse")
    assert not (tmp_path / "found.csv").exists()
    users.remove("nobody")
    recommend_to_file(recommender, users, tmp_path / "found.csv", empty_history="refuse")
    assert same(read(tmp_path / "found.csv"), rows(recommender, users))


# --- killed, and started again


class KilledError(Exception):
    pass


class Dies(Recommender):
    """Ends after so many parts; counts those that it was asked for."""

    def __init__(self, recommender: Recommender, after: float) -> None:
        self.files, self.graph, self.after, self.asked = recommender.files, recommender.graph, after, 0

    def rank_log(self, *asked):
        if self.asked == self.after:
            raise KilledError
        self.asked += 1
        return super().rank_log(*asked)


def killed_after(parts: int, recommender: Recommender, *arguments, **more) -> None:
    with pytest.raises(KilledError):
        recommend_to_file(Dies(recommender, parts), *arguments, **more)


@every_suffix
@pytest.mark.parametrize("parts", [0, 1, 3])
def test_one_that_was_killed_goes_on_and_ends_in_the_same_bytes(recommender, users, tmp_path, suffix, parts):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"found{suffix}"
    recommend_to_file(recommender, users, whole, chunk=2)
    killed_after(parts, recommender, users, path, chunk=2)
    assert not path.exists() and unfinished(path).is_dir()
    second = Dies(recommender, math.inf)
    recommend_to_file(second, users, path, chunk=2)
    assert second.asked == 4 - parts
    assert path.read_bytes() == whole.read_bytes()
    assert not unfinished(path).exists()


@every_suffix
def test_a_part_of_which_half_was_written_is_written_again(recommender, users, tmp_path, suffix, monkeypatch):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"found{suffix}"
    recommend_to_file(recommender, users, whole, chunk=2)
    name = "write_csv" if suffix == ".csv" else "write_parquet"
    write = getattr(pl.DataFrame, name)

    def half(frame, file, **more):
        write(frame, file, **more)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(pl.DataFrame, name, half)
        recommend_to_file(recommender, users, path, chunk=2)
    recommend_to_file(recommender, users, path, chunk=2)
    assert path.read_bytes() == whole.read_bytes()


CHANGES = {"k": 3, "filter_seen": False, "empty_history": "refuse", "chunk": 3, "by": "teacher"}


@pytest.mark.parametrize("what", [*CHANGES, "users", "model"])
def test_with_other_settings_it_begins_anew(recommender, users, tmp_path, sasrec_folder, what):
    users.remove("nobody")
    path = tmp_path / "found.csv"
    killed_after(1, recommender, users, path, chunk=2)
    lifted = {"model": remade(sasrec_folder, tmp_path / "m", {3: 1.0})}
    other = Dies(Recommender.load(lifted.get(what, sasrec_folder)), math.inf)
    if what == "users":
        users[-1] = recommender.files.raw_user_ids[9]
    changed = {key: value for key, value in CHANGES.items() if key == what}
    recommend_to_file(other, users, path, **{"chunk": 2, **changed})
    assert other.asked == (2 if what == "chunk" else 3)
    assert set(read(path)["by"]) == {changed.pop("by", "model")}
    changed.pop("chunk", None)
    assert [row[:5] for row in read(path).rows()] == approximately(rows(other, users, **changed))


def test_of_two_at_once_for_one_file_the_second_waits(recommender, users, tmp_path, sasrec_folder):
    path, begun, may_go = tmp_path / "found.csv", threading.Event(), threading.Event()
    other = Recommender.load(remade(sasrec_folder, tmp_path / "other", {3: 100.0}))
    rank = recommender.rank_log

    def held(*asked):
        begun.set()
        assert may_go.wait(60)
        return rank(*asked)

    first = Recommender(recommender.files)
    first.rank_log = held
    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(recommend_to_file, first, users, path, chunk=3)
        assert begun.wait(60)
        after = pool.submit(recommend_to_file, other, users, path, chunk=3)
        may_go.set()
        done.result()
        after.result()
    assert same(read(path), rows(other, users))


def test_an_earlier_file_stays_until_the_new_one_is_whole(recommender, users, tmp_path):
    path = tmp_path / "found.csv"
    path.write_text("earlier")
    killed_after(2, recommender, users, path, chunk=3)
    assert path.read_text() == "earlier"
    recommend_to_file(recommender, users, path, chunk=3)
    assert same(read(path), rows(recommender, users))


# --- what is given


@pytest.mark.parametrize("name", ["found", "found.json", "found.csv.gz", "found.PARQUET", "csv"])
def test_another_kind_of_file_is_refused_before_anything_is_made(recommender, tmp_path, name):
    for ask in (check_output, lambda path: recommend_to_file(recommender, ["1"], path)):
        with pytest.raises(UserError, match=rf"recommend\.output=.*{name} must end in \.parquet or \.csv"):
            ask(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    for suffix in SUFFIXES:
        check_output(tmp_path / f"found{suffix}")


@pytest.mark.parametrize("text", ["7\n 8\n\n7\nß x\n", "7\r\n 8\r\n\r\n7\r\nß x", "\ufeff7\n 8\n7\nß x"])
def test_users_stand_one_on_each_line(tmp_path, text):
    (tmp_path / "users.txt").write_text(text, encoding="utf-8", newline="")
    assert read_users(tmp_path / "users.txt") == ["7", " 8", "7", "ß x"]
    (tmp_path / "users.txt").write_text("a\x85b\nc\u2028d\ne\x0cf\n", encoding="utf-8")
    assert read_users(tmp_path / "users.txt") == ["a\x85b", "c\u2028d", "e\x0cf"]


def test_a_list_of_users_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"users\.txt cannot be read as a list of users \(.*No such file"):
        read_users(tmp_path / "users.txt")
    (tmp_path / "users.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(UserError, match=r"cannot be read as a list of users \(.*utf-8"):
        read_users(tmp_path / "users.txt")
    (tmp_path / "users.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"users\.txt holds no user: one raw id on each line"):
        read_users(tmp_path / "users.txt")
