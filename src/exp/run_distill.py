"""Distils the teacher outputs into the student, and ranks the test users."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .comparison import check_metrics, evaluate_distilled
from .run import Run, start
from .stages import check_distillation, prepare, train_distilled


def job(run: Run) -> None:
    check_distillation(run)
    dataset = prepare(run)
    check_metrics(run, dataset)
    train_distilled(run, dataset)
    evaluate_distilled(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
