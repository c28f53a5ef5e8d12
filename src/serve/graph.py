"""An ONNX file of ours at work in onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from ..core.errors import UserError

ERRORS_ONLY = 3  # onnxruntime warns that inputs with a default are no constants: they are meant not to be


class Graph:
    """A student that ranks, see `serve.onnx.graph.write_graph`. Several threads may ask at once.

    Args:
        path: The file.
        threads: Of onnxruntime, for each question.

    Raises:
        UserError: onnxruntime cannot run it.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a class of its own for each of its states
            why = str(error).partition("\n")[0]
            raise UserError(f"{path} cannot be run by onnxruntime ({why}): make it again.") from None

    def best(
        self, history: np.ndarray, excluded: np.ndarray, k: int, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns item numbers `[B, k]` int64 and their scores `[B, k]` float32, best first; -inf where fewer are left.

        Args:
            history: `[B, n]` int64, oldest first, right-padded with 0; n is at most what the student reads.
            excluded: `[B, S]` int64 item numbers that are left out, 0 = none.
            k: At most the number of items.
            bias: `[num_items + 1]` float32 added to the scores; None: the student's own.
        """
        inputs = {"history": history, "excluded": excluded, "k": np.array([k])}
        given = inputs if bias is None else inputs | {"bias": bias}
        items, scores = map(np.asarray, self._session.run(["items", "scores"], given))
        return items, scores


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns rows as `[B, n]` int64, padded on the right with 0 to the longest, at least one column."""
    found = np.zeros((len(rows), max(1, *map(len, rows))), dtype=np.int64)
    for row, values in enumerate(rows):
        found[row, : len(values)] = values
    return found
