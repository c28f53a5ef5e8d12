"""Next-item losses of students, from hidden states `[M, D]` and targets `[M]` to one scalar."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from ..training.softmax import Answers, full_softmax_loss, full_softmax_losses
from .models import SequentialRecommender
from .settings import CrossEntropySettings, GBCESettings, LossSettings, SampledLossSettings, SampledSoftmaxSettings


class NextItemLoss(ABC):
    """Judges the hidden states of a student by the items that came next."""

    Settings: ClassVar[type[LossSettings]]  # of `student.loss`

    @classmethod
    @abstractmethod
    def made(cls, item_counts: Tensor, dtype: torch.dtype, **settings: Any) -> Self:
        """Returns the loss, from what every loss may need and its own settings (see `factory.create_loss`)."""

    @abstractmethod
    def __call__(self, model: SequentialRecommender, hidden: Tensor, target: Tensor) -> Tensor:
        """Returns the mean loss over positions, a scalar.

        Args:
            model: Scores items from hidden states.
            hidden: `[M, D]` float.
            target: `[M]` int64 item numbers.
        """


class CrossEntropy(NextItemLoss):
    """Cross-entropy of the softmax over the whole catalogue.

    Args:
        dtype: Of the matrix products, see `full_softmax_loss`.
    """

    Settings = CrossEntropySettings

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    @classmethod
    def made(cls, item_counts: Tensor, dtype: torch.dtype, **settings: Any) -> Self:
        """See `NextItemLoss.made`."""
        return cls(dtype, **settings)

    def __call__(self, model: SequentialRecommender, hidden: Tensor, target: Tensor) -> Tensor:
        return catalogue_cross_entropy(model, hidden, target - 1, self.dtype)


def catalogue_cross_entropy(
    model: SequentialRecommender,
    hidden: Tensor,
    columns: Tensor,
    dtype: torch.dtype,
    weights: Tensor | None = None,
) -> Tensor:
    """Returns `full_softmax_loss` of the scores that `model` gives all items from states `hidden [M, D]`."""
    weight, bias = model.output_layer()
    return full_softmax_loss(hidden, weight, columns, dtype, weights, bias)


def catalogue_cross_entropies(
    model: SequentialRecommender, hidden: Tensor, answers: dict[str, Answers], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Returns `catalogue_cross_entropy` of each kind of answers by name.

    They share one softmax: only their sum is to be differentiated (`full_softmax_losses`).
    """
    weight, bias = model.output_layer()
    losses = full_softmax_losses(hidden, weight, list(answers.values()), dtype, bias)
    return dict(zip(answers, losses, strict=True))


class SampledLoss(NextItemLoss):
    """A loss that compares each target with n sampled items instead of the catalogue.

    Negatives are drawn with replacement, item j with probability `q_j ∝ count_j^popularity_power`. A negative that
    happens to be the position's own target takes no part there.

    Args:
        item_counts: `[num_items]`, training interactions of each item.
        num_negatives: n.
        popularity_power: 0 draws uniformly, 1 by popularity. Items without an interaction count as one.
        shared: Whether all positions of a batch share their negatives (one matrix product) or each draws its own (a
            gather of n vectors per position).
    """

    Settings = SampledLossSettings

    def __init__(self, item_counts: Tensor, num_negatives: int, popularity_power: float, shared: bool) -> None:
        self.num_negatives = num_negatives
        self.shared = shared
        weight = item_counts.clamp(min=1).double().pow(popularity_power)
        q = weight / weight.sum()
        self.cumulative = q.cumsum(0)  # [num_items] float64
        self.log_expected = (num_negatives * q).log().float()  # [num_items], of the times that an item is drawn
        self.num_items = len(item_counts)

    @classmethod
    def made(cls, item_counts: Tensor, dtype: torch.dtype, **settings: Any) -> Self:
        """See `NextItemLoss.made`."""
        return cls(item_counts, **settings)

    def __call__(self, model: SequentialRecommender, hidden: Tensor, target: Tensor) -> Tensor:
        negatives = self._drawn_for(target)
        own = model.score(hidden, target.unsqueeze(1)).squeeze(1)
        others = model.score(hidden, negatives)
        return self.compare(own, others, negatives, negatives == target.unsqueeze(1))

    def cross_entropy(self, model: SequentialRecommender, hidden: Tensor, answers: Answers) -> Tensor:
        """Returns an estimate of `catalogue_cross_entropy` with several answers to a position, from n sampled items.

        The sum over the catalogue is `Σ_c e^{s_c} + Σ_j e^{s_j} / (n q_j)`, the first over the answers, the second over
        the negatives that are none: its expectation is the sum itself (importance sampling, Bengio & Senecal 2008).
        The rest of `answers` is the share of the second.

        Args:
            model: Scores items from hidden states.
            hidden: `[M, D]` float.
            answers: Of the M positions; the columns of a position are distinct.
        """
        items = answers.columns + 1
        negatives = self._drawn_for(items)
        own = model.score(hidden, items).float()
        others = model.score(hidden, negatives).float() - self.log_expected[negatives - 1]
        for item in items.split(1, 1):  # a comparison of all at once would be [M, C, n]
            others = others.masked_fill(negatives == item, -torch.inf)
        everyone = torch.cat([own, others], 1).logsumexp(1, keepdim=True)
        losses = -(answers.weights * (own - everyone)).sum(1, keepdim=True)
        if answers.rest is not None:
            any_left = others.isfinite().any(1, keepdim=True)  # else all that were drawn are answers, and say nothing
            share = others.masked_fill(~any_left, 0.0).logsumexp(1, keepdim=True) - everyone
            losses = losses - answers.rest * any_left * share
        return losses.mean()

    def _drawn_for(self, items: Tensor) -> Tensor:
        """Returns negatives for `items [M, ...]` where these are, `[n]` or `[M, n]` item numbers."""
        if self.cumulative.device != items.device:
            self.to(items.device)
        return self.draw(() if self.shared else (len(items),), items.device)

    def to(self, device: torch.device) -> None:
        """Moves what is kept for every item, once, to where the batches are."""
        self.cumulative, self.log_expected = self.cumulative.to(device), self.log_expected.to(device)

    def draw(self, rows: tuple[int, ...], device: torch.device) -> Tensor:
        """Returns negatives, item numbers `[*rows, n]` int64."""
        place = torch.rand(*rows, self.num_negatives, dtype=torch.float64, device=device)
        drawn = torch.searchsorted(self.cumulative, place, right=True)
        return drawn.clamp(max=self.num_items - 1) + 1  # the last sum may fall short of 1 by rounding

    @abstractmethod
    def compare(self, own: Tensor, others: Tensor, negatives: Tensor, hit: Tensor) -> Tensor:
        """Returns the mean loss over positions.

        Args:
            own: `[M]`, scores of the targets.
            others: `[M, n]`, scores of the negatives.
            negatives: `[n]` or `[M, n]` item numbers.
            hit: `[M, n]` bool, the negative is the position's own target.
        """


class SampledSoftmax(SampledLoss):
    """`-log( e^{s_t} / (e^{s_t} + Σ_j e^{s_j} / (n q_j)) )`.

    With the logQ correction the sum is an unbiased estimate of `Σ_{j != t} e^{s_j}` (importance sampling; Bengio &
    Senécal 2008), so that the loss estimates full cross-entropy. The target is certain to be in the sum and is not
    corrected. Without the correction every weight is 1.

    Args:
        log_q_correction: Whether to divide by `n q_j`.
        The others: See `SampledLoss`.
    """

    Settings = SampledSoftmaxSettings

    def __init__(
        self,
        item_counts: Tensor,
        num_negatives: int,
        popularity_power: float,
        shared: bool,
        log_q_correction: bool,
    ) -> None:
        super().__init__(item_counts, num_negatives, popularity_power, shared)
        self.log_q_correction = log_q_correction

    def compare(self, own: Tensor, others: Tensor, negatives: Tensor, hit: Tensor) -> Tensor:
        others = others.float()
        if self.log_q_correction:
            others = others - self.log_expected[negatives - 1]
        everyone = torch.cat([own.float().unsqueeze(1), others.masked_fill(hit, -torch.inf)], dim=1)
        return (everyone.logsumexp(1) - own).mean()


class GBCE(SampledLoss):
    """gSASRec's generalised binary cross-entropy (Petrov & Macdonald 2023, equations 9 and 11).

    `-(log σ(s_t)^β + Σ_j log(1 - σ(s_j))) / (n + 1)`, with `β = α (t (1 - 1/α) + 1/α)` and `α = n / (num_items - 1)`,
    the share of negatives that is sampled. t = 0 is binary cross-entropy (β = 1); t = 1 makes the scores calibrated
    probabilities of the full softmax's kind (β = α).

    Args:
        calibration: t in [0, 1].
        The others: See `SampledLoss`.
    """

    Settings: ClassVar[type[SampledLossSettings]] = GBCESettings

    def __init__(
        self, item_counts: Tensor, num_negatives: int, popularity_power: float, shared: bool, calibration: float
    ) -> None:
        super().__init__(item_counts, num_negatives, popularity_power, shared)
        alpha = min(1.0, num_negatives / max(1, self.num_items - 1))
        self.beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)

    def compare(self, own: Tensor, others: Tensor, negatives: Tensor, hit: Tensor) -> Tensor:
        positive = -self.beta * F.logsigmoid(own.float())
        negative = F.softplus(others.float()).masked_fill(hit, 0).sum(1)
        return ((positive + negative) / (self.num_negatives + 1)).mean()


class BCE(GBCE):
    """Binary cross-entropy with n negatives: gBCE with t = 0, SASRec's own loss with n = 1 (Kang & McAuley 2018)."""

    Settings = SampledLossSettings

    def __init__(self, item_counts: Tensor, num_negatives: int, popularity_power: float, shared: bool) -> None:
        super().__init__(item_counts, num_negatives, popularity_power, shared, calibration=0.0)
