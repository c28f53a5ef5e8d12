"""Steps of one language model of random weights with adapters, on the best device.

Settings: `shape` (of `teacher_shapes.SHAPES`; null: `TINY`), `task` (of `teacher_shapes.TASKS`), `bits`, `batch`,
`tokens`, `steps` measured. Peak memory is that of PyTorch's tensors on a GPU, weights included.
"""

import time

import torch

from ..adapted import random_language_model, training_step, with_adapters
from ..teacher_shapes import SHAPES, TINY
from ..timing import Line, finish_on_device

WARM_UP = 2


def main() -> None:
    line = Line()
    settings = line.settings
    model = random_language_model(SHAPES.get(settings["shape"], TINY))
    if settings["bits"] == 4:
        from ..four_bits import put_in_four_bits  # of a package that may not be there

        put_in_four_bits(model)
    checkpointing = settings["task"] == "recomputing"
    forward = with_adapters(model, settings["batch"], settings["tokens"], checkpointing)
    step = torch.no_grad()(forward) if settings["task"] == "reading" else training_step(model, forward)
    on_gpu = torch.cuda.is_available()

    def timed() -> float:
        start = time.perf_counter()
        step()
        finish_on_device()
        return time.perf_counter() - start

    def measure() -> dict[str, object]:
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM_UP):
            timed()
        seconds = [timed() for _ in range(settings["steps"])]
        return {"seconds": seconds, "peak": torch.cuda.max_memory_allocated() if on_gpu else None}

    line.serve({}, measure)


if __name__ == "__main__":
    main()
