"""What a search may change: a tree of ranges that mirrors the config, read into distributions."""

import math
from typing import Any

from omegaconf import OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from ...core.errors import UserError
from ...core.paths import CONF_DIR
from ...core.settings_reading import value_at
from ..program.settings import RunSettings

RANGE = {"low", "high", "step", "log"}


def read_space(settings: RunSettings) -> dict[str, BaseDistribution]:
    """Returns the distribution of every key of `search.space`, over the student's shipped space, in the YAML's order.

    Raises:
        UserError: There is no space, a key of it is not in the config, or a range cannot be read.
    """
    tree, path = settings.search.space, CONF_DIR / "search" / "space" / f"{settings.student.name}.yaml"
    if not tree and not path.is_file():
        raise UserError(
            f"There is no search space for student={settings.student.name}: write {path} (like sasrec.yaml beside it)."
        )
    leaves = _leaves(OmegaConf.to_container(OmegaConf.load(path)), "") if path.is_file() else {}
    for key, leaf in _leaves(tree or {}, "").items():
        if leaf is None:  # a key, or a whole group, is taken out
            leaves = {kept: its for kept, its in leaves.items() if not f"{kept}.".startswith(f"{key}.")}
        else:
            leaves[key] = {**leaves[key], **leaf} if _is_range(leaf) and _is_range(leaves.get(key)) else leaf
    others = [key for key in leaves if not key.startswith("student.")]
    if others:
        raise UserError(f"search.space names {', '.join(others)}, on which no student depends: search student.* alone.")
    if "student.seed" in leaves:
        raise UserError(
            "search.space names student.seed, and the best of several seeds is luck: search settings, then train them "
            "with several seeds."
        )
    encoded = [key for key in ("student.text_init", "student.item_vectors") if key in leaves]
    if encoded:
        raise UserError(f"search.space names {', '.join(encoded)}, which needs encodings that a search does not make.")
    unknown = [key for key in leaves if not _knows(settings, key)]
    if unknown:
        raise UserError(f"search.space names keys that the config does not have: {', '.join(unknown)}.")
    return {key: _distribution(key, leaf) for key, leaf in leaves.items()}


def _knows(settings: RunSettings, key: str) -> bool:
    try:
        value_at(settings, key)
    except AttributeError:
        return False
    return True


def given_point(settings: RunSettings, space: dict[str, BaseDistribution]) -> dict[str, Any] | None:
    """Returns the settings' own values of the space's keys; None if one of them lies outside."""
    point = {key: value_at(settings, key) for key in space}
    return point if all(_holds(distribution, point[key]) for key, distribution in space.items()) else None


def plain_space(space: dict[str, BaseDistribution]) -> dict[str, str]:
    """Returns the space as plain values, the same for the same space."""
    return {key: distribution_to_json(distribution) for key, distribution in space.items()}


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


def _is_range(leaf: Any) -> bool:
    return isinstance(leaf, dict) and bool(leaf) and set(leaf) <= RANGE


def _distribution(key: str, leaf: Any) -> BaseDistribution:
    try:
        if "choices" in leaf:
            (choices,) = leaf.values()
            return CategoricalDistribution(choices)
        if not all(math.isfinite(bound) for bound in (leaf["low"], leaf["high"])):
            raise ValueError("its bounds must be finite")
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
    return (
        isinstance(distribution, IntDistribution | FloatDistribution) and distribution.low <= value <= distribution.high
    )
