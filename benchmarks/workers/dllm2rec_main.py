"""DLLM2Rec's `main.py`, unmodified, timed from one optimiser step to the next.

Settings: `clone` (holds `main.py`), `num_items`, `batch`, `warm_up`, `steps`. The working directory has `examples.npz`
and the teacher's files in `tocf/synthetic/`; `main.py` reads its data from there too.
"""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from ..timing import Line, StepClock

OPTIONS = ["--model_name", "SASRec", "--data", "synthetic", "--cuda", "0", "--candidate_topk", "10"]
WEIGHTS = ["--alpha", "0.5", "--lam", "0.7", "--ed_weight", "0.3"]


def main() -> None:
    line = Line()
    settings = line.settings
    write_data(Path("data") / "synthetic", settings["num_items"])
    clock = StepClock(line)

    def after_step(optimizer: Optimizer, *_: object) -> None:
        trained = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
        clock.step_done(lambda: {"parameters": trained}, settings["batch"])

    register_optimizer_step_post_hook(after_step)
    script = Path(settings["clone"]) / "main.py"
    sys.argv = [str(script), *OPTIONS, *WEIGHTS, "--batch_size", str(settings["batch"])]
    sys.path.insert(0, settings["clone"])
    runpy.run_path(str(script), run_name="__main__")


def write_data(folder: Path, num_items: int) -> None:
    """Writes the pickled tables that `main.py` reads."""
    folder.mkdir(parents=True)
    examples = np.load("examples.npz")
    table = {name: examples[name].tolist() for name in ("seq", "len_seq", "next")}
    pd.DataFrame(table).to_pickle(folder / "train_data.df")
    sizes = {"seq_size": [examples["seq"].shape[1]], "item_num": [num_items]}
    pd.DataFrame(sizes).to_pickle(folder / "data_statis.df")


if __name__ == "__main__":
    main()
