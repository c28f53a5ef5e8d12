"""Trains a student without a teacher."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from ..core.artefact import fingerprint
from ..core.errors import UserError
from ..core.metrics import in_tiles, log_likelihood_of_target, ndcg, rank_of_target
from ..core.precision import encoder_precision, logits_dtype
from ..data.dataset import Dataset, ExampleBatch
from ..data.rows import WindowBatch
from ..evaluation.ranking import rows_at_once
from ..evaluation.settings import MetricsSettings
from ..training.loop import Plan, fit
from ..training.parts import means_of_parts, own_part, own_share
from ..training.processes import gathered
from .datamodule import StudentDataModule
from .factory import create_loss, create_student
from .layers.embedding import standardised
from .losses import NextItemLoss
from .models import SequentialRecommender
from .optimizer import RowwiseAdamW
from .settings import OptimisationSettings, StudentSettings

MONITOR = "val/NDCG@10"  # what checkpoints are chosen by


class NextItemModule(L.LightningModule):
    """The training loop's view of a student.

    Args:
        model: The student.
        loss: What is minimised.
        optimisation: How.
    """

    def __init__(self, model: SequentialRecommender, loss: NextItemLoss, optimisation: OptimisationSettings) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimisation = optimisation
        self.val_ranks: list[Tensor] = []
        self.val_log_likelihoods: list[Tensor] = []

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Returns the named terms, each a scalar with its weight applied, whose sum is the loss; of several processes,
        this one's shares of them (`own_share`).
        """
        part = own_part(batch)
        hidden, target, _ = self.states_with_targets(part.batch)
        positions = own_share(len(target) if part.rows else 0, int((batch.target > 0).sum()))
        return {"next_item": positions * self.loss(self.model, hidden, target)}

    def states_with_targets(self, batch: WindowBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns states `[M, D]`, targets `[M]` and example ids `[M]` of the M positions that have a target."""
        real = batch.target > 0
        return self.model.states_of(batch), batch.target[real], batch.example_id[real]

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        means = means_of_parts(terms | {"loss": total})
        self.log_dict({f"train/{name}": mean for name, mean in means.items()}, batch_size=len(batch.history))
        return total

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        part = own_part(batch)
        own = part.batch
        scores = self.model.predictions(own.history)
        for tile in in_tiles(scores, self.model.num_items, own.target, own.seen):
            self.val_ranks.append(rank_of_target(*tile)[: part.rows])
            self.val_log_likelihoods.append(log_likelihood_of_target(*tile)[: part.rows])

    def on_validation_epoch_end(self) -> None:
        self.log("val/NDCG@10", ndcg(gathered(torch.cat(self.val_ranks)), 10).mean().float())
        self.log("val/cross_entropy", -gathered(torch.cat(self.val_log_likelihoods)).mean())
        self.val_ranks.clear()
        self.val_log_likelihoods.clear()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        how, steps = self.optimisation, int(self.trainer.estimated_stepping_batches)
        optimizer: torch.optim.Optimizer
        if how.sparse_items:
            optimizer = self._rowwise()
        else:
            adam = torch.optim.AdamW if how.decay == "decoupled" else torch.optim.Adam
            optimizer = adam(self.parameters(), lr=how.lr, weight_decay=how.weight_decay, fused=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(how.lr_factor, steps=steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rowwise(self) -> RowwiseAdamW:
        table = self.model.items.ids
        table.sparse = True
        others = [parameter for parameter in self.parameters() if parameter is not table.weight]
        return RowwiseAdamW([table.weight], others, self.optimisation.lr, self.optimisation.weight_decay)


def student_loss(settings: StudentSettings, dataset: Dataset) -> NextItemLoss:
    """Returns the next-item loss that a student's settings describe."""
    return create_loss(settings.loss, dataset.train_item_counts()[1:], logits_dtype(settings.train.precision))


def check_scores_by_item_vectors(model: SequentialRecommender, settings: StudentSettings) -> None:
    """Makes sure that a student whose settings speak of item vectors scores by these.

    Raises:
        UserError: It scores by a table of its own, which a batch would move as a whole, or which knows more than texts.
    """
    if type(model).output_layer is SequentialRecommender.output_layer:
        return
    own = f"student.name={settings.name} scores items by an output layer of its own, "
    if settings.train.sparse_items:
        raise UserError(
            f"{own}which no batch moves on in part: set student.train.sparse_items=false, or use another student."
        )
    if settings.item_vectors == "texts":
        raise UserError(
            f"{own}so that their vectors would not be of their texts alone: set student.item_vectors=free, or use "
            "another student."
        )


def baseline_module(settings: StudentSettings, dataset: Dataset, encodings: Tensor | None = None) -> NextItemModule:
    """Returns an untrained student that learns from the log alone.

    Args:
        settings, dataset: Key `student`, and what it is trained on.
        encodings: `[num_items, d]` float, of the items' texts.

    Raises:
        UserError: There are no encodings, but the student begins with them; or it has more than a text for an item.
    """
    model = create_student(settings.name, dataset.num_items, settings.model.plain())
    check_scores_by_item_vectors(model, settings)
    if settings.begins_with_texts:
        if encodings is None:
            raise UserError(
                "student.text_init above 0 and student.item_vectors=texts need encodings of the items' texts, which "
                "this command does not make: set them to 0 and free."
            )
        if settings.item_vectors == "texts":
            model.items.read_from(standardised(encodings))
        else:
            model.items.start_from(encodings, settings.text_init)
    return NextItemModule(model, student_loss(settings, dataset), settings.train)


def fit_student(
    module: NextItemModule,
    settings: StudentSettings,
    dataset: Dataset,
    metrics: MetricsSettings,
    seed: int,
    *,
    stage: str,
    run_dir: Path,
    kept_in: Path | None = None,
    made_from: Mapping[str, Any] | None = None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[L.Callback] = (),
) -> dict[str, Any]:
    """Trains a student, plain or distilled, under the name `stage`; returns what `fit` says of it.

    Args:
        module: The student in its loop.
        settings, dataset, metrics, seed: What it was made from.
        stage, run_dir: See `Plan`.
        kept_in: See `Plan`; None: `<run_dir>/checkpoints/<stage>/`.
        made_from: What else than the arguments above the student is made from: a checkpoint that says otherwise is not
            gone on from.
        loggers: See `Plan`.
        callbacks: See `fit`.

    Raises:
        UserError: The dataset has no validation examples, or `overlap` asks for windows where there are none.
    """
    if len(dataset.examples["val"]) == 0:
        raise UserError(
            f"Dataset {dataset.name} has no validation examples to choose a checkpoint by: loosen the filters."
        )
    every_position = module.model.causal and settings.train.targets == "all"
    if settings.train.overlap and not every_position:
        raise UserError(
            f"student.train.overlap={settings.train.overlap} is of windows, and {settings.name} as it is set is "
            "trained example by example: set it to 0."
        )
    data = StudentDataModule(
        dataset,
        settings.model.history_length,
        every_position,
        settings.train.overlap,
        settings.train.batch_targets,
        rows_at_once(metrics, dataset, metrics.filter_seen),
        metrics.filter_seen,
        seed,
    )
    plan = Plan(
        stage=stage,
        monitor=MONITOR,
        made_from={
            **(made_from or {}),
            "dataset": dataset.fingerprint,
            "student": fingerprint(settings.key(), metrics.filter_seen, seed),
            "logits": str(logits_dtype(settings.train.precision)),
        },
        kept_in=kept_in or run_dir / "checkpoints" / stage,
        run_dir=run_dir,
        max_epochs=settings.train.max_epochs,
        patience=settings.train.patience,
        precision=encoder_precision(settings.train.precision),
        resume_from=settings.train.resume_from,
        loggers=loggers,
    )
    return fit(module, data, plan, callbacks)
