import json

import numpy as np
import pytest

from src.core.errors import UserError
from src.report.stored import read_run
from tests.report.models import model, trained
from tests.report.runs import NAMES, dataset_in, write_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return dataset_in(tmp_path_factory.mktemp("dataset"))


def test_a_run_is_read_with_all_it_holds(tmp_path, dataset):
    run = read_run(write_run(tmp_path / "result_1", dataset, *NAMES, seeds=11))
    assert list(run.models) == list(NAMES)
    assert [len(each.trainings) for each in run.models.values()] == [1, 11, 11, 11, 1, 11]
    assert run.name == "result_1"
    assert run.comparison.means[0].model == "Baseline (sasrec)" and len(run.comparison.steps) == 6
    assert run.seconds == {"prepare": 0.5, "teacher: training": 61.0}
    assert run.dataset.fingerprint == dataset.fingerprint and run.no_dataset == ""
    assert [len(each.curve) for each in run.artefacts] == [3, 0, 2]
    assert run.made_from.history_buckets == [2, 5]


def test_trainings_stand_in_the_order_of_their_seeds(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, "baseline", "distilled", seeds=11)
    ranks = [json.loads((folder / "metrics" / f"distilled_seed_{n}.json").read_text())["rank"] for n in (2, 10)]
    found = [each.figures.rank for each in read_run(folder).models["distilled"].trainings]
    assert (found.index(ranks[0]), found.index(ranks[1])) == (2, 10)


def test_a_value_is_the_mean_over_trainings():
    both = model(trained([1, 3]), trained([2, 1]))
    assert both.values("HR@1").tolist() == [0.5, 0.5]
    assert both.values("NDCG@10").tolist() == pytest.approx([(1 + 1 / np.log2(3)) / 2, (0.5 + 1) / 2])


def test_lists_are_there_if_every_training_has_them():
    with_lists, without = trained([1], [[1]]), trained([1])
    assert len(model(with_lists, with_lists).lists) == 2
    assert model(with_lists, without).lists == []


def test_a_run_of_an_earlier_version_is_read_as_far_as_it_goes(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, "baseline", "distilled", made_from=False)
    for file in folder.glob("metrics/*.safetensors"):
        file.unlink()
    comparison = folder / "metrics" / "comparison.json"
    plain = json.loads(comparison.read_text())
    del plain["steps"]
    comparison.write_text(json.dumps(plain))
    run = read_run(folder)
    assert run.dataset is None and "earlier version" in run.no_dataset
    assert run.artefacts == [] and run.comparison.steps == []
    assert run.models["baseline"].lists == []


def test_a_dataset_that_is_gone_is_told(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, "baseline")
    about = folder / "metrics" / "made_from.json"
    about.write_text(about.read_text().replace(str(dataset.folder), str(tmp_path / "nowhere")))
    run = read_run(folder)
    assert run.dataset is None and "nowhere" in run.no_dataset


def overwritten(name: str, text: str):
    return lambda folder: (folder / "metrics" / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: [file.unlink() for file in folder.glob("metrics/*.json")], "has no metrics/<model>.json"),
        (overwritten("baseline.json", '{"model": "x"'), "baseline.json, line 1, is not JSON"),
        (
            overwritten("baseline.json", '{"model": "x"}'),
            "baseline.json, dataset_fingerprint: Field required; it was changed since",
        ),
        (overwritten("made_from.json", '{"program": {}}'), "made_from.json, dataset_folder: Field required"),
        (overwritten("made_from.json", "[]"), "made_from.json, all of it: Input should be"),
        (overwritten("comparison.json", '{"means": 1}'), "comparison.json holds no comparison"),
        (overwritten("comparison.json", "[1]"), "comparison.json holds no comparison"),
        (overwritten("time.json", "[]"), "time.json tells no seconds"),
        (lambda folder: (folder / "metrics" / "baseline.safetensors").write_bytes(b"x"), "is no safetensors file"),
    ],
)
def test_what_is_damaged_is_told_in_a_sentence(tmp_path, dataset, damage, words):
    folder = write_run(tmp_path / "result_1", dataset, "baseline", "distilled")
    damage(folder)
    with pytest.raises(UserError, match=words):
        read_run(folder)


def test_models_of_different_examples_are_refused(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, "baseline", "distilled")
    file = folder / "metrics" / "distilled.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "example_id": plain["example_id"][::-1]}))
    with pytest.raises(UserError, match="ranked different examples"):
        read_run(folder)


def test_lists_of_other_examples_are_refused(tmp_path, dataset):
    folder = write_run(tmp_path / "result_1", dataset, "baseline")
    file = folder / "metrics" / "baseline.json"
    plain = json.loads(file.read_text())
    shorter = {key: plain[key][:-1] for key in ("example_id", "user", "rank", "target")}
    file.write_text(json.dumps({**plain, **shorter}))
    with pytest.raises(UserError, match="do not go together"):
        read_run(folder)
