"""Linear layers of a language model in 4 bits, as `teacher.llm.quantization=nf4` loads them."""

from bitsandbytes.nn import Linear4bit, Params4bit
from torch import nn
from transformers import PreTrainedModel

from src.teacher.moe_lora_model import target_layers


def put_in_four_bits(model: PreTrainedModel) -> None:
    """Replaces every linear layer of `model`, which has no output head, by one with nf4 weights, scaled twice."""
    for name, layer in target_layers(model, "all-linear").items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, _in_four_bits(layer))


def _in_four_bits(layer: nn.Linear) -> Linear4bit:
    device, dtype = layer.weight.device, layer.weight.dtype
    four = Linear4bit(layer.in_features, layer.out_features, bias=False, compute_dtype=dtype, device="meta")
    four.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
    return four.to(device)
