from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from src.core.errors import UserError
from src.distill.data_bridge import USER_STATES, load_teacher_outputs
from tests.distill.outputs import K, embeddings_of, make_bare, ranking_of, write_outputs
from tests.sealing import seal
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
TRAIN = DATASET.examples["train"].example_id
ASKED = TRAIN[[7, 2, -1, 11]]  # in the order in which a teacher happened to answer


@pytest.fixture
def folder(tmp_path):
    write_outputs(tmp_path / "outputs", DATASET, ASKED, *ranking_of(4, 15))
    return tmp_path / "outputs"


@pytest.fixture
def bare(tmp_path):
    """The three files of anyone's teacher that answered every train example."""
    write_outputs(tmp_path / "bare", DATASET, TRAIN, *ranking_of(len(TRAIN), 15))
    make_bare(tmp_path / "bare")
    return tmp_path / "bare"


def refused(folder, direction=None, dataset=DATASET) -> str:
    with pytest.raises(UserError) as caught:
        load_teacher_outputs(folder, dataset, direction)
    return str(caught.value)


def test_what_the_teacher_exports_comes_back_in_the_student_s_numbers(folder):
    items, scores = ranking_of(4, 15)
    outputs = load_teacher_outputs(folder, DATASET, None)
    assert torch.equal(outputs.candidates, items + 1)
    assert torch.equal(outputs.distance, -scores)
    assert torch.equal(outputs.item_embeddings, embeddings_of(15))
    assert outputs.candidates.dtype == torch.int64 and outputs.distance.dtype == torch.float32


def test_rows_are_joined_by_example_id(folder):
    row_of_example = load_teacher_outputs(folder, DATASET, None).row_of_example
    expected = {int(example_id): row for row, example_id in enumerate(ASKED)}
    assert [row_of_example[id].item() for id in TRAIN] == [expected.get(int(id), -1) for id in TRAIN]
    assert row_of_example[-1] == -1  # "no example"


def test_three_bare_files_with_a_direction_are_enough(bare):
    items, scores = ranking_of(len(TRAIN), 15)
    (bare / "confidence_train.txt").write_text((bare / "confidence_train.txt").read_text().replace("-", ""))
    outputs = load_teacher_outputs(bare, DATASET, "lower")
    assert torch.equal(outputs.candidates[outputs.row_of_example[TRAIN]], items + 1)
    assert torch.allclose(outputs.distance, -scores, rtol=1e-6)
    assert torch.equal(outputs.item_embeddings, embeddings_of(15))


def test_bare_files_without_a_direction_are_refused(bare):
    assert "set distill.score_direction=higher (log-probability) or lower (distance)" in refused(bare)


def test_bare_files_need_a_line_per_train_example(bare):
    lines = (bare / "myrank_train.txt").read_text().splitlines(keepends=True)
    (bare / "myrank_train.txt").write_text("".join(lines[:-1]))
    said = refused(bare, "higher")
    assert f"has {len(TRAIN) - 1} lines for {len(TRAIN)} train examples of tiny" in said


@pytest.mark.parametrize(("direction", "sign"), [("higher", -1), (None, -1)])
def test_the_direction_says_what_is_sure(folder, direction, sign):
    _, scores = ranking_of(4, 15)
    assert torch.equal(load_teacher_outputs(folder, DATASET, direction).distance, sign * scores)


def test_a_part_of_the_outputs_is_as_if_no_more_had_been_asked(folder):
    outputs = load_teacher_outputs(folder, DATASET, None)
    part = outputs.only(ASKED[[0, 2]])
    for example_id in TRAIN.tolist():
        kept = example_id in ASKED[[0, 2]].tolist()
        assert part.row_of_example[example_id] == (outputs.row_of_example[example_id] if kept else -1)
    assert (outputs.only(ASKED[:0]).row_of_example == -1).all()
    assert (outputs.row_of_example >= 0).sum() == len(ASKED)


def test_scores_that_rise_where_the_teacher_is_less_sure_are_refused(folder):
    said = refused(folder, "lower")
    assert "on 100% of the lines its score is worse" in said and "distill.score_direction=higher" in said


def test_representations_of_users_come_row_by_row_and_must_fit(folder):
    assert load_teacher_outputs(folder, DATASET, None).user_states is None
    states = torch.randn(len(ASKED), 2).half()
    save_file({"user_states": states}, folder / USER_STATES)
    assert torch.equal(load_teacher_outputs(folder, DATASET, None).user_states, states)
    save_file({"user_states": states[:-1].contiguous()}, folder / USER_STATES)
    assert "must hold one row for each of the 4 rankings" in refused(folder)
    save_file({"user_states": states / 0}, folder / USER_STATES)
    assert "not finite" in refused(folder)


def test_the_manifest_says_the_direction_where_the_config_does_not(tmp_path):
    items, scores = ranking_of(4, 15)
    write_outputs(tmp_path / "outputs", DATASET, ASKED, items, -scores, score_direction="lower")
    assert torch.equal(load_teacher_outputs(tmp_path / "outputs", DATASET, None).distance, -scores)


def test_a_direction_that_is_none_is_refused(folder):
    assert "does not say whether a higher or a lower score is better" in refused(folder, "up")


def test_outputs_of_another_dataset_are_refused(folder):
    said = refused(folder, dataset=replace(DATASET, fingerprint="another"))
    assert "were made for dataset 0123456789abcdef, not for tiny another" in said
    assert "src.exp.run_teacher" in said


@pytest.mark.parametrize("name", ["all_embeddings.pt", "myrank_train.txt", "confidence_train.txt"])
def test_a_missing_file_is_named(bare, name):
    (bare / name).unlink()
    assert f"Teacher outputs lack {bare / name}" in refused(bare, "higher")


def test_an_empty_folder_is_refused(tmp_path):
    assert "myrank_train.txt" in refused(tmp_path, "higher")


@pytest.mark.parametrize(
    "text", ["1 2\n3\n", "1 2\nx 4\n", "1.5 2\n3 4\n"], ids=["ragged", "a word", "no whole number"]
)
def test_a_text_file_that_is_no_table_is_refused(bare, text):
    (bare / "myrank_train.txt").write_text(text)
    assert "myrank_train.txt is not a table of numbers with equally long lines" in refused(bare, "higher")


@pytest.mark.parametrize(
    "wrong", [torch.zeros(14, 4), torch.zeros(15), {"weight": torch.zeros(15, 4)}], ids=["rows", "dim", "dict"]
)
def test_item_embeddings_need_a_row_per_item(folder, wrong):
    torch.save(wrong, folder / "all_embeddings.pt")
    seal(folder)
    assert "must hold one tensor with a row for each of the 15 items" in refused(folder)


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["empty", "cut short"])
def test_item_embeddings_that_torch_cannot_read_are_refused(folder, share):
    path = folder / "all_embeddings.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    seal(folder)
    assert f"{path} is no tensor saved by PyTorch" in refused(folder)


def test_item_embeddings_must_be_finite(folder):
    torch.save(torch.full((15, 4), torch.nan), folder / "all_embeddings.pt")
    seal(folder)
    assert "holds numbers that are not finite" in refused(folder)


def test_item_embeddings_of_half_precision_are_taken(folder):
    torch.save(embeddings_of(15).half(), folder / "all_embeddings.pt")
    seal(folder)
    assert load_teacher_outputs(folder, DATASET, None).item_embeddings.dtype == torch.float32


ITEMS, SCORES = ranking_of(4, 15)
VAL = DATASET.examples["val"].example_id
FAULTS = {
    f"has (4, {K}) items but (4, 2) scores": (ASKED, ITEMS, SCORES[:, :2]),
    "has 3 example ids but 4 rows of items": (ASKED[:3], ITEMS, SCORES),
    "names an example that is no train example": (torch.tensor([0, 1, 2, int(VAL[0])]), ITEMS, SCORES),
    "names an example twice": (torch.tensor([0, 1, 2, 1]), ITEMS, SCORES),
    "names items outside 0..14": (ASKED, ITEMS.clone().index_fill(0, torch.tensor(2), 15), SCORES),
    "names items outside 0..14, and names": (ASKED, ITEMS.clone().index_fill(0, torch.tensor(0), -1), SCORES),
    "names an item twice for one example": (ASKED, torch.tensor([[0, 1, 0]] * 4), SCORES),
    "holds scores that are not finite": (ASKED, ITEMS, SCORES.clone().index_fill(0, torch.tensor(3), -torch.inf)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_ranking_that_cannot_be_is_refused(tmp_path, fault):
    write_outputs(tmp_path / "outputs", DATASET, *FAULTS[fault])
    assert fault in refused(tmp_path / "outputs")


def test_several_faults_are_told_at_once(tmp_path):
    write_outputs(tmp_path / "outputs", DATASET, torch.tensor([0, 0, 1, 2]), torch.full((4, K), 15), SCORES)
    said = refused(tmp_path / "outputs")
    assert all(fault in said for fault in ("an example twice", "items outside 0..14", "an item twice"))
