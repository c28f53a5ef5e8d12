import torch

from src.teacher.prompts.prompt import MARKER_ID, PADDING_ID
from src.teacher.prompts.user_prompt import UserPrompts, block_causal_mask
from tests.teacher.teachers import prompt_builder
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
PROMPTS = prompt_builder(DATASET.catalogue.titles)
HISTORY = torch.tensor([[3, 1, 4, 1, 5], [2, 0, 0, 0, 0], [9, 2, 0, 0, 0]])


def test_a_prompt_is_the_words_before_and_every_title_with_its_marker():
    prompt = UserPrompts(PROMPTS).build(HISTORY)
    comma = PROMPTS.separator
    expected = [*PROMPTS.before, *PROMPTS.pieces[9], *comma, *PROMPTS.pieces[2]]
    assert prompt.token_ids[2, : len(expected)].tolist() == expected
    assert set(prompt.token_ids[2, len(expected) :].tolist()) == {PADDING_ID}
    assert prompt.marked_items.tolist() == [3, 1, 4, 1, 5, 2, 9, 2]
    assert int((prompt.token_ids == MARKER_ID).sum()) == 8


def test_a_token_belongs_to_the_item_whose_title_marker_or_comma_it_is():
    prompt = UserPrompts(PROMPTS).build(HISTORY)
    parts = (PROMPTS.before, PROMPTS.pieces[9], PROMPTS.separator, PROMPTS.pieces[2])
    words, first, comma, second = map(len, parts)
    place = prompt.place[2].tolist()
    assert place[: words + first] == [0] * (words + first)
    assert place[words + first : words + first + comma + second] == [1] * (comma + second)
    assert set(place[words + first + comma + second :]) == {5}


def test_lengths_are_known_before_a_prompt_is_built():
    prompts = UserPrompts(PROMPTS)
    built = (prompts.build(HISTORY).token_ids != PADDING_ID).sum(1)
    assert torch.equal(prompts.lengths(HISTORY), built)


def test_the_shorter_history_is_the_beginning_of_the_longer_one():
    prompts = UserPrompts(PROMPTS)
    whole, part = prompts.build(torch.tensor([[3, 1, 4]])), prompts.build(torch.tensor([[3, 1]]))
    length = part.token_ids.shape[1]
    assert torch.equal(whole.token_ids[:, :length], part.token_ids)
    assert torch.equal(whole.place[:, :length], part.place)


def test_attention_goes_both_ways_within_an_item_and_backwards_across_items():
    place = torch.tensor([[0, 0, 1, 1, 2]])
    assert block_causal_mask(place)[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]


def test_real_tokens_never_see_padding():
    prompt = UserPrompts(PROMPTS).build(HISTORY)
    real = prompt.token_ids != PADDING_ID
    seen = block_causal_mask(prompt.place)[:, 0] & real.unsqueeze(2)
    assert not (seen & ~real.unsqueeze(1)).any()
