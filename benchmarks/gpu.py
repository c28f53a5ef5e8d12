"""What a GPU does with this project: teachers' training steps, students, and what number formats do to ranks.

    python -m benchmarks.gpu

Needs no data and no download: language models of known shapes have random weights, logs are synthetic. Each row is
a process of its own, so that one that fails leaves the others; rows that cannot fit (`teacher_shapes.why_left_out`) are
not tried. Teachers: adapters (r = 8, 4 experts) around all linear layers, autocast to bf16, AdamW, without the item
side; "of the peak" is the arithmetic that `teacher_shapes` counts, over the time, over the device's bf16 peak by its
data sheet (`work.PEAKS`; measured where it is not known). Tokens are places, one of them padding. Students: training
steps in Lightning with batches drawn on the CPU, and full ranking of every user. `--quick` runs anywhere, tiny.
"""

import argparse
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch

from .number_formats import FORMATS, SCORES_TOO
from .side_by_side import markdown, median_rate, parser, report, several_afresh
from .teacher_shapes import SHAPES, TASKS, TINY, bytes_of, flop_of, why_left_out
from .work import data_sheet_peak

GIB = 2**30
NO_GPU = "no GPU"
STUDENTS = ("sasrec", "gru4rec")
LOGS = {  # users, interactions of each (on average), items: docs/datasets.md
    "amazon_toys": {"num_users": 19_412, "interactions": 9, "num_items": 11_924},
    "amazon_games": {"num_users": 49_156, "interactions": 7, "num_items": 17_332},
}
FEW = {"num_users": 60, "interactions": 6, "num_items": 50}
PARITY_LOG = {"num_users": 2_000, "interactions": 12, "num_items": 1_000}
PARITY_STUDENTS = ("sasrec", "bsarec", "gru4rec")


def main(arguments: argparse.Namespace) -> None:
    if not arguments.quick and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here: --quick shows that the script works.")
    if arguments.quick:
        arguments.repeats, arguments.batch, arguments.tokens, arguments.steps = 1, 2, 16, 1
    device = device_of(arguments)
    sections = {"device": device_table(device)}
    everything: dict[str, Any] = {"device": device}
    for name, measure in {"teachers": teachers, "students": students, "parity": parity}.items():
        everything[name], sections[name] = measure(arguments, device)
    report("gpu", arguments, "\n\n".join(sections.values()), **everything)


def device_of(arguments: argparse.Namespace) -> dict[str, Any]:
    side, times = (64, 1) if arguments.quick else (8192, 20)
    facts, runs = several_afresh("gpu_device", {"side": side, "times": times}, arguments.threads, 1)
    name = facts["gpu"]
    return {**facts, "measured": runs[0], "data_sheet": data_sheet_peak(name) if name else None}


def device_table(device: dict[str, Any]) -> str:
    sheet = device["data_sheet"]
    rows = [["device", device["gpu"] or NO_GPU], ["free memory, GiB", in_gib(device["free"])]]
    for name, rate in device["measured"].items():
        rows.append([f"{name} products, measured, TFLOP/s", f"{rate / 1e12:,.2f}"])
    rows.append(["bf16 by its data sheet, TFLOP/s", f"{sheet / 1e12:,.0f}" if sheet else "not known"])
    return markdown(["device", ""], rows)


def in_gib(size: int | None) -> str:
    return NO_GPU if size is None else f"{size / GIB:.2f}"


def tried(module: str, settings: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]] | str:
    """Returns the measurements of a process of its own, or the last line of what it said when it failed."""
    try:
        return several_afresh(module, settings, arguments.threads, arguments.repeats)[1]
    except RuntimeError as failed:
        return f"failed: {str(failed).strip().splitlines()[-1][:120]}"


def teachers(arguments: argparse.Namespace, device: dict[str, Any]) -> tuple[list, str]:
    shapes = {"tiny Gemma": TINY} if arguments.quick else SHAPES
    size = (arguments.batch, arguments.tokens)
    peak = device["data_sheet"] or device["measured"]["bf16"]
    rows, everything = [], []
    for shape, config in shapes.items():
        for bits, task in [(16, task) for task in TASKS] + [(4, "recomputing"), (4, "reading")]:
            settings = {"shape": shape, "task": task, "bits": bits, "batch": size[0], "tokens": size[1]}
            found = why_not(device, bits) or why_left_out(config, task, bits, *size, device["free"])
            found = found or tried("gpu_teacher", {**settings, "steps": arguments.steps}, arguments)
            everything.append({**settings, "measured": found})
            named = [f"{shape}, {'bf16' if bits == 16 else '4 bits'}, {TASKS[task]}"]
            formula = f"{bytes_of(config, task, bits, *size) / GIB:.2f}"
            if isinstance(found, str):
                rows.append([*named, found, "", "", "", "", formula])
                continue
            seconds = median(second for run in found for second in run["seconds"])
            rate = flop_of(config, task, *size) / seconds
            told = f"{1e3 * seconds:,.1f}", f"{size[0] * size[1] / seconds:,.0f}", f"{rate / 1e12:,.2f}"
            rows.append([*named, *told, f"{rate / peak:.0%}", in_gib(found[0]["peak"]), formula])
    heads = ["language model", "ms a step", "tokens/s", "TFLOP/s", "of the peak", "peak, GiB", "by the formula"]
    return everything, markdown(heads, rows)


def why_not(device: dict[str, Any], bits: int) -> str | None:
    """Returns why a row of 4 bits cannot be, whatever the memory."""
    if bits == 16:
        return None
    if find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    return NO_GPU if device["gpu"] is None else None


def students(arguments: argparse.Namespace, device: dict[str, Any]) -> tuple[list, str]:
    logs = {"synthetic": FEW} if arguments.quick else LOGS
    formats = FORMATS[:1] if device["gpu"] is None else FORMATS
    steps = {"warm_up": 2, "steps": 2} if arguments.quick else {"warm_up": 20, "steps": 50}
    rows, everything = [], []
    for name, log in logs.items():
        for student in STUDENTS[:1] if arguments.quick else STUDENTS:
            config = f"student={student}" if arguments.quick else f"student={student}_{name}"
            common = {"overrides": [config], "log": log}
            ranked = tried("gpu_ranking", {**common, "formats": formats}, arguments)
            for each in FORMATS:
                trained: Any = NO_GPU
                if each in formats:
                    trained = tried("gpu_student", {**common, **steps, "format": each}, arguments)
                own = NO_GPU if each not in formats else ranked
                own = own if isinstance(own, str) else [run[each] for run in own]
                everything.append({**common, "format": each, "training": trained, "ranking": own})
                told = [found if isinstance(found, str) else f"{median_rate(found):,.0f}" for found in (trained, own)]
                rows.append([f"{student}, {name}", each, f"{log['num_items']:,}", *told])
    heads = ["student, log's size", "format", "items", "targets/s, training", "users/s, ranking"]
    return everything, markdown(heads, rows)


def parity(arguments: argparse.Namespace, device: dict[str, Any]) -> tuple[dict, str]:
    settings = {"log": FEW, "steps": 5} if arguments.quick else {"log": PARITY_LOG, "steps": 200}
    rows, everything = [], {}
    for student in PARITY_STUDENTS[:1] if arguments.quick else PARITY_STUDENTS:
        overrides = [f"student={student}", "student.model.history_length=10", "metrics.filter_seen=true"]
        once = argparse.Namespace(**{**vars(arguments), "repeats": 1})
        found = tried("gpu_parity", {**settings, "overrides": overrides}, once)
        everything[student] = found
        if isinstance(found, str):
            rows.append([student, found, *[""] * 4])
            continue
        for where, row in found[0].items():
            told = f"{row['NDCG@10']:.5f}", f"{row['difference']:+.1e}", f"{row['ranks_moved']:.2%}"
            rows.append([f"{student}, {where}", *told, row["farthest"], f"{row['other_lists']:.2%}"])
        if device["gpu"] is None:
            rows += [[f"{student}, GPU, {each}", *[NO_GPU] * 5] for each in (*FORMATS, SCORES_TOO)]
    heads = ["student", "NDCG@10", "difference", "ranks that moved", "farthest", "other first ten"]
    return everything, markdown(heads, rows)


if __name__ == "__main__":
    own = parser(__doc__, repeats=2)
    own.add_argument("--batch", type=int, default=8, help="prompts a step of a teacher")
    own.add_argument("--tokens", type=int, default=512, help="of each prompt")
    own.add_argument("--steps", type=int, default=5, help="of a teacher, in each measurement")
    main(own.parse_args())
