import pytest
import torch

from src.core.errors import UserError
from src.student.layers.embedding import INITIAL_STD, ItemEmbedding, standardised
from tests.student.students import NAMES, NUM_ITEMS, D, histories, student

D_TEACHER = 5


def distilling(ed_weight: float = 0.3) -> tuple[ItemEmbedding, torch.Tensor]:
    torch.manual_seed(0)
    items, teacher = ItemEmbedding(NUM_ITEMS, D), torch.randn(NUM_ITEMS, D_TEACHER)
    items.distil_from(teacher, ed_weight)
    return items, teacher


def test_without_a_teacher_the_table_is_the_free_vectors():
    items = ItemEmbedding(NUM_ITEMS, D)
    assert items.table() is items.ids.weight
    assert items.table().shape == (NUM_ITEMS + 1, D)
    assert not items.table()[0].any() and items.table()[1:].any(1).all()
    assert [name for name, _ in items.named_parameters()] == ["ids.weight"]


def test_the_table_equals_a_literal_loop():
    items, teacher = distilling()
    W, b = items.projection.weight, items.projection.bias
    table = items.table()
    for item in range(1, NUM_ITEMS + 1):
        assert torch.allclose(table[item], items.ids.weight[item] + 0.3 * (W @ teacher[item - 1] + b), atol=1e-6)
    assert not table[0].any()


def test_items_read_from_their_encodings_have_nothing_of_their_own():
    items, encodings = ItemEmbedding(NUM_ITEMS, D), torch.randn(NUM_ITEMS, D_TEACHER)
    encodings[6] = encodings[2]
    items.read_from(encodings)
    learned = [parameter for parameter in items.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=0.1)
    (items.table()[1:] * torch.randn(NUM_ITEMS, D)).sum().backward()
    optimizer.step()
    table = items.table()
    assert torch.allclose(table[1:], encodings @ items.projection.weight.T + items.projection.bias, atol=1e-6)
    assert torch.equal(table[7], table[3]) and not torch.equal(table[7], table[4])
    items.fold()
    assert torch.equal(items.table(), table) and not items.table()[0].any()
    assert {name for name, _ in items.named_parameters()} == {"ids.weight"}


def test_the_projection_and_the_ids_learn_and_the_teacher_does_not():
    items, teacher = distilling()
    before = teacher.clone()
    optimizer = torch.optim.SGD(items.parameters(), lr=0.1)
    items.table()[1:].square().sum().backward()
    assert items.projection.weight.grad.any() and items.projection.bias.grad.any()
    assert not items.ids.weight.grad[0].any() and items.ids.weight.grad[1:].any(1).all()
    optimizer.step()
    assert torch.equal(items.teacher_embeddings, before)
    assert "teacher_embeddings" not in items.state_dict()


@pytest.mark.parametrize("distilled", [False, True])
def test_looked_up_rows_and_their_gradients_are_the_table_s(distilled):
    items = distilling()[0] if distilled else ItemEmbedding(NUM_ITEMS, D)
    weight = torch.randn(*histories().shape, D)
    found, expected = items.lookup(histories()), items.table()[histories()]
    assert torch.allclose(found, expected, atol=1e-6)
    assert not found[histories() == 0].any()
    parameters = list(items.parameters())
    found, expected = (torch.autograd.grad((rows * weight).sum(), parameters) for rows in (found, expected))
    found[0][0] = expected[0][0] = 0  # padding: `nn.Embedding` gives it none, the table all that is asked of it
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_a_lookup_projects_nothing_but_the_items_of_its_histories():
    items, teacher = distilling()
    expected = items.lookup(histories())
    asked = histories().unique()
    teacher[[item - 1 for item in range(1, NUM_ITEMS + 1) if item not in asked]] = torch.nan
    assert torch.equal(items.lookup(histories()), expected)
    rows = []
    items.projection.register_forward_hook(lambda layer, given, out: rows.append(len(given[0])))
    items.lookup(histories().repeat(50, 1))
    assert rows == [len(asked)]


@pytest.mark.parametrize("name", NAMES)
def test_no_student_projects_the_catalogue_for_a_batch_and_its_negatives(name):
    model, rows = student(name), []
    model.items.distil_from(torch.randn(NUM_ITEMS, D_TEACHER), 0.3)
    model.items.projection.register_forward_hook(lambda layer, given, out: rows.append(len(given[0])))
    hidden = model.encode(torch.tensor([[4, 4, 1], [1, 0, 0]]))
    model.score(hidden, torch.tensor([2, 6]))
    assert max(rows) == 3  # items 4 and 1, and padding


@pytest.mark.parametrize("name", NAMES)
def test_folding_keeps_the_scores_and_forgets_the_teacher(name):
    model = student(name)
    keys = set(model.state_dict())
    model.items.distil_from(torch.randn(NUM_ITEMS, D_TEACHER), 2.0)
    before, free = model.predict(histories()), student(name).predict(histories())
    model.items.fold()
    after = model.predict(histories())
    assert (after - before).abs().max() <= 1e-5
    assert not torch.allclose(after, free, atol=1e-3)
    assert set(model.state_dict()) == keys
    assert not model.item_table()[0].any()
    assert model.item_table() is model.items.ids.weight


def test_folding_without_a_teacher_changes_nothing():
    items = ItemEmbedding(NUM_ITEMS, D)
    before = items.table().clone()
    items.fold()
    assert torch.equal(items.table(), before)


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("ed_weight", [0.3, 2.0])
def test_what_the_teacher_adds_begins_as_small_as_the_free_vectors(scale, ed_weight):
    torch.manual_seed(0)
    items = ItemEmbedding(500, 64)
    items.distil_from(scale * torch.randn(500, 30), ed_weight)
    added = items.table()[1:] - items.ids.weight[1:]
    assert float(added.detach().std()) == pytest.approx(INITIAL_STD, rel=0.1)


def test_standardised_embeddings_have_no_common_part_and_unit_variance():
    torch.manual_seed(0)
    raw = 0.05 * torch.randn(200, 8) + 3
    ready = standardised(raw)
    torch.testing.assert_close(ready.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    assert float(ready.std()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(ready * (raw - raw.mean(0)).std(), raw - raw.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("d", [3, D, 12])
def test_a_start_is_the_teacher_s_principal_components(d):
    torch.manual_seed(0)
    items, teacher = ItemEmbedding(NUM_ITEMS, D), torch.randn(NUM_ITEMS, d) * torch.arange(1, d + 1) + 2
    chance, keep = items.ids.weight[:, d:].clone(), min(d, D)
    items.start_from(teacher, 0.05)
    table = items.table()[1:].detach().double()
    assert float(table[:, :keep].std()) == pytest.approx(0.05, rel=1e-4) and not items.table()[0].any()
    assert torch.equal(items.table()[:, d:], chance)
    centred = (teacher - teacher.mean(0)).double()
    share = torch.linalg.svdvals(centred)[:keep]
    assert torch.allclose(table[:, :keep].norm(dim=0) / table[:, :keep].norm(), share / share.norm(), atol=1e-5)
    if d <= D:  # nothing is lost: distances keep their proportions
        ratio = torch.pdist(table[:, :keep]) / torch.pdist(centred)
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_encodings_that_are_all_the_same_are_no_start_and_no_vectors(noise):
    same = torch.full((3, 5), 0.3) + noise * torch.randn(3, 5)
    with pytest.raises(UserError, match="All items have the same encoding"):
        ItemEmbedding(3, 2).start_from(same, 0.05)
    with pytest.raises(UserError, match="All items have the same encoding"):
        standardised(same)
