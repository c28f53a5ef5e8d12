"""Gradient checkpointing through adapters: recomputed blocks get the gates of the pass that they repeat."""

from transformers import PreTrainedModel

from ...core.errors import UserError
from ..moe_lora_model import GateBinding


def enable_gradient_checkpointing(model: PreTrainedModel, binding: GateBinding) -> None:
    """Makes each block of `model` keep its input alone in training, and run again in the backward pass.

    Takes effect in the training mode of `train_adapters`.

    Args:
        model: A language model with adapters.
        binding: Theirs: a block that runs again gets the gates of the forward pass that it repeats.

    Raises:
        UserError: Transformers cannot do this for models of this kind.
    """
    if not model.supports_gradient_checkpointing:
        raise UserError(
            f"{type(model).__name__} cannot recompute activations: set teacher.llm.gradient_checkpointing=false."
        )
    model.config.use_cache = False  # a block that runs again would append its keys and values a second time
    settings = {"use_reentrant": False, "context_fn": binding.checkpoint_contexts}
    if hasattr(model, "activation_checkpointing_enable"):  # the name since Transformers 5.23
        model.activation_checkpointing_enable(settings)
    else:
        model.gradient_checkpointing_enable(settings)
