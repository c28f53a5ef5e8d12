"""Frozen students → outputs in the place of a teacher's: what would have been taught if nobody had read anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...program.run import Run
from ..base import Prepared, Stage
from .ensemble import Ensemble
from .outputs import Outputs


class SelfOutputs(Outputs):
    """`data/teacher_outputs/<dataset>/self-<key>/`: the students' own rankings of the examples that the teacher was
    asked about, beside the teacher's item embeddings.

    Args:
        run, prepared: See `Stage`.
        students: Whose rankings, at the weights that validation likes best: the user encoder's alone, or those of the
            ensemble's members that know no text.
        outputs: The teacher's, which these stand beside.
    """

    title = "self-teacher: export"
    what = "students' rankings"
    command = "run_all"
    elsewhere = "controls=false"

    def __init__(self, run: Run, prepared: Prepared, students: Ensemble, outputs: Outputs) -> None:
        super().__init__(run, prepared)
        self.students, self.outputs = students, outputs

    def inputs(self) -> Sequence[Stage]:
        return (self.students, self.outputs)

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.teacher_outputs_dir, "self-", *self.counted, self.settings.seed)

    @property
    def counted(self) -> list[Any]:
        return [self.settings.teacher.export.exclude_seen]

    def make(self) -> None:
        from ....core.precision import best_device
        from ....evaluation.ranking import rows_at_once
        from ....teacher.export import BYTES_PER_SCORE, export_teacher_outputs

        dataset, teacher = self.prepared.dataset, self.settings.teacher
        of_teacher = self.outputs.load()
        self.kept_so_far()
        model = self.students.load()
        model.embeddings = of_teacher.item_embeddings
        train = dataset.examples["train"]
        asked = train.subset(of_teacher.row_of_example[train.example_id] >= 0)
        settings = teacher.export.model_copy(update={"k": of_teacher.candidates.shape[1], "user_states": False})
        export_teacher_outputs(
            model.to(best_device()),
            dataset,
            asked,
            self.folder,
            settings,
            rows_at_once(self.settings.metrics, dataset, settings.exclude_seen, BYTES_PER_SCORE),
            lambda: self.about({"weights": model.ranks_by}),
            self.is_over,
        )
