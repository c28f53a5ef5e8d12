import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest

from src.core.artefact import SERVED, opened
from src.core.errors import UserError
from src.serve.files import ServedFiles
from tests.serve.served import grown, serve
from tests.student.students import D, L

FILES = {
    "model.onnx", "items.parquet", "users.parquet", "interactions.parquet", "item_bias.npy", "item_vectors.npy",
    "MODEL_CARD.md", "manifest.json",
}  # fmt: skip


def logs(world) -> list[list[int]]:
    ends = world.offsets.tolist()
    return [world.item_log[first:end].tolist() for first, end in itertools.pairwise(ends)]


def test_a_served_model_is_an_artefact_of_eight_files_readable_by_all(sasrec_folder):
    manifest = opened(sasrec_folder, SERVED)
    assert {path.name for path in sasrec_folder.iterdir()} == FILES == {*manifest["files"], "manifest.json"}
    assert (manifest["history_length"], manifest["dataset"], manifest["student_is_distilled"]) == (L, "tiny", False)
    assert manifest["result"]["parity"]["users"] == 12


def test_what_is_read_is_what_the_dataset_holds(sasrec_folder, world):
    files = ServedFiles.load(sasrec_folder)
    assert (files.raw_ids, files.titles) == (world.catalogue.raw_ids, world.catalogue.titles)
    assert (files.num_items, files.history_length, files.name) == (15, L, "sasrec-0123")
    users = [files.raw_user_ids[user] for user in range(world.num_users)]
    assert users == world.raw_user_ids() and len(set(users)) == 12
    assert [files.history(user) for user in users] == logs(world)


def test_counts_are_of_the_training_part_alone(sasrec_folder, world):
    pairs = zip(logs(world), world.num_train.tolist(), strict=True)
    counts = Counter(item for log, num_train in pairs for item in log[:num_train])
    assert ServedFiles.load(sasrec_folder).counts.tolist() == [0, *(counts[item] for item in range(1, 16))]
    assert sum(counts.values()) < len(world.item_log)


@pytest.mark.parametrize("name", ["sasrec", "caser_paper"])
def test_vectors_are_those_that_score_made_as_long_as_one_another(name, sasrec_folder, caser_folder):
    files = ServedFiles.load(sasrec_folder if name == "sasrec" else caser_folder)
    weight = grown(name).output_layer()[0].tolist()
    expected = [[value / math.hypot(*row) for value in row] for row in weight]
    assert files.item_vectors.dtype == np.float32
    np.testing.assert_allclose(files.item_vectors, expected, rtol=1e-5, atol=1e-6)
    assert name != "sasrec" or files.item_vectors.shape == (15, D)


def test_the_bias_is_the_students_own_or_none(sasrec_folder, caser_folder):
    assert ServedFiles.load(sasrec_folder).item_bias.tolist() == [-math.inf] + [0] * 15
    own = grown("caser_paper").output.bias.tolist()
    assert ServedFiles.load(caser_folder).item_bias.tolist() == [-math.inf, *own]


def test_the_card_tells_who_what_and_how_well(sasrec_folder, world):
    card = (sasrec_folder / "MODEL_CARD.md").read_text()
    found = opened(sasrec_folder, SERVED)["result"]["parity"]
    assert card.startswith("# sasrec-0123\n")
    assert "A sasrec (hidden_size 8), trained without a teacher, seed 0: `of-tests`." in card
    assert f"12 users, {len(world.item_log)} interactions, of which {int(world.num_train.sum())} are" in card
    assert f"| HR@5 | {found['onnx']['HR@5']:.4f} | {found['pytorch']['HR@5']:.4f} |" in card
    assert "float32, added to the scores by item number" in card and "bias [16]" in card
    assert not re.search(r"[{}]", card)


def test_a_student_that_onnxruntime_does_not_rank_alike_leaves_nothing_behind(tmp_path, world, monkeypatch):
    monkeypatch.setattr("src.serve.onnx.parity.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="cannot be served as it is"):
        serve(tmp_path / "caser", "caser_paper", world)
    assert list(tmp_path.iterdir()) == []


def test_the_same_student_gives_the_same_bytes(tmp_path, caser_folder, world):
    """Else a copy made elsewhere would be another version."""
    again = serve(tmp_path / caser_folder.name, "caser_paper", world)
    different = [name for name in FILES if (again / name).read_bytes() != (caser_folder / name).read_bytes()]
    assert not different
