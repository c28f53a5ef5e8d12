"""Full ranking of all users of a synthetic log by an untrained student on the best device, in each number format.

Settings: `overrides` of the shipped config, `log` (arguments of `ours.synthetic_dataset`), `formats` (of
`number_formats.FORMATS`).
"""

import time

from src.core.precision import best_device
from src.evaluation.ranking import evaluate

from ..number_formats import multiply_as, scorer
from ..ours import new_module, run_of, synthetic_dataset
from ..timing import Line


def main() -> None:
    line = Line()
    run, device = run_of(line.settings["overrides"]), best_device()
    dataset = synthetic_dataset(**line.settings["log"])
    model = new_module(run, dataset).model.to(device).eval()
    metrics, users = run.settings.metrics, len(dataset.examples["test"])

    def ranked(number_format: str) -> dict[str, float]:
        multiply_as(number_format)
        score, length = scorer(model, number_format, device), model.history_length
        start = time.perf_counter()
        evaluate(score, dataset, "test", metrics, history_length=length, device=device, title="test")
        return {"seconds": time.perf_counter() - start, "examples": users}

    def measure() -> dict[str, dict[str, float]]:
        return {each: ranked(each) for each in line.settings["formats"]}

    measure()  # warm
    line.serve({}, measure)


if __name__ == "__main__":
    main()
