"""One measurement of `export_memory`: the peak of resident memory while an untrained teacher ranks a few examples.

Settings: `overrides` of the shipped config, `items`, `users`.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.ours import new_teacher, run_of, synthetic_dataset
from benchmarks.timing import Line, reset_peak, status
from src.core.metrics import users_within
from src.data.catalogue import Catalogue
from src.teacher.ensemble.calibration import Calibration
from src.teacher.export import export_teacher_outputs
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
    try:
        from src.teacher.export import BYTES_PER_SCORE as bytes_per_score
    except ImportError:  # an earlier state of the project
        from src.core.metrics import BYTES_PER_SCORE as bytes_per_score
    rows = min(run.settings.metrics.max_rows, users_within(256, dataset.num_items, 0, bytes_per_score))
    before, start = reset_peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        asked = dataset.examples["train"]
        settings = ExportSettings(k=20, exclude_seen=False)
        export_teacher_outputs(model, dataset, asked, Path(folder) / "outputs", settings, rows, dict)
    seconds = time.perf_counter() - start
    line.tell(
        {"peak": status("VmHWM") - before, "examples": len(asked), "seconds": seconds, "tile": rows, "tables": tables}
    )


if __name__ == "__main__":
    main()
