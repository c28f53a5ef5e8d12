import math
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor

from src.core.seed import generator
from src.data.batches import token_batches
from src.data.dataset import ExampleBatch
from src.teacher.ilora_model import ILoRAModel
from src.teacher.interfaces import AS_RANKED
from src.teacher.moe_lora_model import adapters_of
from src.teacher.settings import TeacherTrainingSettings
from src.teacher.trainer_ilora import ILoRAModule, TeacherDataModule
from src.training import checkpoints
from src.training.loop import Plan, fit
from tests.teacher.teachers import first_batch, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
BATCH = first_batch(DATASET, 8)


def module_of(model: ILoRAModel, lr: float = 0.01) -> ILoRAModule:
    train = TeacherTrainingSettings(
        lr=lr, router_lr_factor=0.3, weight_decay=0.1, warmup_share=0.05, edge_lr_factor=0.01
    )
    return ILoRAModule(model, train, seed=0)


def data_of(model: ILoRAModel, max_tokens: int = 600, seed: int = 0) -> TeacherDataModule:
    train = TeacherTrainingSettings(max_examples=-1, max_val_examples=-1, max_tokens=max_tokens)
    return TeacherDataModule(model, DATASET, train, eval_batch_size=5, filter_seen=False, seed=seed)


def trained(
    folder: Path, model: ILoRAModel, epochs: int, lr: float = 0.01, callbacks: Sequence[L.Callback] = (), **more
):
    module = module_of(model, lr)
    plan = Plan(
        stage="teacher",
        monitor="val/NDCG@10",
        made_from={},
        kept_in=folder / "checkpoints" / "teacher",
        run_dir=folder,
        max_epochs=epochs,
        patience=9,
        precision="32-true",
        gradient_clip=1.0,
        **more,
    )
    return module, fit(module, data_of(model), plan, callbacks)


def last_checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "teacher" / "last.ckpt"


# --- optimiser -----------------------------------------------------------------------------------------------------


def test_three_groups_hold_every_trained_parameter_once():
    module = module_of(tiny_teacher(DATASET))
    groups = {group["name"]: group for group in module._groups()}
    names = {id(parameter): name for name, parameter in module.model.named_parameters()}
    held = [names[id(parameter)] for group in groups.values() for parameter in group["params"]]
    assert sorted(held) == sorted(name for name, p in module.model.named_parameters() if p.requires_grad)
    by_group = {name: {names[id(p)].split(".")[0] for p in group["params"]} for name, group in groups.items()}
    assert by_group == {
        "projector": {"projector", "query", "item_from_text", "item_from_id", "item_bias"},
        "router": {"router"},
        "adapters": {"language_model"},
    }
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "projector": (0.01, 0.1),
        "router": (0.003, 0.1),
        "adapters": (0.01, 0.0),
    }


# --- data ----------------------------------------------------------------------------------------------------------


def test_each_epoch_shows_every_example_once_within_the_token_budget():
    model = tiny_teacher(DATASET)
    data = data_of(model, max_tokens=300)
    epochs = []
    for _ in range(2):
        batches = list(data.train_dataloader())
        assert len(batches) == data.num_batches > 1
        for batch in batches:
            assert len(batch.target) * int(model.prompts.lengths(batch.history).max()) <= 300
        ids = torch.cat([batch.example_id for batch in batches])
        assert sorted(ids.tolist()) == DATASET.examples["train"].example_id.tolist()
        epochs.append(ids.tolist())
    assert epochs[0] != epochs[1]
    again = torch.cat([batch.example_id for batch in data_of(model, max_tokens=300).train_dataloader()])
    assert again.tolist() == epochs[0]  # the order comes from the seed


def test_validation_shows_its_examples_in_order():
    ids = [batch.example_id for batch in data_of(tiny_teacher(DATASET)).val_dataloader()]
    assert [len(part) for part in ids] == [5, 5, 2]
    assert torch.cat(ids).tolist() == DATASET.examples["val"].example_id.tolist()


def test_the_number_of_batches_does_not_depend_on_the_draw():
    lengths = data_of(tiny_teacher(DATASET)).train_lengths
    counts = {len(token_batches(lengths, 300, generator(seed))) for seed in range(20)}
    assert counts == {len(token_batches(lengths, 300))}


# --- training ------------------------------------------------------------------------------------------------------


def state(model: ILoRAModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_training_moves_the_trained_parts_alone_and_tells_about_each_group(tmp_path):
    model = tiny_teacher(DATASET, dropout=0.1)
    before, trained_names = state(model), set(model.trained_state()) - {"item_texts"}
    module, result = trained(tmp_path, model, epochs=1, validations_per_epoch=2)
    after = state(model)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == trained_names
    assert result["steps"] == data_of(model).num_batches
    logged = module.trainer.callback_metrics
    for group in ("projector", "router", "adapters"):
        assert logged[f"gradient_norm/{group}"] > 0
        assert logged[f"weight_norm/{group}"] > 0
    assert sum(logged[f"gate/use_of_expert_{expert}"] for expert in range(4)) == pytest.approx(1)
    assert 0 < logged["gate/entropy"] <= math.log(4) + 1e-6
    assert 0 <= result["best_val_ndcg@10"] <= 1


def test_a_checkpoint_holds_no_frozen_weight(tmp_path):
    model = tiny_teacher(DATASET)
    trained(tmp_path, model, epochs=1)
    stored = torch.load(last_checkpoint(tmp_path), weights_only=True)["state_dict"]
    assert set(stored) == {f"model.{name}" for name in model.trained_state()}


def test_training_resumes_where_it_stopped(tmp_path):
    first = tiny_teacher(DATASET, seed=1)
    _, result = trained(tmp_path / "first", first, epochs=1)
    second = tiny_teacher(DATASET, seed=1)
    # at a learning rate too small to matter, a resumed teacher is the one it goes on from
    checkpoint = last_checkpoint(tmp_path / "first")
    stored = torch.load(checkpoint, weights_only=True)
    for group in stored["optimizer_states"][0]["param_groups"]:
        group["lr"] = group["initial_lr"] = 1e-12
    stored["lr_schedulers"][0]["base_lrs"] = [1e-12] * 3
    torch.save(stored, checkpoint)
    module, again = trained(tmp_path / "second", second, epochs=2, resume_from=checkpoint, lr=1e-12)
    assert again["steps"] == 2 * result["steps"]
    assert module.trainer.current_epoch == 2
    torch.testing.assert_close(second.score(BATCH), first.score(BATCH), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(tiny_teacher(DATASET, seed=1).score(BATCH), first.score(BATCH), atol=1e-2)


class InterruptionError(Exception):
    pass


class Interruption(L.Callback):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer: L.Trainer, module: ILoRAModule, batch: object, batch_idx: int) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            raise InterruptionError


def trained_with_breaks(folder: Path, accumulate: int, **more: object) -> dict[str, Tensor]:
    """Trains for three epochs; returns the weights in the last checkpoint."""
    torch.manual_seed(3)
    model = tiny_teacher(DATASET, seed=1, dropout=0.1)
    trained(folder, model, epochs=3, validations_per_epoch=2, accumulate=accumulate, **more)
    return torch.load(last_checkpoint(folder), weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def without_a_break(tmp_path_factory) -> dict[int, dict[str, Tensor]]:
    """The weights of trainings that were never interrupted, by batches per step."""
    return {each: trained_with_breaks(tmp_path_factory.mktemp("whole"), each) for each in (1, 2)}


@pytest.mark.parametrize("batch", [1, 4, 8, 11])  # of 6 in an epoch, validated after 3 and after 6
@pytest.mark.parametrize("keep_every", [0.0, 600.0])  # a checkpoint after every step, or after validations alone
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_interrupted_within_an_epoch_ends_as_if_it_had_never_stopped(
    tmp_path, monkeypatch, without_a_break, batch, keep_every, accumulate
):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", keep_every)
    with pytest.raises(InterruptionError):
        trained_with_breaks(tmp_path / "first", accumulate, callbacks=[Interruption(batch)])
    first = last_checkpoint(tmp_path / "first")
    if batch == 1 and (keep_every or accumulate == 2):
        assert not first.exists()  # nothing to go on from
        return
    resumed = trained_with_breaks(tmp_path / "second", accumulate, resume_from=first)
    assert all(torch.equal(value, resumed[name]) for name, value in without_a_break[accumulate].items())


def test_an_interrupted_training_goes_on_with_what_its_router_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    trained(tmp_path / "whole", tiny_teacher(DATASET, router="resnet"), epochs=1)
    with pytest.raises(InterruptionError):
        trained(tmp_path / "first", tiny_teacher(DATASET, router="resnet"), epochs=1, callbacks=[Interruption(4)])
    first = last_checkpoint(tmp_path / "first")
    trained(tmp_path / "second", tiny_teacher(DATASET, router="resnet"), epochs=1, resume_from=first)
    whole, resumed = (
        torch.load(last_checkpoint(tmp_path / folder), weights_only=True)["state_dict"]
        for folder in ("whole", "second")
    )
    assert any("running_mean" in name for name in whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_finished_run_resumed_elsewhere_keeps_its_best(tmp_path):
    first = tiny_teacher(DATASET, seed=1)
    _, result = trained(tmp_path / "first", first, epochs=2)
    files = sorted(path.read_bytes() for path in (tmp_path / "first" / "checkpoints").rglob("*.ckpt"))
    second = tiny_teacher(DATASET, seed=1)
    _, again = trained(tmp_path / "second", second, epochs=2, resume_from=last_checkpoint(tmp_path / "first"))
    assert again == result
    assert torch.equal(second.score(BATCH), first.score(BATCH))
    assert sorted(path.read_bytes() for path in (tmp_path / "first" / "checkpoints").rglob("*.ckpt")) == files


def test_the_same_seed_trains_the_same_teacher(tmp_path):
    states = []
    for folder in ("first", "second"):
        model = tiny_teacher(DATASET, seed=2, dropout=0.1)
        torch.manual_seed(0)
        trained(tmp_path / folder, model, epochs=1)
        states.append(state(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_expert_that_nobody_is_sent_to_is_told_once(caplog):
    module = module_of(tiny_teacher(DATASET))
    module.log = lambda *_, **__: None
    gates = torch.tensor([[0.5, 0.48, 0.02, 0.0], [0.5, 0.42, 0.04, 0.04]])
    module._tell_about_gates(gates)
    module._tell_about_gates(gates)
    assert [record.getMessage() for record in caplog.records] == [
        "Dead experts, with a mean gate below 0.025 over the validation examples (an equal share: 0.25): "
        "expert 3 (0.02)"
    ]


def test_dead_experts_of_layers_with_gates_of_their_own_are_told_with_their_layer(caplog):
    model = tiny_teacher(DATASET, gate_per_layer=True)
    layers = list(adapters_of(model.language_model))
    module, logged = module_of(model), {}
    module.log = lambda name, value: logged.update({name: float(value)})
    gates = torch.full((2, len(layers), 4), 0.25)
    gates[:, 1], gates[:, 4] = torch.tensor([0.01, 0.49, 0.25, 0.25]), torch.tensor([0.0, 0.0, 0.5, 0.5])
    module._tell_about_gates(gates.flatten(1))
    (record,) = caplog.records
    told = f"expert 0 of {layers[1]} (0.01), expert 0 of {layers[4]} (0), expert 1 of {layers[4]} (0)"
    assert record.getMessage().endswith(f": {told}")
    assert logged["gate/smallest_use"] == 0
    assert logged["gate/use_of_expert_1"] == pytest.approx((0.25 * (len(layers) - 2) + 0.49) / len(layers))


def test_gates_are_looked_at_within_the_token_budget():
    model = tiny_teacher(DATASET, gate_input="h_seq", max_tokens=200)
    module, read, asked = module_of(model), model._read, []
    model._read = lambda history: asked.append(history) or read(history)
    module.validation_step(BATCH, 0)
    assert torch.cat(module.val_gates).shape == (8, 4)
    assert all(len(history) * int(model.prompt_lengths(history).max()) <= 200 for history in asked)


# --- what a step is made of ------------------------------------------------------------------------------------------


class Steps(L.Callback):
    """Keeps the batches of every optimiser step and the gradient that they made."""

    def __init__(self) -> None:
        self.batches: list[list[ExampleBatch]] = [[]]
        self.gradients: list[list[Tensor]] = []
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: ILoRAModule, batch: ExampleBatch, _: int) -> None:
        if len(self.batches) > len(self.gradients) and not self.batches[-1]:
            self.states.append(state(module.model))
        self.batches[-1].append(batch)

    def on_before_optimizer_step(self, trainer: L.Trainer, module: ILoRAModule, _: torch.optim.Optimizer) -> None:
        self.gradients.append([p.grad.clone() for p in module.parameters() if p.requires_grad])
        self.batches.append([])


def test_accumulated_batches_count_the_same_whatever_their_rows(tmp_path):
    """As the setting says; at the end of an epoch, where there are fewer, they make a smaller gradient."""
    steps = Steps()
    trained(tmp_path, tiny_teacher(DATASET), epochs=1, accumulate=4, callbacks=[steps])
    sizes = [[len(batch.target) for batch in batches] for batches in steps.batches[:-1]]
    assert [len(each) for each in sizes] == [4, 2] and len({*sizes[0]}) > 1
    for batches, found, before in zip(steps.batches, steps.gradients, steps.states, strict=False):
        model = tiny_teacher(DATASET)
        model.load_state_dict(before)
        (torch.stack([model.training_loss(batch) for batch in batches]).sum() / 4).backward()
        expected = [p.grad for p in model.parameters() if p.requires_grad]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


# --- memory ----------------------------------------------------------------------------------------------------------


class FailsBackwards(torch.autograd.Function):
    """Passes a loss on; its backward pass runs out of memory where the batch was larger than four rows."""

    @staticmethod
    def forward(ctx, loss: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return loss.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        if ctx.rows > 4:
            raise torch.OutOfMemoryError("no room")
        return gradient, None


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_backward_pass_that_runs_out_of_memory_is_repeated_in_parts(tmp_path, monkeypatch, accumulate):
    free = tiny_teacher(DATASET)
    trained(tmp_path / "free", free, 1, accumulate=accumulate)
    narrow = tiny_teacher(DATASET)
    whole, sizes = narrow.training_loss, []

    def training_loss(batch, shown=AS_RANKED):
        sizes.append(len(batch.target))
        return FailsBackwards.apply(whole(batch, shown), len(batch.target))

    monkeypatch.setattr(narrow, "training_loss", training_loss)
    trained(tmp_path / "narrow", narrow, 1, accumulate=accumulate)
    assert sizes[0] > 4 and max(sizes[-4:]) <= 4
    for (name, one), other in zip(free.trained_state().items(), narrow.trained_state().values(), strict=True):
        assert (one - other).abs().mean() < 1e-5, name  # Adam makes much of a single gradient near zero


def test_a_backward_pass_without_room_for_one_row_is_out_of_memory(tmp_path, monkeypatch):
    narrow = tiny_teacher(DATASET)
    whole = narrow.training_loss
    monkeypatch.setattr(narrow, "training_loss", lambda batch, shown: FailsBackwards.apply(whole(batch, shown), 5))
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        trained(tmp_path, narrow, 1)
