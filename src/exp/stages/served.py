"""Student → served model: an ONNX file and the tables to answer by raw id."""

from collections.abc import Sequence
from pathlib import Path

from ...core.artefact import SERVED, read_manifest
from ..program.run import Run
from .base import Prepared, Stage
from .distilled import Distilled
from .students import Baseline


class Served(Stage):
    """`data/served/<dataset>/<student>-<key>/`: see `serve.files`.

    Args:
        run, prepared: See `Stage`.
        student: What is served.
    """

    title = "served model"
    what = "served model"
    kind = SERVED
    command = "run_export_onnx"
    elsewhere = "serve.model"

    def __init__(self, run: Run, prepared: Prepared, student: Baseline | Distilled) -> None:
        super().__init__(run, prepared)
        self.student = student

    def inputs(self) -> Sequence[Stage]:
        return (self.student,)

    def own_folder(self) -> Path:
        metrics = self.settings.metrics
        return self.keyed(
            self.settings.paths.served_dir, f"{self.student.folder.name}-", metrics.filter_seen, metrics.ks
        )

    def make(self) -> None:
        from ...serve.onnx.export import write_served

        made = read_manifest(self.student.folder, "name", "architecture")
        about = {
            **self.about({}),
            "student": self.student.folder.name,
            "student_name": made["name"],
            "student_is_distilled": isinstance(self.student, Distilled),
            "architecture": made["architecture"],
            "seed": made["seed"],
        }
        metrics = self.settings.metrics
        write_served(
            self.folder, self.student.load(), self.prepared.dataset, about, metrics.filter_seen, list(metrics.ks)
        )
