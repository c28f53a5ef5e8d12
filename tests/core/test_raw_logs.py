from pathlib import Path

import polars as pl
import pytest

from src.core.errors import UserError
from src.core.raw_logs import (
    LAYOUTS,
    read_items_tsv,
    read_movies_dat,
    read_ratings,
    read_sequences,
    read_u_item,
)
from tests.core.raw_folders import amazon_games, amazon_toys, ml_1m, ml_100k, write


@pytest.mark.parametrize("separator", ["\t", "::"])
def test_ratings_are_read_in_the_order_of_the_file(tmp_path, separator):
    rows = [(3, 20, 5, 881250949), (1, 10, 3.5, 12), (3, 2, 1, 5_000_000_000)]
    path = write(tmp_path / "log", "".join(separator.join(map(str, row)) + "\n" for row in rows))
    log = read_ratings(path, separator, None)
    assert log.rows() == rows
    assert log.schema == {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
    assert read_ratings(path, separator, 2).rows() == rows[:2]


@pytest.mark.parametrize(
    ("separator", "text", "message"),
    [
        ("\t", "1\t2\t3\t4\n1\t2\tx\t4\n", "line 2: rating 'x' is not a number"),
        ("\t", "1\t2\t3\t4\n1\t2.5\t3\t4\n", "line 2: item '2.5' is not a whole number"),
        ("\t", "1\t2\t3\t4\n1\t2\t3\tnoon\n", "line 2: timestamp 'noon' is not a whole number"),
        ("\t", "1\t2\t3\t4\n1\t2\n", "line 2: 2 of 4 fields"),
        ("\t", "1\t2\t3\t4\t5\n", "line 1: 5 of 4 fields"),
        ("\t", "1\t2\t3\t4\n\n1\t2\t3\t4\n", "line 2: 1 of 4 fields"),
        ("\t", "1::2::3::4\n", "line 1: 1 of 4 fields"),
        ("::", "1::2::3::4\n1:2:3:4\n", "line 2: 1 of 4 fields"),
        ("::", "1\t2\t3\t4\n", "line 1: 1 of 4 fields"),
        ("::", "1::2::3::4\n1:9:2::3::4\n", "line 2: 3 of 4 fields"),
        ("::", "1::2::3::4\nA::2::3::4\n", "line 2: user 'A' is not a whole number"),
        ("::", "1::2::3::4\n1::2::::4\n", "line 2: rating '' is not a number"),
        ("::", "1::2::3::4\n1::2::3", "does not end with a line break"),
        ("::", "1::2::3::4\n1::9999999999::3::4\n", "cannot be read .*9999999999"),
    ],
)
def test_a_bad_line_is_named(tmp_path, separator, text, message):
    path = write(tmp_path / "log", text)
    with pytest.raises(UserError, match=message) as error:
        read_ratings(path, separator, None)
    assert str(path) in str(error.value)


def test_u_item_gives_titles_and_genres(tmp_path):
    flags = ["0"] * 19
    comedy_war = "|".join([*flags[:5], "1", *flags[6:17], "1", "0"])
    unknown = "|".join(["1", *flags[1:]])
    text = f"1|Amélie: a (2001) |d||u|{comedy_war}\n267|unknown||||{unknown}\n"
    items = read_u_item(write(tmp_path / "u.item", text, "latin-1"))
    assert items.rows() == [
        (1, "Amélie: a (2001)", "Amélie: a (2001); Comedy, War"),
        (267, "unknown", "unknown"),
    ]


def test_movies_dat_gives_titles_and_genres(tmp_path):
    text = "1::Toy Story (1995)::Animation|Children's|Comedy\n2::Léon: x (1994)::Crime\n3::Bare::\n"
    items = read_movies_dat(write(tmp_path / "movies.dat", text, "latin-1"))
    assert items["text"].to_list() == [
        "Toy Story (1995); Animation, Children's, Comedy",
        "Léon: x (1994); Crime",
        "Bare",
    ]


def test_amazon_titles_are_unescaped_and_may_be_shared(tmp_path):
    path = write(tmp_path / "items.tsv", "0\tA\tSalt &amp; 18&quot; \n1\tB\tSalt &amp; 18&quot;\n")
    assert read_items_tsv(path, 0).rows() == [(0, 'Salt & 18"', 'Salt & 18"'), (1, 'Salt & 18"', 'Salt & 18"')]


def test_the_split_files_count_items_from_one_and_the_single_file_from_zero(tmp_path):
    amazon_games(tmp_path)
    amazon_toys(tmp_path)
    games = LAYOUTS["amazon_sequential_splits"].read_items(tmp_path / "amazon-games/items.tsv")
    toys = LAYOUTS["amazon_sequential"].read_items(tmp_path / "amazon-toys/items.tsv")
    assert dict(games.select("item", "title").rows()) == {1: "Pong & Co", 2: "Quake", 3: "Risk"}
    assert dict(toys.select("item", "title").rows()) == {0: 'Top 18"', 1: "Kite", 2: "Kite"}


def test_sequences_continue_from_file_to_file(tmp_path):
    train = write(tmp_path / "train", "1 4 5\n2 6\n3 9 \n")
    val = write(tmp_path / "val", "1 7\n2\n3 1\n")
    log = read_sequences([train, val], None)
    rows = log.select("user", "item", "part", "timestamp").rows()
    assert rows == [(1, 4, 0, 0), (1, 5, 0, 1), (2, 6, 0, 0), (3, 9, 0, 0), (1, 7, 1, 2), (3, 1, 1, 1)]
    assert set(read_sequences([train, val], 1)["user"]) == {1}  # a row of this log is a line, that is a user


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n2 3 x\n", "line 2: 'x' is not a whole number"),
        ("1 2\n2,3,4\n", "line 2: '2,3,4' is not a whole number"),
        ("1\t2\t3\n", "line 1: .*separated by one space"),
        ("1 2\n\n2 3\n", "line 2: '' is not a whole number"),
        ("1 2\n2 34", "does not end with a line break"),
    ],
)
def test_a_bad_sequence_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_sequences([write(tmp_path / "log", text)], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1::A::Drama\n2::B\n", "line 2: 2 fields separated by '::' where 3"),
        ("1\tA\tDrama\n", "line 1: 1 fields"),
        ("1::A::Drama\nII::B::Drama\n", "line 2: item 'II' is not a whole number"),
        ("1::A::Drama\n2::B::Drama\n1::C::Drama\n", "line 3: item 1 is listed a second time"),
    ],
)
def test_a_bad_item_line_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_movies_dat(write(tmp_path / "movies.dat", text))


def test_text_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not utf-8 text"):
        read_items_tsv(write(tmp_path / "items.tsv", "0\tA\tAmélie\n", "latin-1"), 0)


@pytest.mark.parametrize("layout", [ml_100k, ml_1m])
def test_both_movielens_layouts_read_the_same(tmp_path, layout):
    settings = layout(tmp_path)
    folder = tmp_path / settings["raw_dir"]
    log_file, item_file = (Path(folder / file["name"]) for file in settings["files"])
    reader = LAYOUTS[settings["reader"]]
    assert reader.read_log([log_file], None).row(0) == (7, 20, 5.0, 300)
    assert reader.read_items(item_file).row(0) == (10, "Alien (1979)", "Alien (1979); Comedy, Sci-Fi")
