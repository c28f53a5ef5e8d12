"""A comparison in one sentence, no surer than its test is."""

from .comparison import Comparison, Difference

SIGNIFICANT = 0.05  # of p after Holm's correction


def verdict(comparison: Comparison, of: str) -> str:
    """Returns what the first metric says of model `of` against the baseline.

    A difference is said to be there where its p, corrected by Holm over all differences of the comparison, is below
    0.05; otherwise that none could be shown, which does not say that there is none.

    Args:
        comparison: See `compare_models`.
        of: Name of a model other than the baseline.
    """
    metric = comparison.means[0].metric
    found = next(each for each in comparison.differences if each.model == of and each.metric == metric)
    means = {mean.model: mean for mean in comparison.means if mean.metric == metric}
    before, after = means[found.baseline], means[of]
    figures = (
        f"{metric} {before.mean:.4f} → {after.mean:.4f}, difference {_signed(found.difference)}, "
        f"{100 * comparison.confidence:g} % interval {_signed(found.low)} to {_signed(found.high)}"
    )
    seeds = f"{after.trainings or 'one training each'}, {comparison.num_users:,} users"
    chance = "p < 0.0001" if found.p_holm < 0.0001 else f"p = {found.p_holm:.4f}"
    corrected = (
        f"Holm's correction over {len(comparison.differences)} difference{'s' * (len(comparison.differences) > 1)}"
    )
    about = f"({figures}; {chance} with {corrected}; {seeds})"
    if found.p_holm >= SIGNIFICANT:
        return f"No difference between {of} and {found.baseline} could be shown {about}."
    return f"{of} is {_how_much(found)} than {found.baseline} {about}."


def _how_much(found: Difference) -> str:
    way = "better" if found.difference > 0 else "worse"
    return way if found.relative is None else f"{abs(100 * found.relative):.1f} % {way}"


def _signed(figure: float) -> str:
    return f"{figure:+.4f}".replace("-", "−")
