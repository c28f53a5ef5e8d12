import json

import pytest
import torch
import torch.nn.functional as F

from src.core.artefact import TEACHER, read_manifest, write_json, writing
from src.core.errors import UserError
from src.student.store import load_student, save_student
from tests.student.students import NAMES, architecture, histories, student
from tests.worlds import tiny_dataset


def saved(folder, name, dataset_fingerprint):
    model = student(name, dropout=0.5)
    about = {"dataset_fingerprint": dataset_fingerprint, "seed": 3}
    save_student(folder, model, name, architecture(name, dropout=0.5), about)
    return model


def trained(model):
    """Moves every parameter and whatever else training moves: two steps on all examples, with dropout."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    dataset = tiny_dataset()
    batch = dataset.batch(dataset.examples["train"], model.history_length)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model.predict(batch.history), batch.target - 1).backward()
        optimizer.step()
    assert not [key for key, value in model.state_dict().items() if torch.equal(value, before[key])]
    return model.eval()


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_trained_student_comes_back_with_the_same_scores(tmp_path, name, distilled):
    dataset, model = tiny_dataset(), student(name, dropout=0.5)
    if distilled:
        model.items.start_from(torch.randn(15, 3), 0.02)
        model.items.distil_from(torch.randn(15, 3), 0.5)
    trained(model)
    with_teacher = model.predict(histories())
    model.items.fold()
    about = {"dataset_fingerprint": dataset.fingerprint, "seed": 3}
    save_student(tmp_path / "student", model, name, architecture(name, dropout=0.5), about)
    loaded = load_student(tmp_path / "student", dataset)
    assert not loaded.training
    assert torch.equal(loaded.predict(histories()), model.predict(histories()))
    assert torch.equal(loaded.encode(histories()), model.encode(histories()))
    torch.testing.assert_close(loaded.predict(histories()), with_teacher, rtol=1e-4, atol=1e-5)
    manifest = read_manifest(tmp_path / "student")
    assert manifest["kind"] == "student" and manifest["name"] == name and manifest["seed"] == 3
    assert manifest["num_items"] == 15 and manifest["architecture"] == architecture(name, dropout=0.5)


def test_a_student_of_another_dataset_is_refused(tmp_path):
    saved(tmp_path / "student", "gru4rec", "another")
    with pytest.raises(UserError, match="was trained on dataset another, not on tiny 0123456789abcdef"):
        load_student(tmp_path / "student", tiny_dataset())


def test_an_artefact_of_another_kind_is_refused(tmp_path):
    with writing(tmp_path / "teacher", TEACHER, {}):
        pass
    with pytest.raises(UserError, match="holds no student but teacher"):
        load_student(tmp_path / "teacher", tiny_dataset())


def test_a_caser_that_was_trained_on_histories_aligned_on_the_left_is_refused(tmp_path):
    dataset = tiny_dataset()
    saved(tmp_path / "student", "caser", dataset.fingerprint)
    path = tmp_path / "student" / "manifest.json"
    write_json(path, {**json.loads(path.read_text()), "format": 1})
    with pytest.raises(UserError, match="has format 1"):
        load_student(tmp_path / "student", dataset)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no artefact"):
        load_student(tmp_path, tiny_dataset())


def test_a_student_that_this_version_does_not_know_is_refused(tmp_path):
    dataset = tiny_dataset()
    saved(tmp_path / "student", "gru4rec", dataset.fingerprint)
    path = tmp_path / "student" / "manifest.json"
    write_json(path, {**json.loads(path.read_text()), "name": "bert"})
    with pytest.raises(UserError, match=r"student\.name=bert is not known"):
        load_student(tmp_path / "student", dataset)
