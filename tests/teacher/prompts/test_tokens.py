import pytest

from src.teacher.language_model.tiny import tiny_random
from src.teacher.prompts import tokens
from src.teacher.prompts.tokens import compact, token_ids

TEXTS = ["Alien", "", "a much longer title", "Alien", "M"]


@pytest.mark.parametrize("at_once", [1, 2, 5, 2**13])
def test_texts_that_are_read_in_parts_have_the_same_tokens(monkeypatch, at_once):
    _, tokenizer = tiny_random()
    monkeypatch.setattr(tokens, "AT_ONCE", at_once)
    assert [ids.tolist() for ids in token_ids(tokenizer, TEXTS)] == tokenizer(TEXTS).input_ids
    cut = token_ids(tokenizer, TEXTS, truncation=True, max_length=4)
    assert [len(ids) for ids in cut] == [min(4, len(ids)) for ids in tokenizer(TEXTS).input_ids]


def test_a_token_takes_four_bytes_and_may_be_none_of_a_vocabulary():
    assert compact([1, -1, 2**31 - 1]).tolist() == [1, -1, 2**31 - 1] and compact([]).itemsize == 4


def test_a_tokenizer_is_never_handed_more_texts_than_it_can_tell_all_about(monkeypatch):
    handed = []

    def tokenizer(texts, **how):
        handed.append(len(texts))
        return tiny_random()[1](texts, **how)

    monkeypatch.setattr(tokens, "AT_ONCE", 2)
    token_ids(tokenizer, TEXTS)
    assert handed == [2, 2, 1]
