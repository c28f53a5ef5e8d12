"""A language model's blocks: the layers that follow one another, which its config counts."""

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from ...core.errors import UserError
from ..settings import LanguageModelSettings


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Returns a model's blocks.

    Raises:
        UserError: It has no list of them.
    """
    number = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise UserError(
        f"{type(model).__name__} has no list of the {number} blocks that its config counts, to share them out or to "
        "leave some of them out: set trainer.shard=false and teacher.llm.blocks=null."
    )


def check_blocks(llm: LanguageModelSettings, config: PretrainedConfig) -> None:
    """Makes sure that a model has as many blocks as are asked for.

    Raises:
        UserError: It has fewer.
    """
    there = config.get_text_config().num_hidden_layers
    if llm.blocks is not None and llm.blocks > there:
        raise UserError(
            f"teacher.llm.blocks={llm.blocks} is more than the {there} blocks that {llm.name} has: use fewer, or null."
        )


def keep_first_blocks(model: PreTrainedModel, llm: LanguageModelSettings) -> None:
    """Leaves out what is behind the first `llm.blocks` blocks, in the model and in its config (as SLMRec does: Xu
    et al. 2025, arXiv:2405.17890); with null nothing.

    Embeddings and output head stay as they are, and so does a norm behind the last block (Llama, Qwen, GPT-2; encoders
    like BERT have none). Such a norm then scales the n-th block's output by weights that were trained for the last
    one's: the model's states are norm(h_n), h_n [B, T, d] being the whole model's `hidden_states[n]`.

    Raises:
        UserError: The model has fewer, or no list of them.
    """
    if llm.blocks is None:
        return
    config = model.config.get_text_config()
    check_blocks(llm, config)
    del blocks(model)[llm.blocks :]
    kinds = getattr(config, "layer_types", None)  # of the attention in each block, for models that mix them
    config.num_hidden_layers = llm.blocks
    if kinds is not None:
        config.layer_types = kinds[: llm.blocks]
