import torch

from src.evaluation.probed import METRIC, OTHER_TITLES, ProbeResult
from src.evaluation.significance import Model, compare_models


def result(*ranks: list[int]) -> ProbeResult:
    models = [Model(name, [torch.tensor(each)]) for name, each in zip(("as it is", OTHER_TITLES), ranks, strict=True)]
    user = torch.arange(len(ranks[0]))
    found = compare_models(models, user, baseline=0, metrics=[METRIC], confidence=0.95, resamples=1000, seed=0)
    return ProbeResult(len(user), {"as it is": 5.0, OTHER_TITLES: 5.5}, found)


def test_a_language_model_that_loses_with_other_titles_reads():
    found = result([1, 2, 1, 3] * 10, [30, 2, 40, 3] * 10)
    assert found.reads().startswith("It reads its prompt: with the titles of other items in it, the language model's")
    assert "changes by −0.50" in found.reads() and "(−" in found.reads()
    assert found.table().rows[1][0] == OTHER_TITLES and found.table().rows[1][-1] == "5.500"


def test_one_that_loses_nothing_is_not_said_to_read():
    for other in ([1, 2, 1, 3], [1, 2, 1, 2]):
        assert result([1, 2, 1, 3] * 10, other * 10).reads().startswith("Nothing shows that it reads its prompt")


def test_one_that_never_ranks_within_ten_has_no_relative_loss():
    assert result([50] * 8, [60] * 8).reads().endswith("changes by +0.0000 [+0.0000, +0.0000].")
