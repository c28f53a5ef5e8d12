"""Asks every factory about its name in the config before the first long stage, not hours later."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ..core.errors import UserError
from ..distill.kd_losses import preset_named
from ..distill.selection_policy import create_selection_policy
from ..distill.weighting import check_weighting
from ..student.factory import student_named
from ..student.losses import check_loss
from ..teacher.gating import create_router
from ..teacher.prompt import read_template


def check_choices(cfg: DictConfig) -> None:
    """Looks up what the config names.

    Raises:
        UserError: Something has no such name, or not the settings that go with it, or the rank of the adapters cannot
            be shared among the experts.
    """
    student_named(cfg.student.name)
    check_loss(cfg.student.loss.name)
    create_router(OmegaConf.to_container(cfg.teacher.router), 1, cfg.teacher.lora.num_experts)
    read_template(Path(cfg.paths.prompts_dir), cfg.dataset.prompt)
    create_selection_policy(cfg.active.policy, cfg.active.share)
    for policy in cfg.curve.policies:
        create_selection_policy(policy, cfg.curve.shares[0])
    preset_named(cfg.distill.preset)
    check_weighting(cfg.distill.weighting)
    if cfg.teacher.lora.r % cfg.teacher.lora.num_experts:
        raise UserError(
            f"teacher.lora.r={cfg.teacher.lora.r} is not divisible by teacher.lora.num_experts="
            f"{cfg.teacher.lora.num_experts}: every expert needs the same rank."
        )
