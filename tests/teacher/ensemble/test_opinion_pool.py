import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.optimize import minimize

from src.core.metrics import ndcg, rank_of_target
from src.core.seed import generator
from src.data.dataset import ExampleBatch
from src.teacher.ensemble import opinion_pool
from src.teacher.ensemble.calibration import Calibration
from src.teacher.ensemble.opinion_pool import LEAST, OpinionPool, fit, most_examples, pooled, shortlist, worth
from src.teacher.export import export_teacher_outputs
from src.teacher.ilora_model import ILoRAModel
from src.teacher.settings import ExportSettings
from src.teacher.user_pass import UserPassModel
from tests.student.students import student
from tests.teacher.teachers import HISTORY_LENGTH, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
VAL, TRAIN = DATASET.examples["val"], DATASET.examples["train"]
CPU = torch.device("cpu")
KINDS = [None, ILoRAModel, UserPassModel]
WEIGHTS = [0.5, 1.5, 0.25]


def distinct(name: str, seed: int = 0):
    """A student that tells items apart."""
    model = student(name, seed)
    torch.nn.init.normal_(model.items.ids.weight[1:], generator=generator(seed))
    return model


def pool(kind: type[ILoRAModel] | None = None) -> OpinionPool:
    """Students that read 6 items, and a language model (or none) over one that reads 8."""
    reader = None if kind is None else tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH)
    made = OpinionPool({"a": distinct("sasrec"), "b": distinct("caser", 1)}, reader, torch.randn(15, 3), max_tokens=20)
    made.weights.copy_(torch.tensor(WEIGHTS[: len(made.names)]))
    return made.eval()


def batch_of(examples, length: int = HISTORY_LENGTH) -> ExampleBatch:
    return DATASET.batch(examples, length, with_seen=True)


def literal(made: OpinionPool, examples) -> torch.Tensor:
    """The pool's scores, each member by itself on just the items that it reads."""
    rows = []
    for row in range(len(examples)):
        one = examples.subset(torch.tensor([row]))
        members = [each.predict(batch_of(one, 6).history) for each in made.students]
        if made.reader is not None:
            members.append(made.reader.score(batch_of(one, 8)))
        logs = [member.softmax(1).log() for member in members]
        rows.append(sum(weight * each for weight, each in zip(WEIGHTS, logs, strict=False)))
    return torch.cat(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_adds_what_its_members_say_each_of_the_newest_items_that_it_reads(kind):
    made = pool(kind)
    assert int(batch_of(VAL).history.gt(0).sum(1).max()) > 6
    torch.testing.assert_close(made.score(batch_of(VAL)), literal(made, VAL), rtol=1e-4, atol=1e-4)
    assert made.ranks_by == dict(zip(made.names, WEIGHTS, strict=False))
    assert made.names == ["a", "b", "language_model"][: len(made.names)]
    assert made.history_length == (6 if kind is None else 8)


@pytest.mark.parametrize("kind", KINDS)
def test_training_examples_are_ranked_as_any_others_and_exported_as_log_probabilities(kind, tmp_path):
    made = pool(kind)
    asked = TRAIN.subset(torch.arange(0, len(TRAIN), 3))
    settings = ExportSettings(k=4, exclude_seen=True)
    export_teacher_outputs(made, DATASET, asked, tmp_path / "out", settings, 5, dict)
    found = load_file(tmp_path / "out" / "rankings.safetensors")
    log_p = literal(made, asked).log_softmax(1)
    unseen = torch.cat([torch.zeros(len(asked), 1), log_p], 1).scatter(1, batch_of(asked).seen, -torch.inf)[:, 1:]
    best = unseen.topk(4)
    assert torch.equal(found["example_ids"], asked.example_id)
    torch.testing.assert_close(found["scores"], best.values, rtol=1e-4, atol=1e-4)
    assert torch.equal(found["items"], best.indices)
    written = torch.load(tmp_path / "out" / "all_embeddings.pt", weights_only=True)
    torch.testing.assert_close(written, made.embeddings)


def test_an_interrupted_export_is_not_gone_on_from_with_other_weights():
    made = pool()
    before = {name: value.clone() for name, value in made.trained_state().items()}
    made.weights.mul_(2)
    assert not all(torch.equal(value, before[name]) for name, value in made.trained_state().items())


def test_a_reader_ranks_by_itself_in_a_pool():
    assert pool(ILoRAModel).reader.calibration == Calibration(0.0, 1.0)


# --- the weights


def given(log_p: torch.Tensor, target: torch.Tensor, seen: torch.Tensor | None = None, at_once: int = 100):
    """What `fit` finds of members that say `log_p [members, n, N]`."""
    made = pool()
    made.names = [f"m{place}" for place in range(len(log_p))]
    made.log_probabilities = lambda batch: list(log_p[:, batch.example_id])
    batches = [
        ExampleBatch(rows, torch.ones(len(rows), 1), target[rows] + 1, None if seen is None else seen[rows])
        for rows in torch.arange(len(target)).split(at_once)
    ]
    return fit(made, batches, CPU)


def drawn(n: int = 1_500, N: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Two members that know something different, one of them too sure, and answers drawn from what both know."""
    draw = generator(0)
    one, other = torch.randn(n, N, generator=draw), torch.randn(n, N, generator=draw)
    answers = torch.multinomial((one + 0.5 * other).softmax(1), 1, generator=draw).squeeze(1)
    return torch.stack([(4 * one).log_softmax(1), other.log_softmax(1)]), answers


def test_the_weights_that_made_the_answers_are_found_and_no_others_are_likelier(monkeypatch):
    monkeypatch.setattr(opinion_pool, "AT_ONCE", 40 * 333)
    log_p, target = drawn()
    found = given(log_p, target, at_once=400)
    assert found.whole.weights["m0"] == pytest.approx(0.25, abs=0.03)
    assert found.whole.weights["m1"] == pytest.approx(0.5, abs=0.1)

    def loss(weights):
        z = torch.einsum("m,mbn->bn", torch.tensor(weights, dtype=torch.float64), log_p.double())
        return F.cross_entropy(z, target).item()

    best = minimize(loss, [0.3, 0.3], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9})
    assert found.whole.cross_entropy == pytest.approx(best.fun, abs=2e-5)
    assert found.whole.cross_entropy == pytest.approx(loss(list(found.whole.weights.values())), abs=2e-5)
    assert found.examples == 1_500
    for name, other in (("m0", "m1"), ("m1", "m0")):
        assert found.without[name] == found.alone[other]
        assert found.alone[name].cross_entropy > found.whole.cross_entropy + 0.01


@pytest.mark.parametrize("scales", [(0.01, 20.0), (1e-3, 1e-3), (1e-3, 300.0)])
def test_members_of_any_sureness_are_weighed(scales):
    log_p, target = drawn(n=400)
    alike = given(log_p, target).whole
    scores = torch.stack([scale * each.double() for scale, each in zip(scales, log_p, strict=True)])
    found = given(scores.log_softmax(-1).float(), target).whole
    assert found.cross_entropy == pytest.approx(alike.cross_entropy, abs=2e-4)
    for scale, (name, weight) in zip(scales, alike.weights.items(), strict=True):
        assert found.weights[name] * scale == pytest.approx(weight, rel=0.05)


def test_one_member_is_brought_to_the_temperature_of_the_highest_likelihood():
    one = torch.randn(3_000, 30, generator=generator(1))
    target = torch.multinomial(one.softmax(1), 1, generator=generator(2)).squeeze(1)
    found = given((3 * one).log_softmax(1)[None], target)
    assert found.whole.weights["m0"] == pytest.approx(1 / 3, rel=0.06)
    assert found.without == {} and found.alone == {"m0": found.whole}


def test_a_member_that_is_worse_than_nothing_gets_no_weight_and_none_is_below_zero():
    log_p, target = drawn()
    wrong = (-log_p[1]).log_softmax(1)
    found = given(torch.stack([log_p[0], wrong]), target)
    assert found.whole.weights["m1"] == 0
    assert found.whole.weights["m0"] > 0.1


def test_members_worse_than_chance_keep_their_order_and_say_next_to_nothing():
    scores = torch.randn(60, 12, generator=generator(0))
    found = given(scores.log_softmax(1)[None], scores.argmin(1))
    assert found.whole.weights == {"m0": LEAST}
    assert found.whole.cross_entropy == pytest.approx(math.log(12), abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_pool_is_worth_is_what_its_fit_says_of_its_weights(kind):
    made = pool(kind)
    batches = [batch_of(VAL.subset(rows)) for rows in torch.arange(len(VAL)).split(5)]
    found = fit(made, batches, CPU).whole
    made.weights.copy_(torch.tensor([found.weights[name] for name in made.names]))
    assert worth(made, batches, CPU) == pytest.approx((found.ndcg, found.cross_entropy), abs=1e-5)
    made.weights.copy_(torch.tensor(WEIGHTS[: len(made.names)]))
    log_p = literal(made, VAL).log_softmax(1)
    assert worth(made, batches, CPU).cross_entropy == pytest.approx(
        F.nll_loss(log_p, batch_of(VAL).target - 1).item(), abs=1e-4
    )


def test_ranks_leave_seen_items_out():
    log_p, target = drawn(n=200)
    seen = torch.randint(1, 41, (200, 5), generator=generator(3))
    found = given(log_p, target, seen, at_once=64)
    weights = torch.tensor(list(found.whole.weights.values()))
    ranks = rank_of_target(pooled(weights, log_p), target + 1, seen)
    assert found.whole.ndcg == pytest.approx(float(ndcg(ranks, 10).mean()))
    assert found.whole.ndcg != given(log_p, target).whole.ndcg


def test_as_many_examples_are_kept_as_memory_is_meant_to_hold():
    assert most_examples(4, 11_924) == 2**30 // (4 * 4 * 11_924)
    assert most_examples(5, 2**40) == 1


# --- weights for ranking


def test_a_shortlist_has_each_item_that_competes_once(monkeypatch):
    monkeypatch.setattr(opinion_pool, "SHORT", 3)
    log_p = torch.randn(2, 20, 15, generator=generator(5))
    column, taken = torch.arange(20) % 15, torch.randint(0, 16, (20, 4), generator=generator(6))
    items, there = shortlist(log_p, column, taken)
    for row in range(20):
        out = {item - 1 for item in taken[row].tolist() if item} - {int(column[row])}
        best = set()
        for each in log_p[:, row]:
            best |= set(sorted((item for item in range(15) if item not in out), key=lambda item: -each[item])[:3])
        assert sorted(items[row][there[row]].tolist()) == sorted(best)


def test_weights_for_ranking_are_the_likeliest_where_a_target_can_be_among_the_best(monkeypatch):
    monkeypatch.setattr(opinion_pool, "SHORT", 2)
    model, batches = pool(), []
    for rows in torch.arange(len(TRAIN)).split(7):
        batch = DATASET.batch(TRAIN.subset(rows), 8)
        likely = pooled([3.0, 1.5], model.log_probabilities(batch)).softmax(1)
        target = likely.multinomial(1, generator=generator(len(batches))).squeeze(1) + 1
        batches.append(ExampleBatch(batch.example_id, batch.history, target, batch.history))
    found = fit(model, batches, CPU, "shortlist").whole
    log_p = torch.cat([torch.stack(model.log_probabilities(batch)) for batch in batches], 1)
    column = torch.cat([batch.target for batch in batches]) - 1
    seen = torch.cat([F.pad(batch.seen, (0, 8 - batch.seen.shape[1])) for batch in batches])
    items, there = shortlist(log_p, column, seen)

    def loss(weights) -> float:
        of_each = []
        for row in range(len(column)):
            listed = items[row][there[row]]
            if column[row] in listed:
                scores = sum(w * each[row, listed].double() for w, each in zip(weights, log_p, strict=True))
                of_each.append(-float(scores.log_softmax(0)[listed == column[row]]))
        assert len(of_each) > 10
        return sum(of_each) / len(of_each)

    best = minimize(loss, [1.0, 1.0], bounds=[(0, None)] * 2, method="L-BFGS-B", options={"ftol": 1e-13})
    weights, wanted = torch.tensor(list(found.weights.values())).double(), torch.tensor(best.x)
    assert wanted.min() > 0.05
    torch.testing.assert_close(weights / weights.sum(), wanted / wanted.sum(), atol=2e-3, rtol=0)
    entropies = [
        float(F.cross_entropy(pooled(factor * weights.float(), log_p), column)) for factor in (0.95, 1.0, 1.05)
    ]
    assert min(entropies) == entropies[1] == pytest.approx(found.cross_entropy, rel=1e-5)


def test_targets_that_nobody_ranks_high_leave_the_likeliest_weights(monkeypatch, caplog):
    monkeypatch.setattr(opinion_pool, "SHORT", 1)
    model = pool()
    batch = DATASET.batch(VAL, 8, with_seen=True)
    worst = sum(model.log_probabilities(batch)).argmin(1) + 1
    batches = [ExampleBatch(batch.example_id, batch.history, worst)]
    assert fit(model, batches, CPU, "shortlist").whole == fit(model, batches, CPU).whole
    assert "its weights are the likeliest" in caplog.text


@pytest.mark.parametrize("sureness", [0.25, 1.0, 4.0])
def test_members_that_rank_targets_last_of_their_best_leave_the_likeliest_weights(monkeypatch, caplog, sureness):
    monkeypatch.setattr(opinion_pool, "SHORT", 4)
    log_p = (sureness * torch.randn(1, 200, 15, generator=generator(9))).log_softmax(2)
    log_p = torch.cat([log_p, (0.5 * log_p).log_softmax(2)])
    target = log_p[0].topk(4, dim=1).indices[:, 3] + 1  # the last of every list: no weight above 0 is likely

    class Fixed:
        names = ("a", "b")

        def log_probabilities(self, batch):
            return list(log_p)

    batch = ExampleBatch(torch.arange(200), torch.ones(200, 1, dtype=torch.int64), target)
    found = fit(Fixed(), [batch], CPU, "shortlist").whole
    assert found == fit(Fixed(), [batch], CPU).whole
    assert "its weights are the likeliest" in caplog.text
