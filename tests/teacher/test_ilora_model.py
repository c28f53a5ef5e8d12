import copy

import pytest
import torch
from torch import Tensor, nn

from src.data.dataset import ExampleBatch
from src.teacher.gated_model import Projector
from src.teacher.ilora_model import ILoRAModel
from src.teacher.language_model.encodings import encode_texts, pool
from src.teacher.language_model.tiny import tiny_random
from src.teacher.moe_lora_model import MoELoRALinear, adapters_of
from src.teacher.prompts.prompt import MARKER_ID
from src.teacher.user_pass import UserPassModel
from tests.teacher.merging import merged
from tests.teacher.teachers import first_batch, prompt_builder, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
BATCH = first_batch(DATASET, 8)


def rows_of(batch: ExampleBatch, rows: list[int]) -> ExampleBatch:
    return ExampleBatch(*(part[rows] for part in (batch.example_id, batch.history, batch.target)))


def far_apart(first: Tensor, second: Tensor) -> bool:
    return bool(((first - second).abs().amax(1) > 1e-4).all())


# --- the score, written down for one user --------------------------------------------------------------------------


@torch.no_grad()
def literal_scores(teacher: ILoRAModel, history: list[int], pooling: str) -> Tensor:
    student = teacher.user_encoder
    user = student.encode(torch.tensor([history]))[0, -1]
    model = merged(teacher.language_model, teacher.router(user))
    tokens = teacher.prompts.build(torch.tensor([history])).token_ids[0].tolist()
    markers = iter(history[-4:])
    words = model.get_input_embeddings().weight
    inputs = [
        teacher.projector.layers(student.items.ids.weight[next(markers)]) if token == MARKER_ID else words[token]
        for token in tokens
    ]
    hidden = model(inputs_embeds=torch.stack(inputs).unsqueeze(0)).last_hidden_state[0]
    h_seq = hidden.mean(0) if pooling == "mean" else hidden[-1]
    q = teacher.query[1](teacher.query[0](h_seq))
    scores = []
    for item in range(1, DATASET.num_items + 1):
        text, vector = teacher.item_texts[item - 1], student.items.ids.weight[item]
        unit = vector / vector.square().sum().sqrt()
        v = teacher.item_from_text.weight @ text + teacher.item_from_id(4 * unit)  # 4 = sqrt(16)
        scores.append(q @ v / 32**0.5 + teacher.item_bias[item - 1])
    return torch.stack(scores)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("router", ["linear", "mlp"])
def test_scores_equal_the_formula_with_merged_weights(pooling, router):
    teacher = tiny_teacher(DATASET, pooling=pooling, router=router)
    scores = teacher.score(BATCH)
    for row, history in enumerate(BATCH.history.tolist()):
        expected = literal_scores(teacher, [item for item in history if item], pooling)
        torch.testing.assert_close(scores[row], expected, rtol=1e-4, atol=1e-4)


def test_scores_are_float32_over_the_whole_catalogue():
    scores = tiny_teacher(DATASET).score(BATCH)
    assert (scores.shape, scores.dtype) == ((8, DATASET.num_items), torch.float32)


def test_item_embeddings_have_a_row_per_item_and_the_language_models_width():
    embeddings = tiny_teacher(DATASET).item_embeddings()
    assert (embeddings.shape, embeddings.dtype) == ((DATASET.num_items, 32), torch.float32)


def test_training_starts_from_popularity():
    counts = DATASET.train_item_counts()[1:].double() + 1
    torch.testing.assert_close(tiny_teacher(DATASET).item_bias.double(), (counts / counts.sum()).log())


def test_the_training_loss_is_cross_entropy_over_the_catalogue():
    teacher = tiny_teacher(DATASET)
    log_probability = teacher.score(BATCH).log_softmax(1)
    expected = -torch.stack([log_probability[row, target - 1] for row, target in enumerate(BATCH.target)]).mean()
    torch.testing.assert_close(teacher.training_loss(BATCH).detach(), expected, rtol=1e-5, atol=1e-5)


# --- every part of what it reads counts ----------------------------------------------------------------------------


class UniformRouter(nn.Module):
    def forward(self, user: Tensor) -> Tensor:
        return torch.full((len(user), 4), 0.25)


def test_the_gate_changes_scores_once_adapters_have_learned():
    teacher = tiny_teacher(DATASET)
    before = teacher.score(BATCH)
    teacher.router = UniformRouter()
    assert far_apart(teacher.score(BATCH), before)


def test_layers_with_gates_of_their_own_are_mixed_as_if_the_weights_were_merged():
    teacher = tiny_teacher(DATASET, gate_per_layer=True)
    history = BATCH.history[3:4]
    gates = teacher.gates(history)
    own = torch.cat([router(teacher.user_states(history)) for router in teacher.router.routers])
    assert torch.equal(own.flatten(), gates[0])
    assert len(own) == len(adapters_of(teacher.language_model))
    h_seq = teacher.sequence_representation(history, gates)
    with pytest.raises(RuntimeError, match="unflatten"):
        teacher.sequence_representation(history, gates[:, 1:])
    teacher.language_model = merged(teacher.language_model, own)
    torch.testing.assert_close(teacher.sequence_representation(history, gates), h_seq, rtol=1e-4, atol=1e-5)


def test_each_layers_router_learns_from_its_own_layer():
    teacher = tiny_teacher(DATASET, gate_per_layer=True).train()
    teacher.training_loss(BATCH).backward()
    assert all(router.linear.weight.grad.abs().max() > 1e-8 for router in teacher.router.routers)


def test_h_seq_gates_are_those_of_the_language_model_without_adapters():
    teacher, bare = tiny_teacher(DATASET, gate_input="h_seq"), tiny_random()[0]
    history = BATCH.history[:1]
    prompt = teacher.prompts.build(history)
    words = bare.get_input_embeddings()(prompt.token_ids.clamp(min=0))
    markers = prompt.token_ids[0] == MARKER_ID
    words[0, markers] = teacher.projector(teacher.user_encoder.item_table()[prompt.marked_items])
    h_seq = bare(inputs_embeds=words).last_hidden_state.mean(1)
    torch.testing.assert_close(teacher.gates(history), teacher.router(h_seq), rtol=1e-4, atol=1e-5)


def test_h_seq_gates_teach_the_router_and_leave_the_first_reading_alone():
    teacher = tiny_teacher(DATASET, gate_input="h_seq").train()
    teacher.gates(BATCH.history).square().sum().backward()
    assert teacher.router.linear.weight.grad is not None
    assert teacher.projector.layers[0].weight.grad is None


def test_fresh_adapters_change_nothing():
    teacher = tiny_teacher(DATASET, adapters_at_work=False)
    before = teacher.score(BATCH)
    teacher.router = UniformRouter()
    assert torch.equal(teacher.score(BATCH), before)


def test_a_title_changes_the_scores_of_those_who_are_shown_it_and_of_nobody_else():
    teacher = tiny_teacher(DATASET)
    before = teacher.score(BATCH)
    item = int(BATCH.history[-1, (BATCH.history[-1] > 0).sum() - 1])
    titles = list(DATASET.catalogue.titles)
    titles[item - 1] = "x"
    teacher.prompts = prompt_builder(titles)
    shown = torch.tensor([item in [number for number in history if number][-4:] for history in BATCH.history.tolist()])
    assert shown.any() and not shown.all()
    after = teacher.score(BATCH)
    assert far_apart(after[shown], before[shown])
    torch.testing.assert_close(after[~shown], before[~shown], rtol=1e-5, atol=1e-5)


def test_the_markers_items_change_scores():
    teacher = tiny_teacher(DATASET)
    before = teacher.score(BATCH)
    nn.init.zeros_(teacher.projector.layers[-1].weight)
    assert far_apart(teacher.score(BATCH), before)


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
@pytest.mark.parametrize("shows_ids", [True, False])
def test_a_teacher_that_is_shown_no_ids_reads_titles_alone(kind, shows_ids):
    model = tiny_teacher(DATASET, kind=kind, shows_ids=shows_ids, gate_input="h_seq")  # its gates read, too
    batch = first_batch(DATASET, 4)
    h_seq = torch.randn(4, 32)
    before, loss = model.score(batch), model.catalogue_loss(h_seq, batch.target)
    nn.init.normal_(model.user_encoder.items.ids.weight[1:])
    assert torch.equal(model.score(batch), before) is not shows_ids
    assert torch.equal(model.catalogue_loss(h_seq, batch.target), loss) is not shows_ids
    assert model.item_from_id.weight.requires_grad is shows_ids
    of_texts = model.item_from_text(model.item_texts)
    assert torch.equal(model.item_embeddings(), of_texts) is not shows_ids


def test_an_items_text_changes_its_own_column_alone():
    teacher = tiny_teacher(DATASET)
    before = teacher.score(BATCH)
    teacher.item_texts[4] *= -1
    changed = (teacher.score(BATCH) - before).abs().amax(0) > 1e-4
    assert changed.nonzero().flatten().tolist() == [4]


# --- what it must not depend on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_scores_do_not_depend_on_the_batch(pooling):
    teacher = tiny_teacher(DATASET, pooling=pooling)
    together = teacher.score(BATCH)
    order = [5, 0, 7, 2, 1, 6, 3, 4]
    torch.testing.assert_close(teacher.score(rows_of(BATCH, order)), together[order], rtol=1e-5, atol=1e-5)
    for row in range(8):
        torch.testing.assert_close(teacher.score(rows_of(BATCH, [row]))[0], together[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("max_tokens", [1, 150, 10_000])
def test_scores_do_not_depend_on_the_token_budget(max_tokens):
    teacher = tiny_teacher(DATASET)
    expected = teacher.score(BATCH)
    teacher.max_tokens = max_tokens
    torch.testing.assert_close(teacher.score(BATCH), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_on_the_right_of_histories_does_not_matter(pooling):
    teacher = tiny_teacher(DATASET, pooling=pooling)
    short = rows_of(BATCH, [0, 1])
    width = int((short.history > 0).sum(1).max())
    assert width < short.history.shape[1]
    cut = ExampleBatch(short.example_id, short.history[:, :width], short.target)
    torch.testing.assert_close(teacher.score(cut), teacher.score(short), rtol=1e-5, atol=1e-5)


def test_nothing_is_dropped_outside_training():
    teacher = tiny_teacher(DATASET, dropout=0.5)
    assert torch.equal(teacher.score(BATCH), teacher.score(BATCH))


# --- what trains and what does not ---------------------------------------------------------------------------------


def test_in_training_only_the_adapters_drop_anything():
    teacher = tiny_teacher(DATASET, dropout=0.5).train()
    dropping = {name for name, module in teacher.named_modules() if isinstance(module, nn.Dropout) and module.training}
    adapters = {name for name, module in teacher.named_modules() if isinstance(module, MoELoRALinear)}
    assert dropping == {f"{name}.dropout" for name in adapters}
    assert not torch.equal(teacher.training_loss(BATCH), teacher.training_loss(BATCH))
    assert not any(module.training for module in teacher.eval().modules())


def test_gradients_reach_every_trained_part_and_no_frozen_one():
    teacher = tiny_teacher(DATASET).train()
    teacher.training_loss(BATCH).backward()
    with_gradient = {name for name, p in teacher.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-7}
    trained = {name for name, p in teacher.named_parameters() if p.requires_grad}
    frozen = {name for name, p in teacher.named_parameters() if not p.requires_grad}
    assert frozen == {
        name
        for name, _ in teacher.named_parameters()
        if name.startswith("user_encoder.") or (name.startswith("language_model.") and "lora_" not in name)
    }
    assert with_gradient == trained


def test_frozen_weights_stay_bit_equal_and_trained_ones_move():
    teacher = tiny_teacher(DATASET, adapters_at_work=False).train()
    before = copy.deepcopy(teacher.state_dict())
    trained = {name for name, p in teacher.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD([p for p in teacher.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        teacher.training_loss(BATCH).backward()
        optimizer.step()
    moved = {name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == trained


def test_eight_examples_are_learned_by_heart():
    teacher = tiny_teacher(DATASET, adapters_at_work=False).train()
    optimizer = torch.optim.AdamW([p for p in teacher.parameters() if p.requires_grad], lr=0.01, weight_decay=0.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = teacher.training_loss(BATCH)
        loss.backward()
        optimizer.step()
    assert teacher.eval().training_loss(BATCH) < 0.05


def test_the_trained_state_is_what_training_changes_the_item_encodings_and_the_students_weight():
    teacher = tiny_teacher(DATASET)
    trained = {name for name, p in teacher.named_parameters() if p.requires_grad}
    assert set(teacher.trained_state()) == trained | {"item_texts"}


def test_the_trained_state_carries_a_teacher_over():
    first, second = tiny_teacher(DATASET, seed=1), tiny_teacher(DATASET, seed=1)
    for parameter in first.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    assert not torch.allclose(first.score(BATCH), second.score(BATCH))
    second.load_state_dict(first.trained_state(), strict=False)
    assert torch.equal(first.score(BATCH), second.score(BATCH))


# --- parts ---------------------------------------------------------------------------------------------------------


def test_projected_items_are_as_large_as_words():
    projector, items, words = Projector(16, 32), torch.randn(50, 16), 0.02 * torch.randn(300, 32)
    projector.match_scale(items, words)
    torch.testing.assert_close(projector(items).std(), words.std(), rtol=1e-4, atol=0)


def test_each_text_is_encoded_as_if_alone():
    model, tokenizer = tiny_random()
    texts = ["Alien", "a much longer title", "Alien", "M"]
    token_ids = tokenizer(texts).input_ids
    for pooling in ("mean", "last"):
        encoded = encode_texts(model, token_ids, pooling, max_tokens=30)
        for row, text in enumerate(texts):
            hidden = model(input_ids=torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0]
            expected = hidden.mean(0) if pooling == "mean" else hidden[-1]
            torch.testing.assert_close(encoded[row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("max_tokens", [1, 30])
def test_a_text_without_tokens_is_encoded_as_zeros(pooling, max_tokens):
    model, _ = tiny_random()
    encoded = encode_texts(model, [[5, 6], [], [7]], pooling, max_tokens)
    assert encoded.any(1).tolist() == [True, False, True] and encoded.isfinite().all()


def test_pooling_by_hand():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[4.0], [5.0], [9.0]]])
    attended = torch.tensor([[True, True, False], [True, True, True]])
    assert pool(hidden, attended, "mean").tolist() == [[2.0], [6.0]]
    assert pool(hidden, attended, "last").tolist() == [[3.0], [9.0]]


def test_item_encodings_all_have_the_same_length():
    lengths = tiny_teacher(DATASET).item_texts.norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((DATASET.num_items,), 32**0.5))
