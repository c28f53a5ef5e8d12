"""Loads a language model and its tokenizer from a folder, a package or the hub's name; never guesses."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from ...core.errors import UserError
from ..choices import LANGUAGE_MODELS
from ..settings import LanguageModelSettings
from .attention import use_plain_attention
from .blocks import check_blocks, keep_first_blocks
from .fetching import language_model_folder
from .visibility import asking, is_causal

disable_progress_bar()  # loading weights takes a blink; its bar would stand between ours


def load_language_model(
    llm: LanguageModelSettings, language_models_dir: Path, head: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Returns model and tokenizer, in evaluation mode.

    Args:
        llm: Which one (`fetching.language_model_folder`), and how many of its blocks. "nf4" keeps the linear layers'
            weights in 4 bits and computes as `dtype`.
        language_models_dir: Where the program keeps models.
        head: Whether to load the output head too, which only causal models have.

    Raises:
        UserError: The model is not to be had, not in 4 bits, not causal, or has fewer blocks than are asked for; says
            what to do.
    """
    if llm.name in LANGUAGE_MODELS:
        model, tokenizer = LANGUAGE_MODELS[llm.name]()
        _check_head(llm.name, model.config, head)
        keep_first_blocks(model, llm)
        use_plain_attention(model)
        return model if head else without_head(model), tokenizer
    four_bits = _quantization_config(llm)
    with _told_in_words(llm, language_models_dir) as source:
        tokenizer = AutoTokenizer.from_pretrained(source)
        kind = AutoModelForCausalLM if head else AutoModel
        loaded: Any = kind.from_pretrained(
            source, dtype=getattr(torch, llm.dtype), quantization_config=four_bits, output_loading_info=True
        )
        model, found = loaded
        _refuse_other_weights(found)
        keep_first_blocks(model, llm)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # never read: it would only cost time and memory
    _check_vocabulary(llm.name, tokenizer, model.config)
    use_plain_attention(model)
    return model.eval(), tokenizer


def _refuse_other_weights(found: Mapping[str, Collection[str]]) -> None:
    """Transformers draws at random what it does not find, and leaves out layers that the config does not have.

    Raises:
        ValueError: It did so.
    """
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))  # never read
    if missing:
        raise ValueError(f"its weights lack {missing[0]} and {len(missing) - 1} others that its config.json asks for")
    unknown = sorted(name for name in found["unexpected_keys"] if re.search(r"\.\d+\.", name))
    if unknown:
        raise ValueError(f"its weights hold {unknown[0]}, a layer that its config.json does not have")


def _check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Makes sure that the model has a vector for every token.

    Raises:
        UserError: It has fewer, or the tokenizer knows none.
    """
    known, vectors = len(tokenizer), config.get_text_config().vocab_size
    if not 0 < known <= vectors:
        raise UserError(
            f"The tokenizer of {name} knows {known} tokens and its model {vectors}: they are not of one model; put the "
            "files of one beside one another."
        )


def without_head(model: PreTrainedModel) -> PreTrainedModel:
    """Returns a model without its output head, if it has one; they share all weights."""
    return cast("PreTrainedModel", model.base_model)  # to Transformers, any Module


def check_language_model(
    llm: LanguageModelSettings, language_models_dir: Path, head: bool
) -> tuple[PreTrainedTokenizerBase, int]:
    """Returns the model's tokenizer and its number of positions; its files are fetched where they are missing, minutes
    before the model is needed.

    Args, Raises: As `load_language_model`.
    """
    if llm.name in LANGUAGE_MODELS:
        model, tokenizer = LANGUAGE_MODELS[llm.name]()
        _check_head(llm.name, model.config, head)
        check_blocks(llm, model.config)
        return tokenizer, model.config.max_position_embeddings
    _quantization_config(llm)
    with _told_in_words(llm, language_models_dir) as source:
        config, tokenizer = AutoConfig.from_pretrained(source), AutoTokenizer.from_pretrained(source)
        positions = int(config.max_position_embeddings)
        check_blocks(llm, config)
    _check_head(llm.name, config, head)
    _check_vocabulary(llm.name, tokenizer, config)
    return tokenizer, positions


def says_it_writes(config: PretrainedConfig) -> bool:
    """Whether a model's files name it one that writes text; what it does is another question (`is_causal`)."""
    return any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in config.architectures or [])


def _check_head(name: str, config: PretrainedConfig, head: bool) -> None:
    if head and not says_it_writes(config):
        raise UserError(
            f"{name} does not write text: teacher.objective=generation needs a causal language model "
            "(teacher/llm=gemma_2b_it, for example)."
        )


def _quantization_config(llm: LanguageModelSettings) -> BitsAndBytesConfig | None:
    if llm.quantization is None:
        return None
    missing = [package for package in ("bitsandbytes", "accelerate") if find_spec(package) is None]
    missing += [] if torch.cuda.is_available() else ["GPU"]
    if missing:
        raise UserError(
            f"teacher.llm.quantization={llm.quantization} needs bitsandbytes, accelerate and a GPU, and there is no "
            f"{' and no '.join(missing)}: `pip install bitsandbytes accelerate` on a machine with a GPU, or set "
            "teacher.llm.quantization=null."
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=llm.quantization,
        bnb_4bit_compute_dtype=getattr(torch, llm.dtype),
        bnb_4bit_use_double_quant=True,
    )


@contextmanager
def _told_in_words(llm: LanguageModelSettings, language_models_dir: Path) -> Iterator[str]:
    """Yields the folder to load from; what the hub or Transformers say when they fail becomes one sentence."""
    kept, source = language_models_dir / llm.name, llm.path or llm.name
    try:
        source = language_model_folder(llm, language_models_dir)
        yield str(source)
    except UserError:
        raise
    except Exception as error:  # all within is Transformers': it and its parsers raise whatever they like
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The language model {llm.name} cannot be loaded from {source} ({reason}): put its files (config.json, "
            f"model.safetensors, tokenizer.json) into {kept}, or give their folder as teacher.llm.path."
        ) from None


def resolve_pooling(pooling: str, model: PreTrainedModel) -> str:
    """Returns "mean" or "last"; "auto" means the last token for causal models and the mean for the others."""
    if pooling != "auto":
        return pooling
    with asking(model, "set teacher.llm.pooling, or use another language model (teacher.llm)"):
        return "last" if is_causal(without_head(model)) else "mean"
