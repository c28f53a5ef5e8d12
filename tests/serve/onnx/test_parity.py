from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from src.core.errors import UserError
from src.evaluation.settings import MetricsSettings
from src.serve.graph import Graph
from src.serve.onnx.graph import write_graph
from src.serve.onnx.parity import Parity, check_parity
from src.student.evaluator import evaluate_student
from src.student.models import SequentialRecommender
from tests.serve.served import grown
from tests.worlds import dataset_of, tiny_dataset

WORLD = tiny_dataset()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """The graph of `model()`."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(model(), path)
    return path


def model() -> SequentialRecommender:
    """Returns a student that does not tell items 3 and 7 apart."""
    found = grown("caser_paper")
    with torch.no_grad():
        for parameter in found.output.parameters():
            parameter[6] = parameter[2]
    return found


def biased(path: Path, to: Path, by: dict[int, float]) -> Path:
    """Writes a copy of a graph that adds something to the scores of items; returns its path."""
    changed = onnx.load(path)
    (tensor,) = (each for each in changed.graph.initializer if each.name == "bias")
    bias = numpy_helper.to_array(tensor).copy()
    for item, more in by.items():
        bias[item] += more
    tensor.CopyFrom(numpy_helper.from_array(bias, "bias"))
    onnx.save(changed, to)
    return to


def parity(path: Path, filter_seen: bool = False) -> Parity:
    return check_parity(model(), path, WORLD, filter_seen, [1, 3])


@pytest.mark.parametrize("filter_seen", [False, True])
def test_both_figures_are_those_of_the_evaluation(path, filter_seen):
    """Some of the users take again what they had: where seen items are left out, a target competes all the same."""
    log = dataset_of([[1, 2, 3, 4, 2], [5, 6, 7, 6, 5], [8, 9, 10, 11, 12], [1, 3, 7, 1, 13]])
    ks = [1, 3, 10, 15]
    found = check_parity(model(), path, log, filter_seen, ks)
    settings = MetricsSettings(ks=ks, filter_seen=filter_seen)
    expected = evaluate_student(model(), log, "test", settings, "test").metrics
    assert found.onnx == found.pytorch == {name: pytest.approx(expected[name]) for name in found.onnx}
    assert {name.partition("@")[2] for name in found.onnx} == {"1", "3", "10", "15"}
    assert (found.users, found.filter_seen) == (4, filter_seen)
    assert 0 < found.onnx["MRR@3"] < 1


def test_cut_offs_behind_the_end_of_a_list_are_left_out(path):
    found = check_parity(model(), path, WORLD, True, [20, 21, 50])
    assert {name.partition("@")[2] for name in found.onnx} == {"20"}


def test_users_are_counted_over_all_batches(path, monkeypatch):
    whole = parity(path)
    monkeypatch.setattr("src.serve.onnx.parity.BATCH", 5)
    assert parity(path) == whole and whole.users == len(WORLD.examples["test"]) == 12


def test_scores_that_differ_by_rounding_are_told(path, tmp_path):
    assert parity(path).largest_difference < 1e-5
    found = parity(biased(path, tmp_path / "model.onnx", {4: 5e-5}))
    assert found.largest_difference == pytest.approx(5e-5, rel=0.1)


def test_lists_that_part_items_of_the_same_score_otherwise_are_counted(path, tmp_path):
    """Whichever of the two PyTorch puts first: for every user, one of both graphs does otherwise."""
    found = [parity(biased(path, tmp_path / "model.onnx", {item: 5e-5})) for item in (3, 7)]
    assert sum(each.other_lists for each in found) == 12
    assert all(each.pytorch == parity(path).pytorch for each in found)


@pytest.mark.parametrize("by", [{4: 2e-4}, {4: -2e-4}, {4: -np.inf}, {1: np.nan}])
@pytest.mark.parametrize("filter_seen", [False, True])
def test_a_graph_that_scores_one_item_otherwise_is_refused(path, tmp_path, monkeypatch, by, filter_seen):
    monkeypatch.setattr("src.serve.onnx.parity.BATCH", 5)
    with pytest.raises(UserError, match=r"differ from PyTorch.s by up to .* more than 1e-04: this student cannot be"):
        parity(biased(path, tmp_path / "model.onnx", by), filter_seen)


def test_scores_that_lie_near_together_may_differ_by_less(tmp_path):
    near = model()
    with torch.no_grad():
        for parameter in near.output.parameters():
            parameter.mul_(1e-4)
    write_graph(near, tmp_path / "near.onnx")
    assert check_parity(near, tmp_path / "near.onnx", WORLD, True, [1]).largest_difference < 1e-7
    wrong = biased(tmp_path / "near.onnx", tmp_path / "wrong.onnx", {4: 5e-5})
    with pytest.raises(UserError, match=r"by up to 5.0e-05, which is much for scores that lie so near together"):
        check_parity(near, wrong, WORLD, True, [1])


def test_the_graph_of_another_student_is_refused(path):
    with pytest.raises(UserError, match="cannot be served as it is"):
        check_parity(grown("caser_paper", seed=1), path, WORLD, True, [1])


def test_a_graph_that_recommends_what_is_excluded_is_refused(path, monkeypatch):
    """Even if it stands behind all that may be recommended."""
    right = Graph.best

    def wrong(self, history, excluded, k, bias=None):
        items, scores = right(self, history, excluded, k, bias)
        return items, np.where(scores == -np.inf, scores.min(where=scores > -np.inf, initial=np.inf) - 1, scores)

    monkeypatch.setattr(Graph, "best", wrong)
    with pytest.raises(UserError, match="by up to inf"):
        parity(path, filter_seen=True)


def test_a_graph_that_gives_the_right_scores_to_the_wrong_items_is_refused(path, monkeypatch):
    right = Graph.best

    def wrong(self, *asked):
        items, scores = right(self, *asked)
        return items % 15 + 1, scores

    monkeypatch.setattr(Graph, "best", wrong)
    with pytest.raises(UserError, match="cannot be served as it is"):
        parity(path)


def test_a_test_split_without_examples_is_refused(path):
    nobody = replace(WORLD, examples=WORLD.examples | {"test": WORLD.examples["test"].subset(torch.arange(0))})
    with pytest.raises(UserError, match="tiny has no test examples"):
        check_parity(model(), path, nobody, True, [1])
