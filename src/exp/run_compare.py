"""Compares models that were evaluated on the same users: means, differences, intervals and tests."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR, absolute
from .metrics_files import read_models
from .run import Run, start
from .significance import check_compared, compare


def job(run: Run) -> None:
    settings = run.settings("compare")
    models, num_items = read_models(settings["runs"], settings["names"])
    folder = run.dir / "metrics" if settings["out"] is None else Path(absolute(settings["out"]))
    check_compared(run, num_items)
    compare(run, models, settings["baseline"], folder)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
