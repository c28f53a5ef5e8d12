import json

import pytest
import torch

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.exp.stages.evaluations import every
from src.exp.stages.report import SUBJECTS
from src.exp.stages.road import Road
from tests.exp.roads import road_in, run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
MEMBERS = ("bsarec", "gru4rec", "caser", "texts")
UNLIKE = [
    "ensemble=unlike",
    "active=all",
    "active.share=1.0",
    *(f"ensemble.members.{m}.train.max_epochs=1" for m in MEMBERS),
]
NOBODY_READS = [*UNLIKE, "ensemble.language_model=false"]


def labels(road: Road) -> list[str]:
    return [stage.label for stage in road.trainings()]


def test_without_a_language_model_no_teacher_is_trained(tmp_path):
    road = road_in(tmp_path, DATASET, *NOBODY_READS)
    assert labels(road) == [
        "baseline: training", *(f"ensemble's {name}: training" for name in MEMBERS), "ensemble", "ensemble: export",
        "distilled: training",
    ]  # fmt: skip
    assert [each[0].subject for each in road.evaluations(*SUBJECTS)] == [
        "popularity", "baseline", "ensemble", "distilled"
    ]  # fmt: skip
    road = road_in(tmp_path, DATASET, *UNLIKE)
    assert [name for name in labels(road) if name.startswith(("user", "teacher"))] == [
        "user encoder: training", "teacher: training", "teacher: calibration"
    ]  # fmt: skip


def test_the_control_is_taught_by_the_members_that_know_no_text(tmp_path):
    alone = road_in(tmp_path, DATASET, *UNLIKE, "controls=true").students_alone
    assert [*alone.members] == ["bsarec", "gru4rec", "caser"] and alone.teacher is None
    known = [f"ensemble.members.{name}.text_init=0.1" for name in MEMBERS[:3]]
    road = road_in(tmp_path, DATASET, *UNLIKE, *known, "controls=true")
    assert road.students_alone is None and road.self_distilled == []
    known = ["~ensemble.members.texts", "controls=true"]
    alike = [item for item in NOBODY_READS if "texts" not in item]
    assert road_in(tmp_path, DATASET, *alike, *known).students_alone is None  # they are all that teaches
    assert road_in(tmp_path, DATASET, *alike[:-1], *known).students_alone is not None  # a language model does, too
    assert [*road_in(tmp_path, DATASET).students_alone.members] == ["user_encoder"]


def test_the_likeness_of_texts_teaches_beside_students_of_ids_or_beside_a_teacher(tmp_path):
    of_ids = [item for item in NOBODY_READS if "texts" not in item] + ["~ensemble.members.texts", "controls=true"]
    without, road = (road_in(tmp_path, DATASET, *of_ids, *more) for more in ([], ["ensemble.likeness.member=true"]))
    assert without.ensemble.folder != road.ensemble.folder and without.students_alone is None
    assert [*road.students_alone.members] == [*MEMBERS[:3]] and road.students_alone.likeness is None
    assert road.ensemble.inputs() == (*road.members.values(), road.encodings)
    for way in ("decay=0.5", "whitening=0.0"):
        other = road_in(tmp_path, DATASET, *of_ids, "ensemble.likeness.member=true", f"ensemble.likeness.{way}")
        assert other.ensemble.folder != road.ensemble.folder
        assert other.students_alone.folder == road.students_alone.folder
    beside = road_in(tmp_path, DATASET, "active=all", "active.share=1.0", "ensemble.likeness.member=true")
    assert beside.ensemble.inputs() == (beside.teacher, beside.encodings)
    assert [*beside.students_alone.members] == ["user_encoder"]
    alone = road_in(
        tmp_path, DATASET, *NOBODY_READS[1:3], "ensemble.likeness.member=true", "ensemble.language_model=false"
    )
    assert alone.ensemble.inputs() == (alone.encodings,) and alone.students_alone is None


def test_a_member_that_is_another_student_of_the_run_is_one_artefact(tmp_path):
    same = [
        f"ensemble.members.caser.{key}"
        for key in ("train.max_epochs=2", "model.history_length=8", "model.hidden_size=8")
    ]
    road = road_in(tmp_path, DATASET, *UNLIKE, *same, "student=caser")
    assert road.members["caser"].folder == road.baseline.folder != road.members["texts"].folder


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [NOBODY_READS, UNLIKE, [*UNLIKE, "ensemble.likeness.member=true"]])
def test_what_was_fitted_is_what_ranks_is_exported_and_told(tmp_path, overrides):
    road = road_in(tmp_path, DATASET, *overrides, "controls=true")
    evaluations = road.evaluations("ensemble")
    assert road.go(road.prepared, *road.trainings(), *every(evaluations))
    folder = road.ensemble.folder
    found, about = json.loads((folder / "ensemble.json").read_text()), read_manifest(folder)
    assert about["result"] == found and found["examples"] == 12
    weights, pool = found["whole"]["weights"], road.ensemble.load()
    likeness = ["likeness"] if "ensemble.likeness.member=true" in overrides else []
    names = [*MEMBERS, *likeness, *([] if overrides is NOBODY_READS else ["language_model"])]
    assert list(weights) == names == list(found["alone"]) == list(found["without"])
    assert ("with_other_texts" in found) == bool(likeness)
    assert pool.ranks_by == pytest.approx(weights)
    assert read_manifest(road.outputs.folder)["result"]["calibration"] == pytest.approx(weights)
    outputs, alone = road.outputs.load(), road.self_outputs.load()
    assert torch.equal(outputs.item_embeddings, alone.item_embeddings)
    assert torch.equal(outputs.row_of_example >= 0, alone.row_of_example >= 0)
    scored = pool.score(DATASET.batch(DATASET.examples["test"], pool.history_length, with_seen=True))
    assert evaluations[0][0].figures["rank"] != []
    assert scored.shape == (12, 15) and len(scored[0].unique()) > 3


def test_a_curve_of_questions_is_of_a_teacher_alone(tmp_path):
    from src.exp.studies.budget_curve import draw_budget_curve

    with pytest.raises(UserError, match="set ensemble=none"):
        draw_budget_curve(road_in(tmp_path, DATASET, *UNLIKE))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("ensemble.members.caser.train.lr=fast", "ensemble.members.caser.train.lr=fast must be a number above 0"),
        ("ensemble.members.caser.model.num_heads=1", "ensemble.members.caser.model.num_heads is not known"),
        ("ensemble.members.bsarec.model.num_heads=3", "ensemble.members.bsarec.model.num_heads=3 must divide"),
        ("ensemble.members.other=1", "ensemble.members.other=1 must be a group of keys"),
        ("active=random", "active.policy must be all where ensemble.language_model=false"),
        ("+student@ensemble.members.language_model=caser", "'language_model' and 'likeness' are taken"),
        ("+student@ensemble.members.likeness=caser", "'language_model' and 'likeness' are taken"),
    ],
)
def test_what_cannot_be_a_member_is_told(tmp_path, override, told):
    with pytest.raises(UserError, match=told):
        run_in(tmp_path, *NOBODY_READS, override)


def test_vectors_that_a_language_model_ranks_by_need_one(tmp_path):
    road = road_in(tmp_path, DATASET, *NOBODY_READS, "teacher.export.item_embeddings=ranking")
    with pytest.raises(UserError, match="this ensemble has none"):
        road.go(*road.trainings())
