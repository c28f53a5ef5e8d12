import logging

import pytest

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.exp.stages.prepare import Prepare
from src.exp.stages.road import Road
from tests.exp.roads import raw_log, run_in
from tests.worlds import tiny_dataset


@pytest.fixture
def prepared(tmp_path, caplog):
    """Returns the stage over a raw log in MovieLens-1M's layout."""
    caplog.set_level(logging.INFO)
    raw_log(tmp_path / "raw")

    def stage(*overrides: str) -> Prepare:
        return Road(run_in(tmp_path / "made", f"paths.raw_dirs=[{tmp_path / 'raw'}]", *overrides)).prepared

    return stage


def test_a_raw_log_becomes_a_dataset_that_is_named_by_its_fingerprint(prepared, tmp_path, caplog):
    stage = prepared()
    assert stage.folder == tmp_path / "made" / "processed_dir" / "movielens" / stage.fingerprint
    assert stage.why_to_make() == "not there"
    stage.ensure()
    world = tiny_dataset()
    assert stage.counts["users"] == world.num_users and stage.counts["items"] == world.num_items
    assert stage.dataset.item_log.tolist() == world.item_log.tolist()
    assert read_manifest(stage.folder)["counts"] == stage.counts
    assert "12 users, 15 items, 90 interactions; examples: 54 train, 12 val, 12 test" in caplog.text


def test_it_is_prepared_once(prepared):
    prepared().ensure()
    before = prepared().folder.stat().st_mtime_ns
    for overrides in ([], ["rerun=true"]):
        stage = prepared(*overrides)
        assert stage.is_made()
        stage.ensure()
        assert stage.folder.stat().st_mtime_ns == before
        assert stage.run.stopwatch.seconds == {}


def test_other_contents_and_other_filters_are_other_datasets(prepared, tmp_path):
    first = prepared().fingerprint
    assert prepared("dataset.limit_data_rows=50").fingerprint != first
    assert prepared("dataset.prompt=toys", "seed=1").fingerprint == first
    raw_log(tmp_path / "raw", seed=1)
    assert prepared().fingerprint != first


def test_a_dataset_that_is_not_there_is_named_with_its_command(prepared):
    with pytest.raises(UserError, match=r"There is no prepared dataset at .*run_prepare"):
        prepared().dataset  # noqa: B018
