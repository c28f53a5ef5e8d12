"""Compares models on the same users: means with intervals, differences to a baseline with intervals and tests."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..core.artefact import write_json
from ..core.errors import UserError
from ..core.metrics import check_cut_offs, metric_named
from ..core.statistics import bca_interval, bootstrap_means, holm, paired_t_test, randomisation_test
from .run import Run
from .tables import TextTable


@dataclass(frozen=True)
class Model:
    """A model and how it ranked, once for each seed it was trained with.

    ranks: `[n]` int64 each; the same examples in the same order for every seed and every model.
    """

    name: str
    ranks: Sequence[Tensor]


@dataclass(frozen=True)
class Mean:
    """A model's mean over users of one metric, each user's value being the mean over seeds."""

    model: str
    metric: str
    mean: float
    low: float
    high: float
    sd_over_seeds: float | None  # None = one seed


@dataclass(frozen=True)
class Difference:
    """A model's mean less the baseline's; `p_holm` is `p_randomisation` corrected over a comparison's differences."""

    model: str
    baseline: str
    metric: str
    difference: float
    low: float
    high: float
    relative: float | None  # share of the baseline's mean; None where that is 0
    p_t: float
    p_randomisation: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """All that is told about some models."""

    num_users: int
    confidence: float
    resamples: int
    means: list[Mean]
    differences: list[Difference]


def check_compared(run: Run, num_items: int) -> None:
    """Makes sure that `compare.metrics` mean something in a catalogue of `num_items`.

    Raises:
        UserError: A metric is not known, or its K is larger than the catalogue.
    """
    metrics = run.settings("compare.metrics")
    check_cut_offs(f"compare.metrics={metrics}", [metric_named(name)[1] for name in metrics], num_items)


def compare(run: Run, models: Sequence[Model], baseline: int, folder: Path) -> None:
    """Compares models as `cfg.compare` says; writes `comparison.md`, `.tex` and `.json`, and prints the tables.

    Args:
        run: Whose config it is.
        models: At least two.
        baseline: The place of the baseline in `models`.
        folder: Where to write; made if it is not there.

    Raises:
        UserError: There is no such baseline, or there are fewer than two users.
    """
    settings = run.settings("compare")
    if baseline >= len(models):
        raise UserError(
            f"compare.baseline={baseline} is no place in compare.runs: the last of its {len(models)} models is "
            f"{len(models) - 1}."
        )
    if len(models[0].ranks[0]) < 2:
        raise UserError("The models ranked one user, and a comparison needs two or more: use a larger split.")
    comparison = compare_models(
        models,
        baseline=baseline,
        metrics=settings["metrics"],
        confidence=settings["confidence"],
        resamples=settings["resamples"],
        seed=settings["seed"],
    )
    _write(comparison, folder)


def compare_models(
    models: Sequence[Model], *, baseline: int, metrics: Sequence[str], confidence: float, resamples: int, seed: int
) -> Comparison:
    """Compares every model but the baseline with the baseline, by every metric.

    Args:
        models: At least two.
        baseline: The place of the baseline in `models`.
        metrics: Names like "NDCG@10".
        confidence: Of the intervals, e.g. 0.95.
        resamples: Of the bootstrap and of the randomisation test.
        seed: Of both.
    """

    def interval(values: np.ndarray) -> tuple[float, float]:
        return bca_interval(values, bootstrap_means(values, resamples, seed), confidence)

    values = {(metric, place): _values(model, metric) for metric in metrics for place, model in enumerate(models)}
    means = [
        Mean(models[place].name, metric, _mean(of_seeds), *interval(of_seeds.mean(0)), _sd_over_seeds(of_seeds))
        for (metric, place), of_seeds in values.items()
    ]
    others = [key for key in values if key[1] != baseline]
    before = {metric: values[metric, baseline].mean(0) for metric in metrics}
    gains = {(metric, place): values[metric, place].mean(0) - before[metric] for metric, place in others}
    p = np.array([randomisation_test(gain, resamples, seed) for gain in gains.values()])
    differences = [
        Difference(
            models[place].name,
            models[baseline].name,
            metric,
            _mean(gain),
            *interval(gain),
            relative=_mean(gain) / _mean(before[metric]) if before[metric].any() else None,
            p_t=paired_t_test(gain),
            p_randomisation=p_alone,
            p_holm=p_holm,
        )
        for ((metric, place), gain), p_alone, p_holm in zip(gains.items(), p.tolist(), holm(p).tolist(), strict=True)
    ]
    return Comparison(len(models[0].ranks[0]), confidence, resamples, means, differences)


def _values(model: Model, name: str) -> np.ndarray:
    """`[seeds, n]` float64."""
    metric, k = metric_named(name)
    return np.stack([metric(rank, k).numpy() for rank in model.ranks])


def _mean(values: np.ndarray) -> float:
    return values.mean().item()


def _sd_over_seeds(values: np.ndarray) -> float | None:
    return values.mean(1).std(ddof=1).item() if len(values) > 1 else None


def tables(comparison: Comparison) -> list[TextTable]:
    """Returns the table of means, models by metrics, and the table of differences."""
    metrics = list(dict.fromkeys(mean.metric for mean in comparison.means))
    cells: dict[str, list[str]] = {}
    for mean in comparison.means:
        cells.setdefault(mean.model, [mean.model]).append(_mean_cell(mean))
    about = f"{comparison.num_users:,} users, {100 * comparison.confidence:g}% confidence intervals"
    means = TextTable(f"Means over {about}", ["Model", *metrics], list(cells.values()))
    header = ["Model", "Metric", "Difference", "Relative", "p (t)", "p (rand.)", "p (Holm)"]
    rows = [_difference_cells(difference) for difference in comparison.differences]
    return [means, TextTable(f"Differences to {comparison.differences[0].baseline}, {about}", header, rows)]


def _mean_cell(mean: Mean) -> str:
    sd = "" if mean.sd_over_seeds is None else f" ± {mean.sd_over_seeds:.4f}"
    return f"{mean.mean:.4f}{sd} [{mean.low:.4f}, {mean.high:.4f}]"


def _difference_cells(d: Difference) -> list[str]:
    relative = "" if d.relative is None else f"{100 * d.relative:+.1f}%"
    figures = [f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]", relative]
    chances = ["< 0.0001" if p < 0.0001 else f"{p:.4f}" for p in (d.p_t, d.p_randomisation, d.p_holm)]
    return [d.model, d.metric, *(figure.replace("-", "−") for figure in figures), *chances]


def _write(comparison: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    both = tables(comparison)
    note = (
        f"Intervals: BCa bootstrap over users, {comparison.resamples:,} resamples. p: two-sided, of the paired t-test "
        "(t) and of the paired randomisation test (rand.); p (Holm) is that of the randomisation test, corrected over "
        "all differences of the table."
    )
    sections = [f"## {table.title}\n\n{table.markdown()}" for table in both]
    (folder / "comparison.md").write_text("\n".join([*sections, f"{note}\n"]), encoding="utf-8")
    latex = [f"% {note}\n", *(table.latex() for table in both)]
    (folder / "comparison.tex").write_text("\n".join(latex), encoding="utf-8")
    write_json(folder / "comparison.json", asdict(comparison))
    for table in both:
        table.show()
