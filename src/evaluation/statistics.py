"""How sure a mean over interactions is, and a difference between two models on the same interactions.

Interactions of one user are alike, so users are what is resampled, each with all of its interactions; the mean stays
one over interactions, a ratio of sums: Σ_u s_u / Σ_u n_u, with s_u the sum of user u's n_u values. Users with the same
(s_u, n_u) are interchangeable, so a resample is drawn as the number of times that each *distinct* pair falls, a
multinomial count: the same distribution as drawing users one by one, at a cost that does not grow with their number
(with one interaction each, NDCG@10 takes eleven values and HR two).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

COUNTS_AT_ONCE = 2**21  # 16 MiB of int64
ROUNDING = 1e-12  # gains of an interaction below it are none: metrics' own steps are larger, sums' errors smaller

normal = stats.norm  # type: ignore[attr-defined]  # SciPy gathers its distributions' names where no type checker looks
student_t = stats.t  # type: ignore[attr-defined]


@dataclass(frozen=True)
class UserSums:
    """Values of interactions, added up by user.

    sums: `[U]` float64, s_u.
    counts: `[U]` int64, n_u, each at least 1.
    """

    sums: np.ndarray
    counts: np.ndarray

    @property
    def mean(self) -> float:
        """Over interactions."""
        return self.sums.sum() / self.counts.sum()

    def residuals(self) -> np.ndarray:
        """Returns `[U]`, s_u − n_u · mean: each user's sum of deviations."""
        return self.sums - self.mean * self.counts

    def are_alike(self) -> bool:
        """Whether all users have the same mean, but for rounding: then every resample has it, too."""
        means = self.sums / self.counts
        return bool(np.ptp(means) <= 1e-12 * np.abs(means).max())


def by_user(values: np.ndarray, user: np.ndarray) -> UserSums:
    """Adds up values `[n]` float64 by whose they are, `user` `[n]` int64; a sum that is rounding alone is 0."""
    _, place, counts = np.unique(user, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=values)
    return UserSums(np.where(np.abs(sums) < ROUNDING * counts, 0.0, sums), counts)


def bootstrap_means(users: UserSums, resamples: int, seed: int) -> np.ndarray:
    """Returns the means `[resamples]` of samples of users with replacement, each of as many users as there are."""
    pairs, times = np.unique(users.sums + 1j * users.counts, return_counts=True)
    draw, num_users = np.random.default_rng(seed), len(users.sums)
    share, both = times / num_users, np.stack([pairs.real, pairs.imag], 1)
    sizes = _parts(resamples, len(pairs))
    sums, counts = np.concatenate([draw.multinomial(num_users, share, size) @ both for size in sizes]).T
    return sums / counts


def bca_interval(users: UserSums, means: np.ndarray, confidence: float) -> tuple[float, float]:
    """Returns the bias-corrected and accelerated bootstrap interval of the mean (Efron 1987).

    With z0 the normal quantile of the share of resampled means below the mean, and a a sixth of the skewness of the
    mean's jackknife values, one for each user left out, its ends are the quantiles
    Φ(z0 + (z0 ± z) / (1 − a (z0 ± z))) of the resampled means.

    Args:
        users: Of at least two users.
        means: `[R]` float64, from `bootstrap_means`.
        confidence: E.g. 0.95.
    """
    mean = users.mean
    if users.are_alike():
        return float(mean), float(mean)
    jackknife = (users.sums.sum() - users.sums) / (users.counts.sum() - users.counts)
    deviation = jackknife.mean() - jackknife
    tie = 1e-12 * np.abs(means).max()  # means that differ by rounding alone are equal
    z0 = normal.ppf(((means < mean - tie).mean() + (means <= mean + tie).mean()) / 2)
    a = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    z = z0 + normal.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, normal.cdf(z0 + z / (1 - a * z))).tolist()
    return low, high


def paired_t_test(differences: UserSums) -> float:
    """Returns the two-sided p of the paired t-test, clustered by user, of at least two users.

    t = mean / √V with U − 1 degrees of freedom and V = U / (U − 1) · Σ_u (s_u − n_u · mean)² / (Σ_u n_u)², the
    cluster-robust variance of a mean (Liang & Zeger 1986; CR1 of Cameron & Miller 2015). With one interaction each it
    is Student's test.
    """
    if not differences.sums.any():
        return 1.0
    num_users, total = len(differences.sums), differences.counts.sum()
    if differences.are_alike():
        return 0.0  # V = 0
    variance = num_users / (num_users - 1) * (differences.residuals() ** 2).sum() / total**2
    return float(2 * student_t.sf(abs(differences.mean) / variance**0.5, num_users - 1))


def randomisation_test(differences: UserSums, resamples: int, seed: int) -> float:
    """Returns the two-sided p of Fisher's paired randomisation test of a mean difference.

    If the two models were the same, each user's differences could as well have had the other sign, all of them
    together; p is the share of random signs whose mean difference is as far from 0 as the measured one, which counts
    as one of them (Phipson & Smyth 2010): at least 1 / (resamples + 1).

    Args:
        differences: By user.
        resamples: Sets of random signs.
        seed: Of the signs.
    """
    distinct, count = np.unique(differences.sums, return_counts=True)
    draw = np.random.default_rng(seed)
    # sums that differ by rounding alone are as far from 0 as one another
    far = np.abs(differences.sums.sum()) - ROUNDING * np.abs(differences.sums).sum()
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
