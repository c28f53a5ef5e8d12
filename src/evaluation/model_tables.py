"""The tables of an evaluation: every model's figures, and its figures by slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from .settings import CROSS_ENTROPY, METRIC_NAMES
from .tables import TextTable

Figures = dict[str, float | None]


@dataclass(frozen=True)
class EvaluatedModel:
    """One model of the tables.

    metrics: By name, e.g. "NDCG@10".
    slices: `slice_metrics` of each slicing, by its name.
    """

    name: str
    metrics: dict[str, float]
    slices: dict[str, dict[str, Figures]]
    parameters: int
    ms_per_1000_users: float


def mean_of_trainings(rows: Sequence[EvaluatedModel]) -> EvaluatedModel:
    """Returns the means of one model's trainings, which ranked the same examples."""
    first = rows[0]
    metrics = {name: mean(row.metrics[name] for row in rows) for name in first.metrics}
    slices = {
        by: {name: _mean_slice([row.slices[by][name] for row in rows]) for name in of_first}
        for by, of_first in first.slices.items()
    }
    return EvaluatedModel(first.name, metrics, slices, first.parameters, mean(row.ms_per_1000_users for row in rows))


def _mean_slice(figures: Sequence[Figures]) -> Figures:
    """What is None for one training is None for all: the slice has no examples."""
    found: Figures = {}
    for name in figures[0]:
        values = [each[name] for each in figures]
        found[name] = mean(value for value in values if value is not None) if None not in values else None
    return found


def metrics_table(rows: Sequence[EvaluatedModel], ks: Sequence[int], title: str) -> TextTable:
    """Returns accuracy at every K and cross-entropy; coverage and popularity at the largest, since more columns would
    not be read.
    """
    accuracy, lists = [f"{kind}@{k}" for kind in METRIC_NAMES for k in ks], max(ks)
    header = ["Model", *accuracy, CROSS_ENTROPY, f"Coverage@{lists}", f"ARP@{lists}", "Parameters", "ms / 1,000 users"]
    cells = []
    for row in rows:
        metrics = row.metrics
        told = (*accuracy, CROSS_ENTROPY, f"Coverage@{lists}")  # earlier versions had no cross-entropy
        quality = [f"{metrics[name]:.4f}" if name in metrics else "" for name in told]
        speed = f"{row.ms_per_1000_users:,.1f}"
        cells.append([row.name, *quality, f"{metrics[f'ARP@{lists}']:,.1f}", f"{row.parameters:,}", speed])
    return TextTable(title, header, cells)


def slices_markdown(rows: Sequence[EvaluatedModel]) -> str:
    """Returns one table for each slicing: slices by models, with the number of interactions in each slice."""
    return "\n".join(
        f"## By {by}\n\n{_slices_table(by, [row.slices[by] for row in rows], [row.name for row in rows]).markdown()}"
        for by in rows[0].slices
    )


def _slices_table(by: str, slices: Sequence[dict[str, Figures]], names: Sequence[str]) -> TextTable:
    kinds = [kind for kind in next(iter(slices[0].values())) if kind != "n"]
    cells = [
        [name, f"{figures['n']:,}", *(_figure(of_model[name][kind]) for of_model in slices for kind in kinds)]
        for name, figures in slices[0].items()
    ]
    return TextTable(by, [by, "interactions", *(f"{name} {kind}" for name in names for kind in kinds)], cells)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
