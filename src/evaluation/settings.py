"""The evaluation's settings: what is measured (`metrics.*`), and how models are compared (`compare.*`)."""

import itertools
import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from ..core.errors import UserError
from ..core.settings import (
    Between,
    CutOffs,
    Names,
    Natural,
    Positive,
    PositiveInteger,
    Seed,
    Settings,
    Text,
    UserPath,
    Whole,
    Words,
    YesNo,
    setting,
)

METRIC_NAMES = ("HR", "NDCG", "Recall", "MRR")
CROSS_ENTROPY = "Cross-entropy"  # mean of -log p(target) over the items that compete, in nats


def _rising(values: list[int]) -> list[int]:
    if any(low >= high for low, high in itertools.pairwise(values)):
        raise ValueError("not rising")
    return values


Rising = Annotated[CutOffs, AfterValidator(_rising), Words("a rising list of whole numbers above 0")]
Runs = Annotated[list[UserPath | Annotated[list[UserPath], Field(min_length=1)]],
                 Words("a list of files, or of lists of files")]  # fmt: skip
Resamples = Annotated[Whole, Field(ge=1000), Words("a whole number, 1000 or above")]


class MetricsSettings(Settings):
    """What is measured, and how many users are ranked at once."""

    renamed: ClassVar[dict[str, str]] = {"batch_size": "use metrics.memory_mb and metrics.max_rows"}

    ks: CutOffs = setting([1, 5, 10, 20], "cut-offs K of HR, NDCG, Recall, MRR, Coverage and ARP")
    filter_seen: YesNo = setting(
        False, "true: items of the user's history do not compete, as in most published figures"
    )
    memory_mb: Positive = setting(
        256, "MiB that scores, masks and seen items of the users ranked at once may take", changes_result=False
    )
    max_rows: PositiveInteger = setting(1024, "the most users scored at once", changes_result=False)
    slice_k: PositiveInteger = setting(10, "K of the figures by target popularity and history length")
    history_buckets: Rising = setting(
        [5, 10, 20, 50], "longest history of each slice by history length; the last slice has the rest"
    )


class CompareSettings(Settings):
    """How models that ranked the same users are compared."""

    runs: Runs = setting([], "metrics/<model>.json of two or more models; several trainings of one: a list in the list")
    names: Names | None = setting(None, "what the models are called in the tables; null = as their files say")
    baseline: Natural = setting(0, "the place in runs, from 0, of the model that the others are compared with")
    metrics: Names = setting(["NDCG@10", "HR@10"], "HR@K, NDCG@K, Recall@K, MRR@K at any K")
    confidence: Between = setting(0.95, "of the intervals")
    resamples: Resamples = setting(10000, "of the bootstrap, and sets of random signs of the randomisation test")
    seed: Seed = setting(0, "of both")
    out: UserPath | None = setting(
        None, "folder of comparison.md, .tex and .json; null = metrics/ of the run", changes_result=False
    )


def cut_off_of(metric: Text) -> tuple[str, int]:
    """Returns kind and K of a metric's name, ("NDCG", 10) for "NDCG@10".

    Raises:
        UserError: There is no such metric.
    """
    parts = re.fullmatch(r"(\w+)@([1-9]\d*)", metric)
    if parts is None or parts[1] not in METRIC_NAMES:
        raise UserError(f"The metric {metric} is not known: use one of {', '.join(f'{k}@K' for k in METRIC_NAMES)}.")
    return parts[1], int(parts[2])


def check_metrics(metrics: MetricsSettings, compare: CompareSettings, num_items: int) -> None:
    """Makes sure that every metric means something in a catalogue of `num_items`, before anything trains.

    Raises:
        UserError: Some K is larger than the catalogue, or `compare.metrics` names an unknown metric.
    """
    check_cut_offs(f"metrics.ks={metrics.ks}", metrics.ks, num_items)
    check_cut_offs(f"metrics.slice_k={metrics.slice_k}", [metrics.slice_k], num_items)
    check_compared(compare, num_items)


def check_compared(compare: CompareSettings, num_items: int) -> None:
    """Makes sure that `compare.metrics` mean something in a catalogue of `num_items`.

    Raises:
        UserError: A metric is not known, or its K is larger than the catalogue.
    """
    check_cut_offs(f"compare.metrics={compare.metrics}", [cut_off_of(name)[1] for name in compare.metrics], num_items)


def check_cut_offs(key: str, ks: list[int], num_items: int) -> None:
    """Makes sure that cut-offs mean something in this catalogue.

    Args:
        key: Where they come from, for the message, e.g. "metrics.ks=[1, 5]".
        ks: Cut-offs.
        num_items: Size of the catalogue.

    Raises:
        UserError: Some K is larger than the catalogue.
    """
    if max(ks) > num_items:
        raise UserError(f"{key} asks for more items than the catalogue's {num_items}: use smaller K.")
