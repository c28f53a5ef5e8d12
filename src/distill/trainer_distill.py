"""Trains a student with a teacher: the next-item loss L at every position, the teacher's ranking where it was asked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.seed import generator
from ..data.rows import ExampleRows, WindowBatch
from ..student.losses import CrossEntropy, NextItemLoss, catalogue_cross_entropies
from ..student.models import SequentialRecommender
from ..student.settings import OptimisationSettings
from ..student.trainer_baseline import NextItemModule
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
        hidden, target, example_id = self.states_with_targets(batch)
        row = self.row_of_example[example_id]
        asked = (row >= 0).nonzero().squeeze(1)
        if len(asked) == 0 or not (self.ranking.lam > 0 or self.list_losses or self.hint):
            return {"next_item": self.loss(self.model, hidden, target)} | self._dros(hidden, target)
        known = self._known(hidden[asked], target[asked], row[asked])
        weights = importance(self.weighting, known)
        terms = self._next_item_and_lists(hidden, target, asked, known, weights)
        if self.ranking.lam > 0:
            terms |= self._ranking(batch, hidden, target, asked, known, weights)
        else:
            terms |= self._dros(hidden, target)
        if self.hint:
            hint = self.hint(known.hidden, row[asked])
            terms["hint"] = (hint if weights is None else weights * hint).mean()
        return terms

    def _next_item_and_lists(
        self, hidden: Tensor, target: Tensor, asked: Tensor, known: DistillationBatch, weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Returns the next-item loss and the list losses; those that are softmaxes over the catalogue share one."""

        def spread(values: Tensor) -> Tensor:
            return values.new_zeros(len(target), values.shape[1]).index_copy(0, asked, values)

        if isinstance(self.loss, CrossEntropy):
            joint = [loss for loss in self.list_losses if loss.over_catalogue]
            ones = torch.ones_like(target.unsqueeze(1), dtype=torch.float)
            answers, more = {"next_item": Answers(target.unsqueeze(1) - 1, ones)}, len(target) / len(asked)
            for loss in joint:
                columns, each, rest = loss.answers(known.candidates, known.distance, weights)
                rest = None if rest is None else spread(more * rest)  # more: a mean over those asked
                answers[loss.name] = Answers(spread(columns), spread(more * each), rest)
            terms = catalogue_cross_entropies(self.model, hidden, answers, self.loss.dtype)
        else:
            joint, terms = [], {"next_item": self.loss(self.model, hidden, target)}
        for loss in self.list_losses:
            if loss not in joint:
                terms[loss.name] = loss(self.model, known.hidden, known.candidates, known.distance, weights)
        return terms

    def _known(self, hidden: Tensor, target: Tensor, row: Tensor) -> DistillationBatch:
        """Returns what is known of the positions that the teacher ranked; scores only where something asks for them."""
        needs_scores = self.ranking.lam > 0 or self.weighting is not uniform
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
    ) -> dict[str, Tensor]:
        """Returns DLLM2Rec's terms; what DROS sums over the catalogue is made once for target and candidates."""
        robust, terms = None, {}
        if self.dros.alpha > 0:
            own, robust = self.dros.robust_with_candidates(known.scores, known.target, known.candidates)
            others = torch.ones_like(target, dtype=torch.bool).index_fill_(0, asked, False)
            if others.any():
                more = self.dros.robust(self.model.score(hidden[others]), target[others] - 1)
                own = torch.cat([own, more])
            terms["dros"] = self.dros.alpha * own.mean()
        negatives = self._negatives(batch, asked, known.candidates + 1)
        chosen = None
        if self.dros.alpha == 0:  # the BCE alone asks for no gradient of the whole catalogue's scores
            items = torch.cat([known.candidates, negatives.unsqueeze(1)], dim=1) + 1
            chosen = self.model.score(known.hidden, items)
        ranking = self.ranking(known.scores, known.candidates, known.distance, negatives, robust, weights, chosen)
        return terms | ranking

    def _dros(self, hidden: Tensor, target: Tensor) -> dict[str, Tensor]:
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

    def _negatives(self, batch: WindowBatch, asked: Tensor, candidates: Tensor) -> Tensor:
        """Draws for each asked position one column that is neither its history, its target nor a candidate, `[m]`."""
        row, place = (batch.target > 0).nonzero()[asked].T
        seen = batch.history[row]
        if batch.target.shape == batch.history.shape:  # else the one target comes after the whole history
            seen = seen.where(torch.arange(seen.shape[1], device=row.device) <= place.unsqueeze(1), 0)
        taken = torch.cat([seen, candidates], dim=1)
        return sample_negatives(taken, batch.target[row, place], self.model.num_items, self.generator)
