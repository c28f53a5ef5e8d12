import os
import signal
from dataclasses import replace

import lightning as L
import pytest
import torch

from src.core.errors import UserError
from src.training import checkpoints
from src.training.loop import fit
from tests.training.scripted import STEPS, Numbers, Scripted, last, plan_of, run


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


# --- by itself


def test_the_same_training_started_again_goes_on_by_itself(tmp_path):
    run(Scripted([0.1, 0.2]), tmp_path, max_epochs=2)
    module = Scripted([0.1, 0.2, 0.3])
    assert run(module, tmp_path, max_epochs=3)["epochs"] == 3
    assert module.value.item() == module.steps + 2 * STEPS == 3 * STEPS


def test_a_checkpoint_of_another_training_in_its_place_is_passed_over(tmp_path, caplog):
    run(Scripted([0.1, 0.2]), tmp_path, max_epochs=2)
    module = Scripted([0.1])
    run(module, tmp_path, max_epochs=1, dataset="4567")
    assert module.steps == STEPS
    assert "last.ckpt is of another training (dataset: 0123 instead of 4567)" in caplog.text


def test_a_checkpoint_of_another_precision_is_passed_over(tmp_path, caplog):
    """What "auto" is differs between machines; half a training in each is neither."""
    run(Scripted([0.1, 0.2]), tmp_path, max_epochs=1)
    module = Scripted([0.1, 0.2])
    fit(module, Numbers(), replace(plan_of(tmp_path, max_epochs=2), precision="bf16-mixed"))
    assert module.steps == 2 * STEPS
    assert "of another training (precision: 32-true instead of bf16-mixed)" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no zip"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(tmp_path, caplog, damage):
    run(Scripted([0.1, 0.2]), tmp_path, max_epochs=2)
    content = last(tmp_path).read_bytes()
    flipped = content[:900] + bytes([content[900] ^ 1]) + content[901:]
    wrong = {"cut": content[: len(content) // 2], "flipped": flipped, "empty": b"", "no zip": b"no zip"}
    last(tmp_path).write_bytes(wrong[damage])
    module = Scripted([0.1, 0.2])
    run(module, tmp_path, max_epochs=2)
    assert (module.steps, module.value.item()) == (STEPS, 2 * STEPS)
    assert "last.ckpt is cut short or damaged" in caplog.text
    with pytest.raises(UserError, match=r"first\.ckpt is cut short or damaged: set resume_from to a whole one"):
        (tmp_path / "first.ckpt").write_bytes(wrong[damage])
        run(Scripted([0.1]), tmp_path / "other", resume_from=tmp_path / "first.ckpt")


def test_of_two_checkpoints_the_one_with_more_steps_is_gone_on_from(tmp_path):
    for name, epochs in (("own", 1), ("elsewhere", 2)):
        run(Scripted([0.1, 0.2]), tmp_path / name, max_epochs=epochs)
    module = Scripted([0.1, 0.2, 0.3])
    run(module, tmp_path / "own", max_epochs=3, resume_from=last(tmp_path / "elsewhere"))
    assert module.steps == STEPS
    module = Scripted([0.1, 0.2, 0.3])
    run(module, tmp_path / "own", max_epochs=3, resume_from=last(tmp_path / "elsewhere"))
    assert module.steps == 0


def test_a_training_whose_patience_had_ended_takes_no_further_epoch(tmp_path):
    script = [0.5, 0.3, 0.2, 0.9]
    assert run(Scripted(script), tmp_path, patience=2)["epochs"] == 3  # as a training that was never stopped says
    module = Scripted(script)
    assert run(module, tmp_path, patience=2) == {"best_val_ndcg@10": 0.5, "epochs": 3, "steps": 3 * STEPS}
    assert (module.steps, module.value.item()) == (0, STEPS)


def test_no_checkpoint_lies_between_a_step_and_the_validation_after_it(tmp_path, monkeypatch):
    """Gone on from there, that validation would be left out."""
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    steps: list[int] = []
    write = checkpoints.LastCheckpoint._write

    def told(callback: checkpoints.LastCheckpoint, trainer: L.Trainer) -> None:
        steps.append(trainer.global_step)
        write(callback, trainer)

    monkeypatch.setattr(checkpoints.LastCheckpoint, "_write", told)
    run(Scripted([0.1, 0.2]), tmp_path, max_epochs=2)
    assert steps == [1, 2, STEPS, STEPS + 1, STEPS + 2, 2 * STEPS]


# --- asked to end


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("when", ["in a step", "in a validation"])
def test_a_training_that_is_asked_to_end_keeps_where_it_stands(tmp_path, number, status, when):
    class Asked(Scripted):
        def training_step(self, batch, batch_idx):
            if when == "in a step" and self.global_step == STEPS:
                os.kill(os.getpid(), number)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            if when == "in a validation" and self.global_step == 2 * STEPS:
                os.kill(os.getpid(), number)
            super().validation_step(batch, batch_idx)

    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as ended:
        run(Asked([0.1, 0.2, 0.3]), tmp_path, max_epochs=3)
    assert ended.value.code == status
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    kept = torch.load(last(tmp_path), weights_only=True)["global_step"]
    assert kept == (STEPS + 1 if when == "in a step" else 2 * STEPS)
    module = Scripted([0.1, 0.2, 0.3])
    result = run(module, tmp_path, max_epochs=3)
    assert result == {"best_val_ndcg@10": pytest.approx(0.3), "epochs": 3, "steps": 3 * STEPS}
    assert module.steps == 3 * STEPS - kept


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_end", "on_fit_end", "teardown"])
def test_a_signal_before_or_after_the_steps_ends_the_process_as_any(tmp_path, hook):
    def asked(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    Asked = type("Asked", (Scripted,), {hook: asked})
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run(Asked([0.1]), tmp_path, max_epochs=1)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    module = Scripted([0.1])
    assert run(module, tmp_path, max_epochs=1)["epochs"] == 1
    assert module.value.item() == STEPS


def test_a_signal_is_not_lost_in_what_else_ends_the_training(tmp_path):
    """A search's pruner may end it in the same validation."""

    class PrunedError(Exception):
        pass

    class Asked(Scripted):
        def on_validation_epoch_end(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            raise PrunedError

    with pytest.raises(SystemExit) as ended:
        run(Asked([0.1]), tmp_path, max_epochs=1)
    assert ended.value.code == 143


def test_asked_twice_it_ends_at_once(tmp_path):
    class Asked(Scripted):
        def validation_step(self, batch, batch_idx):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")

    with pytest.raises(SystemExit) as ended:
        run(Asked([0.1]), tmp_path)
    assert ended.value.code == 143
    assert not last(tmp_path).is_file()


# --- from elsewhere


def test_resuming_a_finished_run_gives_its_best_weights(tmp_path):
    run(Scripted([0.1, 0.9, 0.3]), tmp_path / "first", max_epochs=3)
    module = Scripted([0.1, 0.9, 0.3])
    result = run(module, tmp_path / "second", max_epochs=3, resume_from=last(tmp_path / "first"))
    assert result["best_val_ndcg@10"] == pytest.approx(0.9)
    assert module.value.item() == 2 * STEPS
