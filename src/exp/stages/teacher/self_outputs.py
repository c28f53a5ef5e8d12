"""User encoder → outputs in the place of a teacher's: what a language model that reads nothing would have taught."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...program.run import Run
from ..base import Prepared, Stage
from ..students import UserEncoder
from .outputs import Outputs

if TYPE_CHECKING:
    from ....teacher.ensemble import Calibration, FrozenStudent

log = logging.getLogger(__name__)


class SelfOutputs(Outputs):
    """`data/teacher_outputs/<dataset>/self-<key>/`: the user encoder's own rankings of the examples that the teacher
    was asked about, at a temperature chosen on validation as the teacher's is, beside the teacher's item embeddings.

    Args:
        run, prepared: See `Stage`.
        user_encoder: Whose rankings.
        outputs: The teacher's, which these stand beside.
    """

    title = "user encoder: export"
    what = "user encoder's rankings"
    command = "run_all"
    elsewhere = "controls=false"

    def __init__(self, run: Run, prepared: Prepared, user_encoder: UserEncoder, outputs: Outputs) -> None:
        super().__init__(run, prepared)
        self.user_encoder, self.outputs = user_encoder, outputs

    def inputs(self) -> Sequence[Stage]:
        return (self.user_encoder, self.outputs)

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.teacher_outputs_dir, "self-", *self.counted, self.settings.seed)

    @property
    def counted(self) -> list[Any]:
        export, most = self.settings.teacher.export, self.settings.teacher.train.max_val_examples
        return [export.exclude_seen, most, self.settings.metrics.filter_seen]

    def make(self) -> None:
        from ....core.precision import best_device
        from ....evaluation.ranking import rows_at_once
        from ....teacher.ensemble import FrozenStudent
        from ....teacher.export import export_teacher_outputs

        dataset, teacher = self.prepared.dataset, self.settings.teacher
        of_teacher = self.outputs.load()
        self.kept_so_far()
        model = FrozenStudent(self.user_encoder.load(), of_teacher.item_embeddings, teacher.eval_tokens)
        model.calibration = self._calibration(model.to(best_device()))
        log.info("The user encoder ranks by itself at temperature %.4g", model.calibration.temperature)
        train = dataset.examples["train"]
        asked = train.subset(of_teacher.row_of_example[train.example_id] >= 0)
        settings = teacher.export.model_copy(update={"k": of_teacher.candidates.shape[1], "user_states": False})
        export_teacher_outputs(
            model,
            dataset,
            asked,
            self.folder,
            settings,
            rows_at_once(self.settings.metrics, dataset, settings.exclude_seen),
            lambda: self.about({"calibration": model.calibration._asdict()}),
        )

    def _calibration(self, model: "FrozenStudent") -> "Calibration":
        """Returns the temperature that validation likes best, on the examples that a teacher's is chosen by."""
        from ....core.precision import best_device
        from ....core.seed import generator
        from ....data.batches import loader_in_order
        from ....data.rows import ExampleRows
        from ....evaluation.ranking import rows_at_once
        from ....teacher.ensemble import Calibration, calibrate

        dataset, metrics = self.prepared.dataset, self.settings.metrics
        most = self.settings.teacher.train.max_val_examples
        val = dataset.examples["val"].sample(most, generator(self.settings.seed))
        rows = ExampleRows(dataset, val, model.user_encoder.history_length, metrics.filter_seen)
        batches = loader_in_order(rows, rows_at_once(metrics, dataset, metrics.filter_seen))
        found = calibrate(model, batches, [0.0], best_device())[0.0]
        if found.at_end:
            log.warning(
                "The temperature %.6g of the user encoder is the last that was looked at: the control distilled "
                "from its rankings says next to nothing",
                found.temperature,
            )
        return Calibration(0.0, found.temperature)
