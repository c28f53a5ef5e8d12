"""DLLM2Rec's `main.py`, unmodified, reads an export of ours and trains one epoch with it.

Settings: `clone` (holds `main.py`), `name` (the dataset's). The working directory holds `data/<name>` and
`tocf/<name>`.
"""

import runpy
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..timing import Line


class Recorder:
    """Stands for a model and keeps what it is asked to score."""

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items

    def forward(self, states: torch.Tensor, len_states: np.ndarray, llm_emb: None) -> torch.Tensor:
        self.seq, self.len_seq = states.tolist(), len_states.tolist()
        return torch.rand(len(states), self.num_items)


def main() -> None:
    line = Line()
    name, script = line.settings["name"], Path(line.settings["clone"]) / "main.py"
    data = Path("data").resolve() / name
    with chdir(data):
        runpy.run_path("to_pickle.py")
    sys.argv = [str(script), "--model_name", "SASRec", "--data", name, "--epoch", "1"]
    sys.path.insert(0, line.settings["clone"])
    theirs = runpy.run_path(str(script), run_name="__main__")
    line.tell(
        {
            "item_num": int(theirs["item_num"]),
            "train": theirs["train_data"][["seq", "len_seq", "next"]].values.tolist(),
            "val": held_out(theirs, data / "val_data.csv"),
            "test": held_out(theirs, data / "test_data.csv"),
            "candidates": theirs["all_candidate"].tolist(),
            "embeddings": list(theirs["llm_all_emb"].shape),
            "last_batch": theirs["sample"].tolist(),
            "weight_confidence": theirs["weight_confidence"].tolist(),
        }
    )


def held_out(theirs: dict[str, Any], path: Path) -> list[list[Any]]:
    """Returns the sequences that its `myevaluate` reads of a file, and their lengths."""
    recorder = Recorder(int(theirs["item_num"]))
    theirs["myevaluate"](recorder, str(path), torch.device("cpu"))
    return [list(row) for row in zip(recorder.seq, recorder.len_seq, strict=True)]


if __name__ == "__main__":
    main()
