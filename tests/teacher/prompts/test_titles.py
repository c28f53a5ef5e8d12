import json

import pytest

from src.teacher.prompts.titles import TITLE_FORMS, reference_title, with_article_in_front
from tests.golden import FOLDER

GOLDEN = json.loads((FOLDER / "case5_titles.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("movie", GOLDEN["movies"], ids=lambda movie: movie["raw"])
def test_movies_are_called_as_the_reference_code_calls_them(movie):
    assert reference_title(movie["raw"]) == (movie["title"] or movie["raw"])


@pytest.mark.parametrize("case", GOLDEN["get_mv_title_only"], ids=lambda case: case["input"])
def test_articles_go_where_the_reference_code_puts_them(case):
    assert with_article_in_front(case["input"]) == case["title"]


def test_a_title_that_would_be_left_empty_stays():
    assert reference_title("unknown") == "unknown"


def test_titles_stay_as_they_are_unless_asked():
    assert TITLE_FORMS["catalogue"]("Lion King, The (1994)") == "Lion King, The (1994)"
