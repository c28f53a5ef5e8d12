"""Distillation's settings: what the student learns from the teacher (`distill.*`), which examples it is asked about
(`active.*`).
"""

from typing import Annotated, Literal

from ..core.settings import (
    NamedIn,
    NotNegative,
    Positive,
    PositiveInteger,
    Rule,
    Settings,
    Share,
    Text,
    UserPath,
    YesNo,
    group,
    setting,
)
from .choices import POLICIES, WEIGHTINGS

Weighting = Annotated[Text, NamedIn(WEIGHTINGS.check)]
Policy = Annotated[Text, NamedIn(POLICIES.check)]


class ListLossSettings(Settings):
    """A loss on the teacher's list."""

    weight: NotNegative = setting(0.0, "0 = off")
    temperature: Positive = setting(1.0, "T")


class RankingDistillationSettings(ListLossSettings):
    """Ranking Distillation's softmax over the catalogue, its weights by rank."""

    temperature: Positive = setting(3.0, "T of the weights exp(-rank / T)")


class SoftTargetSettings(ListLossSettings):
    """The teacher's probabilities as targets."""

    rules = (
        Rule(
            ("rest", "temperature"),
            lambda s: s.rest and s.temperature != 1,
            "{at}temperature must be 1 where {at}rest=true: of a flatter distribution the rest is not known",
        ),
    )
    rest: YesNo = setting(
        False,
        "true: the teacher's probabilities as they are, and what they leave to one as the share of all other items; "
        "false: those of the list alone, made to sum to one",
    )


class DistillSettings(Settings):
    """DLLM2Rec, and other ways to learn from a teacher; they may be combined."""

    rules = (
        Rule(
            ("lam", "gamma_position", "gamma_confidence", "gamma_consistency"),
            lambda s: s.lam > 0 and s.gamma_position + s.gamma_confidence + s.gamma_consistency == 0,
            "{at}gamma_position, gamma_confidence and gamma_consistency must not all be 0 where {at}lam={s.lam}",
        ),
    )

    preset: Literal["corrected", "paper"] = setting(
        "corrected", "corrected: the formulas that are meant; paper: the reference code's arithmetic, oddities included"
    )
    candidate_topk: PositiveInteger = setting(10, "K: how many of the teacher's items per example are used")
    lam: NotNegative = setting(0.8, "weight of ranking distillation (0 = off)")
    alpha: NotNegative = setting(
        0.0, "weight of DROS, beside the student's loss and in ranking distillation (0 = off; the reference has 1)"
    )
    beta: Positive = setting(1.0, "robust radius of DROS (smaller = the worst case counts more)")
    ps_power: NotNegative = setting(0.05, "propensity = smoothed popularity ** ps_power (0 = all items equal)")
    gamma_position: NotNegative = setting(0.3, "share of the position-aware weight: the teacher's first count most")
    gamma_confidence: NotNegative = setting(0.5, "share of the confidence-aware weight: what the teacher is sure of")
    gamma_consistency: NotNegative = setting(0.1, "share of the consistency-aware weight: items in the student's top-K")
    ed_weight: NotNegative = setting(0.3, "weight of the projected teacher embedding added to the student's (0 = off)")
    weighting: Weighting = setting("uniform", "of the examples: uniform, kl_divergence, ground_truth_error or meta")
    kl: ListLossSettings = group(ListLossSettings)
    rd: RankingDistillationSettings = group(RankingDistillationSettings)
    soft_targets: SoftTargetSettings = group(SoftTargetSettings)
    hint: NotNegative = setting(0.0, "weight of the teacher's user representation as a target (0 = off)")
    text_init: NotNegative = setting(
        0.0, "standard deviation of item vectors that begin as the teacher's, reduced by PCA (0 = at random)"
    )
    teacher_outputs_path: UserPath | None = setting(
        None, "a folder of anyone's teacher outputs; null: this config's own", changes_result=False
    )
    score_direction: Literal["higher", "lower"] | None = setting(
        None, "outputs without a manifest: higher = log-probability, lower = distance; null = the manifest says it"
    )

    @property
    def learns_rankings(self) -> bool:
        """Whether the teacher's lists are learned from, not its item embeddings alone."""
        return self.lam > 0 or any(each.weight > 0 for each in (self.kl, self.rd, self.soft_targets))


class ActiveSettings(Settings):
    """Which train examples the teacher is asked about."""

    rules = (
        Rule(
            ("policy", "share"),
            lambda s: s.policy == "all" and s.share != 1,
            "{at}share={s.share} does not suit {at}policy=all: use 1.0, or {at}policy=random",
        ),
    )

    policy: Policy = setting("all", "all, random, kl_divergence, ground_truth_error, meta, or package.module:Name")
    share: Share = setting(1.0, "of the train examples; drawn from the run's seed")
