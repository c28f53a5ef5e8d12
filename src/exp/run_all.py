"""The whole road: prepare, baseline, teacher, teacher outputs, distilled student, comparison."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .comparison import check_metrics, compare_all
from .run import Run, start
from .stages import check_distillation, check_teacher, export, prepare, train_baseline, train_distilled, train_teacher


def job(run: Run) -> None:
    check_distillation(run)
    dataset = prepare(run)
    check_metrics(run, dataset)
    check_teacher(run)
    train_baseline(run, dataset)
    train_teacher(run, dataset)
    export(run, dataset)
    train_distilled(run, dataset)
    compare_all(run, dataset)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
