"""Draws the student's NDCG@10 against the share of the examples that the teacher was asked about, policy by policy."""

import hydra
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from .budget_curve import draw_budget_curve, show
from .run import Run, start
from .stages import check_distillation, check_teacher, prepare


def job(run: Run) -> None:
    check_distillation(run)
    dataset = prepare(run)
    check_teacher(run)
    show(draw_budget_curve(run, dataset))


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
