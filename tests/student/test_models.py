"""One contract for all students: training, evaluation, export and the teacher rely on nothing else."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.student.choices import STUDENTS
from src.student.layers.dropout import Dropout
from src.student.models import SASRec, SequentialRecommender
from tests.student.students import NAMES, NUM_ITEMS, PAPER, RESIDUAL, VARIANTS, D, L, architecture, histories, student

every_student = pytest.mark.parametrize("model", [*NAMES, *VARIANTS], indirect=True)
CAUSAL = [name for name in (*NAMES, *VARIANTS) if student(name).causal]
every_causal_student = pytest.mark.parametrize("model", CAUSAL, indirect=True)
knows_places = pytest.mark.parametrize("model", [*NAMES, *(n for n in VARIANTS if n != "sasrec/none")], indirect=True)
every_tied_student = pytest.mark.parametrize("model", sorted(set(NAMES) - set(PAPER)), indirect=True)
every_paper_student = pytest.mark.parametrize("model", PAPER, indirect=True)


@pytest.fixture
def model(request) -> SequentialRecommender:
    return student(request.param)


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-6)


@every_student
def test_shapes(model):
    history = histories()
    assert model.item_table().shape == (NUM_ITEMS + 1, D)
    weight, bias = model.output_layer()
    state_size = weight.shape[1]  # D, but for a Caser with an output layer of its own
    hidden = model.encode(history)
    assert hidden.shape == (4, L if model.causal else 1, state_size)
    assert weight.shape == (NUM_ITEMS, state_size) and (bias is None or bias.shape == (NUM_ITEMS,))
    assert model.score(hidden).shape == (*hidden.shape[:2], NUM_ITEMS)
    assert model.score(hidden[:, -1], torch.ones(4, 7, dtype=torch.int64)).shape == (4, 7)
    assert model.user_representation(history).shape == (4, state_size)
    assert model.predict(history).shape == (4, NUM_ITEMS)
    assert model.predict(history).dtype == torch.float32


@every_student
def test_scores_of_given_items_are_columns_of_all_scores(model):
    hidden = model.encode(histories())
    everything = model.score(hidden)
    items = torch.randint(1, NUM_ITEMS + 1, (*hidden.shape[:2], 5), generator=torch.Generator().manual_seed(0))
    assert close(model.score(hidden, items), everything.gather(-1, items - 1))
    assert close(model.score(hidden[:, 0], items[:, 0]), everything[:, 0].gather(-1, items[:, 0] - 1))


@every_tied_student
def test_scores_are_products_with_the_item_table(model):
    user, table = model.user_representation(histories()).detach(), model.item_table().detach()
    expected = [[float(u @ table[item]) for item in range(1, NUM_ITEMS + 1)] for u in user]
    assert close(model.predict(histories()), torch.tensor(expected))


@every_paper_student
def test_scores_come_from_an_output_layer_of_its_own(model):
    user, weight, bias = (
        model.user_representation(histories()).detach(),
        *(p.detach() for p in model.output.parameters()),
    )
    expected = [[float(u @ weight[j] + bias[j]) for j in range(NUM_ITEMS)] for u in user]
    assert close(model.predict(histories()), torch.tensor(expected))


@every_student
def test_longer_padding_on_the_right_changes_nothing(model):
    for row in histories():
        n = int((row > 0).sum())
        expected = model.user_representation(row[None, :n])
        for length in range(n, L + 1):
            assert close(model.user_representation(row[None, :length]), expected)


@every_student
def test_a_row_does_not_depend_on_its_batch(model):
    history = histories()
    together = model.predict(history)
    assert close(torch.cat([model.predict(row[None]) for row in history]), together)
    assert close(model.predict(history.flip(0)).flip(0), together)


@every_causal_student
def test_later_items_do_not_change_earlier_positions(model):
    history = torch.tensor([[1, 5, 3, 1, 9, 15]])
    hidden = model.encode(history)
    assert hidden.shape[1] == L
    for place in range(1, L):
        changed = history.clone()
        changed[0, place:] = torch.arange(2, 2 + L - place)
        assert close(model.encode(changed)[0, :place], hidden[0, :place])
        assert not close(model.encode(changed)[0, place], hidden[0, place])


@knows_places
def test_every_item_and_its_place_count(model):
    user = model.user_representation(torch.tensor([[1, 5, 3, 8], [2, 5, 3, 8], [5, 1, 3, 8], [1, 5, 3, 7]]))
    assert all(not close(user[0], other) for other in user[1:])


@every_tied_student
def test_a_history_without_items_has_a_state_and_none_hide_the_others(model):
    history = torch.tensor([[0, 0, 0], [4, 2, 0]])
    assert close(model.user_representation(history)[1:], model.user_representation(history[1:]))
    assert model.user_representation(history).isfinite().all()


def test_predictions_are_those_of_a_student_that_scores_in_a_way_of_its_own():
    class Shifted(SASRec):
        def score(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
            return super().score(hidden, items) + torch.arange(NUM_ITEMS)

    class Reversed(SASRec):
        def predict(self, history: Tensor) -> Tensor:
            return -super().predict(history)

    for kind in (SASRec, Shifted, Reversed):
        model = kind(NUM_ITEMS, **architecture("sasrec")).eval()
        assert close(model.predictions(histories())[1:3], model.predict(histories())[1:3])


def test_weights_begin_as_they_did_before_students_had_blocks_of_other_kinds():
    torch.manual_seed(0)
    items = torch.nn.Embedding(NUM_ITEMS + 1, D, padding_idx=0).weight.detach().normal_(std=0.02)
    assert torch.equal(student("sasrec").items.ids.weight[1:], items[1:])  # the first that is drawn


@every_student
def test_the_user_representation_is_the_state_after_the_last_item(model):
    history = histories()
    for row, user in zip(history, model.user_representation(history), strict=True):
        shown = row[row > 0]
        assert close(user, model.encode(shown[None])[0, -1])


@every_student
def test_gradients_reach_every_parameter(model):
    scores = model.score(model.encode(histories()[:1])).flatten(0, 1)
    F.cross_entropy(scores, torch.arange(len(scores))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_student
def test_padding_stays_zero_in_training(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    history = histories()
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model.predict(history), torch.tensor([2, 3, 4, 5])).backward()
        optimizer.step()
    assert not model.item_table()[0].any()


@every_student
def test_eight_rows_are_overfitted(model):
    draw = torch.Generator().manual_seed(0)
    history = torch.randint(1, NUM_ITEMS + 1, (8, L), generator=draw)
    target = torch.arange(8)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model.predict(history), target).backward()
        optimizer.step()
    scores = model.eval().predict(history)
    assert F.cross_entropy(scores, target) < 0.05
    assert scores.argmax(1).tolist() == target.tolist()


@pytest.mark.parametrize("model", NAMES, indirect=True)
def test_weights_go_into_another_instance(model):
    other = student(model_name(model), seed=1)
    assert not close(other.predict(histories()), model.predict(histories()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.predict(histories()), model.predict(histories()))


@pytest.mark.parametrize("name", [name for name in NAMES if "dropout" in architecture(name)])
def test_dropout_acts_in_training_only(name):
    model = student(name, dropout=0.5)
    assert torch.equal(model.predict(histories()), model.predict(histories()))
    model.train()
    assert not torch.equal(model.predict(histories()), model.predict(histories()))


ITEMS, WEIGHTS, STATE = (4, L, D), (4, 1, 1, L), (4, 1, D)  # of item vectors, of one head's attention, of one state
DROPPED = {
    "sasrec": lambda model: [ITEMS] * (1 + 2 * len(model.blocks)),  # nothing within its attention
    "bsarec": lambda model: [ITEMS] * (1 + 3 * len(model.blocks)),
    "gru4rec": lambda model: [ITEMS] * 2,
    "caser": lambda model: [*([ITEMS] if model.norm else []), (4, model.out.in_features)],
    "sasrec_paper": lambda model: [ITEMS, WEIGHTS, STATE],
    "gru4rec_paper": lambda model: [],
    "caser_paper": lambda model: [(4, model.output.in_features)],
}


def test_a_residual_gru_adds_what_it_reads_to_its_states():
    model = student("gru4rec/residual")
    vectors = F.layer_norm(model.item_table()[histories()], (D,), model.norm.weight, model.norm.bias)
    expected = vectors + model.out(model.gru(vectors)[0])
    assert close(model.encode(histories()), expected)


def test_a_residual_caser_adds_its_newest_item_to_its_state():
    model = student("caser/residual")
    nn.init.normal_(model.norm.bias)  # what a normalised zero would be: padding must not
    aligned = torch.tensor([[1, 5, 3, 1, 9, 15], [0, 0, 0, 4, 4, 1], [0, 0, 0, 0, 0, 1], [0, 7, 2, 11, 13, 8]])
    vectors = F.layer_norm(model.item_table()[aligned], (D,), model.norm.weight, model.norm.bias)
    vectors = vectors.where((aligned > 0).unsqueeze(-1), 0)
    expected = vectors[:, -1] + model.out(torch.cat(model.convolutions(vectors), dim=1))
    assert close(model.user_representation(histories()), expected)


@pytest.mark.parametrize("name", [*NAMES, *RESIDUAL])
def test_what_is_dropped_is_what_the_docstrings_say(name):
    model = student(name, dropout=0.5).train()
    dropped = []
    for module in model.modules():
        if isinstance(module, Dropout):
            module.register_forward_hook(lambda _, inputs, __: dropped.append(tuple(inputs[0].shape)))
    model.encode(histories())
    assert dropped == DROPPED[name.partition("/")[0]](model)


def model_name(model: SequentialRecommender) -> str:
    return next(name for name in STUDENTS if STUDENTS[name] is type(model))
