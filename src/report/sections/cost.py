"""What it took: tokens, seconds, money, and time per user when ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...evaluation.tables import TextTable
from ..blocks import Block, Section, Text, missing
from ..figures import bars
from ..settings import ReportSettings
from ..stored import Model, StoredRun
from .numbers import duration

COUNTED = (
    "Tokens are those of the rows that the teacher learned from and of the histories that it ranked for the student; "
    "what it read to choose its checkpoint and its calibration, to be evaluated, and of the items' texts comes on top."
)


def cost(run: StoredRun, settings: ReportSettings) -> Section:
    """Returns what teacher and students cost to train and to rank with."""
    blocks: list[Block] = [*_tokens(run, settings), *_speed(run)]
    if run.seconds:
        names, seconds = list(run.seconds), list(run.seconds.values())
        says = f"Wall-clock time of the stages that this run made, {duration(sum(seconds))} in all; others were there."
        blocks.append(bars(names, seconds, "seconds", says))
        rows = [[name, duration(each)] for name, each in run.seconds.items()]
        blocks.append(TextTable("Stages of this run", ["Stage", "Time"], rows))
    return Section("Cost", blocks)


@dataclass(frozen=True)
class Reading:
    """What a language model was read for; `tokens` is None where an earlier version did not keep it."""

    name: str
    tokens: int | None
    seconds: float


def read_by_teacher(run: StoredRun) -> list[Reading]:
    """Returns for what a language model was read, as far as it is counted: training the teacher, ranking with it."""
    readings = []
    for each in run.artefacts:
        if each.kind == "teacher":
            readings.append(Reading("training the teacher", each.result.get("tokens_read"), each.seconds))
        elif each.kind == "teacher outputs" and each.tokens_read:  # a frozen student's own rankings took none
            readings.append(
                Reading(f"ranking {each.num_examples or 0:,} training examples", each.tokens_read, each.seconds)
            )
    return readings


def together(readings: Sequence[Reading]) -> Reading:
    """Returns the sum, as far as tokens were kept."""
    whole = all(each.tokens is not None for each in readings)
    tokens, seconds = sum(each.tokens or 0 for each in readings), sum(each.seconds for each in readings)
    return Reading("together" if whole else "together, as far as it was kept", tokens, seconds)


def _tokens(run: StoredRun, settings: ReportSettings) -> list[Block]:
    readings, price = read_by_teacher(run), settings.price_per_million_tokens
    if not readings:
        return [missing("No language model was read for the models of this run, or the run does not say how much.")]
    header = ["Language model read for", "Tokens", "Time", *([] if price is None else ["Money"])]
    cells = [_cells(each, price) for each in (*readings, together(readings))]
    said = (
        "What that would cost is not told: set report.price_per_million_tokens."
        if price is None
        else f"Money: at {price:g} per million tokens (report.price_per_million_tokens)."
    )
    return [TextTable("Tokens that the language model read", header, cells), Text(f"{COUNTED} {said}")]


def _cells(reading: Reading, price: float | None) -> list[str]:
    told = [reading.name, "not kept", duration(reading.seconds), *([] if price is None else [""])]
    if reading.tokens is not None:
        told[1] = f"{reading.tokens:,}"
        told[3:] = [] if price is None else [money(reading.tokens, price)]
    return told


def money(tokens: int, price_per_million: float) -> str:
    """Returns what tokens cost: two decimals, four below 1."""
    cost = tokens / 1e6 * price_per_million
    return f"{cost:,.4f}" if cost < 1 else f"{cost:,.2f}"


def _speed(run: StoredRun) -> list[Block]:
    teacher = run.models.get("teacher")
    header = ["Model", "ms per 1,000 users", *(["Against the teacher"] if teacher else [])]
    rows = [
        [model.name, f"{model.ms_per_1000_users:,.1f}",
         *([_times_faster(teacher, model)] if teacher else [])]
        for model in run.models.values()
    ]  # fmt: skip
    says = "Time to score the whole catalogue and to rank it, on the machine that ran the evaluation."
    return [TextTable("Ranking", header, rows), Text(says)]


def _times_faster(teacher: Model, model: Model) -> str:
    return "" if model is teacher else f"{teacher.ms_per_1000_users / model.ms_per_1000_users:,.0f}× faster"
