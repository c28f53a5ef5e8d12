"""Time and memory of one adapted layer: ours, PEFT's LoRA of the same rank, and iLoRA's formula written out.

    python -m benchmarks.ilora_layer --envs DIR

Forward and backward (gradients of input and adapters; iLoRA's gates, too) of the linear layers of MiniLM, Gemma 2B and
Llama 2 7B, r = 8, 4 experts. The formula written out makes every expert's output, `[B, T, E, out]`, then mixes them.
All sides run in turn within one process, timed by its own processor time (on a GPU by the clock); the table shows
medians over the rounds of the ratios within a round. "Update alone" leaves the frozen product out, which costs everyone
the same. "Kept" is what the backward pass needs beyond the layer's input, "with input" counts that, too (inputs that
layers share once, parameters never). A block's row is the sum over its layers.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from .environments import python_of
from .side_by_side import Worker, in_turn, markdown, parser, report, with_peers

MIB = 2**20
BYTES = {"float32": 4, "bfloat16": 2}
# Per model: its examples and tokens, then per shape of a layer: in, out, layers in a block, different inputs of those.
MODELS = {
    "MiniLM": ((32, 64), [(384, 384, 4, 2), (384, 1536, 1, 1), (1536, 384, 1, 1)]),
    "Gemma 2B": ((2, 64), [(2048, 2048, 2, 2), (2048, 256, 2, 0), (2048, 16384, 2, 1), (16384, 2048, 1, 1)]),
    "Llama 2 7B": ((2, 32), [(4096, 4096, 4, 2), (4096, 11008, 2, 1), (11008, 4096, 1, 1)]),
}
RUNS = [("MiniLM", "float32"), *((name, dtype) for name in ("Gemma 2B", "Llama 2 7B") for dtype in BYTES)]
OURS, PEFT, REFERENCE = "ours", "PEFT's LoRA", "reference formula"


def main(arguments: argparse.Namespace) -> None:
    models = MODELS
    if arguments.quick:
        arguments.repeats, models = 1, {name: ((1, 2), [(8, 16, 1, 1)]) for name in MODELS}
    workers = {}
    with tempfile.TemporaryDirectory() as name:
        for model, dtype in RUNS:
            (batch, tokens), layers = models[model]
            shapes = [layer[:2] for layer in layers]
            settings = {"shapes": shapes, "batch": batch, "tokens": tokens, "dtype": dtype, **adapter()}
            workers[f"{model}, {dtype}"] = Worker(
                "ilora_layer_sides", settings, arguments.threads, Path(name), python_of(arguments.envs, "peft")
            )
        facts, measured = in_turn(workers, arguments.repeats)
    rows = []
    for (model, dtype), key in zip(RUNS, workers, strict=True):
        rows += rows_of(model, dtype, *models[model], facts[key]["memory"], measured[key])
    heads = [
        "layer", "frozen weights", "tokens", "time, PEFT = 1", "faster than the formula", "update alone: faster",
        "kept, MiB", "the formula's", "less", "less with input", "less at the peak",
    ]  # fmt: skip
    report("ilora_layer", arguments, markdown(heads, rows), facts=facts, measured=measured)


def adapter() -> dict[str, int]:
    return {"r": 8, "num_experts": 4, "alpha": 32}


def rows_of(
    model: str,
    dtype: str,
    size: tuple[int, int],
    layers: list[tuple[int, int, int, int]],
    memory: dict[str, dict],
    measured: list[dict[str, dict]],
) -> list[list[str]]:
    """Returns a row per shape and one for the block of all."""
    num_tokens = size[0] * size[1]
    parts = [(f"{model} {fan_in} → {fan_out}", [(fan_in, fan_out, 1, 1)]) for fan_in, fan_out, *_ in layers]
    rows = []
    for title, some in [*parts, (f"**{model}, a block**", layers)]:

        def total(values: dict[str, dict], part: str, of: Callable, some: list = some) -> float:
            return sum(count * of(values[f"{fan_in} → {fan_out}, {part}"]) for fan_in, fan_out, count, _ in some)

        def ratio(part: str, above: str, below: str, total: Callable = total) -> float:
            return median(
                total(each, part, lambda v: v[above]) / total(each, part, lambda v: v[below]) for each in measured
            )

        inputs = sum(num * num_tokens * fan_in * BYTES[dtype] for fan_in, _, _, num in some)
        kept = {side: total(memory, "whole", lambda v, side=side: v[side]["kept"]) for side in (OURS, REFERENCE)}
        peak = {side: total(memory, "whole", lambda v, side=side: v[side]["peak"]) for side in (OURS, REFERENCE)}
        rows.append([
            title, dtype, str(num_tokens), f"{ratio('whole', OURS, PEFT):.2f}",
            f"{ratio('whole', REFERENCE, OURS):.1f}×", f"{ratio('update alone', REFERENCE, OURS):.1f}×",
            f"{kept[OURS] / MIB:.2f}", f"{kept[REFERENCE] / MIB:.2f}", f"{kept[REFERENCE] / kept[OURS]:.0f}×",
            f"{(kept[REFERENCE] + inputs) / (kept[OURS] + inputs):.1f}×", f"{peak[REFERENCE] / peak[OURS]:.1f}×",
        ])  # fmt: skip
    return rows


if __name__ == "__main__":
    own = with_peers(parser(__doc__, repeats=7))
    own.set_defaults(threads=1)  # threads that wait for one another would count as work
    main(own.parse_args())
