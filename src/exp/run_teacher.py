"""Trains the iLoRA teacher on the baseline's user encoder, ranks the test users, and exports what it knows."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .answers import judge_answers
from .comparison import check_metrics, evaluate_teacher
from .run import Run, start
from .stages import export, prepare, train_teacher


def job(run: Run) -> None:
    dataset = prepare(run)
    check_metrics(run, dataset)
    train_teacher(run, dataset)
    if run.cfg.teacher.objective == "generation":
        judge_answers(run, dataset)
    else:
        evaluate_teacher(run, dataset)
    export(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
