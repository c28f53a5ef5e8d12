import pytest
import torch

from src.core.errors import UserError
from tests.training.scripted import STEPS, Scripted, last, run


def test_a_missing_checkpoint_to_resume_from_is_told_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match=r"No checkpoint to resume from at .*absent\.ckpt"):
        run(Scripted([0.1]), tmp_path, resume_from=tmp_path / "absent.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    run(Scripted([0.1]), tmp_path / "first", max_epochs=1)
    with pytest.raises(UserError, match=r"last\.ckpt is of another training \(dataset: 0123 instead of 4567\): resume"):
        run(Scripted([0.1]), tmp_path / "second", resume_from=last(tmp_path / "first"), dataset="4567")
    assert not (tmp_path / "second").exists()


def test_resuming_goes_on_where_the_interrupted_run_stood(tmp_path):
    run(Scripted([0.1, 0.2]), tmp_path / "first", max_epochs=2)
    module = Scripted([0.1, 0.2, 0.3, 0.4])
    result = run(module, tmp_path / "second", max_epochs=4, resume_from=last(tmp_path / "first"))
    assert result == {"best_val_ndcg@10": pytest.approx(0.4), "epochs": 4, "steps": 4 * STEPS}
    assert module.value.item() == 4 * STEPS


def test_what_is_gone_on_from_is_the_last_validation_not_the_best(tmp_path):
    run(Scripted([0.5, 0.3, 0.2]), tmp_path, max_epochs=3)
    assert torch.load(last(tmp_path), weights_only=True)["state_dict"]["value"] == 3 * STEPS


def test_resuming_remembers_the_best_weights_of_the_interrupted_run(tmp_path):
    run(Scripted([0.1, 0.9, 0.3]), tmp_path / "first", max_epochs=3)
    module = Scripted([0.1, 0.9, 0.3, 0.4, 0.5])
    result = run(module, tmp_path / "second", max_epochs=5, resume_from=last(tmp_path / "first"))
    assert result["best_val_ndcg@10"] == pytest.approx(0.9)
    assert module.value.item() == 2 * STEPS


def test_resuming_a_finished_run_gives_its_best_weights(tmp_path):
    run(Scripted([0.1, 0.9, 0.3]), tmp_path / "first", max_epochs=3)
    module = Scripted([0.1, 0.9, 0.3])
    result = run(module, tmp_path / "second", max_epochs=3, resume_from=last(tmp_path / "first"))
    assert result["best_val_ndcg@10"] == pytest.approx(0.9)
    assert module.value.item() == 2 * STEPS
