import polars as pl
import pytest

from src.core.errors import UserError
from src.data.raw.columns import read_items, read_log
from tests.data.own_logs import ENDINGS, ITEMS, LOG, ROWS, own, write_table
from tests.data.raw_folders import write


@pytest.mark.parametrize("ending", ENDINGS)
def test_ids_stay_as_they_are_in_every_format(tmp_path, ending):
    path = write_table(tmp_path / f"log.{ending}", LOG)
    log = read_log(path, own(path))
    assert log.with_columns(pl.col("user", "item").cast(pl.String)).select("user", "item", "rating").rows() == [
        (user, item, float(rating)) for user, item, rating, _ in ROWS
    ]
    assert (log["timestamp"] // 86_400_000_000).to_list() == [19725, 19723, 19727, 19724, 19726, 19728, 19729]


def test_numbers_as_ids_are_written_in_decimal_and_sorted_as_texts(tmp_path):
    path = write_table(
        tmp_path / "log.parquet", pl.DataFrame({"user": [10, 9], "item": [-1, 2**40], "timestamp": [1, 2]})
    )
    log = read_log(path, own(path))
    assert log["user"].dtype.categories.to_list() == ["10", "9"]
    assert log["item"].cast(pl.String).to_list() == ["-1", str(2**40)]


def test_columns_may_be_called_otherwise(tmp_path):
    path = write_table(
        tmp_path / "log.csv", LOG.rename({"user": "visitor", "item": "sku", "timestamp": "at", "rating": "stars"})
    )
    columns = {"user": "visitor", "item": "sku", "timestamp": "at", "rating": "stars"}
    assert read_log(path, own(path, columns=columns))["rating"].to_list() == [5, 4, 3, 2, 2, 1, 1]
    assert "rating" not in read_log(path, own(path, columns={**columns, "rating": None})).columns


def test_a_log_without_times_is_in_the_order_of_its_rows(tmp_path):
    path = write_table(tmp_path / "log.csv", LOG.drop("timestamp"))
    assert read_log(path, own(path, columns={"timestamp": None}))["timestamp"].to_list() == list(range(7))


def test_parts_and_sessions_are_read_where_the_split_asks_for_them(tmp_path):
    path = write_table(
        tmp_path / "log.csv",
        LOG.with_columns(
            part=pl.Series(["train", "valid", "test", "val", "validation", "test", "train"]), visit=pl.lit("s")
        ),
    )
    assert read_log(path, own(path, split="given"))["part"].to_list() == [0, 1, 2, 1, 1, 2, 0]
    assert read_log(path, own(path, split="sessions", columns={"session": "visit"}))["session"].to_list() == ["s"] * 7
    assert read_log(path, own(path)).columns == ["user", "item", "timestamp", "rating"]


def test_a_text_is_the_title_and_the_columns_that_are_asked_for(tmp_path):
    path = write_table(tmp_path / "items.parquet", ITEMS)
    alone = read_items(path, own(path))
    assert alone["title"].to_list() == alone["text"].to_list()
    assert alone["title"].to_list() == ["Alien", 'Brazil, "the" film', "Charade (1963)", "Dune", "Else"]
    more = read_items(path, own(path, columns={"texts": ["genre", "year"]}))
    assert more["text"].to_list() == [
        "Alien; Horror; 1979", 'Brazil, "the" film; 1985', "Charade (1963); Comedy", "Dune; 2021", "Else; Drama",
    ]  # fmt: skip
    without = read_items(path, own(path, columns={"title": None, "texts": ["genre"]}))
    nothing = read_items(path, own(path, columns={"title": None}))
    assert set(nothing["title"]) == set(nothing["text"]) == {""} and len(nothing) == 5
    assert set(without["title"]) == {""} and without["text"].to_list() == ["Horror", "", "Comedy", "", "Drama"]


def test_lists_of_words_are_one_text(tmp_path):
    path = write(
        tmp_path / "items.jsonl", '{"item": 1, "title": "A", "tags": ["x", null, "y"]}\n{"item": "2", "title": "B"}\n'
    )
    items = read_items(path, own(path, columns={"texts": ["tags"]}))
    assert items.rows() == [("1", "A", "A; x, y"), ("2", "B", "B")]


def test_lists_of_a_parquet_file_are_one_text_whatever_they_hold_but_lists(tmp_path):
    frame = pl.DataFrame({"item": [1, 2], "title": ["A", "B"], "years": [[1979, None, 1986], []], "deep": [[[1]], []]})
    path = write_table(tmp_path / "items.parquet", frame)
    assert read_items(path, own(path, columns={"texts": ["years"]}))["text"].to_list() == ["A; 1979, 1986", "B"]
    with pytest.raises(UserError, match="column deep holds List"):
        read_items(path, own(path, columns={"texts": ["deep"]}))


def test_an_item_may_stand_there_twice_if_it_is_the_same(tmp_path):
    path = write(tmp_path / "items.csv", "item,title\n1,A\n2,B\n1,A \n")
    assert read_items(path, own(path)).rows() == [("1", "A", "A"), ("2", "B", "B")]
    write(path, "item,title\n1,A\n2,B\n1,C\n")
    with pytest.raises(UserError, match=r"item '1' has several rows that differ \(1 such rows\)"):
        read_items(path, own(path))


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ("who,item,timestamp\n1,2,3\n", {}, "no column 'user'; there are 'who', .*: name yours by dataset.columns"),
        ("user,item\n1,2\n", {}, r"no column 'timestamp'; .* dataset.columns.timestamp \(null: there are none\)"),
        ("user,item,timestamp\n1,2,3\n", {"split": "given"}, "no column 'part'"),
        ("user,item,timestamp,part\n1,2,3,dev\n", {"split": "given"}, "data row 1: part 'dev' is none of train"),
        ("user,item,timestamp\n1,2,3\n,2,3\n", {}, r"data row 2: user is empty \(1 such rows\)"),
        ("user,item,timestamp\n1, ,3\n", {}, "data row 1: item ' ' is empty"),
        ("user,item,timestamp\n1,2,3\n1,2\n", {}, r"row 3 \(the header counted\): 2 fields where there are 3"),
        ("user,item,timestamp\n1,2,3\n\n1,2,3\n", {}, r"row 3 \(the header counted\): 0 fields"),
        ("user,item,timestamp\n1,2,3\n\x01,2,3\n" + "1,2,3\n", {}, "is no text in UTF-8"),
        ("user,item,timestamp\n" + "1,2,3\n" * 12_000 + "1,\1,3\n", {}, "data row 12001: item .* holds what is in no"),
        ("user,item,timestamp,rating\n1,2,3,good\n", {}, "data row 1: rating 'good' is no number"),
        ("user,item,timestamp,rating\n1,2,3,nan\n", {}, "data row 1: rating 'nan' is no number"),
    ],
)  # fmt: skip
def test_a_bad_log_is_named_with_row_and_column(tmp_path, text, change, message):
    path = write(tmp_path / "log.csv", text)
    with pytest.raises(UserError, match=message) as caught:
        read_log(path, own(path, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"user": [1.0], "item": [1], "timestamp": [1]}), "column user holds Float64, but ids are"),
        (pl.DataFrame({"user": [1], "item": [[1]], "timestamp": [1]}), "column item holds List"),
        (pl.DataFrame({"user": [1, 2], "item": [1, None], "timestamp": [1, 2]}), "data row 2: item is empty"),
    ],
)  # fmt: skip
def test_ids_of_a_parquet_file_are_texts_or_whole_numbers(tmp_path, frame, message):
    path = write_table(tmp_path / "log.parquet", frame)
    with pytest.raises(UserError, match=message):
        read_log(path, own(path))
