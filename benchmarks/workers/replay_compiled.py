"""RePlay's SASRec compiled for a CPU (ONNX, then OpenVINO): the ten best items after histories, as its users would ask.

Settings: `items`, `width`, `length`, `blocks`, `heads`, `batch`, `calls`.
"""

import os
import time

import torch
from replay.models.nn.sequential.compiled import SasRecCompiled
from replay.models.nn.sequential.sasrec import SasRec

from ..timing import Line
from .replay_items import schema_of


def main() -> None:
    line = Line()
    settings = line.settings
    torch.manual_seed(0)
    model = SasRec(
        schema_of(settings["items"], settings["width"]),
        block_count=settings["blocks"],
        head_count=settings["heads"],
        hidden_size=settings["width"],
        max_seq_len=settings["length"],
    ).eval()
    parameters = sum(each.numel() for each in model.parameters())
    mode = "one_query" if settings["batch"] == 1 else "dynamic_batch_size"
    compiled = SasRecCompiled.compile(model, mode=mode, num_threads=int(os.environ["OMP_NUM_THREADS"]))
    histories = torch.randint(0, settings["items"], (settings["calls"], settings["batch"], settings["length"]))
    padding_mask = torch.ones(settings["batch"], settings["length"], dtype=torch.bool)

    def measured() -> dict[str, float]:
        start = time.perf_counter()
        for history in histories:
            batch = {"padding_mask": padding_mask, "feature_tensor": {"item_id": history}}
            compiled.predict(batch).topk(10, dim=1)
        return {"seconds": (time.perf_counter() - start) / len(histories)}

    measured()
    line.serve({"parameters": parameters}, measured)


if __name__ == "__main__":
    main()
