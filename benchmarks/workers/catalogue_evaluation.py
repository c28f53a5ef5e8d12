"""Full ranking of many users over a huge catalogue, and what the matrix products alone would take, on a CPU.

Settings: `num_items`, `num_users`, `overrides` of the shipped config.
"""

import time

import torch

from src.evaluation.ranking import rows_at_once
from src.student.evaluator import evaluate_student

from ..ours import new_module, run_of, synthetic_dataset
from ..timing import Line, reset_peak, status
from ..work import Work, peak_rate

INTERACTIONS = 52  # of a user: histories of 50 before the test item


def main() -> None:
    line = Line()
    run = run_of(line.settings["overrides"])
    metrics = run.settings.metrics
    few = synthetic_dataset(num_users=20, interactions=INTERACTIONS, num_items=1000)
    evaluate_student(new_module(run, few).model.eval(), few, "test", metrics, "test")  # what is loaded once
    dataset = synthetic_dataset(line.settings["num_users"], INTERACTIONS, line.settings["num_items"])
    model = new_module(run, dataset).model.eval()

    def measure() -> dict[str, float]:
        before, start = reset_peak(), time.perf_counter()
        evaluate_student(model, dataset, "test", metrics, "test")
        seconds, peak = time.perf_counter() - start, status("VmHWM") - before
        return {"seconds": seconds, "peak": peak, "seconds_at_peak": seconds_at_peak()}

    def seconds_at_peak() -> float:
        users = min(rows_at_once(metrics, dataset, metrics.filter_seen), line.settings["num_users"])
        batch = dataset.batch(dataset.examples["test"].subset(torch.arange(users)), model.history_length)
        with torch.no_grad(), Work() as work:
            model.predict(batch.history)
        return sum(work.done.values()) * line.settings["num_users"] / users / peak_rate("float32", 10)

    line.serve({}, measure)


if __name__ == "__main__":
    main()
