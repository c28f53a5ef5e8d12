from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
    MptConfig,
    MptForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen3Config,
)

from src.core.errors import UserError
from src.teacher.generation.model import ChoiceBatch, GenerationTeacher
from src.teacher.generation.prompt import ChoicePromptBuilder
from src.teacher.generation.title_likelihood import reads_trees
from src.teacher.interfaces import Presentation
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.prompts.prompt import MARKER_ID, PADDING_ID
from tests.golden import load_golden
from tests.teacher.generation.writers import DATASET, HISTORY_LENGTH, TEMPLATES, batch_of, prompts_of, teacher_of


def text_of(token_ids: Tensor) -> str:
    tokenizer, text, piece = tiny_random_causal()[1], "", []
    for token in [*token_ids.tolist(), MARKER_ID]:
        if token == MARKER_ID:
            text, piece = text + tokenizer.decode(piece) + "^", []
        elif token != PADDING_ID:
            piece.append(token)
    return text.removesuffix("^")


# --- prompts -------------------------------------------------------------------------------------------------------


def test_a_prompt_shows_history_and_candidates_with_or_without_their_vectors():
    prompts, history, candidates = prompts_of(), torch.tensor([[3, 1, 0]]), torch.tensor([[2, 5]])
    shown = prompts.build(history, candidates, 0, with_markers=True)
    assert text_of(shown.token_ids[0]) == "[CLS]Seen: Film No^, Film No^. One of Film No^, Film No^ is next:"
    assert shown.marked_items.tolist() == [3, 1, 2, 5]
    bare = prompts.build(history, candidates, 1, with_markers=False)
    assert text_of(bare.token_ids[0]) == "[CLS]From Film No, Film No to Film No, Film No:"
    assert bare.marked_items.tolist() == []


def test_prompts_are_padded_on_the_left_and_answers_on_the_right():
    prompt = prompts_of().build(torch.tensor([[3, 1], [2, 0]]), torch.tensor([[2, 5], [4, 6]]), 0, with_markers=True)
    assert (prompt.token_ids[1, :1] == PADDING_ID).all() and (prompt.token_ids[:, -1] != PADDING_ID).all()
    answers = prompts_of(title_tokens=30).build_answers(torch.tensor([9, 10]))
    assert [text_of(row) for row in answers] == [" Film No. 9 (1959)[SEP]", " Film No. 10 (1960)[SEP]"]
    assert answers[0, -1] == PADDING_ID


def test_the_oldest_items_make_room():
    history, candidates = torch.tensor([[3, 1, 4]]), torch.tensor([[2, 5]])
    whole = prompts_of().build(history, candidates, 0, with_markers=True).token_ids.shape[1]
    cut = prompts_of(max_tokens=whole - 1).build(history, candidates, 0, with_markers=True)
    assert cut.marked_items.tolist() == [1, 4, 2, 5]
    with pytest.raises(UserError, match=r"2 candidates and one item of the history take \d+ tokens, .* may have 50"):
        prompts_of(max_tokens=50).build(history, candidates, 0, with_markers=True)


def test_the_longest_prompt_is_not_longer_than_said():
    prompts = prompts_of()
    for template in (0, 1):
        built = prompts.build(torch.tensor([[3, 1, 4]]), torch.tensor([[2, 5, 6, 7]]), template, with_markers=True)
        assert built.token_ids.shape[1] <= prompts.longest(4)


@pytest.mark.parametrize("template", ["[HistoryHere] alone", "[CansHere] before [HistoryHere]", "none"])
def test_a_template_without_its_places_is_refused(template):
    with pytest.raises(UserError, match="each once"):
        ChoicePromptBuilder(tiny_random_causal()[1], [template], ["a"], 3, 8, 100)


def test_a_tokenizer_without_an_end_of_text_is_refused():
    with pytest.raises(UserError, match="has no end of text"):
        ChoicePromptBuilder(tiny_random()[1], TEMPLATES, ["a"], 3, 8, 100)


# --- the loss ------------------------------------------------------------------------------------------------------


def literal_loss(teacher: GenerationTeacher, batch: ChoiceBatch, template: int, with_markers: bool) -> Tensor:
    """Each example by itself, unpadded, with the labels as Transformers takes them."""
    losses, counts = [], []
    for row in range(len(batch.target)):
        history, candidates = batch.history[row : row + 1], batch.candidates[row : row + 1]
        prompt = teacher.prompts.build(history, candidates, template, with_markers)
        answer = torch.tensor([teacher.prompts.answers[int(batch.target[row])]])
        token_ids = torch.cat([prompt.token_ids, answer], dim=1)
        labels = torch.cat([torch.full_like(prompt.token_ids, -100), answer], dim=1)
        with teacher.binding.bind(teacher.router(teacher.user_encoder.user_representation(history))):
            embeddings = teacher.embedded(token_ids, prompt.marked_items)
            losses.append(teacher.language_model(inputs_embeds=embeddings, labels=labels).loss)
        counts.append(answer.shape[1])
    return (torch.stack(losses) * torch.tensor(counts)).sum() / sum(counts)


@pytest.mark.parametrize("template", [0, 1])
@pytest.mark.parametrize("with_markers", [True, False])
def test_the_loss_is_the_language_models_on_the_answers_alone(template, with_markers):
    teacher, batch = teacher_of(), batch_of()
    loss = teacher.training_loss(batch, Presentation(template, with_markers))
    torch.testing.assert_close(loss, literal_loss(teacher, batch, template, with_markers), rtol=1e-4, atol=1e-5)


def test_labels_are_the_reference_codes_but_for_its_second_beginning_of_text():
    """The reference puts a beginning of text before the answer, and learns to write that too."""
    for seed in range(3):
        tensors, settings = load_golden(f"case10_label_mask_seed{seed}")
        for row, labels in enumerate(tensors["labels"]):
            start = 1 + int(tensors["prompt_len"][row])
            answer = tensors["input_ids"][row, start + 1 : start + 1 + int(tensors["target_len"][row])]
            kept = labels[labels != -100]
            assert kept.tolist() == [settings["bos_id"], *answer.tolist()]
            assert (labels[:start] == -100).all()


def test_titles_alone_leave_the_projector_at_rest():
    teacher = teacher_of().train()
    teacher.training_loss(batch_of(), Presentation(with_markers=False)).backward()
    assert all(p.grad is None or not p.grad.any() for p in teacher.projector.parameters())
    teacher.training_loss(batch_of(), Presentation(with_markers=True)).backward()
    assert all(p.grad.any() for p in teacher.projector.parameters())


def test_batches_are_shown_by_the_curriculum_in_any_of_the_templates():
    teacher, draw = teacher_of(), torch.Generator().manual_seed(0)
    begin, end = ({teacher.presentation(done, draw) for _ in range(20)} for done in (0.0, 1.0))
    assert begin == {Presentation(0, with_markers=False), Presentation(1, with_markers=False)}
    assert end == {Presentation(0, with_markers=True), Presentation(1, with_markers=True)}


# --- answers and rankings ------------------------------------------------------------------------------------------


def offered(teacher: GenerationTeacher, batch: ChoiceBatch) -> Tensor:
    """The student's four best, in an order of each example's own."""
    best = teacher.user_encoder.predict(batch.history).topk(4).indices + 1
    orders = [torch.randperm(4, generator=torch.Generator().manual_seed(each)) for each in batch.example_id.tolist()]
    return torch.stack([items[order] for items, order in zip(best, orders, strict=True)])


@torch.no_grad()
def literal_likelihood(teacher: GenerationTeacher, history: Tensor, candidates: Tensor, item: int) -> Tensor:
    """One title after its prompt, without a cache."""
    prompt = teacher.prompts.build(history, candidates, 0, with_markers=True)
    answer = torch.tensor([teacher.prompts.answers[item]])
    token_ids = torch.cat([prompt.token_ids, answer], dim=1)
    with teacher.binding.bind(teacher.router(teacher.user_encoder.user_representation(history))):
        logits = teacher.language_model(inputs_embeds=teacher.embedded(token_ids, prompt.marked_items)).logits
    said = logits[0, prompt.token_ids.shape[1] - 1 : -1].log_softmax(-1)
    return said.gather(1, answer.T).sum()


@pytest.mark.parametrize("max_tokens", [50, 300, 5000])
def test_the_catalogue_is_ranked_by_the_likelihood_of_its_titles(max_tokens):
    teacher, batch = teacher_of(max_tokens), batch_of(3)
    scores, candidates = teacher.score(batch), offered(teacher, batch)
    for row in range(3):
        history = batch.history[row : row + 1]
        for item in range(1, DATASET.num_items + 1):
            expected = literal_likelihood(teacher, history, candidates[row : row + 1], item)
            torch.testing.assert_close(scores[row, item - 1], expected, rtol=1e-4, atol=1e-4)


def test_candidates_are_offered_in_no_order_when_ranking_as_when_training(monkeypatch):
    """The student's best stands anywhere, as a target does; which items are offered is the student's choice alone."""
    teacher, train = teacher_of(), DATASET.examples["train"]
    shown = []
    build = teacher.prompts.build
    monkeypatch.setattr(teacher.prompts, "build", lambda *given, **how: shown.append(given[1]) or build(*given, **how))
    for _ in teacher.scores_in_batches(DATASET, train):
        pass
    asked = DATASET.batch(train, HISTORY_LENGTH)
    teacher.score(asked)
    exported, scored = torch.cat(shown).split([torch.cat(shown).shape[0] - len(train), len(train)])
    assert set(map(tuple, exported.tolist())) == set(map(tuple, scored.tolist()))
    best = teacher.user_encoder.predict(asked.history).topk(4).indices + 1
    assert torch.equal(scored.sort(1).values, best.sort(1).values)
    places = (scored == best[:, :1]).nonzero()[:, 1]
    counts = torch.bincount(places, minlength=4) / len(train)
    assert (counts > 0.1).all() and (counts < 0.5).all()


@pytest.mark.parametrize("rank_by", ["likelihood", "distance"])
@torch.no_grad()
def test_titles_are_compared_in_float32_under_autocast(rank_by):
    teacher, read, logits = teacher_of(rank_by=rank_by), [], []
    model = teacher.language_model
    head = model.get_output_embeddings()
    model.base_model.register_forward_hook(lambda *call: read.append(call[-1].last_hidden_state))
    model.register_forward_hook(lambda *call: logits.append(call[-1].logits))
    with torch.autocast("cpu", torch.bfloat16):
        scores = teacher.score(batch_of(3))
    assert scores.dtype == torch.float32 and logits
    for hidden, said in zip(read, logits, strict=False):  # a text that is encoded has no logits; it comes last
        expected = F.linear(hidden[:, -said.shape[1] :].float(), head.weight, head.bias)
        torch.testing.assert_close(said, expected)
    assert model.get_output_embeddings() is head
    if rank_by == "distance":
        assert read[-1].dtype == torch.float32


def test_items_of_one_title_tie():
    scores = teacher_of().score(batch_of(2))
    torch.testing.assert_close(scores[:, -1], scores[:, -2])


def test_asked_examples_come_once_each_with_what_was_read():
    teacher, asked = teacher_of(max_tokens=300), DATASET.examples["train"].subset(torch.arange(5))
    expected = teacher.score(DATASET.batch(asked, HISTORY_LENGTH))
    rows = []
    for scored in teacher.scores_in_batches(DATASET, asked):
        torch.testing.assert_close(scored.scores[:], expected[scored.rows], rtol=1e-4, atol=1e-4)
        assert scored.tokens_read > len(scored.rows) * int(teacher.trie.inner.sum())
        rows += scored.rows.tolist()
    assert sorted(rows) == list(range(5))


def test_a_few_examples_are_learned_by_heart_and_told():
    """The end of the debug plan's step 3: a single batch, near-zero loss, and the right titles come back."""
    torch.manual_seed(0)
    teacher, batch = teacher_of(adapters_at_work=False).train(), batch_of(4)
    teacher.prompts.titles = [[], *([title[-1] + item] for item, title in enumerate(teacher.prompts.titles[1:]))]
    teacher.prompts.answers = [[], *([*title, 2] for title in teacher.prompts.titles[1:])]
    optimizer = torch.optim.Adam([p for p in teacher.parameters() if p.requires_grad], lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        loss = teacher.training_loss(batch)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    tokenizer = teacher.tokenizer
    expected = [tokenizer.decode(teacher.prompts.titles[item]).strip() for item in batch.target.tolist()]
    assert teacher.eval().answers(batch) == expected


@torch.no_grad()
def test_the_catalogue_may_be_ranked_by_closeness_to_the_title_that_is_written():
    teacher, batch = teacher_of(rank_by="distance"), batch_of(2)
    candidates = offered(teacher, batch)
    said = teacher.answers(ChoiceBatch(batch.example_id, batch.history, batch.target, None, candidates))
    bare, tokenizer = tiny_random_causal()[0].base_model, teacher.tokenizer
    titles = torch.stack(
        [
            bare(input_ids=torch.tensor([tokenizer(teacher.title_of(item + 1)).input_ids])).last_hidden_state[0, -1]
            for item in range(DATASET.num_items)
        ]
    )
    for row, text in enumerate(said):
        tokens = torch.tensor([teacher.tokenizer(text).input_ids])
        written = bare(input_ids=tokens).last_hidden_state[0, -1]
        expected = -(written - titles).square().sum(1).sqrt()
        torch.testing.assert_close(teacher.score(batch)[row], expected, rtol=1e-4, atol=1e-4)


def test_training_draws_new_candidates_and_validation_keeps_its_own():
    teacher = teacher_of()
    train, lengths = teacher.training_rows(DATASET, 6, torch.Generator().manual_seed(0))
    assert len(train) == len(lengths) == 6
    rows = torch.arange(6)
    assert not torch.equal(train[rows].candidates, train[rows].candidates)
    val = teacher.validation_rows(DATASET, DATASET.examples["val"], with_seen=False)
    assert torch.equal(val[rows].candidates, val[rows].candidates)


@torch.no_grad()
def test_an_answer_of_no_words_is_as_far_from_all_titles_as_the_end_of_text(monkeypatch):
    """Many tokenizers put nothing around a text: of an empty one nothing is left."""
    teacher = teacher_of(rank_by="distance")
    monkeypatch.setattr(teacher, "_answers", lambda history, prompt: ["", "Film"])
    teacher.tokenizer._tokenizer.post_processor = None
    assert teacher.tokenizer("").input_ids == []
    scores = teacher.score(batch_of(2))
    with teacher.binding.disabled():
        end = teacher.language_model.base_model(input_ids=torch.tensor([[2]])).last_hidden_state[0]
    torch.testing.assert_close(scores[0], -torch.cdist(end, teacher.written_titles)[0], rtol=1e-4, atol=1e-4)


# --- which language models can rank by the tree of titles ----------------------------------------------------------

TOKENS = len(tiny_random_causal()[1])
SIZES = {"vocab_size": TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = SIZES | {"intermediate_size": 64, "max_position_embeddings": 1024}


def mistral(window: int) -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**WIDE, num_key_value_heads=2, sliding_window=window))


def gpt_neo(window: int) -> PreTrainedModel:
    kinds = [[["global", "local"], 1]]
    sizes = {"vocab_size": TOKENS, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
    return GPTNeoForCausalLM(GPTNeoConfig(**sizes, window_size=window, attention_types=kinds))


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=TOKENS, n_embd=32, n_layer=2, n_head=2))


def mpt() -> PreTrainedModel:
    return MptForCausalLM(MptConfig(vocab_size=TOKENS, d_model=32, n_layers=2, n_heads=2, max_seq_len=1024))


def bloom() -> PreTrainedModel:
    return BloomForCausalLM(BloomConfig(vocab_size=TOKENS, hidden_size=32, n_layer=2, n_head=2))


def opt() -> PreTrainedModel:
    return OPTForCausalLM(OPTConfig(**SIZES, ffn_dim=64, max_position_embeddings=1024, word_embed_proj_dim=32))


def bert() -> PreTrainedModel:
    return BertLMHeadModel(BertConfig(**WIDE, is_decoder=True))


def drawn(make: Callable[..., PreTrainedModel], *given: int, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    return make(*given).to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("make", "window"), [(mistral, [16]), (gpt_neo, [100]), (mpt, [])])
def test_a_model_that_reads_a_title_otherwise_beside_others_is_refused(make, window, dtype):
    model = drawn(make, *window, dtype=dtype)
    name = type(model).__name__
    with pytest.raises(UserError, match=rf"{name} reads a title otherwise .* \d+ tokens.*rank_by=distance"):
        teacher_of(language_model=model)


def test_a_model_that_reads_titles_otherwise_in_a_tree_may_write_them():
    assert teacher_of(language_model=drawn(mpt), rank_by="distance").score(batch_of(2)).isfinite().all()


@pytest.mark.parametrize("make", [bloom, opt])
def test_a_model_that_fails_under_the_masks_of_trees_is_refused_in_a_sentence(make):
    model = drawn(make)
    sentence = rf"{type(model).__name__} cannot be read as needed here \(\w+Error: .*\): set .*rank_by=distance"
    with pytest.raises(UserError, match=sentence):
        teacher_of(language_model=model)


@pytest.mark.parametrize(("make", "window"), [(mistral, [200]), (gpt_neo, [200]), (gpt2, []), (bert, [])])
@torch.no_grad()
def test_models_of_many_kinds_rank_by_the_likelihood_of_titles(make, window):
    teacher, batch = teacher_of(language_model=drawn(make, *window)), batch_of(2)
    scores, candidates = teacher.score(batch), offered(teacher, batch)
    for row in range(2):
        for item in (1, 7, 15):
            history = batch.history[row : row + 1]
            expected = literal_likelihood(teacher, history, candidates[row : row + 1], item)
            torch.testing.assert_close(scores[row, item - 1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("settings", [GemmaConfig, LlamaConfig, Qwen3Config])
def test_kinds_that_are_shipped_read_trees_however_rough_their_rounding_is(settings, dtype):
    """Deep enough that rounding in bf16 is more than a window's effect in a flat model."""
    torch.manual_seed(0)
    sizes = WIDE | {"num_hidden_layers": 12, "initializer_range": 0.3, "num_key_value_heads": 1, "head_dim": 16}
    model = AutoModelForCausalLM.from_config(settings(**sizes)).to(dtype).eval()
    assert reads_trees(model, prompts_of(prompt_items=10, title_tokens=14), candidates=4)


def test_asking_changes_nothing():
    """Neither weights nor random numbers nor the output head."""
    model = drawn(gpt2)
    before, head = {name: value.clone() for name, value in model.state_dict().items()}, model.get_output_embeddings()
    state = torch.get_rng_state()
    assert reads_trees(model, prompts_of(), candidates=4)
    assert torch.equal(torch.get_rng_state(), state) and model.get_output_embeddings() is head
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
