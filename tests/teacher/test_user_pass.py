from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    LlamaConfig,
    LlamaModel,
    LongformerConfig,
    LongformerModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    XLNetConfig,
    XLNetModel,
)

from src.core.errors import UserError
from src.core.seed import generator
from src.data.rows import TrainingWindows, newest
from src.student.caser import Caser
from src.teacher.ensemble.calibration import Calibration, ensemble_scores
from src.teacher.prompts.prompt import MARKER_ID, PADDING_ID
from src.teacher.user_pass import UserPassModel, prefix_states
from tests.teacher.teachers import HISTORY_LENGTH, tiny_teacher
from tests.worlds import LONGEST, tiny_dataset

DATASET = tiny_dataset()
TRAIN = DATASET.examples["train"]
HISTORY = torch.tensor([[3, 1, 4, 1, 5], [2, 9, 0, 0, 0]])


def tiny_llama() -> PreTrainedModel:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    return LlamaModel(LlamaConfig(vocab_size=300, max_position_embeddings=1024, **sizes)).eval()


def teacher_of(pooling: str = "mean", prompt_items: int = HISTORY_LENGTH, **more) -> UserPassModel:
    language_model = tiny_llama() if pooling == "last" else None
    return tiny_teacher(
        DATASET,
        kind=UserPassModel,
        pooling=pooling,
        prompt_items=prompt_items,
        language_model=language_model,
        **more,
    )


# --- one prefix, written down --------------------------------------------------------------------------------------


@torch.no_grad()
def literal_state(teacher: UserPassModel, history: list[int]) -> Tensor:
    """The state at the last marker: the prompt token by token, each token's gates, who sees whom, in loops."""
    prompts, student = teacher.prompts, teacher.user_encoder
    tokens, owners = list(prompts.before), [0] * len(prompts.before)
    for number, item in enumerate(history):
        title = [*prompts.separator * (number > 0), *prompts.pieces[item]]
        tokens, owners = tokens + title, owners + [number] * len(title)
    prefixes = [torch.tensor([history[:end]]) for end in range(1, len(history) + 1)]
    gates = [teacher.router(student.user_representation(prefix))[0] for prefix in prefixes]
    markers, words, vectors = iter(history), teacher.language_model.get_input_embeddings().weight, student.item_table()
    inputs = [teacher.projector(vectors[next(markers)]) if token == MARKER_ID else words[token] for token in tokens]
    sees = torch.tensor([[theirs <= mine for theirs in owners] for mine in owners])
    mask = sees[None, None] if teacher.pooling == "mean" else torch.ones(1, len(tokens), dtype=torch.long)
    with teacher.binding.bind(torch.stack([gates[owner] for owner in owners]).unsqueeze(0)):
        read = teacher.language_model(inputs_embeds=torch.stack(inputs)[None], attention_mask=mask)
    return read.last_hidden_state[0, -1]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_state_of_a_prefix_is_that_of_its_own_prompt(pooling):
    teacher = teacher_of(pooling)
    states = teacher.prefix_representations(HISTORY)
    for row, history in enumerate(HISTORY.tolist()):
        items = [item for item in history if item]
        for end in range(1, len(items) + 1):
            expected = literal_state(teacher, items[:end])
            torch.testing.assert_close(states[row, end - 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_what_comes_later_is_hidden(pooling):
    teacher = teacher_of(pooling)
    whole, other = (teacher.prefix_representations(torch.tensor([[3, 1, 4, item]])) for item in (1, 7))
    torch.testing.assert_close(whole[:, :3], other[:, :3], rtol=1e-5, atol=1e-6)
    assert (whole[:, 3] - other[:, 3]).abs().max() > 1e-3


def test_tokens_are_read_with_the_mixture_of_their_own_prefix():
    teacher = teacher_of()
    before = teacher.prefix_representations(HISTORY[:1])
    first_gates = teacher.router(teacher.user_encoder.encode(HISTORY[:1]))[0, 0].detach()
    teacher.router.forward = lambda user: first_gates.expand(len(user), -1)
    after = teacher.prefix_representations(HISTORY[:1])
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=1e-5, atol=1e-6)
    assert (after[:, 1:] - before[:, 1:]).abs().amax(-1).min() > 1e-4


def test_h_seq_gates_are_those_of_each_prefix_without_adapters():
    teacher = teacher_of(gate_input="h_seq")
    history = HISTORY[:1]
    prompt = teacher.user_prompts.build(history)
    with teacher.binding.disabled():
        states = teacher._states(history, prompt)
    torch.testing.assert_close(teacher.prefix_gates(history, prompt), teacher.router(states))
    torch.testing.assert_close(teacher.gates(history), teacher.router(states)[:, -1])


@pytest.mark.parametrize(("gate_input", "gate_per_layer"), [("student", False), ("h_seq", False), ("student", True)])
def test_a_router_that_looks_at_its_batch_is_shown_no_padding(gate_input, gate_per_layer):
    """The ResNet's: gates in training, and what it counts, are the same however long the padding is."""
    gates, counted = [], []
    for width in (5, HISTORY_LENGTH):
        teacher = teacher_of(router="resnet", gate_input=gate_input, gate_per_layer=gate_per_layer).train()
        history = F.pad(HISTORY, (0, width - HISTORY.shape[1]))
        found = teacher.prefix_gates(history, teacher.user_prompts.build(history))
        assert not found[history == 0].any()
        gates.append(found[history > 0])
        counted.append(torch.cat([each.flatten().float() for each in teacher.router.buffers()]))
    torch.testing.assert_close(gates[1], gates[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(counted[1], counted[0], rtol=1e-4, atol=1e-6)
    shown = [torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[2, 9]])]  # as they would be without padding at all
    teacher = teacher_of(router="resnet", gate_input=gate_input, gate_per_layer=gate_per_layer)
    with torch.no_grad():
        alone = [teacher.prefix_gates(each, teacher.user_prompts.build(each))[0] for each in shown]
        together = teacher.prefix_gates(HISTORY, teacher.user_prompts.build(HISTORY))
    torch.testing.assert_close(together[HISTORY > 0], torch.cat(alone), rtol=1e-4, atol=1e-6)


# --- training and ranking say the same ----------------------------------------------------------------------------


def test_the_training_loss_is_the_mean_over_examples_of_the_ranking():
    """Windows as long as the longest log: every example is read from its user's first item in both ways."""
    teacher = teacher_of(prompt_items=LONGEST, history_length=LONGEST)
    loss = teacher.training_loss(TrainingWindows(DATASET, LONGEST)[torch.arange(5)])
    ids = TrainingWindows(DATASET, LONGEST)[torch.arange(5)].example_id
    examples = TRAIN.subset(ids[ids >= 0] - TRAIN.example_id[0])
    batch = DATASET.batch(examples, LONGEST)
    expected = F.cross_entropy(teacher.score(batch), batch.target - 1)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)


def test_asked_examples_are_scored_once_each_as_by_themselves():
    teacher = teacher_of(prompt_items=LONGEST, history_length=LONGEST, max_tokens=300)
    asked = TRAIN.sample(len(TRAIN) // 2, generator(0))
    expected = teacher.score(DATASET.batch(asked, LONGEST))
    rows = []
    for scored in teacher.scores_in_batches(DATASET, asked):
        torch.testing.assert_close(scored.scores[:], expected[scored.rows], rtol=1e-4, atol=1e-5)
        rows += scored.rows.tolist()
    assert sorted(rows) == list(range(len(asked)))


def test_tokens_read_are_those_of_the_windows_that_were_asked_for():
    teacher = teacher_of()
    one = TRAIN.subset(torch.tensor([0]))
    (scored,) = teacher.scores_in_batches(DATASET, one)
    window = TrainingWindows(DATASET, HISTORY_LENGTH)[torch.tensor([0])]
    assert scored.tokens_read == int((teacher.user_prompts.build(window.history).token_ids != PADDING_ID).sum())


def test_examples_of_a_window_are_read_together_and_share_its_tokens():
    teacher = teacher_of()
    together, tokens = teacher.read_together(DATASET), teacher.tokens_by_example(DATASET)
    windows = TrainingWindows(DATASET, teacher.window_length)
    first = int(TRAIN.example_id[0])
    for number in range(len(windows)):
        batch = windows[torch.tensor([number])]
        ids = batch.example_id[batch.example_id >= 0]
        assert (together == together[ids[0] - first]).nonzero().flatten().tolist() == (ids - first).tolist()
        assert float(tokens[ids - first].sum()) == pytest.approx(float(teacher.prompt_lengths(batch.history)))


def test_lengths_of_windows_are_those_of_their_prompts():
    teacher = teacher_of(prompt_items=4)
    rows, lengths = teacher.training_rows(DATASET, -1, generator(0))
    assert torch.equal(lengths, teacher.prompt_lengths(rows[torch.arange(len(rows))].history))


@pytest.mark.parametrize("most", [1, 10, 20])
def test_windows_are_drawn_until_they_hold_as_many_examples_as_asked(most):
    teacher = teacher_of(prompt_items=4)
    rows, lengths = teacher.training_rows(DATASET, most, generator(0))
    ids = rows[torch.arange(len(rows))].example_id
    held = (ids >= 0).sum(1)
    assert int(held.sum()) >= most > int(held[:-1].sum())
    assert len(lengths) == len(rows)
    assert len(set(ids[ids >= 0].tolist())) == int(held.sum())


def test_the_prompt_shows_no_more_than_the_student_reads():
    assert teacher_of(prompt_items=3).window_length == 3
    assert teacher_of(prompt_items=100).window_length == HISTORY_LENGTH


def test_the_student_ranks_by_the_whole_history_where_the_prompt_shows_a_part():
    teacher = teacher_of(prompt_items=2)
    teacher.calibration = Calibration(1.0)
    batch = DATASET.batch(TRAIN, HISTORY_LENGTH)
    student = teacher.user_encoder.predict(batch.history)
    expected = ensemble_scores(teacher.own_scores(batch), student, 1.0)
    assert torch.allclose(teacher.score(batch), expected, atol=1e-4)
    short = replace(batch, history=newest(batch.history, 2))
    assert torch.allclose(teacher.own_scores(batch), teacher.own_scores(short), atol=1e-4)
    assert not torch.allclose(teacher.score(batch), teacher.score(short), atol=1e-2)
    exported = torch.empty_like(expected)
    for rows, scores, *_ in teacher.scores_in_batches(DATASET, TRAIN):
        exported[rows] = scores[:]
    alone = teacher_of(prompt_items=2)
    for rows, scores, *_ in alone.scores_in_batches(DATASET, TRAIN):
        assert torch.allclose(exported[rows], ensemble_scores(scores[:], student[rows], 1.0), atol=1e-4)


def test_a_student_that_reads_a_history_as_a_whole_is_asked_about_every_prefix():
    torch.manual_seed(0)
    caser = Caser(15, 8, HISTORY_LENGTH, filter_heights=[2, 3], num_horizontal=2, num_vertical=1, dropout=0.0).eval()
    states = prefix_states(caser, HISTORY)
    for row, history in enumerate(HISTORY.tolist()):
        for end in range(1, sum(item > 0 for item in history) + 1):
            expected = caser.user_representation(torch.tensor([history[:end]]))[0]
            torch.testing.assert_close(states[row, end - 1], expected, rtol=1e-5, atol=1e-6)


def test_more_titles_than_the_prompt_can_hold_are_refused():
    with pytest.raises(UserError, match=r"8 titles read in one pass take up to \d+ tokens, but a prompt may have 60"):
        teacher_of(prompt_tokens=60)


# --- which language models can be read so --------------------------------------------------------------------------

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 1024,
}


def modern_bert(window: int) -> PreTrainedModel:
    special = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    sizes = {"local_attention": window, "global_attn_every_n_layers": 2}
    return ModernBertModel(ModernBertConfig(**SMALL, **special, **sizes))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DebertaV2Model(DebertaV2Config(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"])),
        lambda: XLNetModel(XLNetConfig(vocab_size=300, d_model=32, n_layer=2, n_head=2, d_inner=64)),
        lambda: LongformerModel(LongformerConfig(**SMALL, attention_window=[8, 8]), add_pooling_layer=False),
    ],
)
def test_an_encoder_that_fails_under_the_mask_is_refused_in_a_sentence(make):
    model = make().eval()
    sentence = rf"{type(model).__name__} cannot be read as needed here \(\w+Error: .*\): set teacher.reading=example"
    with pytest.raises(UserError, match=sentence):
        tiny_teacher(DATASET, kind=UserPassModel, language_model=model)


def test_an_encoder_whose_window_is_shorter_than_a_history_is_refused():
    with pytest.raises(UserError, match=r"ModernBertModel reads texts of \d+ tokens through a shorter window"):
        tiny_teacher(DATASET, kind=UserPassModel, language_model=modern_bert(16).eval())
    wide = tiny_teacher(DATASET, kind=UserPassModel, language_model=modern_bert(400).eval())
    assert wide.prefix_representations(HISTORY).isfinite().all()


def test_a_causal_model_keeps_its_own_window():
    """Its mask is its own, and `is_causal` says that it hides what comes later."""
    torch.manual_seed(0)
    model = MistralModel(MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8)).eval()
    teacher = tiny_teacher(DATASET, kind=UserPassModel, language_model=model, pooling="last", prompt_items=8)
    states = teacher.prefix_representations(HISTORY)
    expected = literal_state(teacher, HISTORY[0].tolist())
    torch.testing.assert_close(states[0, -1], expected, rtol=1e-4, atol=1e-5)
