"""Searches the student's settings on validation, within a budget of trials and minutes."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .run import Run, start
from .search import search
from .search_report import tell
from .stages import prepare


def job(run: Run) -> None:
    tell(run, search(run, prepare(run)))


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
