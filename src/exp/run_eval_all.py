"""Evaluates popularity, baseline, teacher and distilled student on the same test users."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .comparison import compare_all
from .run import Run, start
from .stages import prepare


def job(run: Run) -> None:
    dataset = prepare(run)
    compare_all(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
