"""Fetches what a run will need, so that nothing is downloaded later: the dataset's raw files and the language model."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .run import Run, start
from .stages import check_teacher, prepare


def job(run: Run) -> None:
    prepare(run)
    check_teacher(run)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
