"""What a generation teacher answers: HitRatio@1 among frozen candidates, as iLoRA's papers report it."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import cast

from ....core.artefact import ANSWERS, write_json, writing
from .teacher import OfTeacher

log = logging.getLogger(__name__)


class Answers(OfTeacher):
    """`data/evaluations/<dataset>/answers-<key>/answers.json`: the teacher chooses among candidates of test examples,
    as many as validation has (`teacher.train.max_val_examples`).
    """

    title = "teacher: answers"
    what = "judged answers"
    kind = ANSWERS
    command = "run_teacher"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.evaluations_dir, "answers-")

    def make(self) -> None:
        import torch

        from ....core.precision import autocast, best_device, resolve_precision, teacher_precision
        from ....core.progress import progress
        from ....core.seed import generator
        from ....teacher.generation.model import GenerationTeacher
        from ....teacher.generation.trainer import Judgement

        train, dataset, device = self.settings.teacher.train, self.prepared.dataset, best_device()
        model = cast(GenerationTeacher, self.teacher.load()).to(device)  # asked for with that objective alone
        examples = dataset.examples["test"].sample(train.max_val_examples, generator(self.settings.seed))
        rows, judgement = model.validation_rows(dataset, examples, with_seen=False), Judgement(model)
        with (
            progress("teacher: answers", len(rows)) as advance,
            autocast(resolve_precision(train.precision), device),
        ):
            for part in torch.arange(len(rows)).split(model.rows_at_once):
                judgement.add(rows[part].to(device))
                advance(len(part))
        found = judgement.result()
        log.info(
            "%d test examples, %d candidates each: HR@1 %.4f of all answers, %.4f of the valid ones (ValidRatio %.4f)",
            len(rows),
            model.num_candidates,
            found.of_all,
            found.of_valid,
            found.valid_ratio,
        )
        about = {"candidates": model.num_candidates, "example_id": examples.example_id.tolist()}
        manifest = {**self.about({}), "precision": teacher_precision(train.precision)}
        with writing(self.folder, self.kind, manifest) as temporary:
            write_json(temporary / "answers.json", {**about, **asdict(found)})
