from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.data.batches import token_batches
from src.data.dataset import Examples
from src.data.rows import TrainingWindows
from src.distill.data_bridge import load_teacher_outputs
from src.teacher import export as export_module
from src.teacher.ensemble.calibration import Calibration
from src.teacher.export import _most_seen, export_teacher_outputs
from src.teacher.exporting import units
from src.teacher.exporting.files import write_rankings
from src.teacher.ilora_model import ILoRAModel
from src.teacher.interfaces import Reading
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
    assert not (tmp_path / "outputs").exists()
    assert list((tmp_path / "outputs.unfinished").iterdir()) == []  # no claim either


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


def in_small_readings(kind: type[ILoRAModel]) -> ILoRAModel:
    """Reads a few examples at a time."""
    return tiny_teacher(DATASET, kind=kind, max_tokens=60)


def recorded(teacher: ILoRAModel, last: int | None = None) -> list[list[int]]:
    """Returns the rows of each reading, in the order in which they are read from now on; the `last` one is cut off."""
    read, readings = [], teacher.readings

    def recording(dataset, examples):
        def read_one(reading: Reading):
            read.append(reading.rows.tolist())
            if len(read) == last:
                raise KeyboardInterrupt
            return reading.read()

        return [Reading(each.rows, partial(read_one, each)) for each in readings(dataset, examples)]

    teacher.readings = recording
    return read


def beside(folder: Path) -> list[str]:
    """What lies beside an artefact, but for its lock and who held it last."""
    return sorted(path.name for path in folder.iterdir() if path.suffix not in (".lock", ".owner"))


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
def test_an_export_that_was_interrupted_goes_on(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(units, "PART", 1)
    _, about = export(tmp_path / "whole", in_small_readings(kind))
    expected = [reading.rows.tolist() for reading in in_small_readings(kind).readings(DATASET, ASKED)]
    teacher = in_small_readings(kind)
    read = recorded(teacher, last=3)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "outputs", teacher)
    assert not (tmp_path / "outputs").exists()
    _, about_again = export(tmp_path / "outputs", teacher)
    assert read == [*expected[:3], *expected[2:]] and len(expected) > 4
    assert beside(tmp_path) == ["outputs", "whole"]
    assert about["files"] == about_again["files"]
    assert about["tokens_read"] == about_again["tokens_read"]


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
@pytest.mark.parametrize("part", [1, 4096])
def test_however_the_work_is_cut_all_is_read_once_in_the_batches_that_suit_the_model(tmp_path, monkeypatch, kind, part):
    """Parts of the examples in their own order would read every history again in each, a few of them at a time."""
    monkeypatch.setattr(units, "PART", part)
    teacher, batches = in_small_readings(kind), []
    language_model = teacher.language_model.forward
    monkeypatch.setattr(
        teacher.language_model, "forward", lambda **how: batches.append(how["inputs_embeds"]) or language_model(**how)
    )
    _, about = export(tmp_path / "outputs", teacher)
    if kind is UserPassModel:
        windows = TrainingWindows(DATASET, teacher.window_length)
        first = DATASET.examples["train"].example_id[0]
        asked = teacher.read_together(DATASET)[ASKED.example_id - first].unique()
        lengths = teacher.prompt_lengths(windows[asked].history)
    else:
        lengths = teacher.prompt_lengths(DATASET.batch(ASKED, HISTORY_LENGTH).history)
    full = [lengths[rows] for rows in token_batches(lengths, teacher.max_tokens)]
    assert [tuple(batch.shape[:2]) for batch in batches] == [(len(rows), int(rows.max())) for rows in full]
    assert about["tokens_read"] == int(lengths.sum())


def test_a_unit_that_has_changed_since_it_was_written_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "PART", 1)
    _, expected = export(tmp_path / "whole", in_small_readings(UserPassModel))
    teacher = in_small_readings(UserPassModel)
    with pytest.raises(KeyboardInterrupt):
        recorded(teacher, last=4)
        export(tmp_path / "outputs", teacher)
    damaged = sorted((tmp_path / "outputs.unfinished").glob("*-1/ranked.safetensors"))[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    read = recorded(teacher)
    _, found = export(tmp_path / "outputs", teacher)
    rows = [reading.rows.tolist() for reading in in_small_readings(UserPassModel).readings(DATASET, ASKED)]
    assert sorted(read) == sorted([*rows[3:], rows[1]])
    assert found["files"] == expected["files"]


def calibrated(weight: float, temperature: float) -> ILoRAModel:
    teacher = tiny_teacher(DATASET)
    teacher.user_encoder.items.ids.weight.data.mul_(30)
    teacher.calibration = Calibration(weight, temperature)
    return teacher


@pytest.mark.parametrize(
    "other", [lambda: tiny_teacher(DATASET, seed=1), lambda: calibrated(0, 2), lambda: calibrated(2, 1)]
)
def test_parts_of_another_teacher_or_calibration_are_not_taken(tmp_path, monkeypatch, other):
    monkeypatch.setattr(units, "PART", 4)
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


def test_the_manifest_is_made_when_all_is_ranked(tmp_path):
    teacher, happened = tiny_teacher(DATASET), []
    read = recorded(teacher)

    def about():
        happened.extend([*read, "told"])
        return {}

    export_teacher_outputs(teacher, DATASET, ASKED, tmp_path / "outputs", ExportSettings(k=K), 3, about)
    assert happened == [*read, "told"] and read  # for it tells how long that took


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
