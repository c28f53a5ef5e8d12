"""Every wrong file of the corpus: a right result or one sentence, never a traceback, never silence."""

from typing import Any

import pytest

from tests.wrong_files.cases import Case, outcome
from tests.wrong_files.configs import VALUES, told_of
from tests.wrong_files.corpus import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_wrong_file_is_read_right_or_refused_in_one_sentence(case: Case, tmp_path):
    outcome(case, tmp_path)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_is_kept_by_the_settings_whose_words_allow_it_and_refused_by_all_others(value: Any):
    told_of(value)


def test_every_fault_is_another_one():
    names = [str(case) for case in CASES]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 1000
