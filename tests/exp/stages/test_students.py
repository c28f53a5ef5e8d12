import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from src.core.artefact import STUDENT, read_manifest, writing
from src.core.errors import UserError
from src.core.settings import Probability, setting
from src.core.settings_reading import changed
from src.exp.program.config import compose_settings
from src.student.models import GRU4Rec, SequentialRecommender
from src.student.settings import ModelSettings
from src.training.figures import FiguresTo
from tests.exp.roads import SMALL, road_in
from tests.exp.stages.whole import whole
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
OWN = "tests.exp.stages.test_students:Averaging"


class AveragingSettings(ModelSettings):
    decay: Probability = setting(0.5, "how fast older items are forgotten")


class Averaging(SequentialRecommender):
    """A student of one's own: a decaying sum of item vectors, causal at every position."""

    Settings: ClassVar[type[ModelSettings]] = AveragingSettings

    def __init__(self, num_items: int, hidden_size: int, history_length: int, decay: float) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.decay = decay

    def encode(self, history: Tensor) -> Tensor:
        states, state = [], 0.0
        for items in self.items.lookup(history).unbind(1):
            state = self.decay * state + items
            states.append(state)
        return torch.stack(states, 1)


def with_own(*overrides: str) -> list[str]:
    """A student of one's own on the command line, with what gru4rec alone has taken away."""
    return ["student=gru4rec", "~student.model.num_layers", "~student.model.dropout", f"student.name={OWN}", *overrides]


def artefact(folder: Path) -> Path:
    with writing(folder, STUDENT, {}) as temporary:
        (temporary / "weights").write_text("1")
    return folder


# --- which student


def test_folders_tell_dataset_kind_and_student(tmp_path):
    road = road_in(tmp_path, DATASET, "student=gru4rec", "student@teacher.user_encoder=caser")
    models = tmp_path / "models_dir" / "tiny"
    assert road.baseline.folder.parent == road.user_encoder.folder.parent == models
    assert road.baseline.folder.name.startswith("baseline-gru4rec-")
    assert road.user_encoder.folder.name.startswith("baseline-caser-")
    assert road.teacher.folder.parent == models and road.teacher.folder.name.startswith("teacher-ilora-")
    assert road.distilled.folder.parent == models and road.distilled.folder.name.startswith("distilled-gru4rec-")
    assert road.outputs.folder.parent == tmp_path / "teacher_outputs_dir" / "tiny"


def test_a_user_encoder_that_is_the_baseline_is_the_same_artefact(tmp_path):
    assert road_in(tmp_path, DATASET).user_encoder.folder == road_in(tmp_path, DATASET).baseline.folder
    wider = road_in(tmp_path, DATASET, "student.model.hidden_size=16")
    assert wider.user_encoder.folder != wider.baseline.folder
    both = road_in(tmp_path, DATASET, "student.model.hidden_size=16", "teacher.user_encoder.model.hidden_size=16")
    assert both.user_encoder.folder == both.baseline.folder == wider.baseline.folder


def test_the_user_encoders_seed_is_the_runs_unless_it_has_its_own(tmp_path):
    road = road_in(tmp_path, DATASET, "seed=5")
    assert (road.baseline.seed, road.user_encoder.seed) == (5, 5)
    road = road_in(tmp_path, DATASET, "seed=5", "teacher.user_encoder.seed=0")
    assert (road.baseline.seed, road.user_encoder.seed) == (5, 0)
    assert road.user_encoder.folder == road_in(tmp_path, DATASET).baseline.folder != road.baseline.folder


def test_another_seed_of_the_student_leaves_the_user_encoder_as_it_is(tmp_path):
    before, road = road_in(tmp_path, DATASET), road_in(tmp_path, DATASET, "student.seed=1")
    assert (road.baseline.seed, road.distilled.seed, road.user_encoder.seed, road.outputs.seed) == (1, 1, 0, 0)
    assert road.user_encoder.folder == before.user_encoder.folder == before.baseline.folder != road.baseline.folder
    assert road.baseline.folder == road_in(tmp_path, DATASET, "seed=1").baseline.folder


def test_a_given_student_feeds_the_teacher(tmp_path):
    given = artefact(tmp_path / "mine")
    road = road_in(tmp_path, DATASET, f"teacher.rec_model_checkpoint_path={given}")
    assert road.user_encoder.folder == given
    assert road.user_encoder.is_made()


def test_a_given_student_that_is_not_there_is_named_with_its_key(tmp_path):
    road = road_in(tmp_path, DATASET, f"teacher.rec_model_checkpoint_path={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match=r"no trained student at .*nowhere.*run_teacher.*rec_model_checkpoint"):
        road.user_encoder.ensure()


# --- training


@pytest.mark.slow
def test_a_student_is_kept_with_what_it_was_made_from_and_gives_the_same_scores(made):
    road = made()
    about = read_manifest(road.baseline.folder)
    assert (about["kind"], about["name"], about["stage"]) == ("student", "sasrec", "baseline: training")
    assert about["architecture"] == road.run.settings.student.model.plain()
    assert 0 <= about["result"]["best_val_ndcg@10"] <= 1
    history = torch.tensor([[1, 2, 3]])
    assert torch.equal(road.baseline.load().predict(history), road.user_encoder.load().predict(history))


@pytest.mark.slow
def test_training_draws_from_its_own_seed_whatever_was_drawn_before(made):
    weights = [(made().baseline.folder / "model.safetensors").read_bytes()]
    torch.rand(17)
    for overrides in (["rerun=true"], ["seed=1"], ["student.seed=1", "rerun=true"]):
        road = made(*overrides)
        road.baseline.ensure()
        weights.append((road.baseline.folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2] == weights[3]


@pytest.mark.slow
def test_a_student_of_another_dataset_is_refused(made, tmp_path):
    given = made().baseline.folder
    shutil.copytree(given, tmp_path / "given")
    other = road_in(tmp_path / "other", tiny_dataset(seed=1), f"teacher.rec_model_checkpoint_path={tmp_path / 'given'}")
    manifest = tmp_path / "given" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(DATASET.fingerprint, "fedcba9876543210"))
    with pytest.raises(UserError, match="was trained on dataset fedcba9876543210, not on tiny"):
        other.user_encoder.load()


# --- a student of one's own


def test_settings_of_ones_own_student_are_checked_like_any(tmp_path):
    settings = compose_settings(*SMALL, *with_own("student.model.decay=0.25"))
    assert isinstance(settings.student.model, AveragingSettings)
    assert settings.student.model.decay == 0.25
    assert compose_settings(*SMALL, *with_own()).student.model.decay == 0.5
    with pytest.raises(UserError, match=r"student\.model\.decay=1 must be a number from 0 to below 1"):
        changed(settings, {"student.model.decay": 1})
    with pytest.raises(UserError, match=r"student\.model\.num_layers is not known \(.*decay"):
        compose_settings(*SMALL, *with_own("student.model.num_layers=1"))


def test_something_that_is_no_student_is_refused_in_one_sentence():
    with pytest.raises(UserError, match=r"student\.name=json:dumps is no SequentialRecommender: give package.module"):
        compose_settings(*SMALL, "student.name=json:dumps")
    with pytest.raises(UserError, match=r"student\.name=no\.such:Student cannot be imported \(No module named 'no'"):
        compose_settings(*SMALL, "student.name=no.such:Student")


@pytest.mark.slow
def test_a_student_of_ones_own_goes_the_whole_road_over_the_same_teacher(made):
    before, road = made(), made(*with_own())
    assert road.go(*whole(road))
    assert set(road.run.stopwatch.seconds) == {
        "baseline: training", "distilled: training", "evaluation: baseline", "evaluation: distilled", "comparison",
    }  # fmt: skip
    assert road.outputs.folder == before.outputs.folder
    assert road.baseline.folder.name.startswith("baseline-tests.exp.stages.test_students.Averaging-")
    for stage in (road.baseline, road.distilled):
        student = stage.load()
        assert type(student) is Averaging and student.decay == 0.5
    assert road.evaluations("baseline")[0][0].row().name == f"Baseline ({OWN})"


# --- another student for the same teacher


@pytest.mark.slow
def test_another_student_leaves_the_teacher_and_its_outputs_as_they_are(made):
    before, road = made(), made("student=gru4rec")
    assert (road.user_encoder.folder, road.teacher.folder, road.outputs.folder) == (
        before.user_encoder.folder, before.teacher.folder, before.outputs.folder,
    )  # fmt: skip
    assert road.user_encoder.is_made() and road.teacher.is_made() and road.outputs.is_made()
    assert road.go(*whole(road))
    assert set(road.run.stopwatch.seconds) == {
        "baseline: training", "distilled: training", "evaluation: baseline", "evaluation: distilled", "comparison",
    }  # fmt: skip
    assert type(road.baseline.load()) is type(road.distilled.load()) is GRU4Rec
    assert read_manifest(road.distilled.folder)["inputs"] == {
        "teacher: export": read_manifest(before.distilled.folder)["inputs"]["teacher: export"]
    }


@pytest.mark.slow
def test_every_figure_of_every_training_is_an_event_and_told_to_who_asks(tmp_path):
    told = []

    class Listener:
        def training(self, name: str) -> FiguresTo:
            return FiguresTo(lambda figures: told.extend(name for name, _, _ in figures), name)

    road = road_in(tmp_path, DATASET)
    run = replace(road.run, mlflow=Listener())
    trained = [road.prepared, *road.trainings()]
    for stage in trained:
        stage.run = run
    assert road.go(*trained)
    for training in ("baseline", "teacher", "distilled"):
        assert {f"{training}/train/loss", f"{training}/val/NDCG@10"} <= set(told)
    assert {"distilled/train/soft_targets", "distilled/lr-AdamW", "teacher/lr-AdamW/router"} <= set(told)
    assert {"teacher/gate/entropy", "teacher/gate/use_of_expert_0", "teacher/gradient_norm/router"} <= set(told)
    for training in ("baseline", "teacher", "distilled"):
        events = EventAccumulator(str(run.dir / "tensorboard" / training)).Reload()
        assert {f"{training}/{tag}" for tag in events.Tags()["scalars"]} == {
            name for name in told if name.startswith(f"{training}/")
        }
