"""What a generation teacher answers: HitRatio@1 among frozen candidates, as iLoRA's papers report it."""

import logging
from dataclasses import asdict

import torch

from ..core.artefact import write_json
from ..core.dataset import Dataset
from ..core.precision import autocast, best_device, resolve_precision
from ..core.progress import progress
from ..core.seed import generator
from ..teacher.trainer_generation import Judgement
from .run import Run
from .stages import load_teacher

log = logging.getLogger(__name__)


def judge_answers(run: Run, dataset: Dataset) -> None:
    """Lets the teacher choose among the candidates of test examples; writes `metrics/answers.json`.

    As many test examples are asked as validation has (`teacher.train.max_val_examples`).
    """
    device = best_device()
    model = load_teacher(run, dataset).to(device)
    examples = dataset.examples["test"].sample(run.cfg.teacher.train.max_val_examples, generator(run.cfg.seed))
    rows, judgement = model.validation_rows(dataset, examples, with_seen=False), Judgement(model)
    with (
        run.stopwatch.stage("teacher: answers"),
        progress("teacher: answers", len(rows)) as advance,
        autocast(resolve_precision(run.cfg.teacher.train.precision), device),
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
    write_json(run.dir / "metrics" / "answers.json", {**about, **asdict(found)})
