from dataclasses import replace

import polars as pl
import pytest

from src.core.errors import UserError
from src.data.dataset import Dataset
from src.exp.stages.prepare import Prepare
from src.exp.stages.updated import UpdatedLog
from src.serve.events import Event, Events
from tests.exp.roads import raw_log, run_in

NEVER = 4_000_000_000.0  # later than any interaction of the log


def run_of(folder, *overrides):
    return run_in(
        folder, f"paths.raw_dirs=[{folder / 'raw'}]", f"server.events=sqlite:///{folder / 'events.db'}", *overrides
    )


def histories(dataset: Dataset) -> dict[str, list[str]]:
    """Raw ids of every user's items, oldest first."""
    users, log = dataset.raw_user_ids(), dataset.item_log.tolist()
    ends = dataset.offsets.tolist()
    return {
        user: [dataset.catalogue.raw_id(item) for item in log[start:end]]
        for user, start, end in zip(users, ends, ends[1:], strict=False)
    }


def prepared(run) -> Dataset:
    stage = Prepare(run)
    stage.ensure()
    return stage.dataset


def updated(run) -> tuple[UpdatedLog, Dataset]:
    """The stage, made, and the dataset that is prepared from it."""
    stage = UpdatedLog(run, Prepare(run))
    stage.check_settings()
    stage.ensure()
    return stage, prepared(replace(run, settings=stage.settings_after()))


@pytest.fixture
def folder(tmp_path):
    raw_log(tmp_path / "raw")
    return tmp_path


def keep(folder, *events: Event) -> None:
    store = Events(f"sqlite:///{folder / 'events.db'}")
    store.add(events)
    store.close()


def test_every_history_goes_on_with_its_events_in_their_order(folder):
    before = prepared(run_of(folder))
    user, items = before.raw_user_ids()[2], before.catalogue.raw_ids
    keep(folder, Event(user, items[4], NEVER + 2), Event(user, items[7], NEVER + 1), Event(user, items[1], NEVER + 1))
    keep(folder, *(Event("someone new", items[n], NEVER + n) for n in (3, 0, 2)), Event("too few", items[0], NEVER))
    _, after = updated(run_of(folder))
    expected = histories(before)
    expected[user] = [*expected[user], items[7], items[1], items[4]]
    expected["someone new"] = [items[0], items[2], items[3]]
    assert histories(after) == expected
    texts = dict(
        zip(before.catalogue.raw_ids, zip(before.catalogue.titles, before.catalogue.texts, strict=True), strict=True)
    )
    catalogue = after.catalogue
    assert texts == dict(zip(catalogue.raw_ids, zip(catalogue.titles, catalogue.texts, strict=True), strict=True))
    assert len(after.examples["test"]) == after.num_users  # of every user the last one


def test_an_event_of_an_item_that_nobody_knows_is_left_out_and_told(folder, caplog):
    before = prepared(run_of(folder))
    user = before.raw_user_ids()[0]
    keep(folder, Event(user, "unknown", NEVER), Event(user, before.catalogue.raw_ids[0], NEVER))
    with caplog.at_level("WARNING"):
        stage, after = updated(run_of(folder))
    assert "1 of 2 events are of items that neither the log nor serve.new_items knows" in caplog.text
    assert histories(after)[user] == [*histories(before)[user], before.catalogue.raw_ids[0]]
    assert len(pl.read_parquet(stage.folder / "interactions.parquet")) == len(before.item_log) + 1


def test_a_new_item_that_somebody_took_is_in_the_catalogue_with_its_text(folder):
    before = prepared(run_of(folder))
    (folder / "new.csv").write_text("item,title,genres\nn1,Fresh (2026),Comedy\nn2,Nobody's (2026),Drama\n")
    keep(folder, Event(before.raw_user_ids()[0], "n1", NEVER))
    how = [f"serve.new_items={folder / 'new.csv'}", "serve.new_items_texts=[genres]"]
    _, after = updated(run_of(folder, *how))
    assert after.catalogue.num_items == before.catalogue.num_items + 1
    number = after.catalogue.number("n1")
    assert (after.catalogue.title(number), after.catalogue.text(number)) == ("Fresh (2026)", "Fresh (2026); Comedy")


def test_other_events_make_another_log_and_the_same_ones_the_same(folder):
    before = prepared(run_of(folder))
    user, item = before.raw_user_ids()[0], before.catalogue.raw_ids[0]
    keep(folder, Event(user, item, NEVER))
    first, again = (UpdatedLog(run_of(folder), Prepare(run_of(folder))).folder for _ in range(2))
    assert first == again
    keep(folder, Event(user, item, NEVER + 1))
    assert UpdatedLog(run_of(folder), Prepare(run_of(folder))).folder != first


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["server.events=null"], "name its store, server.events="),
        (["dataset.split=sessions", "dataset.session_gap_minutes=30"], "Which session an event is of cannot be told"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(folder, overrides, told):
    run = run_of(folder, *overrides)
    with pytest.raises(UserError, match=told):
        UpdatedLog(run, Prepare(run)).check_settings()
