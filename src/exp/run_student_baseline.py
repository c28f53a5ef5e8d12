"""Trains the student without a teacher and ranks the test users with it."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .comparison import check_metrics, evaluate_baseline
from .run import Run, start
from .stages import prepare, train_baseline


def job(run: Run) -> None:
    dataset = prepare(run)
    check_metrics(run, dataset)
    train_baseline(run, dataset)
    evaluate_baseline(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
