"""Numbers computed by running the public reference code: tensors, and the hyper-parameters in the file's header."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

FOLDER = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parent / "fixtures" / "golden")


def load_golden(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors by name and the hyper-parameters of `<name>.safetensors`."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["hparams"])  # noqa: SIM118
