"""Distils the teacher outputs into the student."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .run import Run, start
from .stages import check_distillation, prepare, train_distilled


def job(run: Run) -> None:
    check_distillation(run)
    dataset = prepare(run)
    train_distilled(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
