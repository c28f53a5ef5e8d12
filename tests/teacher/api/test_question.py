import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.teacher.api.question import asked_again, check_template, question, ranking_in, response_format
from src.teacher.api.settings import ApiSettings
from tests.teacher.api.endpoints import right

TEMPLATE = "Seen:\n[HistoryHere]\nOffered:\n[CansHere]\n"


def test_a_question_shows_titles_on_lines_and_candidates_by_number():
    assert question(TEMPLATE, ["Alien", "M"], ["Heat", "Dune", "Heat"], "line") == (
        "Seen:\n- Alien\n- M\nOffered:\n1. Heat\n2. Dune\n3. Heat\n\n"
        "Answer with all numbers from 1 to 3, each once, the likeliest first, on one line, separated by commas, and "
        "with nothing else."
    )
    assert '{"ranking": [...]}' in question(TEMPLATE, ["M"], ["Heat", "Dune"], "json_schema")


def test_a_title_that_looks_like_a_marker_is_a_title():
    text = question(TEMPLATE, ["[CansHere]"], ["[HistoryHere]"], "line")
    assert text.startswith("Seen:\n- [CansHere]\nOffered:\n1. [HistoryHere]\n\n")


@pytest.mark.parametrize("path", sorted((CONF_DIR / "prompts" / "api").glob("*.txt")), ids=lambda path: path.stem)
def test_every_shipped_template_has_its_places(path):
    assert (CONF_DIR / "prompts" / path.name).is_file()
    check_template(path.read_text(), str(path))


def test_each_prompt_has_a_template_for_an_endpoint():
    names = [
        {path.name for path in folder.glob("*.txt")} for folder in (CONF_DIR / "prompts", CONF_DIR / "prompts/api")
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(("template", "said"), [("[CansHere]", "HistoryHere"), (TEMPLATE + "[CansHere]", "CansHere")])
def test_a_template_without_its_places_is_told(template, said):
    with pytest.raises(UserError, match=rf"movies\.txt must hold \[{said}\] once"):
        check_template(template, "movies.txt")


@given(st.permutations(range(7)), st.sampled_from([", ", ",", " ", "  ", " ,\t"]))
def test_every_permutation_is_read_in_both_forms(order, between):
    numbers = [place + 1 for place in order]
    assert ranking_in(f" {between.join(map(str, numbers))}\n", 7, "line") == order
    assert ranking_in(json.dumps({"ranking": numbers}), 7, "json_schema") == order


@pytest.mark.parametrize(
    "said",
    [
        "", "1, 2", "1, 2, 3, 4", "1, 1, 2", "0, 1, 2", "1; 2; 3", "1, 2, 3.", "1,\n2, 3", "01, 2, 3", "Sure: 1, 2, 3",
        "1, 2, 3 (Heat)", "[1, 2, 3]", "1,, 2, 3", "-1, 2, 3", "1.0, 2, 3", "²,1,3",
        "\N{ARABIC-INDIC DIGIT ONE}, 2, 3", "9" * 5000,
        "<think>1</think> 1, 2, 3", "1 , 2 ,3,",
    ],
)  # fmt: skip
def test_anything_else_is_no_line(said):
    assert ranking_in(said, 3, "line") is None


@pytest.mark.parametrize(
    "said",
    [
        "", "1, 2, 3", "[1, 2, 3]", '{"ranking": [1, 2]}', '{"ranking": [1, 2, 2]}', '{"ranking": [1, 2, 3], "a": 0}',
        '{"ranking": [1, 2, 3.0]}', '{"ranking": ["1", "2", "3"]}', '{"ranking": [true, 2, 3]}', '{"ranking": null}',
        '{"ranking": {"1": 2}}', '{"ranking": [1, 2, 3]', '```json\n{"ranking": [1, 2, 3]}\n```', "[" * 100_000,
        '{"ranking": [' + "9" * 5000 + "]}", "null", '"ranking"',
    ],
)  # fmt: skip
def test_anything_else_is_no_object(said):
    assert ranking_in(said, 3, "json_schema") is None


def test_the_schema_allows_the_right_answer_and_no_other_number():
    schema = response_format(3)["json_schema"]["schema"]
    assert schema["properties"]["ranking"]["items"]["enum"] == [1, 2, 3]
    assert schema["required"] == ["ranking"] and schema["additionalProperties"] is False


def test_asked_again_a_question_shows_what_was_wrong_cut_short_and_asks_the_same():
    text = question(TEMPLATE, ["M"], ["Heat", "Dune"], "line")
    again = asked_again(text, "no\n" * 1000)
    assert again.startswith(text) and right(again) == right(text) == "1, 2"
    assert "no\\nno" in again and len(again) < len(text) + 700


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n", "model", "messages", "stream"])
def test_further_fields_do_not_pass_by_what_is_counted(field):
    with pytest.raises(UserError, match="more must not say how long an answer is, how many there are or who is asked"):
        ApiSettings(more={field: 5})
