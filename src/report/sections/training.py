"""How the trainings went: validation against wall-clock time."""

from ...evaluation.tables import TextTable
from ..blocks import Block, Section, missing
from ..figures import COLOURS, Line, lines
from ..stored import Artefact, StoredRun
from .numbers import duration

SUBJECT_OF = {  # by how a stage's title begins
    "baseline": "baseline",
    "user encoder": "baseline",
    "titles alone": "titles",
    "self-distilled": "self_distilled",
    "teacher": "teacher",
    "distilled": "distilled",
}
CROSS_ENTROPY = "val/cross_entropy"  # of the target among the items that compete, in nats
NOT_COUNTED = ("step", "seconds")  # of a curve's points: neither figure nor loss


def curves(run: StoredRun) -> Section:
    """Returns the learning curves of all that the run's models were trained by."""
    title, found = "Learning curves", [each for each in run.artefacts if each.curve]
    if not found:
        return Section(title, [missing("The trainings behind this run kept no learning curves.")])
    by_monitor: dict[str, list[Artefact]] = {}
    for each in found:
        by_monitor.setdefault(monitor_of(each), []).append(each)
    blocks: list[Block] = []
    for monitor, trainings in by_monitor.items():
        series = [_line(each, monitor) for each in trainings]
        says = f"{monitor} at each validation, against the seconds since the training began on the machine it ran on."
        blocks.append(lines(series, "seconds of training", monitor.replace("val/", "validation "), says))
    return Section(title, [*blocks, _table(found)])


def monitor_of(training: Artefact) -> str:
    """Returns the figure that a training's checkpoint was chosen by: a curve's first after step and seconds."""
    return next(name for name in training.curve[0] if name not in NOT_COUNTED)


def training_name(training: Artefact) -> str:
    """Returns e.g. "distilled, seed 1"."""
    return f"{training.stage.partition(':')[0]}, seed {training.seed}"


def _line(training: Artefact, monitor: str) -> Line:
    """Returns a training's curve in its model's colour; dots for the user encoder, a baseline behind a teacher."""
    stage, curve = training.stage.partition(":")[0], training.curve
    colour, dash = COLOURS[SUBJECT_OF.get(stage, "popularity")], "dot" if stage == "user encoder" else "solid"
    seconds, values = ([point[name] for point in curve] for name in ("seconds", monitor))
    return Line(training_name(training), stage, colour, dash, seconds, values)


def _table(trainings: list[Artefact]) -> TextTable:
    header = [
        "Training",
        "Figure",
        "Best",
        "Cross-entropy there",
        "Reached after",
        "Validations",
        "Steps",
        "Time",
        "Loss, first → last",
    ]
    rows = []
    for each in trainings:
        curve, monitor = each.curve, monitor_of(each)
        best = max(curve, key=lambda point: point[monitor])
        losses = [point["train/loss"] for point in curve if "train/loss" in point]
        rows.append(
            [
                training_name(each),
                monitor.replace("val/", "validation "),
                f"{best[monitor]:.4f}",
                f"{best[CROSS_ENTROPY]:.3f}" if CROSS_ENTROPY in best else "",
                duration(best["seconds"]),
                f"{len(curve)}",
                f"{curve[-1]['step']:,}",
                duration(curve[-1]["seconds"]),
                f"{losses[0]:.3f} → {losses[-1]:.3f}" if losses else "",
            ]
        )
    return TextTable("Trainings", header, rows)
