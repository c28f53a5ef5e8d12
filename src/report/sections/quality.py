"""How good the models are, and what a gain is made of."""

from collections.abc import Sequence
from statistics import mean

from ...evaluation.comparison import Comparison, Difference, how_compared, tables
from ...evaluation.model_tables import EvaluatedModel, metrics_table
from ...evaluation.tables import TextTable
from ...evaluation.verdict import verdict
from ..blocks import Block, Figure, Section, Text, missing
from ..figures import COLOURS, points
from ..intervals import Estimate, estimate
from ..stored import StoredRun
from .numbers import relative

METRIC = "NDCG@10"  # where no comparison says which one comes first


def metric_of(run: StoredRun) -> str:
    """Returns the metric that the run's figures are told by: its comparison's first one."""
    return METRIC if run.comparison is None else run.comparison.means[0].metric


def verdict_of(run: StoredRun) -> str:
    """Returns what the run found in one sentence: of the distilled student, else of the last model compared."""
    if run.comparison is None:
        models = ", ".join(f"{model.name} {model.values(METRIC).mean():.4f}" for model in run.models.values())
        return f"No models were compared in this run; {METRIC}: {models}."
    compared = [name for name in reversed(run.models) if run.models[name].name in _names(run.comparison)]
    return verdict(run.comparison, run.models[compared[0]].name)


def _names(comparison: Comparison) -> set[str]:
    return {each.model for each in comparison.differences}


def quality(run: StoredRun) -> Section:
    """Returns means and differences with intervals and tests, and every metric of every model."""
    metric = metric_of(run)
    rows = [(model.name, _mean(run, subject), COLOURS[subject], "") for subject, model in run.models.items()]
    users = len(set(run.first.user))
    says = f"{metric} on the test part, {users:,} users, full ranking; means with 95 % confidence intervals over users."
    blocks: list[Block] = [points(rows, metric, says, zero=False)]
    if run.comparison is None:
        blocks.append(missing("This run compared no models: there are no differences to test."))
    else:
        blocks += tables(run.comparison)[:2]
        blocks.append(Text(how_compared(run.comparison)))
    return Section("Quality", [*blocks, _all_metrics(run)])


def _mean(run: StoredRun, subject: str) -> Estimate:
    model, metric = run.models[subject], metric_of(run)
    for found in run.comparison.means if run.comparison else []:
        if (found.model, found.metric) == (model.name, metric):
            return Estimate(found.mean, found.low, found.high)
    return estimate(model.values(metric), run.user)


def _all_metrics(run: StoredRun) -> TextTable:
    names = run.first.metrics
    ks = sorted({int(name.partition("@")[2]) for name in names if name.startswith("NDCG@")})
    rows = [
        EvaluatedModel(
            model.name,
            {name: mean(each.figures.metrics[name] for each in model.trainings) for name in names},
            {},
            model.trainings[0].figures.parameters,
            model.ms_per_1000_users,
        )
        for model in run.models.values()
    ]
    return metrics_table(rows, ks, "All figures, means over trainings").transposed()


def explanation(run: StoredRun) -> Section:
    """Returns what the gain is made of: title encodings, self-distillation, language model."""
    title = "What explains the gain"
    if run.comparison is None:
        return Section(title, [missing("This run compared no models: there is no gain to explain.")])
    metric = metric_of(run)
    steps = [each for each in run.comparison.steps if each.metric == metric]
    whole = [each for each in run.comparison.differences if each.metric == metric]
    blocks: list[Block] = []
    if steps:
        says = (
            f"Each step's change of {metric}, with 95 % confidence intervals: beginning with encodings of the titles, "
            "then learning the rankings of the frozen student alone, then those of the language model in their place."
        )
        blocks += [_differences(run, steps, says, "step")]
        blocks += tables(run.comparison)[2:]
    else:
        blocks.append(
            missing(
                "The controls (a student that begins with the titles' encodings, one that is distilled without a "
                "language model) are not part of this run: what the gain is made of cannot be told apart."
            )
        )
    says = f"Difference in {metric} to {whole[0].baseline}, with 95 % confidence intervals."
    return Section(title, [*blocks, _differences(run, whole, says, "model")])


def _differences(run: StoredRun, found: Sequence[Difference], says: str, what: str) -> Figure:
    colour = {model.name: COLOURS[subject] for subject, model in run.models.items()}
    rows = [
        (
            f"{_role(each.baseline)} → {_role(each.model)}" if what == "step" else each.model,
            Estimate(each.difference, each.low, each.high),
            colour.get(each.model, COLOURS["baseline"]),
            f"{relative(each.relative)}; p (Holm) {each.p_holm:.4f}",
        )
        for each in found
    ]
    return points(rows, f"difference in {found[0].metric}", says, zero=True, number="+.4f")


def _role(model: str) -> str:
    """Returns a student's name without its architecture, which all steps share."""
    return model.partition(" (")[0]
