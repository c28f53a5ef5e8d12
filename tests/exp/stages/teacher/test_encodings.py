import json

import pytest
import torch

from src.core.artefact import read_manifest
from src.core.errors import UserError
from tests.exp.roads import road_in, run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
LEARNS = ["encoder.epochs=2", "encoder.batch_targets=16", "encoder.lr=0.01"]


def test_encodings_learn_what_follows_what_and_are_artefacts_of_their_own(tmp_path):
    frozen, road = road_in(tmp_path, DATASET), road_in(tmp_path, DATASET, *LEARNS)
    assert road.go(road.prepared, road.encodings)
    own, learned = frozen.encodings.load(), road.encodings.load()
    assert road.encodings.folder != frozen.encodings.folder
    assert own.shape == learned.shape == (DATASET.num_items, 32)
    torch.testing.assert_close(learned.norm(dim=1), torch.ones(DATASET.num_items))
    result = read_manifest(road.encodings.folder)["result"]
    assert {"best_val_ndcg@10", "val_ndcg@10_before", "epochs"} <= result.keys() and result["epochs"] == 2
    other = road_in(tmp_path, DATASET, *LEARNS, "encoder.decay=0.7")
    assert other.go(other.prepared, other.encodings) and not torch.equal(other.encodings.load(), learned)


def test_texts_that_come_later_go_through_the_same_map(tmp_path):
    road = road_in(tmp_path, DATASET, *LEARNS)
    assert road.go(road.prepared, road.encodings)
    known = road.encodings.load()
    both = road.encodings.load_with([DATASET.catalogue.texts[4], DATASET.catalogue.texts[0]])
    torch.testing.assert_close(both, torch.cat([known, known[[4, 0]]]), rtol=1e-4, atol=1e-5)


def test_they_are_what_a_likeness_and_students_begin_with(tmp_path):
    ensemble = ["ensemble.likeness.member=true", "ensemble.language_model=false", "active=all", "active.share=1.0"]
    road = road_in(tmp_path, DATASET, *LEARNS, *ensemble, "ensemble.likeness.whitening=0.0")
    assert road.ensemble.likeness is road.encodings
    assert road.go(road.prepared, *road.trainings())
    exported = road.outputs.load().item_embeddings
    torch.testing.assert_close(exported, road.encodings.load())
    assert "with_other_texts" in json.loads((road.ensemble.folder / "ensemble.json").read_text())


def test_learned_encodings_are_not_whitened_twice(tmp_path):
    with pytest.raises(UserError, match=r"ensemble\.likeness\.whitening must be 0 where encoder\.epochs=2"):
        run_in(tmp_path, *LEARNS, "ensemble.likeness.member=true", "ensemble.language_model=false", "active=all")


def test_several_processes_do_not_share_a_batch_whose_items_compete(tmp_path, monkeypatch):
    made = road_in(tmp_path, DATASET, *LEARNS)
    assert made.go(made.prepared, made.encodings)
    monkeypatch.setattr("src.exp.stages.teacher.encodings.started_together", lambda: 2)
    assert made.go(made.prepared, made.encodings)  # they are there
    other = road_in(tmp_path, DATASET, *LEARNS, "seed=5")
    with pytest.raises(UserError, match="is of one process"):
        other.go(other.prepared, other.encodings)


def test_students_that_are_compared_begin_with_the_same_encodings(tmp_path):
    begins = [*LEARNS, "distill.text_init=0.05"]
    with pytest.raises(UserError, match=r"encoder\.epochs must be 0 where a language model reads"):
        road = road_in(tmp_path, DATASET, *begins)
        road.go(road.prepared, *road.trainings())
    beside = [*begins, "ensemble.likeness.member=true", "ensemble.likeness.whitening=0.0"]
    beside += ["active=all", "active.share=1.0"]
    with pytest.raises(UserError, match=r"encoder\.epochs must be 0 where a language model reads"):
        road = road_in(tmp_path, DATASET, *beside)
        road.go(road.prepared, *road.trainings())
    road = road_in(tmp_path, DATASET, *LEARNS, "distill.text_init=0.0", "teacher.export.item_embeddings=ranking")
    road.outputs.check_settings()


def test_encodings_that_learned_nothing_are_told(tmp_path, caplog):
    road = road_in(tmp_path, DATASET, *LEARNS[:-1], "encoder.lr=1e-30")
    assert road.go(road.prepared, road.encodings)
    assert "learned nothing that ranks validation better" in caplog.text
