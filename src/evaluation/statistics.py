"""How sure a mean over users is, and a difference between two models on the same users.

Metrics take few values (NDCG@10 eleven, HR two), so a resample is drawn as the number of times that each *distinct*
value falls, a multinomial or binomial count: the same distribution as drawing users one by one, at a cost that does not
grow with their number.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

COUNTS_AT_ONCE = 2**21  # 16 MiB of int64

normal = stats.norm  # type: ignore[attr-defined]  # SciPy gathers its distributions' names where no type checker looks


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Returns the means `[resamples]` of samples with replacement, each as large as `values` `[n]`."""
    distinct, count = np.unique(values, return_counts=True)
    draw = np.random.default_rng(seed)
    share = count / len(values)
    sums = [draw.multinomial(len(values), share, size) @ distinct for size in _parts(resamples, len(distinct))]
    return np.concatenate(sums) / len(values)


def bca_interval(values: np.ndarray, means: np.ndarray, confidence: float) -> tuple[float, float]:
    """Returns the bias-corrected and accelerated bootstrap interval of the mean (Efron 1987).

    With z0 the normal quantile of the share of resampled means below the mean, and a a sixth of the skewness of the
    mean's jackknife values, its ends are the quantiles Φ(z0 + (z0 ± z) / (1 − a (z0 ± z))) of the resampled means.

    Args:
        values: `[n]` float64, one per user.
        means: `[R]` float64, from `bootstrap_means`.
        confidence: E.g. 0.95.
    """
    mean = values.mean()
    deviation = values - mean
    if not deviation.any():
        return float(mean), float(mean)
    z0 = normal.ppf(((means < mean).mean() + (means <= mean).mean()) / 2)
    a = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    z = z0 + normal.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, normal.cdf(z0 + z / (1 - a * z))).tolist()
    return low, high


def paired_t_test(differences: np.ndarray) -> float:
    """Returns the two-sided p of Student's paired t-test, from the differences `[n]` of at least two users."""
    if not differences.any():
        return 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def randomisation_test(differences: np.ndarray, resamples: int, seed: int) -> float:
    """Returns the two-sided p of Fisher's paired randomisation test of a mean difference.

    If the two models were the same, each user's difference could as well have had the other sign; p is the share of
    random signs whose mean difference is as far from 0 as the measured one, which counts as one of them (Phipson &
    Smyth 2010): at least 1 / (resamples + 1).

    Args:
        differences: `[n]` float64, one per user.
        resamples: Sets of random signs.
        seed: Of the signs.
    """
    distinct, count = np.unique(differences, return_counts=True)
    draw = np.random.default_rng(seed)
    # sums that differ by rounding alone are as far from 0 as one another
    far = np.abs(differences.sum()) * (1 - 1e-9)
    plus = (draw.binomial(count, 0.5, (part, len(distinct))) for part in _parts(resamples, len(distinct)))
    as_far = sum((np.abs((2 * positive - count) @ distinct) >= far).sum() for positive in plus)
    return (1 + int(as_far)) / (1 + resamples)


def holm(p: np.ndarray) -> np.ndarray:
    """Returns p-values `[m]` adjusted for m tests (Holm 1979)."""
    return multipletests(p, method="holm")[1]


def _parts(resamples: int, width: int) -> Iterator[int]:
    """Splits resamples into parts of at most `COUNTS_AT_ONCE` counts (at least one resample)."""
    size = max(1, COUNTS_AT_ONCE // width)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)
