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
from onnx import numpy_helper
from torch import Tensor, nn

from ...core.artefact import write_bytes
from ...core.errors import UserError
from ...student.models import SequentialRecommender
from ..settings import Search
from .search import CANDIDATES, CHECKED_K, USUAL_K, TableOfBytes, best_of, top

OPSET = 20


class BestItems(nn.Module):
    """A student and the search for its best items, as one graph.

    Args:
        student: In evaluation mode.
        search: See `ServeSettings.search`.

    Raises:
        UserError: The student's scores are no products with vectors, which alone have a table of bytes.
    """

    weight: Tensor | None  # [num_items + 1, D], row 0 is padding; None: the item table, which is in the file once then

    def __init__(self, student: SequentialRecommender, search: Search = "float32") -> None:
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
        self.bytes = None
        if search == "bytes":
            if self.predicts or self.scores:
                raise UserError(
                    "serve.search=bytes looks for items by their vectors alone, and this student scores by more than "
                    "these (of its own kind, or for new items): use serve.search=float32."
                )
            self.bytes = TableOfBytes(F.pad(weight.detach().float(), (0, 0, 1, 0)))

    def forward(self, history: Tensor, excluded: Tensor, k: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Returns item numbers `[B, k]` int64 and their scores `[B, k]` float32, best first.

        Args:
            history: `[B, n]` int64, oldest first, right-padded with 0, at least one item and at most as many as the
                student reads.
            excluded: `[B, S]` int64 item numbers that are not recommended, 0 = none.
            k: `[1]` int64, from 1 to num_items.
            bias: `[num_items + 1]` float32, added to the scores by item number; -inf: never recommended.
        """
        if self.bytes is None:
            best, items = best_of(self._scores(history, bias).scatter(1, excluded, -torch.inf), k)
            return items, best
        states = self.student.last_states(history)
        near, candidates = best_of(
            (self.bytes(states) + bias).scatter(1, excluded, -torch.inf),
            (k.clamp(min=CHECKED_K) * CANDIDATES).clamp(max=self.student.num_items),
        )
        exact = torch.einsum("bkd,bd->bk", self._weight()[candidates], states) + bias[candidates]
        best, places = top(exact.where(near > -torch.inf, -torch.inf), k)
        return candidates.gather(1, places), best

    def _scores(self, history: Tensor, bias: Tensor) -> Tensor:
        """Returns `[B, num_items + 1]`, that of item 0 being -inf."""
        if self.predicts:
            return F.pad(self.student.predict(history), (1, 0)) + bias
        states = self.student.last_states(history)
        if self.scores:
            return F.pad(self.student.score(states), (1, 0)) + bias
        return F.linear(states, self._weight(), bias)

    def _weight(self) -> Tensor:
        """Returns `[num_items + 1, D]`."""
        return self.student.item_table() if self.weight is None else self.weight


def write_graph(student: SequentialRecommender, path: Path, search: Search = "float32") -> np.ndarray:
    """Writes a student as an ONNX file; returns the bias that it has, `[num_items + 1]` float32.

    Inputs: `history [batch, length]` and `excluded [batch, excluded]`, int64; `k [1]` int64, how many items are asked
    for, by default 10; `bias [num_items + 1]` float32, added to the scores (-inf keeps an item out), by default the
    student's own. Outputs: `items [batch, k]` int64 and `scores [batch, k]` float32, best first; -inf where fewer than
    k items are left.

    Args:
        student: Any, in evaluation mode, on a CPU.
        path: Becomes the file.
        search: See `ServeSettings.search`.

    Raises:
        UserError: See `BestItems`.
    """
    module = BestItems(student.eval(), search).eval()
    length = min(4, student.history_length)
    history, excluded = (torch.ones(2, width, dtype=torch.int64) for width in (length, 2))  # a size of 1 would be fixed
    batch, auto, static = torch.export.Dim("batch"), torch.export.Dim.AUTO, torch.export.Dim.STATIC
    usual_k = torch.tensor([min(USUAL_K, student.num_items)])
    with _quiet():
        program = torch.onnx.export(
            module,
            (history, excluded, usual_k, module.bias),
            dynamo=True,
            opset_version=OPSET,
            input_names=["history", "excluded", "k", "bias"],
            output_names=["items", "scores"],
            dynamic_shapes=(
                {0: batch, 1: auto if length > 1 else static},
                {0: batch, 1: torch.export.Dim("excluded", min=1)},
                None,
                None,
            ),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    bias = module.bias.numpy()
    _with_defaults(model, k=usual_k.numpy(), bias=bias)
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


def _with_defaults(model: onnx.ModelProto, **defaults: np.ndarray) -> None:
    """Gives inputs the values that they have where a caller names none."""
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in defaults.items())
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "k"
    del graph.value_info[:]  # shapes that the exporter noted for the k of its example
