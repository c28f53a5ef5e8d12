"""A language model whose frozen weights several processes share while they train what is around them (FSDP2)."""

import copy
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import torch
from torch import nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from ...training.processes import largest, rank, size
from ..gated_model import GatedLanguageModel
from ..moe_lora_model import GateBinding
from .blocks import blocks
from .loading import without_head

if TYPE_CHECKING:
    from ..trainer_ilora import TeacherModule


class ShardedLanguageModel(L.Callback):
    """Leaves every process of a training its share of the language model's frozen weights, and the first one the whole
    model, on the CPU, once the training has ended. After an error, or where it was asked to end, nobody has it.

    A block is gathered for as long as it computes. What is in no block (embeddings, norms, output head) is gathered for
    a step or a validation, since words are looked up outside the model's own forward pass. What is trained is whole in
    every process, and DDP's, as without this.

    Every gathering takes all processes. In a step each of them passes through the model as often as the others, with
    rows or without (`parts.own_part`); in validation one that has fewer passes to make takes part in those of others.

    Args:
        teacher: Whose language model, which has adapters.
    """

    def __init__(self, teacher: GatedLanguageModel[Any]) -> None:
        self.teacher = teacher
        self.whole = teacher.language_model

    @property
    def shared(self) -> FSDPModule:
        """What is in the whole model's place."""
        return cast("FSDPModule", self.teacher.language_model)  # fully_shard has made it one

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Shares the model before Lightning moves it, so that no device has to hold the whole.

        Raises:
            UserError: It has no blocks.
        """
        module = cast("TeacherModule[Any]", pl_module)
        self.teacher.language_model = sharded(self.whole, self.teacher.binding)
        shares = [name for name, each in module.named_parameters() if isinstance(each, DTensor)]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, shares)
        module.loss.divisible = False  # more passes than the others make would wait for them

    def on_train_batch_start(self, *_: Any) -> None:
        self.shared.unshard()  # what is in no block, until the backward pass is done

    def on_validation_start(self, *_: Any) -> None:
        self.shared.unshard()
        body = without_head(self.teacher.language_model)  # every pass goes through it, whatever asks for it
        self.announcing = body.register_forward_pre_hook(self._announce)

    def on_validation_epoch_end(self, *_: Any) -> None:
        """Takes part in the others' passes; comes before what the module asks the other processes here."""
        self.announcing.remove()
        while _any_passes(False):
            self._empty_pass()

    def on_validation_end(self, *_: Any) -> None:
        self.shared.reshard()

    def on_fit_end(self, *_: Any) -> None:
        put_together(self.teacher.language_model, self.whole)
        self.teacher.language_model = self.whole

    def on_exception(self, *_: Any) -> None:
        self.teacher.language_model = self.whole  # which Lightning can move, whatever state a pass was left in

    def _announce(self, *_: Any) -> None:
        _any_passes(True)

    def _empty_pass(self) -> None:
        words = cast("nn.Embedding", self.teacher.language_model.get_input_embeddings()).weight
        with self.teacher.binding.disabled():
            self.teacher.language_model(
                inputs_embeds=words.new_zeros(1, 1, words.shape[1]),
                attention_mask=torch.ones(1, 1, dtype=torch.long, device=words.device),
            )


def _any_passes(own: bool) -> bool:
    """Whether a process passes through the model next, which all say at once."""
    return bool(largest([int(own)])[0])


def sharded(model: PreTrainedModel, binding: GateBinding) -> PreTrainedModel:
    """Returns `model` with this process's share of every frozen weight: of as many parts along the first dimension as
    there are processes, its own (`fully_shard`). What is trained, and buffers, are those of `model` itself, whose
    frozen weights are empty from then on.

    Args:
        model: The same in all processes.
        binding: Its adapters'.

    Raises:
        UserError: It has no blocks.
    """
    its_own = (binding, *model.parameters(), *model.buffers())
    shared = copy.deepcopy(model, {id(each): each for each in its_own})
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (size(),))
    for unit in (*blocks(shared), shared):
        fully_shard(unit, mesh=mesh, ignored_params=trained)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.new_empty(0)
    return shared


def put_together(shared: PreTrainedModel, model: PreTrainedModel) -> None:
    """Fills the frozen weights of `model` again from those that `sharded` has made of it, on the CPU and in the first
    process alone; all take part. There is never more than one block whole besides.
    """
    empty = dict(model.named_parameters())
    prefixes = {module: f"{name}." if name else "" for name, module in shared.named_modules()}
    for unit in (*blocks(shared), shared):
        cast("FSDPModule", unit).unshard()
        for name, value in unit.named_parameters():
            if rank() == 0 and not value.requires_grad and not isinstance(value, DTensor):
                empty[prefixes[unit] + name].data = value.detach().to("cpu", copy=True)
        cast("FSDPModule", unit).reshard()
