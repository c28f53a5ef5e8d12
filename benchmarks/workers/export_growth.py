"""One side of `export_growth`: writes an export once for each size, in a process of its own.

Settings: `overrides` of the shipped config, `users` (numbers of them, one measurement each), `interactions` of each,
`items`. Imports nothing but what earlier states of the project have, too: it may be run beside one.
"""

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.ours import new_teacher, run_of, synthetic_dataset
from benchmarks.timing import Line
from src.core.artefact import read_manifest
from src.core.seed import generator
from src.data.rows import TrainingWindows, WindowBatch
from src.teacher.export import export_teacher_outputs
from src.teacher.settings import ExportSettings

TILE = 256  # examples whose best items are sought at once


def main() -> None:
    line = Line()
    settings = line.settings
    run = run_of(settings["overrides"])
    largest = synthetic_dataset(max(settings["users"]), settings["interactions"], settings["items"])
    model = new_teacher(run, largest).eval()
    forward, passes = model.language_model.forward, []

    def counted(**how: object) -> object:
        passes.append(how["inputs_embeds"].shape[:2])
        return forward(**how)

    model.language_model.forward = counted
    gather, gathered = TrainingWindows.__getitem__, []

    def gathering(self: TrainingWindows, rows: torch.Tensor) -> WindowBatch:
        gathered.append(len(rows))
        return gather(self, rows)

    TrainingWindows.__getitem__ = gathering

    def measure(users: int) -> dict[str, float]:
        dataset = synthetic_dataset(users, settings["interactions"], settings["items"])
        train = dataset.examples["train"]
        # as a selection policy asks: some of everybody's, in the log's order
        asked = train.subset(torch.rand(len(train), generator=generator(0)) < settings["share"])
        passes.clear()
        gathered.clear()
        with tempfile.TemporaryDirectory() as folder:
            used, start = time.process_time(), time.perf_counter()
            export_teacher_outputs(model, dataset, asked, Path(folder) / "outputs", ExportSettings(k=20), TILE, dict)
            seconds, processor = time.perf_counter() - start, time.process_time() - used
            tokens = read_manifest(Path(folder) / "outputs")["tokens_read"]
        rows = sum(rows for rows, _ in passes)
        return {
            "examples": len(asked),
            "seconds": seconds,
            "processor": processor,
            "tokens": tokens,
            "passes": len(passes),
            "rows": rows,
            "gathered": sum(gathered),
        }

    measure(min(settings["users"]) // 4)  # libraries are loaded, kernels chosen
    line.tell({})
    for users in settings["users"]:
        line.wait()
        line.tell(measure(users))


if __name__ == "__main__":
    main()
