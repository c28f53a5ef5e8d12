import gzip
import json
import re
from base64 import b64decode

import pytest

from src.evaluation.tables import TextTable
from src.report.blocks import ExampleUser, Figure, Listed, Recommended, Section, Text, missing
from src.report.page import in_script, page
from tests.report.runs import HOSTILE


def body(html: str) -> str:
    """The page without Plotly."""
    return html[: html.index('id="plotly"')]


@pytest.fixture(scope="module")
def hostile() -> str:
    """A page every text of which is hostile."""
    title = "".join(HOSTILE)
    item = Listed(title, title, True)
    user = ExampleUser(title, title, 1, [item], item, [Recommended(title, title, [item])])
    figure = Figure(title, [{"type": "bar", "x": [title], "y": [1]}], {"title": {"text": title}})
    blocks = [Text(title), missing(title), TextTable(title, [title, title], [[title, title]] * 20), figure, user]
    return page(title, [(title, title)], [title], [Section(title, blocks)])


def test_what_a_text_holds_is_no_markup(hostile):
    told = body(hostile)
    assert "window.attacked" in told
    assert "<script>window" not in told and "<img" not in told and "<b>bold" not in told
    assert told.count("<script") == 2  # the figure's data and Plotly, cut off here
    assert "{{ 7 * 7 }}" in told and "49" not in re.sub(r"[\d.]{3,}", "", told.partition("</style>")[2])[:400]


def test_a_figures_data_come_through_as_they_are(hostile):
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', hostile, re.DOTALL)[1])
    assert data["data"][0]["x"] == ["".join(HOSTILE)]


def test_json_can_not_end_its_element():
    assert json.loads(in_script("</script><!--")) == "</script><!--"
    assert "<" not in in_script({"a": "</script>"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        in_script(float("nan"))


def test_nothing_is_fetched_and_the_page_is_small(hostile):
    told = body(hostile)
    assert "default-src 'none'" in told
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", re.sub(r"&#?\w+;", "", told))
    assert len(hostile.encode()) < 2.5e6


def test_plotly_lies_within():
    from plotly.offline import get_plotlyjs

    found = re.search(r'id="plotly">([^<]*)<', page("t", [], [], []))[1]
    assert gzip.decompress(b64decode(found)).decode() == get_plotlyjs()


def test_an_item_without_a_title_is_called_by_its_raw_id():
    user = ExampleUser("User 7", "at random", 0, [Listed("", "a_1")], Listed("", "b", True), [])
    told = body(page("t", [], [], [Section("s", [user])]))
    assert "<li>a_1 <small></small></li>" in told and "<strong>b</strong>" in told


def test_a_long_table_is_folded_and_a_short_one_is_not():
    rows = [["a", "1"]]
    assert "<details" not in body(page("t", [], [], [Section("s", [TextTable("T", ["a", "b"], rows * 12)])]))
    assert "<details" in body(page("t", [], [], [Section("s", [TextTable("T", ["a", "b"], rows * 13)])]))
