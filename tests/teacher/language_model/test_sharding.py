"""A language model whose frozen weights two processes share, against whole ones."""

import gc
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_flatten

from src.core.errors import UserError
from src.teacher.gated_model import GatedLanguageModel
from src.teacher.generation.model import GenerationTeacher
from src.teacher.generation.trainer import GenerationModule
from src.teacher.ilora_model import ILoRAModel
from src.teacher.language_model.blocks import blocks
from src.teacher.language_model.loading import without_head
from src.teacher.language_model.recomputing import enable_gradient_checkpointing
from src.teacher.language_model.sharding import ShardedLanguageModel
from src.teacher.language_model.tiny import tiny_random_causal
from src.teacher.settings import TeacherTrainingSettings
from src.teacher.trainer_ilora import ILoRAModule, TeacherDataModule
from src.teacher.user_pass import UserPassModel
from src.training import checkpoints
from src.training.loop import Plan, fit
from src.training.processes import line
from src.training.started import leads, place
from tests.processes import leave, together, told
from tests.teacher.generation import writers
from tests.teacher.teachers import first_batch, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset(7)
BATCH = first_batch(DATASET, 5, "val")
STUCK = 240  # seconds after which a process that waits for another is ended


def ranking(**how: Any) -> ILoRAModel:
    return tiny_teacher(DATASET, seed=1, max_tokens=115, **how)


def recomputing(**how: Any) -> ILoRAModel:
    teacher = ranking(**how)
    enable_gradient_checkpointing(teacher.language_model, teacher.binding)
    return teacher


def of_whole_histories() -> UserPassModel:
    causal = without_head(tiny_random_causal()[0])
    return ranking(kind=UserPassModel, language_model=causal, pooling="last", history_length=4, gate_input="h_seq")


def writing() -> GenerationTeacher:
    return writers.teacher_of(max_tokens=700)


def fitted(
    folder: Path, teacher: GatedLanguageModel, shard: bool, callbacks: Sequence[L.Callback] = (), **plan: Any
) -> dict[str, Any]:
    """Trains for two epochs of small batches, validated twice in each; returns what `fit` does."""
    writes = isinstance(teacher, GenerationTeacher)
    max_tokens = 260 if writes else 100 if isinstance(teacher, UserPassModel) else 140
    train = TeacherTrainingSettings(lr=0.001, max_examples=9, max_val_examples=5, max_tokens=max_tokens)
    module = (GenerationModule if writes else ILoRAModule)(teacher, train, seed=0)
    dataset = writers.DATASET if writes else DATASET
    data = TeacherDataModule(teacher, dataset, train, eval_batch_size=4, filter_seen=False, seed=0)
    sizes = [len(batch.target) for batch in data.train_dataloader()]
    assert 1 in sizes and max(sizes) > 1  # one that leaves a process without a row, and one that does not
    data.generator.manual_seed(0)
    usual = Plan(
        stage="teacher",
        monitor="val/HR@1" if writes else "val/NDCG@10",
        made_from={},
        kept_in=folder / "kept",
        run_dir=folder,
        max_epochs=2,
        patience=9,
        precision="32-true",
        gradient_clip=0.5,
        validations_per_epoch=2,
    )
    shares = [ShardedLanguageModel(teacher)] if shard else []
    return fit(module, data, replace(usual, **plan), [*shares, *callbacks])


def over_two(folder: Path, make: Callable[[], GatedLanguageModel], shard: bool, **plan: Any) -> list[int]:
    """Trains in two processes; the first one leaves its weights and what `fit` returned, each its empty passes."""

    def job() -> None:
        signal.alarm(STUCK)
        teacher, empty = make(), []
        empty_pass = ShardedLanguageModel._empty_pass
        ShardedLanguageModel._empty_pass = lambda self: empty.append(empty_pass(self))
        with line.group():
            result = fitted(folder, teacher, shard, **plan)
        leave(folder, len(empty))
        if leads():
            torch.save((teacher.state_dict(), result), folder / "left.pt")

    folder.mkdir(exist_ok=True)
    return together(job)


def left(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return torch.load(folder / "left.pt", weights_only=True)


def without_seconds(result: dict[str, Any]) -> dict[str, Any]:
    curve = [{name: value for name, value in point.items() if name != "seconds"} for point in result["curve"]]
    return result | {"curve": curve}


def same_curves(one: dict[str, Any], other: dict[str, Any], within: float = 1e-6) -> None:
    one, other = without_seconds(one), without_seconds(other)
    for point, same in zip(one.pop("curve"), other.pop("curve"), strict=True):
        assert point == pytest.approx(same, rel=within, abs=within)
    assert one == pytest.approx(other, rel=within)


# --- what is trained


@pytest.mark.parametrize(
    ("make", "plan"),
    [
        (ranking, {}),
        (recomputing, {"accumulate": 2}),
        (of_whole_histories, {}),
        (writing, {"accumulate": 2}),
    ],
    ids=["ranking", "recomputing", "of_whole_histories", "writing"],
)
def test_training_is_that_of_one_process_and_of_two_with_whole_models(make, plan, tmp_path):
    teacher = make()
    frozen = {name: each.clone() for name, each in teacher.named_parameters() if not each.requires_grad}
    one = fitted(tmp_path / "one", teacher, shard=False, **plan)
    for folder, shard in (("whole", False), ("shared", True)):
        assert over_two(tmp_path / folder, make, shard, **plan) == [0, 0]
    assert any(told(tmp_path / "shared"))  # in validation they had not the same number of passes to make
    weights, result = left(tmp_path / "shared")
    whole_weights, whole_result = left(tmp_path / "whole")
    assert without_seconds(result) == without_seconds(whole_result)
    assert weights.keys() == whole_weights.keys()
    assert [name for name in weights if not torch.equal(weights[name], whole_weights[name])] == []
    same_checkpoints(tmp_path / "whole", tmp_path / "shared")
    same_curves(one, result)
    assert [name for name in frozen if not torch.equal(weights[name], frozen[name])] == []
    for name, value in teacher.trained_state().items():
        assert (value - weights[name]).abs().mean() < 1e-5, name  # Adam makes much of a single gradient near zero


def same_checkpoints(one: Path, other: Path) -> None:
    first, second = (torch.load(folder / "kept" / checkpoints.LAST, weights_only=True) for folder in (one, other))
    assert first.keys() == second.keys()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
        leaves, layout = tree_flatten(first[part])
        same_leaves, same_layout = tree_flatten(second[part])
        assert layout == same_layout
        for leaf, same in zip(leaves, same_leaves, strict=True):
            assert type(leaf) is type(same)
            assert torch.equal(leaf, same) if isinstance(leaf, Tensor) else leaf == same
    assert first["callbacks"].keys() == second["callbacks"].keys()


# --- what each process holds


class Held(L.Callback):
    """Keeps what is held between steps, in bytes, and which blocks are whole while one computes."""

    def __init__(self, teacher: GatedLanguageModel) -> None:
        self.teacher = teacher
        self.shares: list[int] = []
        self.all_tensors: list[int] = []
        self.whole_blocks: list[list[bool]] = []

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        for block in blocks(self.teacher.language_model):
            block.register_forward_pre_hook(self._look)

    def _look(self, *_: Any) -> None:
        each = blocks(self.teacher.language_model)
        self.whole_blocks.append([not any(isinstance(p, DTensor) for p in block.parameters()) for block in each])

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        frozen = [each for each in self.teacher.language_model.parameters() if not each.requires_grad]
        own = [each.to_local() if isinstance(each, DTensor) else each for each in frozen]
        self.shares.append(sum({each.data_ptr(): each.untyped_storage().nbytes() for each in own}.values()))
        gc.collect()
        tensors = [each for each in gc.get_objects() if type(each) in (Tensor, torch.nn.Parameter)]
        storages = [each.untyped_storage() for each in tensors if each.layout == torch.strided]  # others' may be sparse
        self.all_tensors.append(sum({each.data_ptr(): each.nbytes() for each in storages}.values()))


def test_between_steps_a_process_holds_its_share_and_no_block_but_the_one_that_computes(tmp_path):
    frozen = [each for each in ranking().language_model.parameters() if not each.requires_grad]
    whole = sum(each.nbytes for each in frozen)
    shares = [sum(each.tensor_split(2)[process].nbytes for each in frozen) for process in range(2)]
    assert sum(shares) == whole and max(shares) < 0.51 * whole
    found = {}
    for shard in (False, True):

        def job(shard: bool = shard) -> None:
            signal.alarm(STUCK)
            teacher = ranking()
            held = Held(teacher)
            with line.group():
                fitted(tmp_path / str(shard), teacher, shard, [held], max_epochs=1)
            leave(tmp_path, [held.shares, held.all_tensors, held.whole_blocks])

        assert together(job) == [0, 0]
        found[shard] = told(tmp_path)
    for process, (of_whole, of_shared) in enumerate(zip(found[False], found[True], strict=True)):
        assert set(of_whole[0]) == {whole}
        assert set(of_shared[0]) == {shares[process]}
        for all_whole, all_shared in zip(of_whole[1], of_shared[1], strict=True):  # nothing else keeps a whole weight
            assert all_whole - all_shared == pytest.approx(whole - shares[process], abs=1024)
        for number, each in enumerate(of_shared[2]):
            assert each == [number % 2 == 0, number % 2 == 1]


# --- how it ends


class AtStep(L.Callback):
    def __init__(self, step: int, does: Callable[[], object]) -> None:
        self.step, self.does = step, does

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.does()


def test_what_is_asked_to_end_is_gone_on_with_by_one_process_and_by_two_that_share(tmp_path):
    def asked(first: Path, shard: bool) -> None:
        signal.alarm(STUCK)
        with line.group():
            end = AtStep(4, lambda: place() == 1 and os.kill(os.getpid(), signal.SIGTERM))
            fitted(first, ranking(), shard, [end])

    for folder in ("shared", "again"):
        assert together(partial(asked, tmp_path / folder, True)) == [128 + signal.SIGTERM] * 2
    whole = ranking()
    undisturbed = fitted(tmp_path / "undisturbed", whole, shard=False)
    alone = ranking()
    last = torch.load(tmp_path / "shared" / "kept" / checkpoints.LAST, weights_only=True)
    assert last["global_step"] == 5 < undisturbed["steps"]
    same_curves(fitted(tmp_path / "shared", alone, shard=False), undisturbed)
    assert over_two(tmp_path / "again", ranking, shard=True) == [0, 0]
    shared, result = left(tmp_path / "again")
    same_curves(result, undisturbed)
    for name, value in whole.trained_state().items():
        assert (value - alone.state_dict()[name]).abs().mean() < 1e-5, name
        assert (value - shared[name]).abs().mean() < 1e-5, name


def test_once_trained_the_first_process_ranks_as_before_and_what_goes_wrong_is_told_as_it_is(tmp_path):
    def wrong(*_: Any) -> None:
        raise ArithmeticError("seven")

    def job() -> None:
        signal.alarm(STUCK)
        teacher = ranking()
        with line.group():
            fitted(tmp_path / "right", teacher, True, max_epochs=1)
        if leads():
            again = ranking()
            again.load_state_dict(teacher.trained_state(), strict=False)
            assert torch.equal(teacher.score(BATCH), again.score(BATCH))
        teacher = ranking()
        within_a_pass = AtStep(3, lambda: blocks(teacher.language_model)[1].register_forward_pre_hook(wrong))
        with line.group(), pytest.raises(ArithmeticError, match="seven"):  # a second training of the same process
            fitted(tmp_path / "wrong", teacher, True, [within_a_pass])

    assert together(job) == [0, 0]


def test_rows_that_do_not_fit_are_refused_where_others_would_wait(tmp_path, monkeypatch):
    def job() -> None:
        signal.alarm(STUCK)
        teacher = ranking()
        loss = teacher.training_loss

        def training_loss(batch: Any, shown: Any) -> Tensor:
            if len(batch.target) > 1:
                raise torch.OutOfMemoryError("no room")
            return loss(batch, shown)

        teacher.training_loss = training_loss
        with line.group(), pytest.raises(UserError, match="A batch did not fit into memory on one of several devices"):
            fitted(tmp_path, teacher, True)
        os._exit(0)  # the other one, which would wait for ever, is ended by torchrun

    assert together(job)[0] == 0
