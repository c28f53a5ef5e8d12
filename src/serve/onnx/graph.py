"""A student as an ONNX graph: histories of item numbers in, the best items out."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ...core.artefact import write_bytes
from ...student.models import SequentialRecommender

OPSET = 20
USUAL_K = 10


class BestItems(nn.Module):
    """A student and the search for its best items, as one graph.

    Args:
        student: In evaluation mode.
    """

    weight: Tensor | None  # [num_items + 1, D], row 0 is padding; None: the item table, which is in the file once then

    def __init__(self, student: SequentialRecommender) -> None:
        super().__init__()
        self.student = student = copy(student)
        # a batch is parted by the lengths of its histories for speed alone, and no graph can
        student.user_representation = student.last_states  # type: ignore[method-assign]
        own, common = type(student), SequentialRecommender
        self.predicts, self.scores = own.predict is not common.predict, own.score is not common.score
        weight, bias = student.output_layer()
        is_tied = torch.equal(weight, student.item_table()[1:])
        self.register_buffer("weight", None if is_tied else F.pad(weight.detach(), (0, 0, 1, 0)))
        zeros = torch.zeros(student.num_items)
        known = zeros if bias is None or self.predicts or self.scores else bias.detach()
        self.bias = F.pad(known, (1, 0), value=-torch.inf)

    def forward(self, history: Tensor, excluded: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Returns item numbers `[B, k]` int64 and their scores `[B, k]` float32, best first.

        Args:
            history: `[B, n]` int64, oldest first, right-padded with 0, at least one item and at most as many as the
                student reads.
            excluded: `[B, S]` int64 item numbers that are not recommended, 0 = none.
            bias: `[num_items + 1]` float32, added to the scores by item number; -inf: never recommended.
        """
        scores = self._scores(history, bias).scatter(1, excluded, -torch.inf)
        best, items = scores.topk(min(USUAL_K, self.student.num_items), dim=1)
        return items, best

    def _scores(self, history: Tensor, bias: Tensor) -> Tensor:
        """Returns `[B, num_items + 1]`, that of item 0 being -inf."""
        if self.predicts:
            return F.pad(self.student.predict(history), (1, 0)) + bias
        states = self.student.last_states(history)
        if self.scores:
            return F.pad(self.student.score(states), (1, 0)) + bias
        return F.linear(states, self.student.item_table() if self.weight is None else self.weight, bias)


def write_graph(student: SequentialRecommender, path: Path) -> np.ndarray:
    """Writes a student as an ONNX file; returns the bias that it has, `[num_items + 1]` float32.

    Inputs: `history [batch, length]` and `excluded [batch, excluded]`, int64; `k [1]` int64, how many items are asked
    for, by default 10; `bias [num_items + 1]` float32, added to the scores (-inf keeps an item out), by default the
    student's own. Outputs: `items [batch, k]` int64 and `scores [batch, k]` float32, best first; -inf where fewer than
    k items are left.

    Args:
        student: Any, in evaluation mode, on a CPU.
        path: Becomes the file.
    """
    module = BestItems(student.eval()).eval()
    length = min(4, student.history_length)
    history, excluded = (torch.ones(2, width, dtype=torch.int64) for width in (length, 2))  # a size of 1 would be fixed
    batch, auto, static = torch.export.Dim("batch"), torch.export.Dim.AUTO, torch.export.Dim.STATIC
    with _quiet():
        program = torch.onnx.export(
            module,
            (history, excluded, module.bias),
            dynamo=True,
            opset_version=OPSET,
            input_names=["history", "excluded", "bias"],
            output_names=["items", "scores"],
            dynamic_shapes=(
                {0: batch, 1: auto if length > 1 else static},
                {0: batch, 1: torch.export.Dim("excluded", min=1)},
                None,
            ),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    bias = module.bias.numpy()
    _with_defaults(model, bias)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
    return bias


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the exporter tells of its own passes out of our log."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _with_defaults(model: onnx.ModelProto, bias: np.ndarray) -> None:
    """Makes k an input, and gives k and bias the values that they have where a caller names none."""
    graph = model.graph
    (search,) = (node for node in graph.node if node.op_type == "TopK")
    search.input[1] = "k"
    graph.input.append(helper.make_tensor_value_info("k", TensorProto.INT64, [1]))
    graph.initializer.append(numpy_helper.from_array(np.array([USUAL_K], dtype=np.int64), "k"))
    graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), "bias"))
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "k"
    del graph.value_info[:]  # shapes that the exporter noted for its own k
