import pytest

from src.core.errors import UserError
from src.data.raw.amazon import read_items_tsv, read_sequences
from src.data.raw.layouts import LAYOUTS
from tests.data.raw_folders import amazon_games, amazon_toys, write


def test_amazon_titles_are_unescaped_and_may_be_shared(tmp_path):
    path = write(tmp_path / "items.tsv", "0\tA\tSalt &amp; 18&quot; \n1\tB\tSalt &amp; 18&quot;\n")
    assert read_items_tsv(path, 0).rows() == [(0, 'Salt & 18"', 'Salt & 18"'), (1, 'Salt & 18"', 'Salt & 18"')]


def test_the_split_files_count_items_from_one_and_the_single_file_from_zero(tmp_path):
    of_games, of_toys = amazon_games(tmp_path), amazon_toys(tmp_path)
    games = LAYOUTS["amazon_sequential_splits"].read_items(tmp_path / "amazon-games/items.tsv", of_games)
    toys = LAYOUTS["amazon_sequential"].read_items(tmp_path / "amazon-toys/items.tsv", of_toys)
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


def test_text_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not utf-8 text"):
        read_items_tsv(write(tmp_path / "items.tsv", "0\tA\tAmélie\n", "latin-1"), 0)
