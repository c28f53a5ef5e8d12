from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.teacher.language_model.tiny import tiny_random
from src.teacher.prompts.prompt import (
    MARKER,
    MARKER_ID,
    PADDING_ID,
    PromptBuilder,
    special_tokens_around,
)
from src.teacher.prompts.templates import read_template

TITLES = ["Alien (1979)", "Toy Story (1995)", "Amélie", "Alien (1979)", "M"]
TOKENIZER = tiny_random()[1]
TEMPLATES = sorted((CONF_DIR / "prompts").glob("*.txt"))


def builder(
    template: str = "Seen: [HistoryHere]. Next is", prompt_items: int = 3, title_tokens: int = 40, max_tokens: int = 500
):
    return PromptBuilder(TOKENIZER, template, TITLES, prompt_items, title_tokens, max_tokens)


def text_of(token_ids: torch.Tensor) -> str:
    """What a person would read, padding left out."""
    text, piece = "", []
    for token in [*token_ids.tolist(), MARKER_ID]:
        if token == MARKER_ID:
            text += TOKENIZER.decode(piece) + MARKER
            piece = []
        elif token != PADDING_ID:
            piece.append(token)
    return text.removesuffix(MARKER)


def test_a_prompt_reads_as_the_template_with_real_titles_and_a_marker_behind_each():
    prompt = builder().build(torch.tensor([[3, 1, 2]]))
    assert text_of(prompt.token_ids[0]) == (
        "[CLS]Seen: Amélie[HistoryEmb], Alien (1979)[HistoryEmb], Toy Story (1995)[HistoryEmb]. Next is[SEP]"
    )


def test_only_the_newest_items_are_shown_and_the_oldest_go_first():
    prompt = builder(prompt_items=2).build(torch.tensor([[3, 1, 2, 5, 0, 0]]))
    assert text_of(prompt.token_ids[0]) == ("[CLS]Seen: Toy Story (1995)[HistoryEmb], M[HistoryEmb]. Next is[SEP]")
    assert prompt.marked_items.tolist() == [2, 5]


def test_markers_name_their_items_row_by_row():
    prompt = builder(prompt_items=2).build(torch.tensor([[5, 0, 0], [4, 4, 1], [1, 3, 0]]))
    assert prompt.marked_items.tolist() == [5, 4, 1, 1, 3]
    assert (prompt.token_ids == MARKER_ID).sum(1).tolist() == [1, 2, 2]


def test_shorter_prompts_are_padded_on_the_right():
    prompt = builder().build(torch.tensor([[5, 0], [2, 2]]))
    real = prompt.token_ids != PADDING_ID
    assert real[1].all()
    assert real[0].long().diff().max() <= 0
    assert text_of(prompt.token_ids[0]) == "[CLS]Seen: M[HistoryEmb]. Next is[SEP]"


def test_a_prompt_does_not_depend_on_the_rows_beside_it():
    prompts = builder()
    alone = prompts.build(torch.tensor([[5, 3]])).token_ids[0]
    beside = prompts.build(torch.tensor([[2, 2], [5, 3]])).token_ids[1]
    assert beside[: len(alone)].tolist() == alone.tolist()


def test_a_long_title_is_cut_but_keeps_its_marker():
    prompt = builder(title_tokens=5).build(torch.tensor([[2, 5]]))
    assert text_of(prompt.token_ids[0]) == "[CLS]Seen: Toy [HistoryEmb], M[HistoryEmb]. Next is[SEP]"


def literal_prompt(history: list[int], prompt_items: int, title_tokens: int) -> list[int]:
    """Token ids of a prompt, written down from left to right."""

    def ids(text: str) -> list[int]:
        return TOKENIZER(text, add_special_tokens=False).input_ids

    tokens = [TOKENIZER.cls_token_id, *ids("Seen:")]
    shown = history[-prompt_items:]
    for place, item in enumerate(shown):
        if place > 0:
            tokens += ids(",")
        tokens += [*ids(" " + TITLES[item - 1])[:title_tokens], MARKER_ID]
    return [*tokens, *ids(". Next is"), TOKENIZER.sep_token_id]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, len(TITLES)), min_size=1, max_size=6), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_prompts_and_their_lengths_equal_the_literal_ones(histories, prompt_items, title_tokens):
    prompts = builder(prompt_items=prompt_items, title_tokens=title_tokens)
    padded = torch.tensor([history + [0] * (6 - len(history)) for history in histories])
    expected = [literal_prompt(history, prompt_items, title_tokens) for history in histories]
    prompt = prompts.build(padded)
    assert prompts.lengths(padded).tolist() == [len(tokens) for tokens in expected]
    assert prompt.token_ids.shape[1] == max(map(len, expected))
    for row, tokens in zip(prompt.token_ids.tolist(), expected, strict=True):
        assert row == tokens + [PADDING_ID] * (len(row) - len(tokens))
    assert prompt.marked_items.tolist() == [item for history in histories for item in history[-prompt_items:]]


def test_special_tokens_stand_around_the_prompt_once():
    opening, closing = special_tokens_around(TOKENIZER)
    assert (opening, closing) == ([TOKENIZER.cls_token_id], [TOKENIZER.sep_token_id])
    tokens = builder().build(torch.tensor([[1, 2]])).token_ids[0].tolist()
    assert tokens.count(TOKENIZER.cls_token_id) == tokens.count(TOKENIZER.sep_token_id) == 1


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["Next is", "[HistoryHere] and [HistoryHere]", ""])
def test_a_template_without_one_place_for_the_history_is_refused(template):
    with pytest.raises(UserError, match=r"\[HistoryHere\] exactly once"):
        builder(template)


@pytest.mark.parametrize("title", ["", "  "])
def test_an_item_without_a_title_is_refused_by_its_number(title):
    with pytest.raises(UserError, match="Item 2 has no title"):
        PromptBuilder(TOKENIZER, "[HistoryHere]", ["Alien", title, ""], 3, 40, 500)


def test_a_missing_template_names_those_there(tmp_path):
    (tmp_path / "toys.txt").write_text("[HistoryHere]")
    (tmp_path / "games.txt").write_text("[HistoryHere]")
    with pytest.raises(UserError, match=r"dataset.prompt=books has no template .* use one of games, toys"):
        read_template(tmp_path, "books", "ranking")


# --- the templates that come with the program ----------------------------------------------------------------------


def test_there_are_templates_for_movies_games_artists_and_toys():
    assert [path.stem for path in TEMPLATES] == ["artists", "games", "movies", "toys"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_every_template_makes_a_prompt(path: Path):
    template = read_template(path.parent, path.stem, "ranking")
    before, after = template.strip().split("[HistoryHere]")
    text = text_of(builder(template).build(torch.tensor([[1, 5]])).token_ids[0])
    assert text == f"[CLS]{before.strip()} Alien (1979)[HistoryEmb], M[HistoryEmb]{after}[SEP]"


# --- the token budget ----------------------------------------------------------------------------------------------


def test_the_oldest_items_go_until_the_prompt_fits():
    whole = builder(max_tokens=500).build(torch.tensor([[3, 1, 2]]))
    tokens = whole.token_ids.shape[1]
    assert builder(max_tokens=tokens).build(torch.tensor([[3, 1, 2]])).marked_items.tolist() == [3, 1, 2]
    cut = builder(max_tokens=tokens - 1).build(torch.tensor([[3, 1, 2], [5, 5, 0]]))
    assert cut.marked_items.tolist() == [1, 2, 5, 5]
    assert text_of(cut.token_ids[0]).startswith("[CLS]Seen: Alien (1979)[HistoryEmb], Toy Story")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(50, 120),
)
def test_prompts_keep_the_longest_end_of_the_history_within_the_budget(histories, prompt_items, max_tokens):
    longest = max(map(len, histories))
    history = torch.tensor([row + [0] * (longest - len(row)) for row in histories])
    prompts = builder(prompt_items=prompt_items, max_tokens=max_tokens)
    lengths = prompts.lengths(history)
    assert int(lengths.max()) <= max_tokens
    generous = builder(prompt_items=prompt_items)
    for row, items in enumerate(histories):
        ends = [items[-n:] for n in range(1, min(prompt_items, len(items)) + 1)]
        fitting = [end for end in ends if int(generous.lengths(torch.tensor([end]))) <= max_tokens]
        assert prompts.build(torch.tensor([items])).marked_items.tolist() == fitting[-1]
        assert int(lengths[row]) == int(generous.lengths(torch.tensor([fitting[-1]])))


def test_a_budget_without_room_for_one_title_is_refused():
    with pytest.raises(UserError, match=r"take up to \d+ tokens, but a prompt may have 20"):
        builder(max_tokens=20)
