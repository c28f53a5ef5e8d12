import json

import pytest
import torch

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.core.seed import generator
from src.data.dataset import Dataset
from src.data.held_out_items import draw_items
from src.exp.stages.prepare import PrepareWithoutItems
from src.exp.stages.road import Road
from src.exp.studies.cold_start import BOOSTS, KNOWN, KNOWN_ALONE, _boost, _Ranking, measure_cold_start, show
from tests.exp.roads import raw_log, run_in
from tests.worlds import tiny_logs, tiny_titles, write_raw_log

SHARE = "cold_start.share=0.3"


def run_of(folder, *overrides):
    return run_in(folder, f"paths.raw_dirs=[{folder / 'raw'}]", SHARE, *overrides)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cold")
    raw_log(folder / "raw")
    return folder, measure_cold_start(run_of(folder, "metrics.ks=[1,2]", "compare.metrics=[NDCG@2]"))


def test_what_is_trained_on_knows_nothing_of_the_items_held_out(measured):
    folder, _ = measured
    run = run_of(folder)
    whole = Dataset.load(Road(run).prepared.folder)
    out = draw_items(whole, 0.3, generator(run.settings.seed)).tolist()
    prepared = PrepareWithoutItems(run, 0.3)
    (student,) = (folder / "models_dir" / "movielens").glob("baseline-*")
    manifest = read_manifest(student)
    assert manifest["num_items"] == prepared.dataset.num_items == whole.num_items - len(out)
    assert manifest["dataset_fingerprint"] == prepared.fingerprint != whole.fingerprint
    assert not {whole.catalogue.raw_id(item) for item in out} & set(prepared.dataset.catalogue.raw_ids)
    assert prepared.counts["items"] == prepared.dataset.num_items
    assert prepared.counts["untitled_items"] == 0
    assert prepared.counts["train_examples"] == len(prepared.dataset.examples["train"])


def test_each_comparison_is_of_the_users_it_names(measured):
    folder, found = measured
    whole = PrepareWithoutItems(run_of(folder), 0.3).held_out.whole
    examples = whole.examples["test"]
    target = whole.item_log[whole.offsets[examples.user] + examples.end]
    new = int((target > PrepareWithoutItems(run_of(folder), 0.3).held_out.num_known).sum())
    assert 0 < new < len(target)
    assert found.among_new.num_interactions == found.among_all.num_interactions == new
    assert found.known.num_interactions == len(target) - new
    names = {mean.model for mean in found.among_new.means}
    assert {"Popularity", "Student", "Student, vectors alone"} < names
    assert any(name.startswith("Texts like the newest") for name in names)
    by_name = {mean.model: mean.mean for mean in found.among_new.means}
    assert by_name["Popularity"] == 0  # all tie, which counts against it


def test_the_boost_is_the_most_that_costs_no_more_than_is_allowed(tmp_path):
    raw_log(tmp_path / "raw")
    run = run_of(tmp_path)
    prepared = PrepareWithoutItems(run, 0.3)
    Road(run, prepared).go(prepared)
    held = prepared.held_out
    ranking = _Ranking(run, held, 8)
    draw = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(held.whole.num_users, held.whole.num_items, generator=draw)
    place = {int(example): row for row, example in enumerate(held.whole.examples["val"].example_id)}

    def score(batch):
        return scores[[place[int(example)] for example in batch.example_id]]

    alone = ranking.on_validation(score, KNOWN_ALONE)
    cost = {boost: 1 - ranking.on_validation(ranking.boosted(score, boost), KNOWN) / alone for boost in BOOSTS}
    assert cost[BOOSTS[0]] < cost[BOOSTS[-1]]
    for loss in (0.1, 0.3):
        assert _boost(score, ranking, loss) == max(boost for boost in BOOSTS if cost[boost] <= loss + 1e-12)
    assert _boost(lambda batch: score(batch) + 100.0 * ranking.is_new, ranking, 0.01) is None


def test_where_known_items_are_not_ranked_at_all_no_boost_is_chosen():
    class Nothing(_Ranking):
        def __init__(self):
            self.is_new = torch.zeros(3, dtype=torch.bool)

        def on_validation(self, score, part):
            return 0.0

    assert _boost(lambda batch: torch.zeros(1, 3), Nothing(), 0.01) is None


def test_it_is_told_in_a_file_and_on_the_terminal(measured, capsys):
    folder, found = measured
    show(found)
    told = capsys.readouterr().out
    for title in (
        "New items among new items",
        "New items in the whole catalogue",
        "Known items in the whole catalogue",
    ):
        assert title in told and title in (folder / "metrics" / "cold_start.md").read_text()
    kept = json.loads((folder / "metrics" / "cold_start.json").read_text())
    assert kept["boost"] == found.boost and kept["known"]["means"][0]["model"] == "Student, none recommended"
    assert kept["likeness"] == found.likeness and f"serve.new_items_likeness={found.likeness:g}" in told


@pytest.mark.slow
def test_a_distilled_student_has_a_teacher_that_does_not_know_them_either(tmp_path):
    raw_log(tmp_path / "raw")
    found = measure_cold_start(
        run_of(tmp_path, "cold_start.student=distilled", "metrics.ks=[1]", "compare.metrics=[HR@1]")
    )
    assert {mean.model for mean in found.among_new.means} >= {"Student", "Popularity"}
    prepared = PrepareWithoutItems(run_of(tmp_path), 0.3)
    for pattern in ("teacher-*", "distilled-*", "encodings-*"):
        (folder,) = (tmp_path / "models_dir" / "movielens").glob(pattern)
        assert read_manifest(folder)["dataset_fingerprint"] == prepared.fingerprint


def test_nothing_is_made_in_a_dry_run(tmp_path):
    raw_log(tmp_path / "raw")
    run = run_of(tmp_path)
    Road(run).go(Road(run).prepared)
    assert measure_cold_start(run_of(tmp_path, "dry_run=true")) is None
    assert not (tmp_path / "models_dir").exists()


def test_a_log_without_new_targets_says_so(tmp_path):
    logs = tiny_logs()
    logs[0].insert(0, 16)  # the one item with an id that nobody takes last
    write_raw_log(logs, [*tiny_titles(), "Never a target"], tmp_path / "raw")
    run = run_of(tmp_path)
    prepared = PrepareWithoutItems(run, 0.3)
    Road(run, prepared).go(prepared)
    ranking = _Ranking(run, prepared.held_out, 8)
    ranking.is_new = torch.zeros_like(ranking.is_new)
    with pytest.raises(UserError, match=r"No val example of movielens has a new item .* cold_start\.share\.$"):
        ranking.of(lambda batch: torch.zeros(len(batch.target), 16), KNOWN._replace(of_new=True), "val")
