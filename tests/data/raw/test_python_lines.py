import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.errors import UserError
from src.data.raw.python_lines import as_json_lines

PATH = Path("meta.json")


def test_json_stays_as_it_is():
    for text in (b'{"asin": "B1"}\n', b"", b'{ "asin": "B1"}\n', b"no object\n"):
        assert as_json_lines(PATH, text) is text


def test_dictionaries_become_json_and_empty_lines_go():
    text = b"{'asin': 'B1', 'title': \"It's\", 'price': 5.5, 'n': None, 'ok': True}\n\n{u'asin': u'\\u00e9'}\n"
    assert [json.loads(line) for line in as_json_lines(PATH, text).splitlines()] == [
        {"asin": "B1", "title": "It's", "price": 5.5, "n": None, "ok": True},
        {"asin": "é"},
    ]


def test_lists_within_a_list_are_joined():
    text = b"{'categories': [['Toys', 'Kites'], ['Gifts']], 'plain': ['a', 'b']}\n"
    assert json.loads(as_json_lines(PATH, text)) == {"categories": ["Toys", "Kites", "Gifts"], "plain": ["a", "b"]}


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())), min_size=1))
def test_whatever_python_prints_is_read_as_literals_are(rows):
    rows = [{"first": 1, **row} for row in rows]
    text = "".join(f"{row!r}\n" for row in rows).encode("utf-8", errors="backslashreplace")
    found = [json.loads(line) for line in as_json_lines(PATH, text).splitlines()]
    assert found == [ast.literal_eval(f"{row!r}") for row in rows]


@pytest.mark.parametrize(
    "line", ["{'a': open('x')}", "{'a': b}", "{'a': [x for x in ()]}", "{'a': 1", "['a']", "'a'", "{'a': " + "(" * 9999]
)
def test_what_is_no_literal_is_refused_and_not_run(line):
    with pytest.raises(UserError, match=r"meta\.json, line 2, is no Python dictionary"):
        as_json_lines(PATH, f"{{'a': 1}}\n{line}\n".encode())


@pytest.mark.parametrize("value", ["{1}", "b'x'", "1j"])
def test_what_json_has_not_is_told_with_its_line(value):
    with pytest.raises(UserError, match="line 2, is no Python dictionary"):
        as_json_lines(PATH, f"{{'a': 1}}\n{{'a': {value}}}\n".encode())
