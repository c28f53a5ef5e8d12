"""What the device is, what memory is free, and how fast it multiplies large matrices in each number format.

Settings: `side` of the matrices, `times` (the fastest counts).
"""

import torch

from src.core.precision import best_device

from ..number_formats import FORMATS, multiply_as
from ..timing import Line
from ..work import peak_rate


def main() -> None:
    line = Line()
    side, times = line.settings["side"], line.settings["times"]
    device = best_device()
    on_gpu = device.type == "cuda"
    facts = {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "free": torch.cuda.mem_get_info()[0] if on_gpu else None,
    }

    def measure() -> dict[str, float]:
        rates = {}
        for number_format in FORMATS:
            multiply_as(number_format)
            dtype = "bfloat16" if number_format == "bf16" else "float32"
            rates[number_format] = peak_rate(dtype, times, side, device)
        return rates

    line.serve(facts, measure)


if __name__ == "__main__":
    main()
