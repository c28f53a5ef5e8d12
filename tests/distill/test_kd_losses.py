import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.distill.dros import propensity_scores
from src.distill.kd_losses import (
    PRESETS,
    DROLoss,
    RankingDistillationLoss,
    WeightedBCELoss,
    confidence_weights,
    consistency_weights,
    mixed_weights,
    position_weights,
    ranking_bce,
    ranking_bce_paper,
    weighted_total,
    weighted_total_paper,
)
from tests.distill.test_dros import literal_dros
from tests.golden import load_golden

SEEDS = [0, 1, 2]
CASES = [
    "default",
    "f64",
    "alpha0",
    "lam0",
    "alpha0_lam0",
    "gammas",
    "beta",
    "large_logits",
    "large_logits_f64",
    "near_init",
]
GAMMAS = (0.3, 0.5, 0.1)


def example(B: int = 4, N: int = 11, K: int = 3, scale: float = 1.0, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(B, N, generator=generator).argsort(1)
    return {
        "scores": (scale * torch.randn(B, N, generator=generator, dtype=torch.float64)).requires_grad_(),
        "candidates": order[:, :K],
        "distance": 3 * torch.rand(B, K, generator=generator),
        "negatives": order[:, K],
    }


def propensity(N: int = 11) -> torch.Tensor:
    return propensity_scores(torch.arange(N) ** 2, 0.3)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def literal_ranking_distillation(
    batch: dict[str, torch.Tensor], preset: str, lam: float, alpha: float, beta: float
) -> float:
    """The double loop over examples and candidates, in Python floats."""
    scores, candidates = batch["scores"].tolist(), batch["candidates"].tolist()
    distance, negatives, p = batch["distance"].tolist(), batch["negatives"].tolist(), propensity().tolist()
    B, K = len(candidates), len(candidates[0])
    weight, bce, robust = ([[0.0] * K for _ in range(B)] for _ in range(3))
    for b in range(B):
        own_top = sorted(range(len(scores[b])), key=lambda j: -scores[b][j])[:K]
        near = [math.exp(-d) + 1e-8 for d in distance[b]]
        ranks = [math.exp(-k) for k in range(1, K + 1)]
        for k, c in enumerate(candidates[b]):
            agrees = (c in own_top) + 1e-8
            weight[b][k] = 0.3 * ranks[k] / sum(ranks) + 0.5 * near[k] / sum(near) + 0.1 * agrees
            negative = scores[b][negatives[b]]
            bce[b][k] = -log_sigmoid(scores[b][c]) - log_sigmoid(1 - negative if preset == "paper" else -negative)
            robust[b][k] = literal_dros(scores[b], c, p, beta)
        weight[b] = [w / sum(weight[b]) for w in weight[b]]
    pairs = [(b, k) for b in range(B) for k in range(K)]
    total = sum(weight[b][k] * bce[b][k] for b, k in pairs) / B
    if preset == "paper":
        crossed = sum(weight[b][k] * robust[other][k] for b, k in pairs for other in range(B)) / B**2
        return lam * (total + alpha * crossed)
    return lam * (total + alpha * sum(weight[b][k] * robust[b][k] for b, k in pairs) / B)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    assert position_weights(2).tolist() == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1)])
    halves = confidence_weights(torch.tensor([[math.log(2.0), math.log(4.0)]]))  # exp(-d) = 1/2, 1/4
    assert halves[0].tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-6)
    agree = consistency_weights(torch.tensor([[5, 7], [1, 2]]), torch.tensor([[7, 9], [2, 1]]))
    assert agree.round().tolist() == [[0, 1], [1, 1]]
    mixed = mixed_weights(torch.tensor([0.8, 0.2]), torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]), (1, 2, 3))
    assert mixed[0].tolist() == pytest.approx([4.8 / 6, 1.2 / 6])


def test_distances_too_large_to_tell_apart_weigh_the_same():
    assert confidence_weights(torch.tensor([[200.0, 300.0]])).tolist() == [[0.5, 0.5]]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 8), st.tuples(*[st.floats(0.01, 2)] * 3))
@settings(deadline=None)
def test_mixed_weights_are_positive_sum_to_one_and_follow_membership(seed, B, K, gammas):
    generator = torch.Generator().manual_seed(seed)
    candidates, top = (torch.rand(B, 12, generator=generator).argsort(1)[:, :K] for _ in range(2))
    consistency = consistency_weights(candidates, top)
    literal = [[c in row for c in cs] for cs, row in zip(candidates.tolist(), top.tolist(), strict=True)]
    assert (consistency > 0.5).tolist() == literal
    confidence = confidence_weights(3 * torch.rand(B, K, generator=generator))
    weights = mixed_weights(position_weights(K), confidence, consistency, gammas)
    torch.testing.assert_close(weights.sum(1), torch.ones(B))
    assert (weights > 0).all()


# --- losses ----------------------------------------------------------------------------------------------------------


def test_bce_by_hand():
    zero = torch.zeros(1, 1)
    assert ranking_bce(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert ranking_bce_paper(zero, zero + 1).item() == pytest.approx(2 * math.log(2))  # 1 - s = 0
    ratio = torch.tensor([[math.log(3.0)]])  # sigmoid = 3/4
    assert ranking_bce(ratio, ratio).item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 4))


@given(st.permutations(range(5)), st.integers(0, 10**6))
@settings(deadline=None)
def test_confidence_and_consistency_go_with_their_candidates_and_position_stays(order, seed):
    batch = example(K=5, seed=seed)
    candidates, distance = batch["candidates"], batch["distance"]
    student_top = batch["scores"].topk(5, dim=1).indices
    torch.testing.assert_close(confidence_weights(distance[:, order]), confidence_weights(distance)[:, order])
    moved = consistency_weights(candidates[:, order], student_top)
    assert torch.equal(moved, consistency_weights(candidates, student_top)[:, order])
    assert torch.equal(moved, consistency_weights(candidates[:, order], student_top.flip(1)))
    assert (position_weights(5).diff() < 0).all()


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5), st.floats(-30, 30))
@settings(deadline=None)
def test_the_two_bce_differ_by_a_shift_of_the_negative(positives, negative):
    positive, negative = torch.tensor([positives], dtype=torch.float64), torch.tensor([[negative]], dtype=torch.float64)
    expected = [-log_sigmoid(s) - log_sigmoid(-negative.item()) for s in positives]
    torch.testing.assert_close(ranking_bce(positive, negative)[0].tolist(), expected)
    torch.testing.assert_close(ranking_bce_paper(positive, negative + 1), ranking_bce(positive, negative))


def test_corrected_bce_is_finite_where_the_reference_is_not():
    far = torch.tensor([[-200.0]], requires_grad=True)
    assert ranking_bce(far, -far).item() == pytest.approx(400)
    assert torch.autograd.grad(ranking_bce(far, torch.zeros(1, 1)).sum(), far)[0].item() == -1
    assert ranking_bce_paper(far, -far).isinf()


def test_totals_by_hand():
    weights, losses = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 9.0], [9.0, 4.0]])
    assert weighted_total(weights, losses).item() == pytest.approx((2 + 4) / 2)
    assert weighted_total_paper(weights, losses).item() == pytest.approx(0.5 * 5.5 + 0.5 * 6.5)


def test_the_paper_total_is_the_mean_of_the_broadcast_product():
    weights, losses = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    broadcast = sum((weights[:, k : k + 1] * losses[:, k]).mean() for k in range(3))
    torch.testing.assert_close(weighted_total_paper(weights, losses), broadcast)


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_ranking_distillation_equals_the_double_loop(preset, alpha):
    batch = example()
    loss = RankingDistillationLoss(PRESETS[preset], propensity(), lam=0.8, alpha=alpha, beta=0.7, gammas=GAMMAS)
    terms = loss(**batch)
    assert set(terms) == ({"ranking_bce", "ranking_dros"} if alpha else {"ranking_bce"})
    expected = literal_ranking_distillation(batch, preset, 0.8, alpha, 0.7)
    assert sum(terms.values()).item() == pytest.approx(expected, rel=1e-6)  # weights are float32


@pytest.mark.parametrize("preset", PRESETS)
def test_the_gradient_reaches_the_scores_and_not_the_weights(preset):
    """Finite differences with the weights held still: what autograd must see too."""
    batch = example(B=2, N=6)
    loss = RankingDistillationLoss(PRESETS[preset], propensity(6), lam=0.8, alpha=0.6, beta=0.7, gammas=GAMMAS).double()
    weights = loss.weights(batch["scores"], batch["candidates"], batch["distance"].requires_grad_())
    assert not weights.requires_grad
    inner = WeightedBCELoss(PRESETS[preset], propensity(6), 0.6, 0.7).double()

    def total(scores):
        return sum(inner(scores, batch["candidates"], batch["negatives"], weights).values())

    torch.autograd.gradcheck(total, batch["scores"])
    (gradient,) = torch.autograd.grad(sum(loss(**batch).values()), batch["scores"])
    torch.testing.assert_close(gradient, 0.8 * torch.autograd.grad(total(batch["scores"]), batch["scores"])[0])


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_corrected_total_is_the_mean_over_examples_and_ignores_their_order(seed):
    batch = example(seed=seed)
    loss = RankingDistillationLoss(PRESETS["corrected"], propensity(), lam=1.0, alpha=0.6, beta=0.7, gammas=GAMMAS)

    def total(rows):
        return sum(loss(**{name: tensor[rows] for name, tensor in batch.items()}).values())

    alone = torch.stack([total(slice(row, row + 1)) for row in range(4)])
    torch.testing.assert_close(total(slice(None)), alone.mean())
    torch.testing.assert_close(total(torch.tensor([2, 0, 3, 1])), total(slice(None)))


def test_a_weight_of_zero_switches_a_term_off():
    batch = example()
    off = RankingDistillationLoss(PRESETS["corrected"], propensity(), lam=0.0, alpha=1.0, beta=1.0, gammas=GAMMAS)
    assert off(**batch) == {}
    assert DROLoss(PRESETS["corrected"], propensity(), 0.0, 1.0)(batch["scores"], batch["negatives"]) == {}


def test_terms_of_both_presets_add_to_a_float32_loss():
    """The paper preset computes DROS in float64; a trainer stacks its terms with a float32 cross-entropy."""
    for preset in PRESETS.values():
        scores = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
        terms = {"cross_entropy": scores.logsumexp(1).mean()}
        terms |= DROLoss(preset, propensity(5), 1.0, 1.0)(scores, torch.tensor([0, 1]))
        torch.stack(list(terms.values())).sum().backward()
        assert scores.grad.dtype == torch.float32 and scores.grad.abs().sum() > 0


def test_each_preset_has_the_dros_of_its_name():
    """Far out the reference overflows, in the true target's term and in the candidates'; the corrected one does not."""
    batch = example(scale=100.0)
    for name, finite in (("paper", False), ("corrected", True)):
        terms = DROLoss(PRESETS[name], propensity(), 1.0, 1.0)(batch["scores"], batch["negatives"])
        terms |= RankingDistillationLoss(PRESETS[name], propensity(), 1.0, 1.0, 1.0, GAMMAS)(**batch)
        assert terms["dros"].isfinite() == finite and terms["ranking_dros"].isfinite() == finite


def test_propensities_move_with_the_module_and_stay_out_of_checkpoints():
    loss = RankingDistillationLoss(PRESETS["corrected"], propensity(), 1.0, 1.0, 1.0, GAMMAS)
    assert loss.state_dict() == {}
    assert loss.to("meta").weighted_bce.propensity.device.type == "meta"


# --- golden values of the reference code -----------------------------------------------------------------------------


def golden_case(seed: int, case: str):
    golden, hparams = load_golden(f"case6_dllm2rec_loss_seed{seed}")
    own = {name.removeprefix(f"{case}/"): value for name, value in golden.items() if name.startswith(f"{case}/")}
    settings_ = hparams["cases"][case]
    gammas = tuple(settings_[f"gamma_{part}"] for part in ("position", "confidence", "consistency"))
    return golden, own, settings_, gammas


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES)
def test_golden_student_bce(seed, case):
    """The reference's own training loss is half the corrected ranking BCE of target and negative."""
    golden, own, _, _ = golden_case(seed, case)
    scores = own["model_output"].requires_grad_()
    positive, negative = scores.gather(1, golden["target"].unsqueeze(1)), scores.gather(1, golden["target_neg"])
    assert torch.equal(torch.cat([positive, negative]), own["scores_pos_neg"])
    assert torch.equal(
        torch.cat([torch.ones_like(positive), torch.zeros_like(negative)]), own["labels_pos_neg"].to(scores)
    )
    loss = ranking_bce(positive, negative).mean() / 2
    torch.testing.assert_close(loss.float(), own["loss_bce"], rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(gradient, own["grad_bce"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("lam0")])
def test_golden_weights_and_candidate_losses(seed, case):
    golden, own, settings_, gammas = golden_case(seed, case)
    K, scores = settings_["candidate_topk"], own["model_output"]
    rows = golden["sample_rows"]
    assert torch.equal(golden["all_candidate"][rows, :K], own["candidate"])
    assert torch.equal(golden["llm_confidence"][rows, :K], own["candidate_confidence"])
    assert torch.equal(golden["next_items"][rows], golden["target"])

    position = position_weights(K)
    confidence = confidence_weights(own["candidate_confidence"])
    consistency = consistency_weights(own["candidate"], own["cf_rank_top"])
    torch.testing.assert_close(position.expand_as(confidence), own["weight_rank"], rtol=1e-6, atol=0)
    torch.testing.assert_close(confidence, own["weight_confidence"], rtol=1e-6, atol=0)
    assert torch.equal(consistency, own["weight_com"])
    mixed = mixed_weights(position, confidence, consistency, gammas)
    torch.testing.assert_close(mixed, own["weight"], rtol=1e-6, atol=0)
    torch.testing.assert_close(mixed * own["weight_fin"].sum(1, keepdim=True), own["weight_fin"], rtol=1e-6, atol=0)

    loss = RankingDistillationLoss(PRESETS["paper"], golden["ps"], 1.0, 0.0, 1.0, gammas)
    whole = loss.weights(scores, own["candidate"], own["candidate_confidence"])  # finds the student's top-K itself
    torch.testing.assert_close(whole, own["weight"], rtol=1e-6, atol=0)

    bce = ranking_bce_paper(scores.gather(1, own["candidate"]), scores.gather(1, golden["target_neg"]))
    torch.testing.assert_close(bce.T.unsqueeze(2), own["rd_loss_bce"], rtol=1e-6, atol=0)
    alpha, robust = settings_["alpha"], own.get("rd_loss_dro", torch.zeros(K, len(rows))).T
    running = [
        weighted_total(mixed[:, :k], bce[:, :k]) + alpha * weighted_total_paper(mixed[:, :k], robust[:, :k])
        for k in range(1, K + 1)
    ]
    torch.testing.assert_close(torch.stack(running).to(own["rd_cumulative"]), own["rd_cumulative"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES)
def test_golden_total(seed, case):
    """The classes of the paper preset, put together as a trainer does."""
    golden, own, settings_, gammas = golden_case(seed, case)
    lam, alpha, beta = settings_["lam"], settings_["alpha"], settings_["beta"]
    scores = own["model_output"].requires_grad_()
    target, negatives = golden["target"], golden["target_neg"][:, 0]

    bce = ranking_bce(scores.gather(1, target.unsqueeze(1)), scores.gather(1, negatives.unsqueeze(1))).mean() / 2
    robust = DROLoss(PRESETS["paper"], golden["ps"], alpha, beta)(scores, target)
    student = sum([bce, *robust.values()])
    total = student
    torch.testing.assert_close(student.double(), own["loss_after_dros"].double(), rtol=1e-6, atol=0)
    # weights are float32 in every case, so a float64 gradient agrees to their last digit
    relative, absolute = (1e-7, 1e-8) if scores.dtype == torch.float64 else (0, 2e-6)
    if lam:
        loss = RankingDistillationLoss(PRESETS["paper"], golden["ps"], lam, alpha, beta, gammas)
        terms = loss(scores, own["candidate"], own["candidate_confidence"], negatives)
        distilled = sum(terms.values())
        torch.testing.assert_close(distilled.double(), lam * own["loss_all_rd"].double(), rtol=1e-6, atol=0)
        total = student + distilled
        if case != "large_logits":  # its stored float32 gradient is noise, see the README of the golden values
            (gradient,) = torch.autograd.grad(distilled, scores, retain_graph=True)
            torch.testing.assert_close(gradient, own["grad_rd"], rtol=relative, atol=absolute)
    torch.testing.assert_close(total.double(), own["loss_all"].double(), rtol=1e-6, atol=0)
    if case != "large_logits":
        (gradient,) = torch.autograd.grad(total, scores)
        torch.testing.assert_close(gradient, own["grad_total"], rtol=relative, atol=absolute)
