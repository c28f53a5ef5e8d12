import math

import numpy as np
import pytest
import ranx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_normalized_dcg, retrieval_recall

from src.core import metrics
from src.core.errors import UserError
from src.core.metrics import (
    METRICS,
    hit_ratio,
    largest,
    log_likelihood_of_target,
    mean_metrics,
    ndcg,
    rank_of_target,
    recall,
    tiles,
    top_k,
    users_within,
)
from tests.golden import load_golden
from tests.memory import peak_bytes


def test_a_table_worked_by_hand():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.5], [0.4, 0.3, 0.2, 0.1]])
    assert rank_of_target(scores, torch.tensor([3, 1])).tolist() == [3, 1]  # item 4 ties with 3 and counts against it
    assert rank_of_target(scores, torch.tensor([3, 3]), excluded=torch.tensor([[2, 4], [1, 0]])).tolist() == [1, 2]


def test_what_would_make_a_rank_meaningless_is_refused():
    scores, target = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([2])
    with pytest.raises(ValueError, match="excluded items above the number of items, 3"):
        rank_of_target(scores, target, excluded=torch.tensor([[4]]))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="scores hold NaN or infinity"):
            rank_of_target(torch.tensor([[3.0, 1.0, bad]]), target)
    assert rank_of_target(torch.tensor([[3.0, -torch.inf, 2.0]]), target).item() == 3


def test_item_one_is_an_item_and_zero_is_padding():
    scores = torch.tensor([[3.0, 2.0, 1.0]])
    assert rank_of_target(scores, torch.tensor([2]), excluded=torch.tensor([[0, 0]])).item() == 2
    assert rank_of_target(scores, torch.tensor([2]), excluded=torch.tensor([[1, 0]])).item() == 1


def test_the_target_competes_even_when_it_was_seen():
    assert rank_of_target(torch.tensor([[1.0, 2.0]]), torch.tensor([1]), excluded=torch.tensor([[1]])).item() == 2


def test_a_constant_model_ranks_last():
    assert rank_of_target(torch.zeros(1, 7), torch.tensor([4])).item() == 7


@pytest.mark.parametrize("target", [1, 2])
def test_nan_is_refused(target):
    with pytest.raises(ValueError, match="NaN"):
        rank_of_target(torch.tensor([[0.0, 1.0], [0.0, math.nan]]), torch.tensor([1, target]))


def test_with_everything_seen_the_target_is_alone():
    seen = torch.tensor([[1, 2, 3, 2, 1]])
    assert rank_of_target(torch.tensor([[3.0, 2.0, -math.inf]]), torch.tensor([3]), excluded=seen).item() == 1


@given(st.integers(1, 400), st.integers(1, 30), st.integers(0, 2**16), st.booleans())
@settings(deadline=None, max_examples=200)
def test_the_largest_are_those_of_a_whole_sort(n, k, seed, few_compete):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.stack([torch.randperm(n, generator=draw).float() for _ in range(3)])
    if few_compete:
        scores[0, torch.rand(n, generator=draw) < 0.9] = -torch.inf
    k = min(k, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.core.metrics.BLOCKS_FROM", 0)
        best, columns = largest(scores, k)
    assert torch.equal(best, scores.sort(1, descending=True).values[:, :k])
    assert torch.equal(scores.gather(1, columns), best)
    assert all(len(row.unique()) == k for row in columns)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_likelihood_is_that_of_a_softmax_over_what_competes(dtype):
    scores = torch.randn(70, 9, generator=torch.Generator().manual_seed(0)).to(dtype)  # more rows than go at once
    target, seen = torch.arange(70) % 9 + 1, torch.tensor([[2, 5, 5, 0], [9, 1, 0, 0]]).repeat(35, 1)
    found, plain = log_likelihood_of_target(scores, target, seen), log_likelihood_of_target(scores, target)
    assert found.dtype == torch.float32
    for row, (own, those) in enumerate(zip(target.tolist(), seen.tolist(), strict=True)):
        kept = [item for item in range(1, 10) if item == own or item not in those]
        share = scores[row, [item - 1 for item in kept]].float().softmax(0)[kept.index(own)]
        assert found[row].exp() == pytest.approx(share.item(), rel=1e-5)
    torch.testing.assert_close(plain, scores.float().log_softmax(1)[torch.arange(70), target - 1])


def test_ranks_leave_the_scores_as_they_were():
    scores = torch.rand(2, 5)
    before = scores.clone()
    rank_of_target(scores, torch.tensor([1, 2]), excluded=torch.tensor([[3], [4]]))
    top_k(scores, 2, excluded=torch.tensor([[3], [4]]))
    assert torch.equal(scores, before)


def test_scores_that_many_users_share_need_no_copy():
    scores = torch.tensor([1.0, 3.0, 2.0]).expand(3, -1)
    assert rank_of_target(scores, torch.tensor([1, 2, 3]), excluded=torch.tensor([[2], [0], [2]])).tolist() == [2, 1, 1]


@st.composite
def rankings(draw) -> tuple[list[list[float]], list[int], list[list[int]]]:
    """Scores, targets and excluded items of some users: few distinct scores, so many ties; up to all excluded."""
    num_items = draw(st.integers(1, 12))
    score = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1e30])
    users = draw(st.integers(1, 6))
    scores = [draw(st.lists(score, min_size=num_items, max_size=num_items)) for _ in range(users)]
    targets = [draw(st.integers(1, num_items)) for _ in range(users)]
    seen = [draw(st.lists(st.integers(0, num_items), max_size=2 * num_items)) for _ in range(users)]
    if draw(st.booleans()):
        seen[0] = list(range(1, num_items + 1))
    longest = max(map(len, seen))
    return scores, targets, [row + [0] * (longest - len(row)) for row in seen]


def ranked(scores: list[float], target: int, excluded: list[int]) -> list[int]:
    """The items that compete, best first, the target behind those it ties with."""
    rivals = [item for item in range(1, len(scores) + 1) if item == target or item not in excluded]
    return sorted(rivals, key=lambda item: (-scores[item - 1], item == target))


@given(rankings(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
@settings(deadline=None, max_examples=60)
def test_metrics_agree_with_ranx_at_every_cut_off(case, dtype):
    scores, targets, seen = case
    num_items = len(scores[0])
    rank = rank_of_target(
        torch.tensor(scores, dtype=dtype), torch.tensor(targets), torch.tensor(seen, dtype=torch.long)
    )
    lists = [ranked(*user) for user in zip(scores, targets, seen, strict=True)]
    assert rank.tolist() == [items.index(target) + 1 for items, target in zip(lists, targets, strict=True)]
    relevant = np.array([[[target, 1.0]] for target in targets])
    run = np.zeros((len(targets), num_items, 2))  # item 0 fills up lists that seen items made shorter
    for row, items in zip(run, lists, strict=True):
        row[: len(items), 0] = items
        row[:, 1] = -np.arange(num_items)
    names = {"HR": "hit_rate", "NDCG": "ndcg", "Recall": "recall", "MRR": "mrr"}
    expected = ranx.evaluate(
        relevant, run, [f"{name}@{k}" for name in names.values() for k in range(1, num_items + 1)], return_mean=False
    )
    for name, theirs in names.items():
        for k in range(1, num_items + 1):
            ours = METRICS[name](rank, k).numpy()
            assert np.abs(ours - expected[f"{theirs}@{k}"]).max() <= 1e-9


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_metrics_agree_with_torchmetrics(k):
    scores = torch.rand(40, 30, generator=torch.Generator().manual_seed(0))
    target = torch.arange(40) % 30 + 1
    rank = rank_of_target(scores, target)
    for row in range(40):
        relevant = torch.zeros(30, dtype=torch.bool)
        relevant[target[row] - 1] = True
        assert hit_ratio(rank, k)[row].item() == retrieval_hit_rate(scores[row], relevant, top_k=k).item()
        assert recall(rank, k)[row].item() == retrieval_recall(scores[row], relevant, top_k=k).item()
        expected = retrieval_normalized_dcg(scores[row], relevant, top_k=k).item()
        assert ndcg(rank, k)[row].item() == pytest.approx(expected, abs=1e-6)


def test_means_are_named_after_kind_and_k():
    means = mean_metrics(torch.tensor([1, 3]), ks=[1, 5])
    assert means == pytest.approx(
        {
            **{"HR@1": 0.5, "NDCG@1": 0.5, "Recall@1": 0.5, "MRR@1": 0.5},
            **{"HR@5": 1.0, "NDCG@5": 0.75, "Recall@5": 1.0, "MRR@5": 2 / 3},
        }
    )


def test_top_k_leaves_excluded_items_out():
    items, scores = top_k(torch.tensor([[0.3, 0.9, 0.5]]), k=2, excluded=torch.tensor([[2, 0]]))
    assert items.tolist() == [[3, 1]]
    assert scores.tolist() == [[0.5, pytest.approx(0.3)]]


def test_an_item_that_was_seen_comes_after_all_others_with_score_minus_infinity():
    items, scores = top_k(torch.tensor([[0.3, 0.9], [0.3, 0.9]]), k=2, excluded=torch.tensor([[2, 2], [0, 0]]))
    assert items.tolist() == [[1, 2], [2, 1]]
    assert scores[0].tolist() == [pytest.approx(0.3), -math.inf]


@pytest.mark.parametrize(("num_items", "num_seen"), [(4000, 0), (4000, 40), (200, 500)])
def test_users_ranked_at_once_stay_within_the_memory(num_items, num_seen):
    memory_mb = 2
    users = users_within(memory_mb, num_items, num_seen)

    def rank_a_chunk() -> None:
        scores, target = torch.rand(users, num_items), torch.ones(users, dtype=torch.long)
        seen = torch.randint(1, num_items + 1, (users, num_seen)) if num_seen else None
        rank_of_target(scores, target, excluded=seen)
        top_k(scores, 20, excluded=seen)
        for rows in tiles(users, num_items, torch.device("cpu")):
            log_likelihood_of_target(scores[rows], target[rows], None if seen is None else seen[rows])

    peak = peak_bytes(rank_a_chunk)
    assert 0.3 * memory_mb * 2**20 < peak <= memory_mb * 2**20


@pytest.mark.parametrize(("device", "most"), [("cpu", 2**20), ("cuda", 2**24)])
@pytest.mark.parametrize("num_items", [5, 1000, 2_000_000])
def test_tiles_are_all_rows_and_small(device, most, num_items):
    parts = list(tiles(1000, num_items, torch.device(device)))
    rows = torch.arange(1000)
    assert torch.equal(torch.cat([rows[part] for part in parts]), rows)
    assert max(len(rows[part]) for part in parts) == min(1000, max(64, most // num_items))


@pytest.mark.parametrize("width", [1, 7, 64, 1000])
def test_blocks_of_columns_judge_as_all_columns_do(monkeypatch, width):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 30, (40, 211), generator=generator).float()  # many ties
    scores[3, 5:100] = -torch.inf
    target = torch.randint(1, 212, (40,), generator=generator)
    target[3] = 6
    seen = torch.randint(0, 212, (40, 30), generator=generator)  # with repetitions, padding and some targets
    seen[:5, 0] = target[:5]
    monkeypatch.setattr(metrics, "TILE", 40 * width)
    for excluded in (None, seen):
        out = [set(row) - {0} if excluded is not None else set() for row in seen.tolist()]
        by_hand = [
            1 + sum(scores[b, j - 1] >= scores[b, t - 1] for j in range(1, 212) if j != t and j not in out[b])
            for b, t in enumerate(target.tolist())
        ]
        assert rank_of_target(scores, target, excluded).tolist() == by_hand
    torch.testing.assert_close(metrics.log_sum(scores), scores.logsumexp(1))
    scores[7, 210] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        rank_of_target(scores, target)


def test_too_little_memory_for_one_user_is_refused():
    assert users_within(1, 86_000, 0) == 1
    with pytest.raises(
        UserError, match=r"metrics.memory_mb=1 is too little to rank one user among 90000 items: .* 2 or"
    ):
        users_within(1, 90_000, 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_golden_metrics(seed):
    golden, _ = load_golden(f"case8_metrics_seed{seed}")
    predictions, target = golden["predictions"], golden["true_items"] + 1
    rank = rank_of_target(predictions, target)
    place = (golden["sorted_list"].flip(1) == golden["true_items"].unsqueeze(1)).nonzero()[:, 1]
    assert torch.equal(rank, place + 1)
    assert torch.equal(top_k(predictions, 20)[0], golden["sorted_list"].flip(1)[:, :20] + 1)
    for name, metric in {"hr": hit_ratio, "ndcg": ndcg}.items():
        means = torch.stack([metric(rank, int(k)).mean() for k in golden["topk"]])
        torch.testing.assert_close(means, golden[name], rtol=1e-12, atol=0)
