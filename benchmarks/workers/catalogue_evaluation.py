"""Full ranking of many users over a huge catalogue, and what the matrix products alone would take.

Settings: `num_items`, `num_users`, `overrides` of the shipped config.
"""

import torch

from src.core.precision import best_device
from src.evaluation.ranking import rows_at_once
from src.student.evaluator import evaluate_student

from ..ours import new_module, run_of, synthetic_dataset
from ..timing import Line
from ..work import Work, peak_rate
from .catalogue_peak import reset_peak, status


def main() -> None:
    line = Line()
    run = run_of(line.settings["overrides"])
    metrics = run.settings.metrics
    few = synthetic_dataset(num_users=20, interactions=20, num_items=1000)
    evaluate_student(new_module(run, few).model.eval(), few, "test", metrics, "test")  # what is loaded once
    dataset = synthetic_dataset(line.settings["num_users"], interactions=20, num_items=line.settings["num_items"])
    model = new_module(run, dataset).model.to(best_device()).eval()

    def measure() -> dict[str, float]:
        before = reset_peak()
        evaluation = evaluate_student(model, dataset, "test", metrics, "test")
        return {"seconds": evaluation.seconds, "peak": status("VmHWM") - before}

    users = min(rows_at_once(metrics, dataset, metrics.filter_seen), line.settings["num_users"])
    rows = torch.arange(users)
    batch = dataset.batch(dataset.examples["test"].subset(rows), model.history_length)
    with torch.no_grad(), Work() as work:
        model.predict(batch.history)
    fastest = peak_rate("float32", 10)
    flop = sum(work.done.values()) * line.settings["num_users"] / users
    line.serve({"seconds_at_peak": flop / fastest, "users_at_once": users}, measure)


if __name__ == "__main__":
    main()
