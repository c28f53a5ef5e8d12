"""What the backward pass needs of the forward pass, in bytes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def kept_for_backward(forward: Callable[[], object], there_anyway: Iterable[Tensor]) -> int:
    """Returns the bytes of all distinct storages that `forward()` keeps for its backward pass.

    Args:
        forward: Runs a forward pass.
        there_anyway: Tensors that are not counted: parameters, inputs.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in there_anyway}
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor, too: its address must not be used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        forward()
    return sum(size for size, _ in kept.values())
