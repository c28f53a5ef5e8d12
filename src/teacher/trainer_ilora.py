"""Trains the iLoRA teacher: three parameter groups, warm-up and cosine, length-sorted batches."""

import logging
import math
from functools import partial
from typing import Any, Generic

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from ..core.errors import UserError
from ..core.metrics import in_tiles, log_likelihood_of_target, ndcg, rank_of_target
from ..core.seed import generator
from ..data.batches import BatchLoader, loader_in_order, token_batches
from ..data.dataset import Dataset, ExampleBatch
from ..data.rows import Batch, Rows, TrainingBatch
from ..training.loss_in_parts import LossInParts
from ..training.parts import means_of_parts, own_part, own_share
from ..training.processes import gathered, size
from ..training.schedule import ilora_cosine
from .gated_model import GatedLanguageModel
from .interfaces import TeacherModel
from .moe_lora_model import adapters_of
from .settings import TeacherTrainingSettings

DEAD = 0.1  # an expert that gets less than this share of an equal share is called dead

log = logging.getLogger(__name__)


class TeacherModule(L.LightningModule, Generic[Batch]):
    """The training loop's view of a teacher; how it is validated is left open.

    Args:
        model: The teacher.
        train: Its optimisation.
        seed: Of what is drawn in training.
    """

    def __init__(self, model: GatedLanguageModel[Batch], train: TeacherTrainingSettings, seed: int) -> None:
        super().__init__()
        self.model = model
        self.train_settings = train
        self.draw = generator(seed)
        self.loss = LossInParts(model.training_loss, model.loss_weight, model.router.buffers)
        self.val_gates: list[Tensor] = []
        self.known_dead: set[tuple[int, int]] = set()  # layer (0 if all share their gates) and expert
        self.strict_loading = False  # checkpoints hold what training changed, not the frozen weights

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns this process's share of the batch's mean loss.

        Raises:
            torch.OutOfMemoryError: A single row does not fit.
            UserError: The rows ran out of memory while other processes pass through a shared language model.
        """
        shown = self.model.presentation(self.global_step / self.trainer.estimated_stepping_batches, self.draw)
        part, weight = own_part(batch), self.model.loss_weight
        try:
            loss = self.loss(part.batch, shown=shown)
        except torch.OutOfMemoryError:
            if self.loss.divisible:
                raise
            raise _too_large() from None
        if size() > 1:
            loss = own_share(int(weight(part.batch)) if part.rows else 0, int(weight(batch))) * loss
        self.log_dict(means_of_parts({"train/loss": loss}), batch_size=len(batch.target))
        self.log("train/with_markers", float(shown.with_markers), batch_size=len(batch.target))
        return loss

    def backward(self, loss: Tensor, *args: Any, **settings: Any) -> None:
        """Lightning's, but a batch that runs out of memory here is computed again in more parts.

        Raises:
            torch.OutOfMemoryError: A single row does not fit.
            UserError: It ran out of memory while other processes, too, compute a part of it: they would wait.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        before = [None if each.grad is None else each.grad.clone() for each in trained]  # of batches before, if any
        while True:
            try:
                return super().backward(loss, *args, **settings)
            except torch.OutOfMemoryError as error:
                if size() > 1:
                    raise _too_large() from None
                out_of_memory = error.with_traceback(None)  # which would hold on to what is in the way
            for parameter, gradient in zip(trained, before, strict=True):
                parameter.grad = None if gradient is None else gradient.clone()
            del loss
            loss = self._in_more_parts(out_of_memory)

    def _in_more_parts(self, out_of_memory: torch.OutOfMemoryError) -> Tensor:
        with self.trainer.precision_plugin.train_step_context():
            loss = self.loss.again()
        if loss is None:
            raise out_of_memory
        return loss / self.trainer.accumulate_grad_batches

    def on_after_backward(self) -> None:
        """Logs gradient and weight norms by group: a group whose gradient is zero, or whose weights stay as they are,
        does not learn (debug plan, step 4).
        """
        for group in self.trainer.optimizers[0].param_groups:
            gradients = [p.grad for p in group["params"] if p.grad is not None]
            self.log(f"gradient_norm/{group['name']}", _norm(gradients))
            self.log(f"weight_norm/{group['name']}", _norm(group["params"]))

    def _tell_about_gates(self, gates: Tensor) -> None:
        """Logs how gates `[n, layers * E]` spread over the experts, in one example (entropy) and over all (use).

        Layers with gates of their own are averaged, but for the smallest use and the dead experts, told once each.
        """
        gates = gates.unflatten(1, (self.model.binding.mixtures, -1))
        use = gates.mean(0)
        self.log("gate/entropy", -(gates * gates.clamp_min(1e-12).log()).sum(2).mean())
        self.log("gate/smallest_use", use.min())
        for expert, share in enumerate(use.mean(0)):
            self.log(f"gate/use_of_expert_{expert}", share)
        equal_share = 1 / use.shape[1]
        dead = {(layer, expert) for layer, expert in (use < DEAD * equal_share).nonzero().tolist()} - self.known_dead
        if dead:
            self.known_dead |= dead
            log.warning(
                "Dead experts, with a mean gate below %.2g over the validation examples (an equal share: %.2g): %s",
                DEAD * equal_share,
                equal_share,
                ", ".join(f"{self._expert_named(*which)} ({use[which]:.2g})" for which in sorted(dead)),
            )

    def _expert_named(self, layer: int, expert: int) -> str:
        if self.model.binding.mixtures == 1:
            return f"expert {expert}"
        return f"expert {expert} of {list(adapters_of(self.model.language_model))[layer]}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what training changed and leaves the frozen language model out."""
        trained = {f"model.{name}" for name in self.model.trained_state()}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(self._groups(), lr=self.train_settings.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = math.floor(self.train_settings.warmup_share * steps)
        edge = self.train_settings.edge_lr_factor
        factor = partial(ilora_cosine, warmup=warmup, steps=steps, start=edge, end=edge)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        router = list(self.model.router.parameters())
        adapters = [p for name, p in self.model.named_parameters() if "lora_" in name]
        known = {id(p) for p in [*router, *adapters]}
        maps = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        how = self.train_settings
        groups = [
            {"name": "projector", "params": maps, "lr": how.lr, "weight_decay": how.weight_decay},
            {
                "name": "router",
                "params": router,
                "lr": how.router_lr_factor * how.lr,
                "weight_decay": how.weight_decay,
            },
            {"name": "adapters", "params": adapters, "lr": how.lr, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]  # a mode without router or adapters has fewer


class ILoRAModule(TeacherModule[TrainingBatch]):
    """A teacher that is validated by how it ranks the catalogue.

    Args: As `TeacherModule`.
    """

    def __init__(self, model: GatedLanguageModel[TrainingBatch], train: TeacherTrainingSettings, seed: int) -> None:
        super().__init__(model, train, seed)
        self.val_ranks: list[Tensor] = []
        self.val_log_likelihoods: list[Tensor] = []

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        part = own_part(batch)
        own = part.batch
        scores = self.model.score(own)
        for tile in in_tiles(scores, scores.shape[1], own.target, own.seen):
            self.val_ranks.append(rank_of_target(*tile)[: part.rows])
            self.val_log_likelihoods.append(log_likelihood_of_target(*tile)[: part.rows])
        of_one_pass = token_batches(self.model.prompt_lengths(own.history), self.model.max_tokens)
        self.val_gates += [self.model.gates(own.history[rows])[: part.rows] for rows in of_one_pass]

    def on_validation_epoch_end(self) -> None:
        self.log("val/NDCG@10", ndcg(gathered(torch.cat(self.val_ranks)), 10).mean().float())
        self.log("val/cross_entropy", -gathered(torch.cat(self.val_log_likelihoods)).mean())
        self._tell_about_gates(gathered(torch.cat(self.val_gates)))
        self.val_ranks.clear()
        self.val_log_likelihoods.clear()
        self.val_gates.clear()


def _too_large() -> UserError:
    return UserError(
        "A batch did not fit into memory on one of several devices: lower teacher.train.max_tokens, and raise "
        "teacher.train.accumulate as much where steps are to stay as large."
    )


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.detach().norm() for tensor in tensors]).norm()


class TeacherDataModule(L.LightningDataModule):
    """Train and validation examples in batches of similar prompt length.

    Args:
        model: Tells what it trains on and how long a prompt will be.
        dataset: A prepared dataset.
        train: How many examples, and how large batches are.
        eval_batch_size: Examples per validation batch.
        filter_seen: Whether validation leaves seen items out of the ranking.
        seed: Seed of the draws and of the training order.
    """

    def __init__(
        self,
        model: TeacherModel,
        dataset: Dataset,
        train: TeacherTrainingSettings,
        eval_batch_size: int,
        filter_seen: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.draw = generator(seed)  # kept: what is left in the middle of a training goes on with it
        self.train_rows, self.train_lengths = model.training_rows(dataset, train.max_examples, self.draw)
        self.val_rows = validation_rows(model, dataset, train, filter_seen, seed)
        self.max_tokens = train.max_tokens
        self.eval_batch_size = eval_batch_size
        self.generator = generator(seed)

    @property
    def num_batches(self) -> int:
        """Training batches per epoch; which rows share a batch changes, how many batches there are does not."""
        return len(token_batches(self.train_lengths, self.max_tokens))

    @property
    def num_tokens(self) -> int:
        """Tokens of all training rows, which an epoch reads; padding left out."""
        return int(self.train_lengths.sum())

    def train_dataloader(self) -> DataLoader:
        return BatchLoader(self.train_rows, self.train_lengths, self.max_tokens, self.generator)

    def val_dataloader(self) -> DataLoader:
        return loader_in_order(self.val_rows, self.eval_batch_size)


def validation_rows(
    model: TeacherModel, dataset: Dataset, train: TeacherTrainingSettings, filter_seen: bool, seed: int
) -> Rows[ExampleBatch]:
    """Returns the examples by which a teacher's checkpoint and its calibration are chosen; see `TeacherDataModule`."""
    val = dataset.examples["val"].sample(train.max_val_examples, generator(seed))
    return model.validation_rows(dataset, val, with_seen=filter_seen)
