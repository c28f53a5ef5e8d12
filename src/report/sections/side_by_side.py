"""Several runs: what each found, one beside the other."""

from collections.abc import Sequence
from itertools import groupby

from ...evaluation.comparison import Difference
from ...evaluation.tables import TextTable
from ..blocks import Block, Section, Text
from ..figures import OTHERS, points
from ..intervals import Estimate
from ..settings import ReportSettings
from ..stored import StoredRun
from .cost import money, read_by_teacher, together
from .numbers import duration, relative, with_interval
from .quality import level, metric_of


def side_by_side(runs: Sequence[StoredRun], settings: ReportSettings) -> Section:
    """Returns figures and tables of all runs' models and costs."""
    blocks: list[Block] = [Text(_comparable(runs) + _seen(runs))]
    rows = [
        (f"{run.name}: {each.model}", _relative(run, each), OTHERS[place % len(OTHERS)], f"{each.difference:+.4f}")
        for place, run in enumerate(runs)
        for each in _differences(run)
        if each.relative is not None
    ]
    if rows:
        levels = " and ".join(dict.fromkeys(level(run) for run in runs if run.comparison is not None))
        says = (
            f"Difference to each run's own baseline, as a share of the baseline's mean, with {levels} confidence "
            "intervals."
        )
        blocks.append(points(rows, "relative difference", says, zero=True, number="+.1%"))
    header = ["Run", "Dataset", "Model", "Metric", "Mean", "Difference to the baseline", "Relative", "p (Holm)"]
    cells = [cell for run in runs for cell in _models(run)]
    blocks.append(TextTable("Models", header, cells))
    return Section("Side by side", [*blocks, _costs(runs, settings)])


def _comparable(runs: Sequence[StoredRun]) -> str:
    prints = sorted(run.first.dataset_fingerprint for run in runs)
    several = max(len(list(group)) for _, group in groupby(prints))
    if len(set(prints)) == len(runs):
        return "The runs are over different datasets: figures stand side by side, nothing is tested between them."
    who = "All runs" if several == len(runs) else f"Up to {several} of the runs"
    return (
        f"{who} are over the same prepared dataset. What stands here is each run's own comparison; models of different "
        "runs over one dataset are tested against each other by run_compare."
    )


def _seen(runs: Sequence[StoredRun]) -> str:
    if len({run.first.filter_seen for run in runs}) == 1:
        return ""
    without = ", ".join(run.name for run in runs if run.first.filter_seen)
    return f" Items of the history do not compete in {without}, but in the others: such means cannot be compared."


def _differences(run: StoredRun) -> list[Difference]:
    if run.comparison is None:
        return []
    return [each for each in run.comparison.differences if each.metric == metric_of(run)]


def _relative(run: StoredRun, found: Difference) -> Estimate:
    assert run.comparison is not None
    before = next(
        each.mean for each in run.comparison.means if (each.model, each.metric) == (found.baseline, found.metric)
    )
    return Estimate(found.difference / before, found.low / before, found.high / before)


def _models(run: StoredRun) -> list[list[str]]:
    metric = metric_of(run)
    found = {each.model: each for each in _differences(run)}
    rows = []
    for model in run.models.values():
        gain = found.get(model.name)
        told = ["", "", ""]
        if gain is not None:
            interval = with_interval(Estimate(gain.difference, gain.low, gain.high))
            told = [interval, relative(gain.relative), f"{gain.p_holm:.4f}"]
        mean = f"{model.values(metric).mean():.4f}"
        rows.append([run.name, run.first.dataset, model.name, metric, mean, *told])
    return rows


def _costs(runs: Sequence[StoredRun], settings: ReportSettings) -> TextTable:
    price = settings.price_per_million_tokens
    header = ["Run", "Tokens read", "Language model's time", *([] if price is None else ["Money"]),
              "Teacher, ms per 1,000 users", "Student, ms per 1,000 users"]  # fmt: skip
    rows = []
    for run in runs:
        read = read_by_teacher(run)
        tokens, seconds = together(read).tokens or 0, together(read).seconds
        whole = all(each.tokens is not None for each in read)  # else no sum could stand beside another run's
        cost = [] if price is None else [money(tokens, price) if read and whole else ""]
        speed = [
            f"{run.models[each].ms_per_1000_users:,.1f}" if each in run.models else ""
            for each in ("teacher", "distilled")
        ]
        kept = f"{tokens:,}" if whole else "not all kept"
        rows.append([run.name, kept if read else "", duration(seconds) if read else "", *cost, *speed])
    return TextTable("Cost", header, rows)
