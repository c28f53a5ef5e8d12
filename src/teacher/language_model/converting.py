"""GGUF, the format of llama.cpp, becomes a folder as Transformers saves it: config, weights, tokenizer."""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ...core.errors import UserError

GGUF = ".gguf"
PACKAGES = ("gguf", "accelerate")  # Transformers reads GGUF by the first, and refuses to without the second


def check_converter(name: str) -> None:
    """Makes sure that GGUF can be read, before anything is downloaded.

    Args:
        name: Of the language model.

    Raises:
        UserError: A package is missing; says how to install it.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise UserError(
            f"The language model {name} is published as GGUF, and to convert it {' and '.join(missing)} must be "
            "installed: `poetry install --extras gguf`, or `pip install gguf accelerate`; it is converted once."
        )


def convert(file: Path, folder: Path) -> None:
    """Writes a causal language model, with its output head and its tokenizer, to a folder that is there.

    The weights are float32, as they are dequantised: in bfloat16 SmolLM2's hidden states would differ by 0.5 % of their
    length, in float16 by 0.07 %.

    Args:
        file: The model as GGUF.
        folder: Gets config.json, model.safetensors, tokenizer.json and what else Transformers saves.

    Raises:
        OSError, ValueError: Transformers does not read such a file.
    """
    source, name = str(file.parent), file.name
    config = AutoConfig.from_pretrained(source, gguf_file=name)
    dequantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    # Transformers does not save a model that came from GGUF: it takes it for quantised still.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(dequantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(folder)
