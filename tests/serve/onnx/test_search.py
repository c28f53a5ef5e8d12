"""The best items are found among groups, and by bytes, as among all scores."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from src.serve.onnx.search import CANDIDATES, USUAL_K, TableOfBytes, best_of

D = 16


class Function(nn.Module):
    def __init__(self, forward: Callable[..., tuple[Tensor, ...]], part: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.part = forward, part

    def forward(self, values: Tensor, k: Tensor) -> tuple[Tensor, ...]:
        return self.function(values, k)


def session(module: nn.Module, values: Tensor) -> onnxruntime.InferenceSession:
    program = torch.onnx.export(
        module,
        (values, torch.tensor([10])),
        dynamo=True,
        input_names=["values", "k"],
        dynamic_shapes=({0: torch.export.Dim("batch")}, None),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    del model.graph.value_info[:]  # shapes of the example's k, as `write_graph` does
    for output in model.graph.output:
        if output.type.tensor_type.shape.dim[-1].dim_value == USUAL_K:
            output.type.tensor_type.shape.dim[-1].dim_param = "k"
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("n", [11, 64, 257, 4_096, 5_000])
@pytest.mark.parametrize("values", ["apart", "many of the same", "most left out"])
def test_the_best_of_groups_are_the_best_of_all_and_of_equal_ones_the_first(n, values):
    draw = np.random.default_rng(n)
    rows = draw.standard_normal((7, n)).astype(np.float32)
    if values == "many of the same":
        rows = draw.integers(0, 4, (7, n)).astype(np.float32)
    if values == "most left out":
        rows[draw.random((7, n)) < 0.99] = -np.inf
    rows[:, 0] = -np.inf
    found = session(Function(best_of), torch.from_numpy(rows[:2]))
    for k in (1, 3, 10, n // 3, n):
        best, places = found.run(None, {"values": rows, "k": np.array([k])})
        expected = np.argsort(-rows, axis=1, kind="stable")[:, :k]
        assert np.array_equal(best, np.take_along_axis(rows, expected, axis=1))
        there = best > -np.inf
        assert np.array_equal(places[there], expected[there])
        assert np.array_equal(np.take_along_axis(rows, places, axis=1), best)


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    """Vectors of very different lengths, one of them zero."""
    draw = torch.Generator().manual_seed(0)
    found = torch.randn(3_000, D, generator=draw) * torch.rand(3_000, 1, generator=draw).exp() ** 3
    found[7] = 0
    return found


@pytest.fixture(scope="module")
def by_bytes(vectors) -> onnxruntime.InferenceSession:
    table = TableOfBytes(vectors)
    return session(Function(lambda states, k: (table(states), k + 0), table), torch.ones(2, D))


def test_a_product_with_bytes_is_near_and_holds_the_best_among_its_candidates(vectors, by_bytes):
    states = torch.randn(50, D, generator=torch.Generator().manual_seed(1))
    found, _ = by_bytes.run(None, {"values": states.numpy(), "k": np.array([10])})
    exact = (states @ vectors.T).numpy()
    # each of D products is wrong by at most half a step of its two factors
    size, scale = states.abs().amax(1, keepdim=True), vectors.abs().amax(1)
    bound = (D * size * scale * (0.5 / 127 + 0.5 / 64 + 0.25 / 127 / 64)).numpy()
    assert (np.abs(found - exact) <= bound + 1e-6).all()
    assert not np.array_equal(found, exact)  # bytes they are
    best = np.argsort(-exact, axis=1)[:, :10]
    candidates = np.argsort(-found, axis=1)[:, : 10 * CANDIDATES]
    assert all(set(row) <= set(few) for row, few in zip(best, candidates, strict=True))
    assert (found[:, 7] == 0).all()


def test_what_is_found_for_one_does_not_depend_on_who_else_asks(by_bytes):
    states = torch.randn(4, D, generator=torch.Generator().manual_seed(2)).numpy()
    states[1] *= 1000
    together, _ = by_bytes.run(None, {"values": states, "k": np.array([10])})
    for row in range(4):
        alone, _ = by_bytes.run(None, {"values": states[row : row + 1], "k": np.array([10])})
        assert np.array_equal(alone[0], together[row])


def test_a_state_of_zeros_scores_nothing(by_bytes):
    found, _ = by_bytes.run(None, {"values": np.zeros((1, D), np.float32), "k": np.array([10])})
    assert (found == 0).all()
