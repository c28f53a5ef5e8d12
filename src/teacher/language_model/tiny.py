"""Language models with random weights and a byte tokenizer: nothing to download, for tests and dry runs."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)


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
