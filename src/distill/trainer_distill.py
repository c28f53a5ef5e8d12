"""Trains a student with a teacher: the next-item loss L at every position, the teacher's ranking where it was asked."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.seed import generator
from ..student.datamodule import ExampleRows, WindowBatch
from ..student.losses import NextItemLoss
from ..student.models import SequentialRecommender
from ..student.trainer_baseline import NextItemModule, Optimisation
from .data_bridge import TeacherOutputs
from .hint import Hint
from .informativeness import output_gradient
from .kd_losses import DROLoss, RankingDistillationLoss
from .listwise_losses import ListLoss
from .negatives import sample_negatives
from .weighting import Lesson, importance

VALIDATION_ROWS = 256  # validation examples behind each estimate of that loss's gradient


class DistilModule(NextItemModule):
    """`L + α DROS + λ Σ_k w_k (BCE_k + α DROS_k)`, the last sum at positions whose example the teacher ranked; there
    other ways to learn its list, and a hint, may stand beside it or in its place.

    Embedding distillation needs no term: the teacher's item embeddings stand in the student's item table
    (`ItemEmbedding.distil_from`), so every term trains their projection.

    Args:
        model: The student, its item table already distilling from the teacher.
        loss: Of the true targets.
        outputs: What the teacher knows.
        ranking: λ Σ_k w_k (BCE_k + α DROS_k), see `kd_losses`.
        dros: α DROS of the true target.
        list_losses: Other losses on the teacher's list (`listwise_losses`), by name.
        hint: Of the teacher's representation of the user, or None.
        weighting: How much each example counts in ranking, list losses and hint (`weighting`).
        validation: Examples whose loss guides the weighting "meta".
        candidate_topk: K, how many of the teacher's items are used.
        optimisation: See `NextItemModule`.
        seed: Of the negatives.
    """

    def __init__(
        self,
        model: SequentialRecommender,
        loss: NextItemLoss,
        outputs: TeacherOutputs,
        ranking: RankingDistillationLoss,
        dros: DROLoss,
        list_losses: Mapping[str, ListLoss],
        hint: Hint | None,
        weighting: str,
        validation: ExampleRows,
        candidate_topk: int,
        optimisation: Optimisation,
        seed: int,
    ) -> None:
        super().__init__(model, loss, optimisation)
        self.seed = seed
        self.generator = generator(seed)
        self.register_buffer("row_of_example", outputs.row_of_example, persistent=False)
        self.register_buffer("candidates", outputs.candidates[:, :candidate_topk], persistent=False)
        self.register_buffer("distance", outputs.distance[:, :candidate_topk], persistent=False)
        self.ranking = ranking
        self.dros = dros
        self.list_losses = list_losses
        self.hint = hint
        self.weighting = weighting
        self.validation = validation
        self.validation_draw = generator(seed)

    def on_fit_start(self) -> None:
        """Draws negatives where the batches are."""
        self.generator = torch.Generator(self.device).manual_seed(self.seed)

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """See `NextItemModule.loss_terms`; the teacher's terms are means over the positions that it ranked."""
        hidden, target, example_id = self.states_with_targets(batch)
        terms = {"next_item": self.loss(self.model, hidden, target)}
        row = self.row_of_example[example_id]
        asked = (row >= 0).nonzero().squeeze(1)
        if len(asked) == 0 or not (self.ranking.lam > 0 or self.list_losses or self.hint):
            return terms | (self.dros(self.model.score(hidden), target - 1) if self.dros.alpha > 0 else {})
        candidates, distance = self.candidates[row[asked]], self.distance[row[asked]]
        scores, robust = self.model.score(hidden[asked]), None
        if self.dros.alpha > 0:
            own, robust = self.dros.robust_with_candidates(scores, target[asked] - 1, candidates - 1)
            terms["dros"] = self.dros.alpha * self._with_the_others(own, hidden, target, row < 0).mean()
        lesson = Lesson(hidden[asked], scores, target[asked] - 1, candidates - 1, distance, self._validation_gradient)
        weights = importance(self.weighting, lesson)
        if self.ranking.lam > 0:
            negatives = self._negatives(batch, asked, candidates)
            terms |= self.ranking(scores, candidates - 1, distance, negatives, robust, weights)
        by_example = {name: loss(scores, candidates - 1, distance) for name, loss in self.list_losses.items()}
        if self.hint:
            by_example["hint"] = self.hint(lesson.hidden, row[asked])
        return terms | {name: (loss if weights is None else weights * loss).mean() for name, loss in by_example.items()}

    @torch.no_grad()
    def _validation_gradient(self) -> Tensor:
        """Returns the gradient of the loss of a few validation examples at the output layer, `[N, D]`; no dropout."""
        rows = torch.randint(len(self.validation), (VALIDATION_ROWS,), generator=self.validation_draw)
        batch = self.validation[rows].to(self.device)
        training = self.model.training
        hidden = self.model.eval().user_representation(batch.history)
        self.model.train(training)
        return output_gradient(hidden, self.model.score(hidden), batch.target - 1)

    def _with_the_others(self, robust: Tensor, hidden: Tensor, target: Tensor, others: Tensor) -> Tensor:
        """Returns DROS `[M]` of all positions, given that of those that the teacher ranked; `others [M]` bool."""
        if not others.any():
            return robust
        return torch.cat([robust, self.dros.robust(self.model.score(hidden[others]), target[others] - 1)])

    def _negatives(self, batch: WindowBatch, asked: Tensor, candidates: Tensor) -> Tensor:
        """Draws for each asked position one column that is neither its history, its target nor a candidate, `[m]`."""
        row, place = (batch.target > 0).nonzero()[asked].T
        seen = batch.history[row]
        if self.model.causal:  # else the one target comes after the whole history
            seen = seen.where(torch.arange(seen.shape[1], device=row.device) <= place.unsqueeze(1), 0)
        taken = torch.cat([seen, candidates], dim=1)
        return sample_negatives(taken, batch.target[row, place], self.model.num_items, self.generator)
