"""What a search may change: a tree of ranges that mirrors the config, read into distributions."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from ..core.errors import UserError

RANGE = {"low", "high", "step", "log"}


def read_space(cfg: DictConfig) -> dict[str, BaseDistribution]:
    """Returns the distribution of every key that `search.space` names, in the order of the YAML.

    Raises:
        UserError: There is no space, a key of it is not in the config, or a range cannot be read.
    """
    if not cfg.search.get("space"):
        raise UserError(
            f"There is no search space for student={cfg.student.name}: write conf/search/space/{cfg.student.name}.yaml "
            "(like sasrec.yaml beside it)."
        )
    leaves = _leaves(OmegaConf.to_container(cfg.search.space, resolve=True), "")
    unknown = [key for key in leaves if OmegaConf.select(cfg, key, default=None) is None]
    if unknown:
        raise UserError(f"search.space names keys that the config does not have: {', '.join(unknown)}.")
    return {key: _distribution(key, leaf) for key, leaf in leaves.items()}


def given_point(cfg: DictConfig, space: dict[str, BaseDistribution]) -> dict[str, Any] | None:
    """Returns the config's own values of the space's keys; None if one of them lies outside."""
    point = {key: OmegaConf.select(cfg, key) for key in space}
    return point if all(_holds(distribution, point[key]) for key, distribution in space.items()) else None


def plain_space(space: dict[str, BaseDistribution]) -> dict[str, str]:
    """Returns the space as plain values, the same for the same space."""
    return {key: distribution_to_json(distribution) for key, distribution in space.items()}


def with_point(cfg: DictConfig, point: dict[str, Any]) -> DictConfig:
    """Returns a copy of the config with the values of `point`."""
    changed = cfg.copy()
    for key, value in point.items():
        OmegaConf.update(changed, key, value)
    return changed


def rounded(point: dict[str, Any]) -> dict[str, Any]:
    """Returns the point with three significant digits: as good, and what a person can write down."""
    return {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in point.items()}


def _leaves(tree: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(tree, dict) or "choices" in tree or RANGE & set(tree):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, inner in tree.items():
        found |= _leaves(inner, f"{prefix}.{name}" if prefix else name)
    return found


def _distribution(key: str, leaf: Any) -> BaseDistribution:
    try:
        if "choices" in leaf:
            (choices,) = leaf.values()
            return CategoricalDistribution(choices)
        whole = all(isinstance(leaf[bound], int) for bound in ("low", "high"))
        return (IntDistribution if whole else FloatDistribution)(**leaf)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"search.space.{key}={leaf} cannot be read ({error}): write {{low, high}}, with step or log: true, or "
            "{choices: [...]}."
        ) from None


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high
