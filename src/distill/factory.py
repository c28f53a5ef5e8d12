"""Selection policies and weightings by name; nothing of PyTorch is imported before one is asked for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from .selection_policy import SelectionPolicy
    from .settings import ActiveSettings
    from .weighting import DistillationBatch

POLICIES: "Registry[type[SelectionPolicy]]" = Registry(
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

WEIGHTINGS: "Registry[Callable[[DistillationBatch], Tensor | None]]" = Registry(
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


def create_selection_policy(settings: "ActiveSettings") -> "SelectionPolicy":
    """Returns the policy that `settings` describe.

    Raises:
        UserError: There is none of that name.
    """
    return POLICIES[settings.policy](settings.share)
