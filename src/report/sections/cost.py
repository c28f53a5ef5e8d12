"""What it took: tokens, seconds, money, and time per user when ranking."""

from typing import Any

from ...evaluation.tables import TextTable
from ..blocks import Block, Section, Text, missing
from ..figures import bars
from ..settings import ReportSettings
from ..stored import Model, StoredRun
from .numbers import duration

OF_TEACHER = ("teacher", "teacher outputs")  # kinds of artefacts that a language model was read for


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


def read_by_teacher(run: StoredRun) -> list[dict[str, Any]]:
    """Returns name, tokens and seconds of all for which a language model was read: training and ranking."""
    rows = []
    for each in run.artefacts:
        tokens = each.result.get("tokens_read") if each.kind == "teacher" else each.tokens_read
        if each.kind in OF_TEACHER and tokens:
            ranked = each.num_examples
            name = "training the teacher" if ranked is None else f"ranking {ranked:,} training examples"
            rows.append({"name": name, "tokens": tokens, "seconds": each.seconds})
    return rows


def _tokens(run: StoredRun, settings: ReportSettings) -> list[Block]:
    rows = read_by_teacher(run)
    if not rows:
        return [missing("No language model was read for this run's models, or it is not known how much.")]
    price = settings.price_per_million_tokens
    total = {"name": "Together", **{key: sum(row[key] for row in rows) for key in ("tokens", "seconds")}}
    cells = [
        [row["name"], f"{row['tokens']:,}", duration(row["seconds"]),
         *([] if price is None else [money(row["tokens"], price)])]
        for row in [*rows, total]
    ]  # fmt: skip
    header = ["Language model read for", "Tokens", "Time", *([] if price is None else ["Money"])]
    said = (
        "What that would cost is not told: set report.price_per_million_tokens."
        if price is None
        else f"Money: at {price:g} per million tokens (report.price_per_million_tokens)."
    )
    return [TextTable("Tokens that the language model read", header, cells), Text(said)]


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
