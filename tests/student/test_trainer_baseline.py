import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback

from src.core.artefact import fingerprint
from src.core.errors import UserError
from src.core.metrics import rank_of_target
from src.core.seed import generator, seed_everything
from src.core.settings_reading import changed
from src.data.rows import TrainingWindows, WindowBatch
from src.evaluation.settings import MetricsSettings
from src.student.choices import STUDENTS
from src.student.factory import create_student
from src.student.losses import BCE, CrossEntropy, SampledSoftmax
from src.student.settings import OptimisationSettings
from src.student.trainer_baseline import NextItemModule, baseline_module, fit_student, student_loss
from src.training.schedule import warmup_cosine
from tests.student.fitting import OPTIMISATION, fitted
from tests.student.students import NAMES, NUM_ITEMS, D, architecture, shipped, student
from tests.worlds import dataset_of, tiny_dataset, tiny_logs

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


@pytest.mark.parametrize("name", NAMES)
def test_validation_ranks_in_float32_under_autocast(name):
    dataset = tiny_dataset()
    model, batch = student(name), dataset.batch(dataset.examples["val"], 6, with_seen=True)
    module, scores = NextItemModule(model, LOSS, OPTIMISATION), model.predict(batch.history)
    with torch.autocast("cpu", torch.bfloat16):
        module.validation_step(batch, 0)
        assert torch.equal(model.predict(batch.history), scores)
    assert torch.equal(torch.cat(module.val_ranks), rank_of_target(scores, batch.target, batch.seen))


def test_validation_reports_the_mean_ndcg_at_10_of_the_whole_split(monkeypatch):
    module, logged, dataset = NextItemModule(student("gru4rec"), LOSS, OPTIMISATION), {}, tiny_dataset()
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: value.item()}))
    examples, expected, surprise = dataset.examples["val"], [], []
    for rows in torch.arange(12).split(5):
        module.validation_step(dataset.batch(examples.subset(rows), 6), 0)
    whole = dataset.batch(examples, 6)
    for scores, target in zip(module.model.predict(whole.history).tolist(), whole.target.tolist(), strict=True):
        rank = sum(score >= scores[target - 1] for score in scores)
        expected.append(1 / math.log2(1 + rank) if rank <= 10 else 0.0)
        surprise.append(math.log(sum(math.exp(score - scores[target - 1]) for score in scores)))
    module.on_validation_epoch_end()
    assert logged == {
        "val/NDCG@10": pytest.approx(sum(expected) / 12),
        "val/cross_entropy": pytest.approx(sum(surprise) / 12),
    }
    assert module.val_ranks == module.val_log_likelihoods == []  # the next validation starts empty


def test_the_optimiser_holds_every_parameter_with_the_given_rates(monkeypatch):
    how = OptimisationSettings(lr=0.02, weight_decay=0.3, lr_schedule="cosine", warmup_share=0.25, max_epochs=1)
    module = NextItemModule(student("sasrec"), LOSS, how)
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


@pytest.mark.parametrize(("decay", "step"), [("decoupled", 0.01 * 0.1 * 4.0), ("coupled", 0.01)])
def test_a_weight_without_a_gradient_is_drawn_to_zero_as_its_decay_says(monkeypatch, decay, step):
    """Decoupled by lr times decay times the weight; coupled by a whole step of Adam, however small the decay."""
    how = OptimisationSettings(lr=0.01, weight_decay=0.1, decay=decay, max_epochs=1)
    model = student("sasrec")
    module = NextItemModule(model, LOSS, how)
    monkeypatch.setattr(NextItemModule, "trainer", SimpleNamespace(estimated_stepping_batches=8))
    optimizer, table = module.configure_optimizers()["optimizer"], model.items.ids.weight
    with torch.no_grad():
        table[3] = 4.0
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(table[3], torch.full((D,), 4.0 - step))
    assert not table[0].any()  # padding


def test_with_sparse_items_only_the_items_of_the_batch_and_its_negatives_move(monkeypatch):
    dataset, model = tiny_dataset(), student("sasrec")
    loss = SampledSoftmax(dataset.train_item_counts()[1:], 2, 0.0, True, True)
    module = NextItemModule(model, loss, OptimisationSettings(lr=0.02, sparse_items=True, max_epochs=1))
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


SMALL = changed(shipped("gru4rec", "bce"), {"model.hidden_size": 8, "model.history_length": 6, "train.max_epochs": 1})
METRICS = MetricsSettings(ks=[1])


def test_a_module_is_made_from_the_settings_of_a_student():
    settings = changed(SMALL, {"model.dropout": 0.25, "loss.num_negatives": 3, "loss.popularity_power": 1.0})
    dataset = tiny_dataset()
    module = baseline_module(settings, dataset)
    assert type(module.model) is STUDENTS["gru4rec"]
    assert (module.model.num_items, module.model.history_length, module.model.dropout.p) == (15, 6, 0.25)
    assert type(module.loss) is BCE and module.loss.num_negatives == 3
    counts = dataset.train_item_counts()[1:].clamp(min=1).double()
    assert torch.allclose(module.loss.log_expected.exp(), (3 * counts / counts.sum()).float())
    assert module.optimisation == settings.train


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_cross_entropy_is_computed_in_the_precision_of_the_settings(precision, dtype):
    settings = changed(shipped("gru4rec"), {"train.precision": precision})
    assert student_loss(settings, tiny_dataset()).dtype == dtype


def test_a_student_is_trained_as_its_settings_say(tmp_path, monkeypatch):
    given = {}

    def fit(module, data, plan, callbacks) -> dict:
        given.update(module=module, data=data, plan=plan, callbacks=callbacks)
        return {"epochs": 1}

    monkeypatch.setattr("src.student.trainer_baseline.fit", fit)
    change = {
        "max_epochs": 7,
        "patience": 3,
        "precision": "32-true",
        "resume_from": "/last.ckpt",
        "batch_targets": 24,
    }
    settings = changed(SMALL, {f"train.{key}": value for key, value in change.items()})
    dataset, callback = tiny_dataset(), Callback()
    module = baseline_module(settings, dataset)
    metrics = MetricsSettings(ks=[1], filter_seen=True, max_rows=5)
    how = {"stage": "baseline", "run_dir": tmp_path, "kept_in": tmp_path / "kept", "callbacks": [callback]}
    how["made_from"] = {"artefact": "baseline-1"}
    assert fit_student(module, settings, dataset, metrics, 3, **how) == {"epochs": 1}
    assert given["module"] is module and given["callbacks"] == [callback]
    plan, data = given["plan"], given["data"]
    assert (plan.stage, plan.run_dir, plan.monitor) == ("baseline", tmp_path, "val/NDCG@10")
    assert (plan.max_epochs, plan.patience, plan.precision) == (7, 3, "32-true")
    assert plan.resume_from == Path("/last.ckpt")
    assert plan.kept_in == tmp_path / "kept"
    assert plan.made_from == {
        "artefact": "baseline-1", "dataset": dataset.fingerprint, "student": fingerprint(settings.key(), True, 3),
        "logits": "torch.float32",
    }  # fmt: skip
    assert (data.history_length, data.batch_targets, data.eval_batch_size, data.filter_seen) == (6, 24, 5, True)
    assert torch.equal(data.generator.get_state(), generator(3).get_state())


@pytest.mark.parametrize(("name", "change"), [("caser", {}), ("sasrec", {"model.positions": "from_end"})])
def test_overlap_is_refused_where_there_are_no_windows(tmp_path, name, change):
    settings = changed(shipped(name), {"train.overlap": 2, **change})
    module = baseline_module(settings, tiny_dataset())
    with pytest.raises(UserError, match=rf"overlap=2 is of windows, and {name} as it is set is trained example by"):
        fit_student(module, settings, tiny_dataset(), METRICS, 0, stage="baseline", run_dir=tmp_path)


def test_a_trained_student_has_the_best_weights(tmp_path):
    seed_everything(0)
    module, dataset = baseline_module(SMALL, tiny_dataset()), tiny_dataset()
    before = module.model.item_table().clone()
    result = fit_student(module, SMALL, dataset, METRICS, 0, stage="baseline", run_dir=tmp_path)
    assert set(result) == {"best_val_ndcg@10", "epochs", "steps", "curve"} and result["epochs"] == 1
    checkpoint = torch.load(tmp_path / "checkpoints" / "baseline" / "last.ckpt", weights_only=True)
    saved = checkpoint["callbacks"]["BestWeights"]["weights"]
    assert all(torch.equal(saved[name], value) for name, value in module.state_dict().items())
    assert not torch.equal(module.model.item_table(), before)


def test_without_validation_examples_there_is_nothing_to_choose_by(tmp_path):
    empty = dataset_of([[1, 2, 3]], num_train=[3])
    with pytest.raises(UserError, match="Dataset tiny has no validation examples to choose a checkpoint by"):
        fit_student(baseline_module(SMALL, empty), SMALL, empty, METRICS, 0, stage="baseline", run_dir=tmp_path)


def test_a_student_that_scores_by_vectors_of_its_own_is_not_read_from_texts():
    settings = changed(shipped("gru4rec_paper"), {"item_vectors": "texts"})
    with pytest.raises(UserError, match="scores items by an output layer of its own"):
        baseline_module(settings, tiny_dataset(), torch.randn(15, 4))
    module = baseline_module(changed(SMALL, {"item_vectors": "texts"}), tiny_dataset(), torch.randn(15, 4))
    assert not module.model.items.ids.weight.any()


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_paper")])
def test_a_student_whose_output_layer_is_its_own_does_not_move_items_by_batch(name):
    settings = changed(shipped(name, "bce"), {"train.sparse_items": True})
    with pytest.raises(UserError, match=f"student.name={name} scores items by an output layer of its own"):
        baseline_module(settings, tiny_dataset())
