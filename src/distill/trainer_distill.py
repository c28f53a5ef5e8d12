"""Trains a student with a teacher: the next-item loss L at every position, the teacher's ranking where it was asked."""

import torch
from torch import Tensor

from ..core.seed import generator
from ..student.datamodule import WindowBatch
from ..student.losses import NextItemLoss
from ..student.models import SequentialRecommender
from ..student.trainer_baseline import NextItemModule, Optimisation
from .data_bridge import TeacherOutputs
from .kd_losses import DROLoss, RankingDistillationLoss
from .negatives import sample_negatives


class DistilModule(NextItemModule):
    """`L + α DROS + λ Σ_k w_k (BCE_k + α DROS_k)`, the last sum at positions whose example the teacher ranked.

    Embedding distillation needs no term: the teacher's item embeddings stand in the student's item table
    (`ItemEmbedding.distil_from`), so every term trains their projection.

    Args:
        model: The student, its item table already distilling from the teacher.
        loss: Of the true targets.
        outputs: What the teacher knows.
        ranking: λ Σ_k w_k (BCE_k + α DROS_k), see `kd_losses`.
        dros: α DROS of the true target.
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

    def on_fit_start(self) -> None:
        """Draws negatives where the batches are."""
        self.generator = torch.Generator(self.device).manual_seed(self.seed)

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """See `NextItemModule.loss_terms`; the ranking terms are means over the positions that the teacher ranked."""
        hidden, target, example_id = self.states_with_targets(batch)
        terms = {"next_item": self.loss(self.model, hidden, target)}
        row = self.row_of_example[example_id]
        asked = (row >= 0).nonzero().squeeze(1)
        if len(asked) == 0 or self.ranking.lam == 0:
            return terms | (self.dros(self.model.score(hidden), target - 1) if self.dros.alpha > 0 else {})
        candidates, distance = self.candidates[row[asked]], self.distance[row[asked]]
        negatives = self._negatives(batch, asked, candidates)
        scores, robust = self.model.score(hidden[asked]), None
        if self.dros.alpha > 0:
            own, robust = self.dros.robust_with_candidates(scores, target[asked] - 1, candidates - 1)
            terms["dros"] = self.dros.alpha * self._with_the_others(own, hidden, target, row < 0).mean()
        return terms | self.ranking(scores, candidates - 1, distance, negatives, robust)

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
