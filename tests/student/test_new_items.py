import pytest
import torch

from src.core.errors import UserError
from src.serve.graph import Graph
from src.serve.onnx.graph import write_graph
from src.student.models import SASRec, SequentialRecommender
from src.student.new_items import NEIGHBOURS, TEMPERATURE, WithNewItems, check_kind, grown, vectors_from_texts
from tests.serve.served import with_large_weights
from tests.student.students import NAMES, architecture, histories, student

COUNTS = torch.arange(1, 16)


def by_hand(encodings: torch.Tensor, vectors: torch.Tensor, counts: torch.Tensor, new: int) -> torch.Tensor:
    """One new item's vector, by the formula."""
    centred = encodings - encodings[: len(vectors)].mean(0)
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


def test_a_new_item_does_not_depend_on_which_others_are_new():
    draw = torch.Generator().manual_seed(0)
    encodings, vectors = torch.randn(15, 5, generator=draw), torch.randn(10, 4, generator=draw)
    alone = vectors_from_texts(encodings[:11], vectors, torch.ones(10))
    torch.testing.assert_close(vectors_from_texts(encodings, vectors, torch.ones(10))[:1], alone)


def test_texts_that_are_all_the_same_are_refused():
    with pytest.raises(UserError, match="the same encoding"):
        vectors_from_texts(torch.ones(5, 3), torch.eye(3), torch.ones(3))


def scores_alike(name: str) -> bool:
    return type(student(name)).output_layer is SequentialRecommender.output_layer


@pytest.mark.parametrize("name", [*filter(scores_alike, NAMES), "sasrec/from_end", "gru4rec/residual"])
def test_known_items_keep_their_scores_and_new_ones_have_those_of_the_formula(name):
    model = student(name)
    encodings = torch.randn(18, 4, generator=torch.Generator().manual_seed(1))
    larger = grown(model, name.partition("/")[0], architecture(name), COUNTS, encodings)
    after = WithNewItems(larger, 15, encodings, likeness=3.0, boost=-0.5).eval().predict(histories())
    torch.testing.assert_close(after[:, :15], model.predict(histories()))
    centred = encodings - encodings[:15].mean(0)
    vectors = vectors_from_texts(encodings, model.item_table()[1:].detach(), COUNTS)
    states = model.user_representation(histories())
    for row, newest in enumerate([15, 1, 1, 8]):
        like = torch.cosine_similarity(centred[newest - 1], centred[15:])  # all four components are kept
        torch.testing.assert_close(after[row, 15:], vectors @ states[row] + 3 * (like - 0.75) - 0.5)
    assert model.num_items == 15  # the one that was given is as it was


@pytest.mark.parametrize("name", [name for name in NAMES if not scores_alike(name)])
def test_a_student_with_an_output_layer_of_its_own_is_refused(name):
    with pytest.raises(UserError, match="by more than a vector for each item"):
        grown(student(name), name, architecture(name), COUNTS, torch.randn(17, 4))


def test_a_student_whose_item_table_is_another_than_its_vectors_is_refused(monkeypatch):
    class Scaled(SASRec):
        def item_table(self):
            return 8 * super().item_table()

    monkeypatch.setattr("src.student.new_items.STUDENTS", {"scaled": Scaled})
    with pytest.raises(UserError, match="by more than a vector for each item"):
        check_kind("scaled")


def test_a_new_item_in_a_history_is_read():
    encodings = torch.randn(17, 4, generator=torch.Generator().manual_seed(1))
    larger = grown(student("sasrec"), "sasrec", architecture("sasrec"), COUNTS, encodings)
    model = WithNewItems(larger, 15, encodings, likeness=0.0, boost=0.0).eval()
    one, other = (model.predict(torch.tensor([[1, item]])) for item in (16, 17))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", ["sasrec", "bsarec/rotary", "gru4rec", "caser"])
def test_it_is_served_as_any_student_is(name, tmp_path):
    encodings = torch.randn(18, 4, generator=torch.Generator().manual_seed(1))
    larger = grown(with_large_weights(student(name)), name.partition("/")[0], architecture(name), COUNTS, encodings)
    model = WithNewItems(larger, 15, encodings, likeness=3.0, boost=1.0).eval()
    bias = write_graph(model, tmp_path / "model.onnx")
    history, none = histories()[:, :6].numpy(), torch.zeros(4, 1, dtype=torch.int64).numpy()
    items, scores = Graph(tmp_path / "model.onnx").best(history, none, 18)
    expected = model.predict(histories()).gather(1, torch.from_numpy(items) - 1)
    torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=1e-4)
    assert (items > 15).any(1).all() and bias.shape == (19,)
