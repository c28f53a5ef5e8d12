"""One measurement of `export_memory`: the peak of resident memory while an untrained teacher ranks a few examples.

Settings: `overrides` of the shipped config, `items`, `users`.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.ours import new_teacher, run_of, synthetic_dataset
from benchmarks.timing import Line, reset_peak, status
from src.core import metrics
from src.data.catalogue import Catalogue
from src.teacher import export
from src.teacher.ensemble.calibration import Calibration
from src.teacher.settings import ExportSettings

DISTINCT = 1_000  # titles: what is measured is not how long a million of them are encoded


def main() -> None:
    line = Line()
    settings = line.settings
    run = run_of(settings["overrides"])
    dataset = synthetic_dataset(settings["users"], 22, settings["items"])
    names = [str(item % DISTINCT) for item in range(settings["items"])]
    dataset = replace(dataset, catalogue=Catalogue(names, names, names))
    model = new_teacher(run, dataset).eval()
    model.calibration = Calibration(0.7, 1.5)  # language model and student, as an export has both
    tables = sum(each.nbytes for each in (model.item_texts, model.user_encoder.item_table(), model.item_bias))
    line.tell({})
    line.wait()
    per_score = getattr(export, "BYTES_PER_SCORE", metrics.BYTES_PER_SCORE)  # the latter: earlier states of the project
    rows = min(run.settings.metrics.max_rows, int(256 * 2**20 / per_score / dataset.num_items))
    before, start = reset_peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        asked = dataset.examples["train"]
        settings = ExportSettings(k=20, exclude_seen=False)
        export.export_teacher_outputs(model, dataset, asked, Path(folder) / "outputs", settings, rows, dict)
    seconds = time.perf_counter() - start
    line.tell(
        {"peak": status("VmHWM") - before, "examples": len(asked), "seconds": seconds, "tile": rows, "tables": tables}
    )


if __name__ == "__main__":
    main()
