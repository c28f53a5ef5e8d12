import pytest
import torch
import torch.nn.functional as F

from src.core.errors import UserError
from src.student.new_items import NEIGHBOURS, TEMPERATURE, vectors_from_texts, with_new_items
from tests.student.students import NAMES, architecture, histories, student

COUNTS = torch.arange(1, 16)


def by_hand(encodings: torch.Tensor, vectors: torch.Tensor, counts: torch.Tensor, new: int) -> torch.Tensor:
    """One new item's vector, by the formula."""
    centred = encodings - encodings.mean(0)
    like = [float(torch.cosine_similarity(centred[new], centred[item], dim=0)) for item in range(len(vectors))]
    trained = [item for item in range(len(vectors)) if counts[item] > 0]
    nearest = sorted(trained, key=lambda item: -like[item])[:NEIGHBOURS]
    weights = torch.tensor(
        [2.718281828459045 ** (like[item] / TEMPERATURE) * float(counts[item]) ** 0.5 for item in nearest]
    )
    return sum(weight * vectors[item] for weight, item in zip(weights / weights.sum(), nearest, strict=True))


@pytest.mark.parametrize("known", [7, 40])
def test_a_new_item_is_the_mean_of_its_neighbours_by_likeness_and_count(known):
    draw = torch.Generator().manual_seed(known)
    encodings = torch.randn(known + 3, 5, generator=draw) + 4
    vectors, counts = torch.randn(known, 6, generator=draw), torch.randint(0, 5, (known,), generator=draw)
    found = vectors_from_texts(encodings, vectors, counts)
    expected = torch.stack([by_hand(encodings, vectors, counts, known + each) for each in range(3)])
    torch.testing.assert_close(found, expected)


def test_an_item_that_nobody_took_in_training_is_nobodys_neighbour():
    encodings, vectors = torch.eye(4)[[0, 1, 2, 0]], torch.eye(3)
    found = vectors_from_texts(encodings, vectors, torch.tensor([0, 1, 1]))  # the twin is the one without a count
    assert found[0, 0] == 0 and found[0].sum() == pytest.approx(1)


def test_many_new_items_are_as_each_by_itself(monkeypatch):
    monkeypatch.setattr("src.student.new_items.ROWS", 2)
    draw = torch.Generator().manual_seed(0)
    encodings, vectors = torch.randn(15, 5, generator=draw), torch.randn(10, 4, generator=draw)
    together = vectors_from_texts(encodings, vectors, torch.ones(10))
    monkeypatch.undo()
    torch.testing.assert_close(vectors_from_texts(encodings, vectors, torch.ones(10)), together)


def test_texts_that_are_all_the_same_are_refused():
    with pytest.raises(UserError, match="the same encoding"):
        vectors_from_texts(torch.ones(5, 3), torch.eye(3), torch.ones(3))


@pytest.mark.parametrize("name", NAMES)
def test_known_items_keep_their_scores_and_new_ones_have_those_of_their_vectors(name):
    model = student(name).eval()
    encodings = torch.randn(18, 4, generator=torch.Generator().manual_seed(1))
    if type(model).output_layer is not type(student("sasrec")).output_layer:
        with pytest.raises(UserError, match="more than a vector for each item"):
            with_new_items(model, name, architecture(name), COUNTS, encodings)
        return
    larger = with_new_items(model, name, architecture(name), COUNTS, encodings)
    assert larger.num_items == 18 and not larger.training
    before, after = model.predict(histories()), larger.predict(histories())
    torch.testing.assert_close(after[:, :15], before)
    states = model.user_representation(histories())
    vectors = vectors_from_texts(encodings, model.item_table()[1:].detach(), COUNTS)
    torch.testing.assert_close(after[:, 15:], F.linear(states, vectors))
    assert model.num_items == 15  # the one that was given is as it was


def test_a_new_item_in_a_history_is_read():
    model = student("sasrec").eval()
    larger = with_new_items(model, "sasrec", architecture("sasrec"), COUNTS, torch.randn(17, 4))
    one, other = (larger.user_representation(torch.tensor([[1, item]])) for item in (16, 17))
    assert not torch.allclose(one, other)
