import polars as pl
import pytest

from src.core.errors import UserError
from src.data.raw.layouts import LAYOUTS
from src.data.raw.movielens import read_movies_dat, read_ratings, read_u_item
from tests.data.raw_folders import ml_1m, ml_100k, write


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
        ("::", "1::2::3::4\n1::9999999999::3::4\n", "line 2: item '9999999999' is not a whole number up to 2147483647"),
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


@pytest.mark.parametrize("layout", [ml_100k, ml_1m])
def test_both_movielens_layouts_read_the_same(tmp_path, layout):
    settings = layout(tmp_path)
    log_file, item_file = (tmp_path / settings.raw_dir / file.name for file in settings.files)
    reader = LAYOUTS[settings.reader]
    assert reader.read_log([log_file], settings).row(0) == (7, 20, 5.0, 300)
    assert reader.read_items(item_file, settings).row(0) == (10, "Alien (1979)", "Alien (1979); Comedy, Sci-Fi")
