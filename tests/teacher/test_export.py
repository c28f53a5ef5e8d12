from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.data.dataset import Examples
from src.distill.data_bridge import load_teacher_outputs
from src.teacher import export as export_module
from src.teacher.ensemble.calibration import Calibration
from src.teacher.export import _most_seen, export_teacher_outputs, write_rankings
from src.teacher.ilora_model import ILoRAModel
from src.teacher.settings import ExportSettings
from src.teacher.user_pass import UserPassModel
from tests.teacher.teachers import HISTORY_LENGTH, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
ASKED = DATASET.examples["train"].subset(torch.tensor([1, 4, 5, 10, 11, 20, 21]))
K = 4


def export(
    folder: Path,
    teacher,
    exclude_seen: bool = True,
    batch_examples: int = 3,
    k: int = K,
    user_states: bool = False,
    item_embeddings: str = "ranking",
):
    export_teacher_outputs(
        teacher,
        DATASET,
        ASKED,
        folder,
        ExportSettings(k=k, exclude_seen=exclude_seen, item_embeddings=item_embeddings, user_states=user_states),
        batch_examples=batch_examples,
        about=lambda: {"dataset_fingerprint": DATASET.fingerprint},
    )
    return load_file(folder / "rankings.safetensors"), read_manifest(folder)


def seen_by(row: int) -> list[int]:
    start = int(DATASET.offsets[ASKED.user[row]])
    return DATASET.item_log[start : start + int(ASKED.end[row])].tolist()


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("batch_examples", [1, 3, 100])
def test_rankings_are_the_teachers_best_in_dllm2recs_numbers(tmp_path, exclude_seen, batch_examples):
    teacher = tiny_teacher(DATASET)
    written, _ = export(tmp_path / "outputs", teacher, exclude_seen, batch_examples)
    whole = teacher.score(DATASET.batch(ASKED, HISTORY_LENGTH)).log_softmax(1)
    for row in range(len(ASKED)):
        allowed = [j for j in range(DATASET.num_items) if not exclude_seen or j + 1 not in seen_by(row)]
        best = sorted(allowed, key=lambda j: -whole[row, j])[:K]
        assert written["items"][row].tolist() == best
        torch.testing.assert_close(written["scores"][row], whole[row, best], rtol=1e-4, atol=1e-4)
    assert written["example_ids"].tolist() == ASKED.example_id.tolist()
    assert (written["items"].dtype, written["scores"].dtype) == (torch.int64, torch.float32)


def test_seen_items_beyond_what_the_model_reads_are_left_out_too(tmp_path):
    teacher = tiny_teacher(DATASET, prompt_items=1)
    written, _ = export(tmp_path / "outputs", teacher, exclude_seen=True)
    for row, items in enumerate(written["items"].tolist()):
        assert not {item + 1 for item in items} & set(seen_by(row))


def test_text_files_say_the_same_as_the_safetensors(tmp_path):
    folder = tmp_path / "outputs"
    written, _ = export(folder, tiny_teacher(DATASET))
    items = [[int(item) for item in line.split(" ")] for line in (folder / "myrank_train.txt").read_text().splitlines()]
    assert items == written["items"].tolist()
    scores = np.loadtxt(folder / "confidence_train.txt", dtype=np.float32, ndmin=2)
    np.testing.assert_allclose(scores, written["scores"].numpy(), rtol=1e-6)


def test_the_folder_holds_dllm2recs_files_and_says_what_they_are(tmp_path):
    folder, teacher = tmp_path / "outputs", tiny_teacher(DATASET)
    _, manifest = export(folder, teacher)
    assert sorted(path.name for path in folder.iterdir()) == [
        "all_embeddings.pt",
        "confidence_train.txt",
        "manifest.json",
        "myrank_train.txt",
        "rankings.safetensors",
    ]
    embeddings = torch.load(folder / "all_embeddings.pt", weights_only=True)
    assert torch.equal(embeddings, teacher.item_embeddings())
    assert embeddings.dtype == torch.float32
    prompts = teacher.prompts.build(DATASET.batch(ASKED, HISTORY_LENGTH).history)
    assert manifest["tokens_read"] == int((prompts.token_ids != -2).sum())
    assert manifest.pop("seconds") >= 0
    assert manifest.pop("files").keys() == {path.name for path in folder.iterdir()} - {"manifest.json"}
    manifest.pop("tokens_read")
    assert manifest == {
        "dataset_fingerprint": DATASET.fingerprint,
        "kind": "teacher outputs",
        "format": 1,
        "artefact": "outputs",
        "k": K,
        "score_kind": "log_probability",
        "score_direction": "higher",
        "num_items": DATASET.num_items,
        "num_examples": len(ASKED),
    }


def test_item_embeddings_are_those_of_the_texts_where_asked_for(tmp_path):
    teacher = tiny_teacher(DATASET)
    export(tmp_path / "outputs", teacher, item_embeddings="text")
    embeddings = torch.load(tmp_path / "outputs" / "all_embeddings.pt", weights_only=True)
    assert torch.equal(embeddings, teacher.item_texts)


def test_the_student_side_reads_what_was_written(tmp_path):
    written, _ = export(tmp_path / "outputs", tiny_teacher(DATASET))
    outputs = load_teacher_outputs(tmp_path / "outputs", DATASET, None)
    for row, example in enumerate(ASKED.example_id.tolist()):
        assert outputs.row_of_example[example] == row
    assert torch.equal(outputs.candidates, written["items"] + 1)
    assert torch.equal(outputs.distance, -written["scores"])
    with pytest.raises(UserError, match="made for dataset"):
        load_teacher_outputs(tmp_path / "outputs", replace(DATASET, fingerprint="another"), None)


@pytest.mark.parametrize("when", ["scores_of", "item_embeddings"])  # before the first row, and after the last
def test_a_model_that_fails_leaves_nothing_half_written(tmp_path, when, monkeypatch):
    teacher = tiny_teacher(DATASET)

    def fail(*_: object, **__: object):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(teacher, when, fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        export(tmp_path / "outputs", teacher)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
@pytest.mark.parametrize("mixed", [False, True])
def test_representations_of_histories_are_written_where_asked_for(tmp_path, kind, mixed):
    teacher = tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        export(tmp_path / "outputs", teacher, user_states=True)
    outputs = load_teacher_outputs(tmp_path / "outputs", DATASET, None)
    assert outputs.user_states.dtype == torch.float16
    scores = teacher.scores_of(outputs.user_states.float(), teacher.item_embeddings())
    assert (scores - teacher.own_scores(DATASET.batch(ASKED, HISTORY_LENGTH))).abs().max() < (0.2 if mixed else 0.02)


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
def test_an_export_that_was_interrupted_goes_on(tmp_path, monkeypatch, kind):
    whole, about = export(tmp_path / "whole", tiny_teacher(DATASET, kind=kind))
    monkeypatch.setattr(export_module, "PART", 2)
    teacher, asked = tiny_teacher(DATASET, kind=kind), []
    scores_in_batches = teacher.scores_in_batches

    def interrupted(dataset, examples):
        asked.append(examples.example_id.tolist())
        if len(asked) == 3:
            raise KeyboardInterrupt
        return scores_in_batches(dataset, examples)

    monkeypatch.setattr(teacher, "scores_in_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "outputs", teacher)
    assert not (tmp_path / "outputs").exists()
    again, about_again = export(tmp_path / "outputs", teacher)
    assert asked == [ids.tolist() for ids in ASKED.example_id.split(2)[:3]] + [
        ids.tolist() for ids in ASKED.example_id.split(2)[2:]
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs", "whole"]
    assert all(torch.equal(whole[name], again[name]) for name in ("example_ids", "items"))
    torch.testing.assert_close(whole["scores"], again["scores"], rtol=1e-4, atol=1e-4)
    if kind is ILoRAModel:
        assert about["tokens_read"] == about_again["tokens_read"]


def calibrated(weight: float, temperature: float) -> ILoRAModel:
    teacher = tiny_teacher(DATASET)
    teacher.user_encoder.items.ids.weight.data.mul_(30)
    teacher.calibration = Calibration(weight, temperature)
    return teacher


@pytest.mark.parametrize(
    "other", [lambda: tiny_teacher(DATASET, seed=1), lambda: calibrated(0, 2), lambda: calibrated(2, 1)]
)
def test_parts_of_another_teacher_or_calibration_are_not_taken(tmp_path, monkeypatch, other):
    monkeypatch.setattr(export_module, "PART", 4)
    first, other = calibrated(0, 1), other()
    expected, _ = export(tmp_path / "expected", other)
    monkeypatch.setattr(export_module, "write_rankings", None)  # the parts are there, the whole fails
    with pytest.raises(TypeError):
        export(tmp_path / "outputs", first)
    monkeypatch.undo()
    assert (tmp_path / "outputs.unfinished").is_dir()
    found, _ = export(tmp_path / "outputs", other)
    assert torch.equal(found["items"], expected["items"])
    torch.testing.assert_close(found["scores"], expected["scores"], rtol=1e-4, atol=1e-4)


def test_lines_have_no_padding_and_one_space_between_numbers(tmp_path):
    write_rankings(
        tmp_path, torch.tensor([7, 9]), torch.tensor([[3, 0], [11, 2]]), torch.tensor([[-0.5, -2], [-1, -3]])
    )
    assert (tmp_path / "myrank_train.txt").read_text() == "3 0\n11 2\n"
    assert (tmp_path / "confidence_train.txt").read_text() == "-0.5 -2\n-1 -3\n"


def test_more_items_than_can_be_ranked_are_refused_before_the_teacher_is_asked(tmp_path):
    most_seen = max(len(set(seen_by(row))) for row in range(len(ASKED)))
    teacher = tiny_teacher(DATASET)
    for exclude_seen, most in ((True, DATASET.num_items - most_seen), (False, DATASET.num_items)):
        written, _ = export(tmp_path / "outputs", teacher, exclude_seen, k=most)
        assert written["scores"].isfinite().all()
        with pytest.raises(UserError, match=rf"teacher.export.k={most + 1} asks for more items .* has 15"):
            export(tmp_path / "refused", teacher, exclude_seen, k=most + 1)
    assert not (tmp_path / "refused").exists()


def test_the_manifest_is_made_when_all_is_ranked(tmp_path, monkeypatch):
    teacher, happened = tiny_teacher(DATASET), []
    scores_in_batches = teacher.scores_in_batches
    monkeypatch.setattr(
        teacher, "scores_in_batches", lambda *args: happened.append("ranked") or scores_in_batches(*args)
    )
    export_teacher_outputs(
        teacher, DATASET, ASKED, tmp_path / "outputs", ExportSettings(k=K), 3, lambda: happened.append("told") or {}
    )
    assert happened == ["ranked", "told"]  # for it tells how long that took


@given(
    st.lists(st.lists(st.integers(1, 15), min_size=2, max_size=9), min_size=1, max_size=6),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_the_most_seen_equals_a_loop_over_users(logs, at_once, random):
    lengths = torch.tensor([0, *map(len, logs)])
    asked = [(user, end) for user, log in enumerate(logs) for end in range(1, len(log)) if random.random() < 0.6]
    users, ends = torch.tensor(asked, dtype=torch.int64).reshape(-1, 2).T
    items = torch.tensor([item for log in logs for item in log], dtype=torch.int32)
    dataset = replace(DATASET, item_log=items, offsets=lengths.cumsum(0), num_train=lengths[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "AT_ONCE", at_once)
        found = _most_seen(dataset, Examples(torch.arange(len(asked)), users, ends))
    assert found == max((len(set(logs[user][:end])) for user, end in asked), default=0)
