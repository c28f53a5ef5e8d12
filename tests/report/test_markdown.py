import pytest

from src.evaluation.tables import TextTable
from src.report.blocks import ExampleUser, Figure, Listed, Recommended, Section, Text
from src.report.markdown import markdown, plain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Toy Story (1995)", "Toy Story (1995)"),
        ("<b>x</b> & y", r"\<b\>x\</b\> \& y"),
        ("[a](http://b)", r"[a\](http://b)"),
        ("+0.1 [0.0, 0.2]", "+0.1 [0.0, 0.2]"),
        ("ml_100k", "ml_100k"),
        ("_a_ *b* `c` ~~d~~", r"\_a\_ \*b\* \`c\` \~~d\~~"),
        ("two\nlines\r\n| here", r"two lines \| here"),
    ],
)
def test_text_means_itself(text, told):
    assert plain(text) == told


def test_every_block_has_its_way():
    lists = [Recommended("M", "4", [Listed("B", "2", True)])]
    user = ExampleUser("User 7", "at random", 3, [Listed("A", "1")], Listed("B|C", "2", True), lists)
    table = TextTable("Title", ["Model", "a|b"], [["x", "1"]])
    section = Section("Part", [Text("Said."), table, Figure("Shows.", [], {}), user])
    assert markdown("Whole", [("run_1", "3 test users")], ["Verdict."], [section]) == (
        "# Whole\n\n**Verdict.**\n\nrun_1: 3 test users\n\n"
        "## Part\n\nSaid.\n\n**Title**\n\n| Model | a\\|b |\n| --- | ---: |\n| x | 1 |\n\n"
        "(Figure in report.html: Shows.)\n\n### User 7 (at random)\n\n- History: … 3 earlier, A (1)\n"
        "- Next: **B\\|C (2)**\n- M, target at rank 4: **B (2)**\n"
    )


def test_an_item_without_a_title_is_called_by_its_raw_id():
    user = ExampleUser("User 7", "at random", 0, [Listed("", "a_1")], Listed("", "b", True), [])
    told = markdown("Whole", [], [], [Section("Part", [user])])
    assert "- History: a_1\n- Next: **b**\n" in told
