"""Trains a student with a teacher: the next-item loss L at every position, the teacher's ranking where it was asked."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.seed import generator
from ..data.rows import ExampleRows, WindowBatch
from ..student.losses import CrossEntropy, NextItemLoss, catalogue_cross_entropies
from ..student.models import SequentialRecommender
from ..student.settings import OptimisationSettings
from ..student.trainer_baseline import NextItemModule
from ..training.parts import Part, mean_over_parts, own_part, own_share
from ..training.processes import size
from ..training.softmax import Answers
from .data_bridge import TeacherOutputs
from .hint import Hint
from .informativeness import output_gradient
from .kd_losses import DROLoss, RankingDistillationLoss
from .listwise_losses import ListLoss
from .negatives import sample_negatives
from .weighting import DistillationBatch, importance, uniform

VALIDATION_ROWS = 256  # validation examples behind each estimate of that loss's gradient


class DistillationTerms(NamedTuple):
    """What a student learns from a teacher's lists, beside the next item.

    ranking: λ Σ_k w_k (BCE_k + α DROS_k), see `kd_losses`.
    dros: α DROS of the true target.
    list_losses: Other losses on the teacher's list.
    hint: Of the teacher's representation of the user, or None.
    weighting: How much each example counts in ranking, list losses and hint (`weighting`).
    """

    ranking: RankingDistillationLoss
    dros: DROLoss
    list_losses: Sequence[ListLoss] = ()
    hint: Hint | None = None
    weighting: Callable[[DistillationBatch], Tensor | None] = uniform


class _Counts(NamedTuple):
    """Positions of a whole batch, of which this process computes a part.

    positions: Those with a target.
    asked: Those of them whose example the teacher ranked.
    asked_before: Those of the latter that are other processes' and come before this one's.
    """

    positions: int
    asked: int
    asked_before: int


class DistilModule(NextItemModule):
    """`L + α DROS + λ Σ_k w_k (BCE_k + α DROS_k)`, the last sum at positions whose example the teacher ranked; there
    other ways to learn its list, and a hint, may stand beside it or in its place.

    Embedding distillation needs no term: the teacher's item embeddings stand in the student's item table
    (`ItemEmbedding.distil_from`), so every term trains their projection.

    Args:
        model: The student, its item table already distilling from the teacher.
        loss: Of the true targets.
        outputs: What the teacher knows.
        terms: What is learned from it.
        validation: Examples whose loss guides the weighting "meta".
        candidate_topk: K, how many of the teacher's items are used.
        optimisation: See `NextItemModule`.
        seed: Of the negatives.
    """

    row_of_example: Tensor
    candidates: Tensor
    distance: Tensor

    def __init__(
        self,
        model: SequentialRecommender,
        loss: NextItemLoss,
        outputs: TeacherOutputs,
        terms: DistillationTerms,
        validation: ExampleRows,
        candidate_topk: int,
        optimisation: OptimisationSettings,
        seed: int,
    ) -> None:
        super().__init__(model, loss, optimisation)
        self.seed = seed
        self.generator = generator(seed)
        self.register_buffer("row_of_example", outputs.row_of_example, persistent=False)
        self.register_buffer("candidates", outputs.candidates[:, :candidate_topk], persistent=False)
        self.register_buffer("distance", outputs.distance[:, :candidate_topk], persistent=False)
        self.ranking, self.dros, self.hint = terms.ranking, terms.dros, terms.hint
        self.list_losses, self.weighting = terms.list_losses, terms.weighting
        self.validation = validation
        self.validation_draw = generator(seed)

    def on_fit_start(self) -> None:
        """Draws negatives where the batches are."""
        self.generator = torch.Generator(self.device).manual_seed(self.seed)

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """See `NextItemModule.loss_terms`; the teacher's terms are means over the positions that it ranked."""
        part = own_part(batch)
        hidden, target, example_id = self.states_with_targets(part.batch)
        row = self.row_of_example[example_id]
        asked = (row >= 0).nonzero().squeeze(1)
        whole = self._counts(batch, part, len(target), len(asked))
        of_positions = own_share(len(target) if part.rows else 0, whole.positions)
        if whole.asked == 0 or not (self.ranking.lam > 0 or self.list_losses or self.hint):
            terms = {"next_item": self.loss(self.model, hidden, target)} | self._dros(hidden, target)
            return {name: of_positions * term for name, term in terms.items()}
        own_asked = len(asked) if part.rows else 0
        if len(asked) == 0:  # of several processes one may have none: a position stands in, and counts nothing
            asked = asked.new_zeros(1)
        of_asked = own_share(own_asked, whole.asked)
        known = self._known(hidden[asked], target[asked], row[asked])
        weights = importance(self.weighting, known, partial(mean_over_parts, own=own_asked, whole=whole.asked))
        terms = self._next_item_and_lists(hidden, target, asked, known, weights, of_positions, of_asked)
        if self.ranking.lam > 0:
            dros, ranking = self._ranking(part.batch, hidden, target, asked, known, weights, whole)
            terms |= {name: of_positions * term for name, term in dros.items()}
            terms |= {name: of_asked * term for name, term in ranking.items()}
        else:
            terms |= {name: of_positions * term for name, term in self._dros(hidden, target).items()}
        if self.hint:
            hint = self.hint(known.hidden, row[asked])
            terms["hint"] = of_asked * (hint if weights is None else weights * hint).mean()
        return terms

    def _counts(self, batch: WindowBatch, part: Part[WindowBatch], positions: int, asked: int) -> _Counts:
        if size() == 1:
            return _Counts(positions, asked, 0)
        of_each_row = ((batch.target > 0) & (self.row_of_example[batch.example_id] >= 0)).sum(1)
        return _Counts(int((batch.target > 0).sum()), int(of_each_row.sum()), int(of_each_row[: part.before].sum()))

    def _next_item_and_lists(
        self,
        hidden: Tensor,
        target: Tensor,
        asked: Tensor,
        known: DistillationBatch,
        weights: Tensor | None,
        of_positions: float,
        of_asked: float,
    ) -> dict[str, Tensor]:
        """Returns shares of the next-item loss and of the list losses; those that are softmaxes over the catalogue are
        one, whose gradient lies with the first.
        """

        def spread(values: Tensor) -> Tensor:
            return values.new_zeros(len(target), values.shape[1]).index_copy(0, asked, values)

        if isinstance(self.loss, CrossEntropy):
            joint = [loss for loss in self.list_losses if loss.over_catalogue]
            ones = torch.ones_like(target.unsqueeze(1), dtype=torch.float)
            answers = {"next_item": Answers(target.unsqueeze(1) - 1, of_positions * ones)}
            more = of_asked * len(target) / len(asked)
            for loss in joint:
                columns, each, rest = loss.answers(known.candidates, known.distance, weights)
                rest = None if rest is None else spread(more * rest)  # more: a mean over those asked
                answers[loss.name] = Answers(spread(columns), spread(more * each), rest)
            terms = catalogue_cross_entropies(self.model, hidden, answers, self.loss.dtype)
        else:
            joint, terms = [], {"next_item": of_positions * self.loss(self.model, hidden, target)}
        for loss in self.list_losses:
            if loss not in joint:
                values = loss(self.model, known.hidden, known.candidates, known.distance, weights)
                terms[loss.name] = of_asked * values
        return terms

    def _known(self, hidden: Tensor, target: Tensor, row: Tensor) -> DistillationBatch:
        """Returns what is known of the positions that the teacher ranked; scores only where something asks for them."""
        needs_scores = self.ranking.asks_for_all_scores or self.weighting is not uniform
        with torch.set_grad_enabled(self.dros.alpha > 0):  # else they only weigh
            scores = self.model.score(hidden) if needs_scores else hidden.new_empty(len(hidden), 0)
        return DistillationBatch(
            hidden,
            scores,
            target - 1,
            self.candidates[row] - 1,
            self.distance[row],
            self._validation_gradient,
        )

    def _ranking(
        self,
        batch: WindowBatch,
        hidden: Tensor,
        target: Tensor,
        asked: Tensor,
        known: DistillationBatch,
        weights: Tensor | None,
        whole: _Counts,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns DLLM2Rec's terms, means over all positions and over those asked; what DROS sums over the catalogue is
        made once for target and candidates.
        """
        robust, terms = None, {}
        if self.dros.alpha > 0:
            own, robust = self.dros.robust_with_candidates(known.scores, known.target, known.candidates)
            others = torch.ones_like(target, dtype=torch.bool).index_fill_(0, asked, False)
            if others.any():
                more = self.dros.robust(self.model.score(hidden[others]), target[others] - 1)
                own = torch.cat([own, more])
            terms["dros"] = self.dros.alpha * own.mean()
        negatives = self._negatives(batch, asked, known.candidates + 1, whole)
        chosen = None
        if self.dros.alpha == 0:  # the BCE alone asks for no gradient of the whole catalogue's scores
            items = torch.cat([known.candidates, negatives.unsqueeze(1)], dim=1) + 1
            chosen = self.model.score(known.hidden, items)
        ranking = self.ranking(known.scores, known.candidates, known.distance, negatives, robust, weights, chosen)
        return terms, ranking

    def _dros(self, hidden: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Returns the term, a mean over all positions."""
        return self.dros(self.model.score(hidden), target - 1) if self.dros.alpha > 0 else {}

    @torch.no_grad()
    def _validation_gradient(self) -> Tensor:
        """Returns the gradient of the loss of a few validation examples at the output layer, `[N, D]`; no dropout."""
        rows = torch.randint(len(self.validation), (VALIDATION_ROWS,), generator=self.validation_draw)
        batch = self.validation[rows].to(self.device)
        training = self.model.training
        hidden = self.model.eval().user_representation(batch.history)
        self.model.train(training)
        return output_gradient(hidden, self.model.score(hidden), batch.target - 1)

    def _negatives(self, batch: WindowBatch, asked: Tensor, candidates: Tensor, whole: _Counts) -> Tensor:
        """Draws for each asked position one column that is neither its history, its target nor a candidate, `[m]`."""
        row, place = (batch.target > 0).nonzero()[asked].T
        seen = batch.history[row]
        if batch.target.shape == batch.history.shape:  # else the one target comes after the whole history
            seen = seen.where(torch.arange(seen.shape[1], device=row.device) <= place.unsqueeze(1), 0)
        taken = torch.cat([seen, candidates], dim=1)
        target, before = batch.target[row, place], whole.asked_before
        return sample_negatives(taken, target, self.model.num_items, self.generator, before, whole.asked)
