import lightning as L
import pytest
import torch
from torch import Tensor

from src.teacher.generation.trainer import GenerationModule
from src.teacher.settings import TeacherTrainingSettings
from src.teacher.trainer_ilora import TeacherDataModule
from src.training import checkpoints
from src.training.loop import Plan, fit
from tests.teacher.generation.writers import DATASET, teacher_of


class InterruptionError(Exception):
    pass


class Interruption(L.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == 3:
            raise InterruptionError


def train(folder, callbacks=(), resume_from=None) -> dict[str, Tensor]:
    """Returns what is left after two epochs on ten examples, two to three batches each."""
    model = teacher_of()
    settings = TeacherTrainingSettings(max_examples=10, max_val_examples=2, max_tokens=900)
    data = TeacherDataModule(model, DATASET, settings, eval_batch_size=5, filter_seen=False, seed=0)
    assert data.num_batches == 2
    plan = Plan(
        stage="teacher",
        monitor="val/HR@1",
        made_from={},
        kept_in=folder / "checkpoints" / "teacher",
        run_dir=folder,
        max_epochs=2,
        patience=9,
        precision="32-true",
        resume_from=resume_from,
    )
    fit(GenerationModule(model, settings, seed=0), data, plan, callbacks)
    return torch.load(folder / "checkpoints" / "teacher" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("keep_every", [0.0, 600.0])  # from within the second epoch, and from its beginning
def test_an_interrupted_training_goes_on_with_the_candidates_that_were_to_come(tmp_path, monkeypatch, keep_every):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", keep_every)
    whole = train(tmp_path / "whole")
    with pytest.raises(InterruptionError):
        train(tmp_path / "first", [Interruption()])
    again = train(tmp_path / "second", resume_from=tmp_path / "first" / "checkpoints" / "teacher" / "last.ckpt")
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
