"""Numbers computed by running the public reference code: tensors, and the hyper-parameters in the file's header."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parent / "fixtures" / "golden")


def load_golden(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors by name and the hyper-parameters of `<name>.safetensors`."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["hparams"])  # noqa: SIM118


def our_items(theirs: Tensor, num_items: int) -> Tensor:
    """Returns our item numbers (from 1, padding 0) of the reference's (from 0, padding `num_items`)."""
    return torch.where(theirs == num_items, 0, theirs + 1)


def our_item_rows(theirs: Tensor) -> Tensor:
    """Returns a table `[num_items + 1, D]` in our order of rows, padding first, from the reference's, padding last."""
    return theirs.roll(1, 0)
