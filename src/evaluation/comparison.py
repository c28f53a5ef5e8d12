"""What a comparison of models found, and its tables."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.artefact import write_json, write_text
from .tables import TextTable, users_told


@dataclass(frozen=True)
class Mean:
    """A model's mean over interactions of one metric, each interaction's value being the mean over trainings.

    sd: Standard deviation over trainings; None = one training.
    trainings: What varied between them, in words; None = one training.
    """

    model: str
    metric: str
    mean: float
    low: float
    high: float
    sd: float | None
    trainings: str | None


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
    """All that is told about some models.

    steps: What a gain is made of: each model's difference to the one before it, from the baseline on.
    """

    num_users: int
    num_interactions: int
    confidence: float
    resamples: int
    means: list[Mean]
    differences: list[Difference]
    steps: list[Difference] = field(default_factory=list)


def comparison_of(plain: dict[str, Any]) -> Comparison:
    """Returns the comparison that `write_comparison` wrote as JSON."""
    means = [Mean(**mean) for mean in plain["means"]]
    differences, steps = ([Difference(**each) for each in plain[name]] for name in ("differences", "steps"))
    return Comparison(**{**plain, "means": means, "differences": differences, "steps": steps})


def tables(comparison: Comparison) -> list[TextTable]:
    """Returns the table of means, models by metrics, that of differences to the baseline, and that of steps."""
    metrics = list(dict.fromkeys(mean.metric for mean in comparison.means))
    several = any(mean.trainings for mean in comparison.means)
    cells: dict[str, list[str]] = {}
    for mean in comparison.means:
        first = [mean.model, mean.trainings or ""] if several else [mean.model]
        cells.setdefault(mean.model, first).append(_mean_cell(mean))
    whom = users_told(comparison.num_users, comparison.num_interactions)
    about = f"{whom}, {100 * comparison.confidence:g}% confidence intervals"
    columns = ["Model", "± over", *metrics] if several else ["Model", *metrics]
    means = TextTable(f"Means over {about}", columns, list(cells.values()))
    header = ["Model", "Metric", "Difference", "Relative", "p (t)", "p (rand.)", "p (Holm)"]
    rows = [[each.model, each.metric, *difference_cells(each)] for each in comparison.differences]
    found = [means, TextTable(f"Differences to {comparison.differences[0].baseline}, {about}", header, rows)]
    if comparison.steps:
        rows = [[f"{each.baseline} → {each.model}", each.metric, *difference_cells(each)] for each in comparison.steps]
        found.append(TextTable(f"What the gain is made of, {about}", ["Step", *header[1:]], rows))
    return found


def _mean_cell(mean: Mean) -> str:
    sd = "" if mean.sd is None else f" ± {mean.sd:.4f}"
    return f"{mean.mean:.4f}{sd} [{mean.low:.4f}, {mean.high:.4f}]"


def difference_cells(d: Difference) -> list[str]:
    """Returns a difference with its interval, the relative one, and the three p of it."""
    relative = "" if d.relative is None else f"{100 * d.relative:+.1f}%"
    figures = [f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]", relative]
    chances = ["< 0.0001" if p < 0.0001 else f"{p:.4f}" for p in (d.p_t, d.p_randomisation, d.p_holm)]
    return [*(figure.replace("-", "−") for figure in figures), *chances]


def how_compared(comparison: Comparison) -> str:
    """Returns what intervals and p of a comparison's tables are."""
    return (
        f"Intervals: BCa bootstrap over users, each with all of its interactions, {comparison.resamples:,} resamples. "
        "p: two-sided, of the paired t-test (t) and of the paired randomisation test (rand.), both clustered by user; "
        "p (Holm) is that of the randomisation test, corrected over all differences of the table."
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes `comparison.md`, `.tex` and `.json` into `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = tables(comparison)
    note = how_compared(comparison)
    sections = [f"## {table.title}\n\n{table.markdown()}" for table in found]
    write_text(folder / "comparison.md", "\n".join([*sections, f"{note}\n"]))
    write_text(folder / "comparison.tex", "\n".join([f"% {note}\n", *(table.latex() for table in found)]))
    write_json(folder / "comparison.json", asdict(comparison))
