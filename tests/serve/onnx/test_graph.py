"""What onnxruntime makes of a student's file is what PyTorch makes of the student."""

import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from src.core.errors import UserError
from src.serve.graph import Graph, padded
from src.serve.onnx.graph import write_graph
from src.student.factory import create_student
from src.student.models import SASRec, SequentialRecommender
from tests.serve.served import best_of, grown, with_large_weights
from tests.student.students import NAMES, NUM_ITEMS, VARIANTS, architecture

TOLERANCE = 1e-4


class OwnScore(SASRec):
    def score(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
        return super().score(hidden, items) - torch.arange(NUM_ITEMS) / 8


class OwnPredict(SASRec):
    def predict(self, history: Tensor) -> Tensor:
        return -super().predict(history)


def short(name: str, length: int) -> SequentialRecommender:
    """Returns a student that reads so few items."""
    small = architecture(name) | {"history_length": length}
    return with_large_weights(create_student(name.partition("/")[0], NUM_ITEMS, small))


KINDS = {name: partial(grown, name) for name in (*NAMES, *VARIANTS)}
KINDS |= {
    "own score": lambda: with_large_weights(OwnScore(NUM_ITEMS, **architecture("sasrec"))),
    "own predict": lambda: with_large_weights(OwnPredict(NUM_ITEMS, **architecture("sasrec"))),
    "one item": lambda: short("sasrec", 1),
    "two items, relative": lambda: short("bsarec/relative_bias", 2),
}
QUICK = ("sasrec", "caser_paper", "sasrec by bytes")


BY_BYTES = [f"{name} by bytes" for name in ("sasrec", "gru4rec", "caser", "caser_paper", "bsarec/rotary")]
PARAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in (*KINDS, *BY_BYTES)]


class Exported(NamedTuple):
    """A student and its file."""

    model: SequentialRecommender
    path: Path
    graph: Graph


@pytest.fixture(scope="module", params=PARAMS)
def exported(request, tmp_path_factory) -> Exported:
    """A student of each kind."""
    name, _, by_bytes = request.param.partition(" by ")
    model, path = KINDS[name](), tmp_path_factory.mktemp("graph") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the exporter says of its own passes reaches nobody
        write_graph(model, path, "bytes" if by_bytes else "float32")
    return Exported(model, path, Graph(path))


HISTORIES = [[1, 5, 3, 1, 9, 15], [4], [2, 2, 7], [13, 8, 11, 6, 10], [3]]
EXCLUDED = [{1, 5, 3, 9, 15}, {4}, set(), {1, 2, 14}, set(range(4, 16))]  # of the last 3 items are left


def assert_same(found: tuple[np.ndarray, np.ndarray], expected: list[list[tuple[int, float]]]) -> None:
    """Each score is what PyTorch gives to that place of its list of all items, and to that item."""
    for items, scores, best in zip(*found, expected, strict=True):
        n, of_item = min(len(best), len(items)), dict(best)
        assert scores[:n] == pytest.approx([score for _, score in best[:n]], abs=TOLERANCE)
        assert scores[:n] == pytest.approx([of_item[item] for item in items[:n].tolist()], abs=TOLERANCE)
        assert len(set(items[:n].tolist())) == n and (scores[n:] == -np.inf).all()


def rows(model: SequentialRecommender) -> list[list[int]]:
    return [history[-model.history_length :] for history in HISTORIES]


@pytest.mark.parametrize("k", [1, 4, 10, NUM_ITEMS])
def test_the_best_items_are_those_of_pytorch_without_the_excluded(exported, k):
    model, _, graph = exported
    found = graph.best(padded(rows(model)), padded([sorted(out) for out in EXCLUDED]), k)
    assert found[0].shape == found[1].shape == (5, k)
    assert (found[0].dtype, found[1].dtype) == (np.int64, np.float32)
    assert_same(found, [best_of(model, *each, NUM_ITEMS) for each in zip(HISTORIES, EXCLUDED, strict=True)])


def test_scores_are_far_enough_apart_to_tell_one_history_from_another(exported):
    model, *_ = exported
    lists = [best_of(model, history, set(), NUM_ITEMS) for history in HISTORIES]
    assert len({tuple(item for item, _ in each) for each in lists}) > 1
    assert all(each[0][1] - each[-1][1] > 100 * TOLERANCE for each in lists)


def test_a_history_alone_is_ranked_as_beside_longer_ones(exported):
    model, _, graph = exported
    for history in HISTORIES:
        found = graph.best(padded([history[-model.history_length :]]), padded([[]]), NUM_ITEMS)
        assert_same(found, [best_of(model, history, set(), NUM_ITEMS)])


def test_a_history_of_every_length_is_read(exported):
    model, _, graph = exported
    for length in range(1, model.history_length + 1):
        found = graph.best(padded([HISTORIES[0][:length]]), padded([[]]), 3)
        assert_same(found, [best_of(model, HISTORIES[0][:length], set(), NUM_ITEMS)])


def test_a_bias_takes_the_place_of_the_students_own(exported):
    model, _, graph = exported
    own = np.zeros(NUM_ITEMS + 1, dtype=np.float32)
    known = model.output_layer()[1]
    if known is not None:
        own[1:] = known.detach().numpy()
    given = np.linspace(-1, 1, NUM_ITEMS + 1, dtype=np.float32)
    given[0] = given[[2, 9]] = -np.inf
    found = graph.best(padded(rows(model)), padded([[]] * 5), NUM_ITEMS, given)
    assert_same(found, [best_of(model, history, set(), NUM_ITEMS, added=given - own) for history in HISTORIES])


def test_ten_items_are_told_where_nobody_says_how_many(exported):
    model, path, _ = exported
    session = onnxruntime.InferenceSession(path)
    items, scores = session.run(["items", "scores"], {"history": padded([[4]]), "excluded": padded([[]])})
    assert items.shape == scores.shape == (1, 10)
    assert_same((items, scores), [best_of(model, [4], set(), NUM_ITEMS)])


def test_padding_is_never_recommended(exported):
    everything = padded([list(range(1, NUM_ITEMS + 1))])
    _, scores = exported.graph.best(padded([[4]]), everything, NUM_ITEMS)
    assert (scores == -np.inf).all()


@pytest.mark.parametrize("search", ["float32", "bytes"])
def test_more_items_are_told_than_there_are_groups_of_them(search, tmp_path):
    model = create_student("gru4rec", 600, architecture("gru4rec") | {"hidden_size": 32}).eval()
    write_graph(model, tmp_path / "model.onnx", search)
    graph = Graph(tmp_path / "model.onnx")
    history = torch.randint(1, 601, (6, 5), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        scores = model.predict(history).scatter(1, history - 1, -torch.inf)
    for k in (1, 40, 200, 599, 600):
        items, told = graph.best(history.numpy(), history.numpy(), k)
        assert told == pytest.approx(scores.topk(k).values.numpy(), abs=TOLERANCE)
        there = told > -np.inf
        assert told[there] == pytest.approx(
            scores.gather(1, torch.from_numpy(items - 1).clamp(min=0)).numpy()[there], abs=TOLERANCE
        )


def test_by_bytes_few_items_have_as_many_candidates_as_are_checked_and_none_depends_on_what_others_ask(tmp_path):
    """Vectors that share a large dimension: bytes tell little of the rest."""
    model = create_student("gru4rec", 2000, architecture("gru4rec") | {"hidden_size": 32}).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        model.items.ids.weight[1:, 0] += 28
    write_graph(model, tmp_path / "model.onnx", "bytes")
    graph = Graph(tmp_path / "model.onnx")
    history = torch.randint(1, 2001, (400, 5), generator=draw)
    with torch.inference_mode():
        scores = model.predict(history)
    nothing = np.zeros((400, 1), dtype=np.int64)
    items, _ = graph.best(history.numpy(), nothing, 20)
    for k in (1, 2, 5):
        fewer, told = graph.best(history.numpy(), nothing, k)
        assert np.array_equal(fewer, items[:, :k])
        assert told == pytest.approx(scores.topk(k).values.numpy(), abs=TOLERANCE)


@pytest.mark.parametrize("kind", ["own score", "own predict"])
def test_bytes_do_not_stand_for_scores_that_are_no_products(kind, tmp_path):
    with pytest.raises(UserError, match=r"serve.search=bytes looks for items by their vectors alone, .*=float32"):
        write_graph(KINDS[kind](), tmp_path / "model.onnx", "bytes")
    assert not list(tmp_path.iterdir())


# --- what needs no student


def test_rows_are_padded_on_the_right_to_the_longest():
    assert padded([[3], [], [1, 2]]).tolist() == [[3, 0], [0, 0], [1, 2]]
    assert padded([[], []]).tolist() == [[0], [0]]
    assert padded([[1]]).dtype == np.int64
