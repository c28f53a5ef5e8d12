"""A student of ours as `run_export_onnx` writes it, in onnxruntime: the ten best items after histories, these left out.

Settings: `items`, `width`, `length`, `blocks`, `heads`, `batch`, `calls`; and where they are given: `search` of the
graph; `table`, the path of its item vectors; `states`, where the encoder's states after the histories are written.
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

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
    student = create_student("sasrec", settings["items"], architecture).eval()
    if "table" in settings:
        with torch.no_grad():
            student.items.ids.weight[1:] = torch.from_numpy(np.load(settings["table"]))
    with TemporaryDirectory() as folder:
        write_graph(student, Path(folder) / "model.onnx", settings.get("search", "float32"))
        graph = Graph(Path(folder) / "model.onnx", int(os.environ["OMP_NUM_THREADS"]))
    shape = settings["calls"], settings["batch"], settings["length"]
    histories = np.random.default_rng(0).integers(1, settings["items"] + 1, shape)

    if "states" in settings:
        with torch.inference_mode():
            np.save(settings["states"], student.last_states(torch.from_numpy(np.concatenate(histories))).numpy())

    def measured() -> dict[str, float]:
        taken = []
        for history in histories:
            start = time.perf_counter()
            graph.best(history, history, 10)
            taken.append(time.perf_counter() - start)
        return {"seconds": float(np.median(taken)), "p99": float(np.quantile(taken, 0.99))}

    found = [items.tolist() for history in histories for items in graph.best(history, history, 10)[0]]
    line.serve({"parameters": num_parameters(student), "found": found if "table" in settings else None}, measured)


if __name__ == "__main__":
    main()
