"""Training steps of a student on a synthetic log, in Lightning, in one number format.

Settings: `overrides` of the shipped config, `log` (arguments of `ours.synthetic_dataset`), `format` (of
`number_formats.FORMATS`), `warm_up`, `steps`.
"""

from ..number_formats import multiply_as
from ..ours import loader_of, new_module, run_of, synthetic_dataset, train_by_steps
from ..timing import Line, StepClock


def main() -> None:
    line = Line()
    multiply_as(line.settings["format"])
    precision = "bf16-mixed" if line.settings["format"] == "bf16" else "32-true"
    run = run_of([*line.settings["overrides"], f"student.train.precision={precision}"])
    dataset = synthetic_dataset(**line.settings["log"])
    train_by_steps(run, new_module(run, dataset), loader_of(run, dataset), StepClock(line))


if __name__ == "__main__":
    main()
