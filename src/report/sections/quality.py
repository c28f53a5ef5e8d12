"""How good the models are, and what a gain is made of."""

from collections.abc import Sequence
from statistics import mean

from ...evaluation.comparison import Comparison, Difference, how_compared, tables
from ...evaluation.model_tables import EvaluatedModel, metrics_table
from ...evaluation.tables import TextTable
from ...evaluation.verdict import verdict
from ..blocks import Block, Figure, Section, Text, missing
from ..figures import COLOURS, points
from ..intervals import CONFIDENCE, Estimate, estimate
from ..stored import StoredRun
from .numbers import relative

METRIC = "NDCG@10"  # where no comparison says which one comes first


def metric_of(run: StoredRun) -> str:
    """Returns the metric that the run's figures are told by: its comparison's first one."""
    return METRIC if run.comparison is None else run.comparison.means[0].metric


def level(run: StoredRun) -> str:
    """Returns of which confidence the intervals of means and differences are, e.g. "95 %"."""
    return f"{100 * _confidence(run):g} %"


def _confidence(run: StoredRun) -> float:
    return CONFIDENCE if run.comparison is None else run.comparison.confidence


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
    of = f"{metric} on the test part, {users:,} users, full ranking"
    says = f"{of}; means with {level(run)} confidence intervals over users."
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
    return estimate(model.values(metric), run.user, _confidence(run))


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
        says = f"Each step's change of {metric}, with {level(run)} confidence intervals: {_steps_in_words(run, steps)}."
        blocks += [_differences(run, steps, says, "step")]
        blocks += tables(run.comparison)[2:]
    else:
        blocks.append(
            missing(
                "The controls (a student that begins with the titles' encodings, one that is distilled without a "
                "language model) are not part of this run: what the gain is made of cannot be told apart."
            )
        )
    says = f"Difference in {metric} to {whole[0].baseline}, with {level(run)} confidence intervals."
    return Section(title, [*blocks, _differences(run, whole, says, "model")])


def _steps_in_words(run: StoredRun, steps: Sequence[Difference]) -> str:
    subject_of = {model.name: subject for subject, model in run.models.items()}
    through = [subject_of.get(each.model) for each in steps]
    together = "ensemble" in run.models
    who = "the frozen students that know no text" if together else "the frozen student alone"
    titles, rankings = "beginning with encodings of the titles", f"learning the rankings of {who}"
    if "titles" not in through:  # the step to these rankings is one to the vectors, too
        rankings += ", beside the teacher's item embeddings where the student learns from them"
    first = {"titles": titles, "self_distilled": rankings}
    told = [words for subject, words in first.items() if subject in through]
    whole = "the whole ensemble" if together else "the language model"
    last = f"those of {whole} in their place" if "self_distilled" in through else f"the rankings of {whole}"
    return ", then ".join([*told, last])


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
