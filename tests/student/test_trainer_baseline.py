import math
from types import SimpleNamespace

import pytest
import torch

from src.core.schedule import warmup_cosine
from src.student.datamodule import TrainingWindows, WindowBatch
from src.student.factory import create_student
from src.student.losses import CrossEntropy, SampledSoftmax
from src.student.trainer_baseline import NextItemModule, Optimisation
from tests.student.fitting import OPTIMISATION, fitted
from tests.student.students import NAMES, NUM_ITEMS, D, architecture, student
from tests.worlds import tiny_dataset, tiny_logs

LOSS = CrossEntropy(torch.float32)


def whole_batch(dataset) -> WindowBatch:
    windows = TrainingWindows(dataset, 6)
    return windows[torch.arange(len(windows))]


def test_the_loss_equals_a_literal_loop_over_train_examples():
    model = student("gru4rec")
    losses, length = [], 6
    for log in tiny_logs():
        end = len(log) - 2
        for place in range(1, end):
            first = max(0, (end - 1) - -(-(end - place) // length) * length)  # where the position's window begins
            scores = model.predict(torch.tensor([log[first:place]]))[0].tolist()
            losses.append(math.log(sum(map(math.exp, scores))) - scores[log[place] - 1])
    terms = NextItemModule(model, LOSS, OPTIMISATION).loss_terms(whole_batch(tiny_dataset()))
    assert list(terms) == ["next_item"]
    assert terms["next_item"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_positions_without_a_target_take_no_part():
    dataset = tiny_dataset()
    module, batch = NextItemModule(student("sasrec"), LOSS, OPTIMISATION), whole_batch(dataset)
    hidden, target, example_id = module.states_with_targets(batch)
    assert hidden.shape == (len(dataset.examples["train"]), D)
    order = example_id.argsort()
    assert torch.equal(example_id[order], dataset.examples["train"].example_id)
    assert torch.equal(target[order], dataset.batch(dataset.examples["train"], 1).target)


def test_the_loss_is_the_sum_of_its_terms(monkeypatch):
    module, logged = NextItemModule(student("gru4rec"), LOSS, OPTIMISATION), {}
    terms = {"next_item": torch.tensor(2.0), "dros": torch.tensor(0.5)}
    monkeypatch.setattr(module, "loss_terms", lambda batch: terms)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    monkeypatch.setattr(module, "log", lambda name, value, batch_size: logged.update({name: value}))
    assert module.training_step(whole_batch(tiny_dataset()), 0).item() == 2.5
    assert logged == {"train/next_item": 2.0, "train/dros": 0.5, "train/loss": 2.5}


def test_validation_reports_the_mean_ndcg_at_10_of_the_whole_split(monkeypatch):
    module, logged, dataset = NextItemModule(student("gru4rec"), LOSS, OPTIMISATION), {}, tiny_dataset()
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: value.item()}))
    examples, expected = dataset.examples["val"], []
    for rows in torch.arange(12).split(5):
        module.validation_step(dataset.batch(examples.subset(rows), 6), 0)
    whole = dataset.batch(examples, 6)
    for scores, target in zip(module.model.predict(whole.history).tolist(), whole.target.tolist(), strict=True):
        rank = sum(score >= scores[target - 1] for score in scores)
        expected.append(1 / math.log2(1 + rank) if rank <= 10 else 0.0)
    module.on_validation_epoch_end()
    assert logged == {"val/NDCG@10": pytest.approx(sum(expected) / 12)}
    assert module.val_ranks == []  # the next validation starts empty


def test_the_optimiser_holds_every_parameter_with_the_given_rates(monkeypatch):
    module = NextItemModule(student("sasrec"), LOSS, Optimisation(0.02, 0.3, "cosine", 0.25, sparse_items=False))
    monkeypatch.setattr(NextItemModule, "trainer", SimpleNamespace(estimated_stepping_batches=8))
    course = module.configure_optimizers()
    optimizer, scheduler = course["optimizer"], course["lr_scheduler"]["scheduler"]
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (group["initial_lr"], group["weight_decay"]) == (0.02, 0.3)
    assert {id(p) for p in group["params"]} == {id(p) for p in module.model.parameters()}
    rates = []
    for _ in range(8):
        rates.append(group["lr"] / 0.02)
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([warmup_cosine(step, 2, 8) for step in range(8)])
    assert course["lr_scheduler"]["interval"] == "step"


def test_with_sparse_items_only_the_items_of_the_batch_and_its_negatives_move(monkeypatch):
    dataset, model = tiny_dataset(), student("sasrec")
    loss = SampledSoftmax(dataset.train_item_counts()[1:], 2, 0.0, True, True)
    module = NextItemModule(model, loss, Optimisation(0.02, 0.0, "constant", 0.0, sparse_items=True))
    monkeypatch.setattr(NextItemModule, "trainer", SimpleNamespace(estimated_stepping_batches=8))
    optimizer = module.configure_optimizers()["optimizer"]
    drawn = torch.tensor([1, 15])
    loss.draw = lambda rows, device: drawn
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = TrainingWindows(dataset, 6)[torch.tensor([0, 1])]
    sum(module.loss_terms(batch).values()).backward()
    optimizer.step()
    after = model.state_dict()
    moved = (after["items.ids.weight"] != before["items.ids.weight"]).any(1).nonzero().flatten().tolist()
    assert moved == sorted({*batch.history.flatten().tolist(), *batch.target.flatten().tolist(), 1, 15} - {0})
    assert len(moved) < NUM_ITEMS
    assert not torch.equal(after["blocks.0.qkv.weight"], before["blocks.0.qkv.weight"])


def test_a_constant_schedule_keeps_the_full_rate_after_warm_up():
    how = Optimisation(0.02, 0.0, "constant", 0.5, sparse_items=False)
    assert [how.lr_factor(step, steps=4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights_to_the_bit(tmp_path, name):
    def make() -> NextItemModule:
        return NextItemModule(create_student(name, NUM_ITEMS, architecture(name, dropout=0.3)), LOSS, OPTIMISATION)

    dataset = tiny_dataset()
    first, again = (fitted(make, dataset, tmp_path / run) for run in ("first", "again"))
    other = fitted(make, dataset, tmp_path / "other", seed=1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if "norm" not in key)
    assert not first["items.ids.weight"][0].any()


def test_training_lowers_the_loss(tmp_path):
    dataset, modules = tiny_dataset(), []

    def make() -> NextItemModule:
        modules.append(NextItemModule(create_student("sasrec", NUM_ITEMS, architecture("sasrec")), LOSS, OPTIMISATION))
        modules.append(modules[0].loss_terms(whole_batch(dataset))["next_item"].item())
        return modules[0]

    fitted(make, dataset, tmp_path)
    assert modules[0].eval().loss_terms(whole_batch(dataset))["next_item"].item() < modules[1] - 0.1
