import numpy as np
import pytest
import torch

from src.core.errors import UserError
from src.distill.data_bridge import TeacherOutputs, load_teacher_outputs
from src.distill.kd_losses import confidence_weights
from src.distill.reference_files import export_teacher_files
from tests.distill.outputs import D_TEACHER, embeddings_of, ranking_of, write_outputs
from tests.golden import load_golden
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
TRAIN = DATASET.examples["train"].example_id


def outputs(folder, asked=TRAIN, direction="higher"):
    items, scores = ranking_of(len(asked), DATASET.num_items)
    write_outputs(
        folder, DATASET, asked, items, scores if direction == "higher" else -scores, score_direction=direction
    )
    return load_teacher_outputs(folder, DATASET, None)


def exported(folder, found, width=None):
    export_teacher_files(found, DATASET, folder, width, {})
    items, confidence = (np.loadtxt(folder / f"{name}_train.txt") for name in ("myrank", "confidence"))
    return items, confidence, torch.load(folder / "all_embeddings.pt", weights_only=True)


def reference_weights(confidence):
    """As DLLM2Rec's main.py computes them from its file: the exponential of what stands there, negated."""
    weights = np.exp(-confidence) + 1e-8
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_its_weights_of_the_exported_files_are_ours(tmp_path, direction):
    found = outputs(tmp_path / "ours", direction=direction)
    items, confidence, _ = exported(tmp_path / "theirs", found)
    rows = found.row_of_example[TRAIN]
    theirs, ours = reference_weights(confidence), confidence_weights(found.distance[rows]).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
    assert (theirs.argsort(axis=1) == ours.argsort(axis=1)).all()
    assert (np.diff(theirs, axis=1) < 0).all()  # the teacher's first item is the surest
    assert (items == found.candidates[rows].numpy() - 1).all()


def test_our_log_probabilities_as_they_are_would_be_read_upside_down(tmp_path):
    outputs(tmp_path / "ours")
    confidence = np.loadtxt(tmp_path / "ours" / "confidence_train.txt")
    assert (np.diff(reference_weights(confidence), axis=1) > 0).all()


def test_line_n_is_train_example_n_whatever_the_order_of_asking(tmp_path):
    items, scores = ranking_of(len(TRAIN), DATASET.num_items)
    write_outputs(tmp_path / "ours", DATASET, TRAIN.flip(0), items.flip(0), scores.flip(0))
    read, confidence, _ = exported(tmp_path / "theirs", load_teacher_outputs(tmp_path / "ours", DATASET, None))
    assert (read == items.numpy()).all()
    np.testing.assert_allclose(confidence, -scores.numpy(), rtol=1e-6)


def test_what_was_exported_reads_back_as_the_same_outputs(tmp_path):
    found = outputs(tmp_path / "ours")
    exported(tmp_path / "theirs", found)
    (tmp_path / "theirs" / "manifest.json").unlink()
    again = load_teacher_outputs(tmp_path / "theirs", DATASET, "lower")
    torch.testing.assert_close(again.distance, found.distance)
    assert (again.candidates == found.candidates).all()


def test_embeddings_are_filled_up_with_zeros(tmp_path):
    found = outputs(tmp_path / "ours")
    *_, embeddings = exported(tmp_path / "theirs", found, width=D_TEACHER + 3)
    assert (embeddings[:, :D_TEACHER] == embeddings_of(DATASET.num_items)).all()
    assert embeddings.shape[1] == D_TEACHER + 3 and not embeddings[:, D_TEACHER:].any()
    with pytest.raises(UserError, match=f"have {D_TEACHER} numbers, more than export.teacher_width={D_TEACHER - 1}"):
        export_teacher_files(found, DATASET, tmp_path / "narrow", D_TEACHER - 1, {})


def test_a_teacher_that_was_asked_about_some_examples_is_refused(tmp_path):
    found = outputs(tmp_path / "ours", TRAIN[1:])
    with pytest.raises(UserError, match=rf"asked about {len(TRAIN) - 1} of {len(TRAIN)} train examples"):
        exported(tmp_path / "theirs", found)
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_files_that_hold_the_references_confidence_get_the_references_weights(tmp_path, seed):
    tensors, _ = load_golden(f"case6_dllm2rec_loss_seed{seed}")
    place = torch.arange(len(TRAIN)) % 6  # six examples in its batch
    confidence, K = tensors["default/candidate_confidence"][place].float(), 10
    found = TeacherOutputs(
        item_embeddings=embeddings_of(DATASET.num_items),
        row_of_example=torch.cat([torch.arange(len(TRAIN)), torch.tensor([-1])]),
        candidates=ranking_of(len(TRAIN), DATASET.num_items, K)[0] + 1,
        distance=confidence,
    )
    _, read, _ = exported(tmp_path / "theirs", found)
    wanted = tensors["default/weight_confidence"][place].numpy()
    np.testing.assert_allclose(reference_weights(read), wanted, rtol=1e-5)
    np.testing.assert_allclose(confidence_weights(found.distance).numpy(), wanted, rtol=1e-5)
