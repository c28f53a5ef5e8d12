import json
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor

from src.core.errors import DivergedError
from src.data.rows import ExampleRows
from src.distill.data_bridge import load_teacher_outputs
from src.distill.dros import propensity_scores
from src.distill.kd_losses import PRESETS, DROLoss, RankingDistillationLoss
from src.distill.trainer_distill import DistillationTerms, DistilModule
from src.student.datamodule import StudentDataModule
from src.student.losses import CrossEntropy, SampledSoftmax
from src.student.settings import OptimisationSettings
from src.student.trainer_baseline import NextItemModule
from src.teacher.settings import TeacherTrainingSettings
from src.teacher.trainer_ilora import ILoRAModule, TeacherDataModule
from src.training import checkpoints
from src.training.finite import gradient_norm
from src.training.loop import Plan, fit
from tests.distill.outputs import K, ranking_of, write_outputs
from tests.student.students import NUM_ITEMS, student
from tests.student.students import L as LENGTH
from tests.teacher.teachers import tiny_teacher
from tests.training.scripted import STEPS, Scripted, last, run
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
HOW = OptimisationSettings(lr=0.01, max_epochs=3)
Made = tuple[L.LightningModule, L.LightningDataModule]


def dense(folder: Path) -> Made:
    return NextItemModule(student("sasrec"), CrossEntropy(torch.float32), HOW), windows()


def sparse(folder: Path) -> Made:
    loss = SampledSoftmax(DATASET.train_item_counts()[1:], 4, 0.5, shared=True, log_q_correction=True)
    return NextItemModule(student("sasrec"), loss, HOW.model_copy(update={"sparse_items": True})), windows()


def distilled(folder: Path) -> Made:
    asked = DATASET.examples["train"].example_id[::3]
    write_outputs(folder / "outputs", DATASET, asked, *ranking_of(len(asked), NUM_ITEMS))
    propensity, preset = propensity_scores(DATASET.train_item_counts()[1:], 0.05), PRESETS["corrected"]
    terms = DistillationTerms(
        RankingDistillationLoss(preset, propensity, 0.8, 1.0, 1.0, (0.3, 0.5, 0.1)),
        DROLoss(preset, propensity, 1.0, 1.0),
    )
    module = DistilModule(
        student("gru4rec"),
        CrossEntropy(torch.float32),
        load_teacher_outputs(folder / "outputs", DATASET, None),
        terms,
        ExampleRows(DATASET, DATASET.examples["val"], LENGTH, with_seen=False),
        K,
        HOW,
        seed=0,
    )
    return module, windows()


def teacher(folder: Path) -> Made:
    model, train = tiny_teacher(DATASET), TeacherTrainingSettings(max_examples=-1, max_val_examples=-1, max_tokens=600)
    data = TeacherDataModule(model, DATASET, train, eval_batch_size=5, filter_seen=False, seed=0)
    return ILoRAModule(model, train, seed=0), data


def windows() -> StudentDataModule:
    return StudentDataModule(
        DATASET, LENGTH, every_position=True, overlap=0, batch_targets=12, eval_batch_size=12, filter_seen=False, seed=0
    )


class Spoiling(L.Callback):
    """Makes a loss or a gradient bad in the `at`-th batch of the whole training, and keeps what was there before."""

    def __init__(self, what: str, at: int, parameter: str) -> None:
        self.what, self.at, self.parameter = what, at, parameter
        self.count = 0

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.what == "loss":
            training_loss = module.training_step
            module.training_step = lambda *batch: training_loss(*batch) * (float("nan") if self.now else 1)
        else:
            spoiled = module.get_parameter(self.parameter)
            spoiled.register_hook(lambda gradient: gradient * (float("inf") if self.now else 1))

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.now = self.count == self.at
        self.count += 1
        if self.now:
            self.step, self.epoch, self.number = trainer.global_step + 1, trainer.current_epoch + 1, batch_idx + 1
            self.batch, self.before = batch, weights(module)


def weights(module: L.LightningModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


KINDS = [  # what is trained, batches per step, parameter whose gradient is spoiled
    (dense, 1, "model.blocks.0.qkv.weight"),
    (sparse, 1, "model.items.ids.weight"),
    (distilled, 1, "model.items.ids.weight"),
    (teacher, 1, "model.query.1.weight"),
    (teacher, 3, "model.query.1.weight"),
]


@pytest.mark.parametrize(("make", "accumulate", "parameter"), KINDS)
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_bad_number_never_reaches_the_weights(
    tmp_path: Path, monkeypatch, what: str, make: Callable[[Path], Made], accumulate: int, parameter: str
):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)  # a last.ckpt after every step
    module, data = make(tmp_path)
    spoiling = Spoiling(what, at=4, parameter=parameter)
    plan = Plan("tiny", "val/NDCG@10", {}, tmp_path / "kept", tmp_path, 3, 3, "32-true", accumulate=accumulate)
    with pytest.raises(DivergedError) as caught:
        fit(module, data, plan, [spoiling])

    assert all(torch.equal(value, spoiling.before[name]) for name, value in module.state_dict().items())
    saved = torch.load(last(tmp_path), weights_only=True)["state_dict"]
    assert saved and all(torch.equal(value, spoiling.before[name]) for name, value in saved.items())

    said, place = str(caught.value), f" at step {spoiling.step}: epoch {spoiling.epoch}, batch "
    assert said.startswith("The loss became nan" if what == "loss" else "The norm of the gradient became ")
    assert place in said and said.endswith(f" {last(tmp_path)}.")
    told = json.loads((tmp_path / "tiny_diverged.json").read_text())
    (spoiled,) = [each for each in told["batches"] if each["number"] == spoiling.number]
    assert spoiled["history"] == spoiling.batch.history.tolist()
    assert spoiled["example_id"] == spoiling.batch.example_id.tolist()
    if what == "loss":
        assert len(told["batches"]) == 1  # the others of the step are not to blame
        assert f"{place}{spoiling.number}, example {spoiling.batch.example_id.flatten()[0]}" in said
    else:
        assert len(told["batches"]) == accumulate
        assert told["names"] == [parameter]
        assert f", parameter {parameter} at step" in said
        assert make is not teacher or ", group projector, parameter" in said


def test_the_term_of_the_loss_that_is_no_number_is_named(tmp_path, monkeypatch):
    module, data = dense(tmp_path)
    terms = {"next_item": torch.ones((), requires_grad=True), "hint": torch.tensor(float("inf"))}
    monkeypatch.setattr(module, "loss_terms", lambda batch: terms)
    with pytest.raises(DivergedError, match=r"^The loss became inf, term hint at step 1: epoch 1, batch 1, example .*"):
        fit(module, data, Plan("tiny", "val/NDCG@10", {}, tmp_path / "kept", tmp_path, 3, 3, "32-true"))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("keep_every", [0.0, 600.0])  # before the validation, after it
def test_weights_that_a_finite_gradient_carried_out_of_bounds_are_in_no_checkpoint(tmp_path, monkeypatch, keep_every):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", keep_every)

    class Leaping(Scripted):
        def optimizer_step(self, *arguments: object) -> None:
            super().optimizer_step(*arguments)
            if self.global_step == 2 * STEPS - 1:
                self.value.data.fill_(torch.inf)

    with pytest.raises(DivergedError, match=rf"^Weights became no numbers, tensor value at step {2 * STEPS}: epoch 2"):
        run(Leaping([0.1, 0.2]), tmp_path)
    checkpoint = torch.load(last(tmp_path), weights_only=True)
    assert checkpoint["state_dict"]["value"].isfinite()
    assert checkpoint["callbacks"]["BestWeights"]["weights"]["value"].isfinite()


def test_what_is_frozen_may_hold_infinities(tmp_path):
    module = Scripted([0.1])
    module.mask = torch.nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False)
    assert run(module, tmp_path, max_epochs=1)["epochs"] == 1


def test_the_norm_is_of_all_gradients_dense_and_sparse():
    table, layer = torch.nn.Embedding(9, 2, sparse=True), torch.nn.Linear(2, 1)
    layer(table(torch.tensor([3, 4]))).pow(2).sum().backward()
    dense = torch.cat([table.weight.grad.to_dense().flatten(), layer.weight.grad.flatten(), layer.bias.grad])
    parameters = [*table.parameters(), *layer.parameters(), torch.nn.Parameter(torch.ones(1))]
    torch.testing.assert_close(gradient_norm(parameters), dense.norm())
    assert gradient_norm(parameters[-1:]) == 0
