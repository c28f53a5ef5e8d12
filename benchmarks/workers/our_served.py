"""A student of ours as `run_export_onnx` writes it, in onnxruntime: the ten best items after histories, these left out.

Settings: `items`, `width`, `length`, `blocks`, `heads`, `batch`, `calls`.
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from src.core.seed import seed_everything
from src.serve.graph import Graph
from src.serve.onnx.graph import write_graph
from src.student.factory import create_student

from ..timing import Line, num_parameters


def main() -> None:
    line = Line()
    settings = line.settings
    seed_everything(0)
    architecture = {
        "hidden_size": settings["width"],
        "history_length": settings["length"],
        "num_blocks": settings["blocks"],
        "num_heads": settings["heads"],
        "dropout": 0.0,
    }
    student = create_student("sasrec", settings["items"], architecture)
    with TemporaryDirectory() as folder:
        write_graph(student, Path(folder) / "model.onnx")
        graph = Graph(Path(folder) / "model.onnx", int(os.environ["OMP_NUM_THREADS"]))
    shape = settings["calls"], settings["batch"], settings["length"]
    histories = np.random.default_rng(0).integers(1, settings["items"] + 1, shape)

    def measured() -> dict[str, float]:
        start = time.perf_counter()
        for history in histories:
            graph.best(history, history, 10)
        return {"seconds": (time.perf_counter() - start) / len(histories)}

    measured()
    line.serve({"parameters": num_parameters(student)}, measured)


if __name__ == "__main__":
    main()
