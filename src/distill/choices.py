"""Selection policies and weightings by name; nothing is imported before one is asked for."""

from typing import Any

from ..core.registry import Registry

POLICIES: Registry[Any] = Registry(
    "active.policy",
    __package__,
    {
        "all": "selection_policy:SelectionPolicyAll",
        "random": "selection_policy:SelectionPolicyRandom",
        "kl_divergence": "selection_policy:SelectionPolicyKLDivergence",
        "ground_truth_error": "selection_policy:SelectionPolicyGroundTruthError",
        "meta": "selection_policy:SelectionPolicyMeta",
    },
    kind="selection_policy:SelectionPolicy",
)

WEIGHTINGS: Registry[Any] = Registry(
    "distill.weighting",
    __package__,
    {
        "uniform": "weighting:uniform",
        "kl_divergence": "weighting:kl_divergence",
        "ground_truth_error": "weighting:ground_truth_error_of_batch",
        "meta": "weighting:meta",
    },
    kind=None,
)
