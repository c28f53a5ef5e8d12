import json

import pytest

from src.teacher.generation.hit_ratio import first_line, hit_ratio, named_candidate
from tests.golden import FOLDER

GOLDEN = json.loads((FOLDER / "case4_hr1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN["calculate_hr1"], ids=lambda case: case["name"])
def test_answers_are_judged_as_the_reference_code_judges_them(case):
    found = hit_ratio(case["generate"], case["real"], case["cans"])
    assert found.valid_ratio == pytest.approx(case["valid_ratio"])
    assert found.of_valid == pytest.approx(case["hr"])
    assert found.of_all == pytest.approx(case["metric"])  # right / valid * valid / all


@pytest.mark.parametrize("case", GOLDEN["first_line_rule"], ids=lambda case: repr(case["raw"]))
def test_the_first_line_is_what_counts(case):
    assert first_line(case["raw"]) == case["kept"]


def test_two_titles_in_an_answer_are_none():
    assert named_candidate("Heat or Fargo", ["Heat", "Fargo", "Alien"]) is None
    assert named_candidate("I say HEAT!", ["Heat", "Fargo"]) == "heat"
