"""Trained teacher → how it ranks: the weight of the frozen student's ranking, and a temperature, both by validation."""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import CALIBRATION, write_json, writing
from .teacher import OfTeacher

if TYPE_CHECKING:
    from ....data.dataset import ExampleBatch
    from ....data.rows import Rows
    from ....teacher.ensemble.calibration import EnsembleMember
    from ....teacher.gated_model import GatedLanguageModel

FILE = "calibration.json"
RULE = "one standard error"  # by which a weight is chosen: artefacts of another rule have other keys

log = logging.getLogger(__name__)


class Calibration(OfTeacher):
    """`data/models/<dataset>/calibration-<key>/calibration.json`: what follows from a trained teacher within a minute,
    and so is no part of its training.

    A generation teacher has none (`Road.ranking_teacher`). Nor has a ranking teacher of one's own that is no
    `EnsembleMember`: its file says that nothing was chosen, and its scores stay as they are.
    """

    title = "teacher: calibration"
    what = "teacher's calibration"
    kind = CALIBRATION
    command = "run_teacher"
    elsewhere = "the teacher's settings back"

    def own_folder(self) -> Path:
        return self.keyed(
            self.settings.paths.models_dir,
            "calibration-",
            *self.counted,
            self.settings.seed,
        )

    @property
    def counted(self) -> list[Any]:
        teacher = self.settings.teacher
        return [RULE, teacher.student_weights, teacher.train.max_val_examples, self.settings.metrics.filter_seen]

    def make(self) -> None:
        from ....core.precision import teacher_precision
        from ....teacher.ensemble.calibration import EnsembleMember
        from ....teacher.trainer_ilora import validation_rows

        model = self.teacher.load()
        if isinstance(model, EnsembleMember):
            settings = self.settings
            rows = validation_rows(
                model, self.prepared.dataset, settings.teacher.train, settings.metrics.filter_seen, settings.seed
            )
            found = self._calibrated(model, rows)
        else:
            log.info("%s is no ensemble with its user encoder: its scores stay as they are", self.teacher.folder)
            found = {"student_weight": 0.0, "temperature": 1.0}
        precision = teacher_precision(self.settings.teacher.train.precision)
        with writing(self.folder, self.kind, {**self.about(found), "precision": precision}) as temporary:
            write_json(temporary / FILE, found)

    def load(self) -> "GatedLanguageModel":
        """Returns the trained teacher as it ranks, in evaluation mode.

        Raises:
            UserError: It has not been trained or not been calibrated, or is another one.
        """
        from ....teacher.ensemble.calibration import Calibration as Chosen
        from ....teacher.ensemble.calibration import EnsembleMember

        found = self.read(FILE)
        model = self.teacher.load()
        if isinstance(model, EnsembleMember):
            model.calibration = Chosen(found["student_weight"], found["temperature"])
        return model

    def _calibrated(self, model: "EnsembleMember", rows: "Rows[ExampleBatch]") -> dict[str, Any]:
        """Returns the weight of `best_weight` on validation, its temperature, and what was found of each."""
        from ....core.precision import autocast, best_device, resolve_precision
        from ....data.batches import loader_in_order
        from ....evaluation.ranking import rows_at_once
        from ....teacher.ensemble.calibration import best_weight, calibrate

        dataset, metrics, teacher = self.prepared.dataset, self.settings.metrics, self.settings.teacher
        batches = loader_in_order(rows, rows_at_once(metrics, dataset, metrics.filter_seen))
        device = best_device()
        with autocast(resolve_precision(teacher.train.precision), device):
            by_weight = calibrate(model.to(device), batches, teacher.student_weights, device)
        for weight, found in by_weight.items():
            log.info(
                "student's weight %g: validation NDCG@10 %.4f; cross-entropy %.3f summed, %.3f normalised, %.3f at "
                "temperature %.4g",
                weight,
                found.ndcg,
                found.summed,
                found.normalised,
                found.calibrated,
                found.temperature,
            )
        chosen = best_weight(by_weight)
        if by_weight[chosen].at_end:
            log.warning(
                "The temperature %.6g of the student's weight %g, which was chosen, is the last that was looked at; "
                "one beyond it may be better: these scores say next to nothing, or are on a very unusual scale",
                by_weight[chosen].temperature,
                chosen,
            )
        return {
            "student_weight": chosen,
            "temperature": by_weight[chosen].temperature,
            "examples": len(rows),
            "uniform_cross_entropy": math.log(dataset.num_items),
            "by_student_weight": {str(weight): asdict(found) for weight, found in by_weight.items()},
        }
