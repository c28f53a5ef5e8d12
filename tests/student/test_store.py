import json

import pytest
import torch

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


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_student_gives_the_same_scores(tmp_path, name):
    dataset = tiny_dataset()
    model = saved(tmp_path / "student", name, dataset.fingerprint)
    loaded = load_student(tmp_path / "student", dataset)
    assert not loaded.training
    assert torch.equal(loaded.predict(histories()), model.predict(histories()))
    manifest = read_manifest(tmp_path / "student")
    assert manifest["kind"] == "student" and manifest["name"] == name and manifest["seed"] == 3
    assert manifest["num_items"] == 15 and manifest["architecture"] == architecture(name, dropout=0.5)


def test_a_distilled_student_is_saved_without_its_teacher(tmp_path):
    dataset, model = tiny_dataset(), student("gru4rec")
    model.items.distil_from(torch.randn(15, 3), 1.0)
    before = model.predict(histories())
    model.items.fold()
    save_student(
        tmp_path / "student", model, "gru4rec", architecture("gru4rec"), {"dataset_fingerprint": dataset.fingerprint}
    )
    assert torch.allclose(load_student(tmp_path / "student", dataset).predict(histories()), before, atol=1e-5)


def test_a_student_of_another_dataset_is_refused(tmp_path):
    saved(tmp_path / "student", "gru4rec", "another")
    with pytest.raises(UserError, match="was trained on dataset another, not on tiny 0123456789abcdef"):
        load_student(tmp_path / "student", tiny_dataset())


def test_an_artefact_of_another_kind_is_refused(tmp_path):
    with writing(tmp_path / "teacher", TEACHER, {}):
        pass
    with pytest.raises(UserError, match="holds no student but teacher"):
        load_student(tmp_path / "teacher", tiny_dataset())


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
