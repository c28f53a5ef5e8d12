import pytest

from src.core.errors import UserError
from src.data.raw.cells import Cells
from tests.data.own_logs import ENDINGS, LOG, write_table
from tests.data.raw_folders import write


def rows(cells: Cells, *columns: str, limit=None) -> list[tuple]:
    return cells.read(columns, limit).rows()


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_holds_the_same_cells(tmp_path, ending):
    cells = Cells(write_table(tmp_path / f"log.{ending}", LOG))
    assert cells.names == ["user", "item", "rating", "timestamp"]
    assert rows(cells, "item", "user") == [(item, user) for user, item, _, _ in LOG.rows()]
    assert rows(cells, "timestamp", limit=2) == [("2024-01-03",), ("2024-01-01",)]


def test_a_csv_has_quotes_and_any_other_text_has_none(tmp_path):
    quoted = write(tmp_path / "a.csv", 'item,title\n1,"Salt, ""18""\nand pepper"\n')
    assert rows(Cells(quoted), "title") == [('Salt, "18"\nand pepper',)]
    plain = write(tmp_path / "a.tsv", 'item\ttitle\n1\t"Weird" Al\n')
    assert rows(Cells(plain), "title") == [('"Weird" Al',)]


@pytest.mark.parametrize("separator", [";", "|", "::"])
def test_another_separator_and_a_file_without_a_header(tmp_path, separator):
    text = "".join(separator.join(line) + "\n" for line in (["7", "a:b", "3"], ["8", "c", "4"]))
    path = write(tmp_path / "log.dat", text)
    cells = Cells(path, separator, ["user", "item", "n"])
    assert rows(cells, "n", "item") == [("3", "a:b"), ("4", "c")]
    assert rows(cells, "user", limit=1) == [("7",)]
    headed = Cells(path, separator)
    assert headed.names == ["7", "a:b", "3"] and rows(headed, "a:b") == [("c",)]


def test_recboles_types_belong_to_no_name(tmp_path):
    cells = Cells(write(tmp_path / "a.inter", "user_id:token\titem_id:token\n1\t2\n"))
    assert "user_id" in cells and "user_id:token" in cells and "token" not in cells
    assert rows(cells, "item_id") == [("2",)]


def test_a_name_that_two_columns_have_before_their_types_is_none(tmp_path):
    cells = Cells(write(tmp_path / "a.inter", "time:utc\ttime:local\n1\t2\n"))
    assert "time" not in cells and rows(cells, "time:utc") == [("1",)]


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n\r\n"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "user,item\n1,2\n3,4\n"), ("a.jsonl", '{"user":1,"item":2}\n{"user":3,"item":4}\n')]
)
def test_what_editors_add_changes_nothing(tmp_path, name, text, change):
    path = tmp_path / name
    path.write_bytes(change(text).encode())
    assert rows(Cells(path), "user", "item") == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "user,item\n1,2,3\n", r"row 2 \(the header counted\): 3 fields where there are 2 columns"),
        ("a.tsv", "user\titem\n1\t2\t3\n4\n", r"row 2 \(the header counted\): 3 fields"),  # as many fields as if right
        ("a.csv", 'user,item\n1,"2\n3,4\n', "look for a quote that is not closed"),
        ("a.csv", "user,user\n1,2\n", "several columns that are called 'user'"),
        ("a.csv", "user,item\n1,2", "does not end with a line break"),
        ("a.dat", "user::item\n1:2\n", r"row 2 \(the header counted\): 1 fields"),
        ("a.jsonl", '{"user":1}\n{"user":\n', "line 2, is no JSON object"),
        ("a.jsonl", "[1]\n", "line 1, is no JSON object"),
        ("a.jsonl", '{"user":1}\n' * 1500 + "x\n", "line 1501, is no JSON object"),
        ("a.xlsx", "PK", "'.xlsx' does not tell what it holds"),
        ("log", "a", "'log' does not tell what it holds"),
        ("a.parquet", "PAR1", "is no Parquet file, or is cut short"),
        ("a.csv.gz", "user,item\n", "cannot be unpacked"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_the_place_of_its_fault(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message) as caught:
        Cells(write(tmp_path / name, text), "::" if name == "a.dat" else None).read(["user"])
    assert "\n" not in str(caught.value)


def test_text_in_another_encoding_is_told_with_its_line(tmp_path):
    with pytest.raises(UserError, match="line 2, is not utf-8 text"):
        Cells(write(tmp_path / "a.csv", "user,item\n1,é\n", "latin-1")).read(["user"])


def test_a_header_in_the_config_names_all_columns(tmp_path):
    with pytest.raises(UserError, match=r"has 2 columns, but its header in the config names 1 \(user\)"):
        Cells(write(tmp_path / "a.csv", "1,2\n"), None, ["user"])
