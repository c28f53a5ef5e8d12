import random
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from src.core.errors import UserError
from src.data.dataset import Dataset
from src.data.histories import joined
from src.data.updated_log import as_items, settings_of_log
from src.exp.program.config import compose_settings
from src.exp.stages.new_items import table_of_new_items
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
    stage.before.ensure()
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
    keep(folder, Event(user, items[4], NEVER + 2), Event(user, items[8], NEVER + 1), Event(user, items[1], NEVER + 1))
    keep(folder, *(Event("someone new", items[n], NEVER + n) for n in (3, 0, 2)), Event("too few", items[0], NEVER))
    _, after = updated(run_of(folder))
    expected = histories(before)
    expected[user] = [*expected[user], items[8], items[1], items[4]]
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
    assert "1 of 2 events are left out: neither the log nor serve.new_items knows their items" in caplog.text
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


def test_a_table_of_new_items_is_read_by_the_columns_that_the_user_named(folder):
    before = prepared(run_of(folder))
    (folder / "new.csv").write_text(
        "sku,name,item,title,genres\nn1,Fresh (2026),x-17,internal A,Comedy\nn2,Later (2026),x-18,internal B,Drama\n"
    )
    keep(folder, Event(before.raw_user_ids()[0], "n1", NEVER))
    how = [f"serve.new_items={folder / 'new.csv'}", "serve.new_items_texts=[genres]"]
    run = run_of(folder, *how, "dataset.columns.item_key=sku", "dataset.columns.title=name")
    stage, after = updated(run)
    assert after.catalogue.text(after.catalogue.number("n1")) == "Fresh (2026); Comedy"
    table = table_of_new_items(stage.settings_after())
    rest = table.read(pl.Series(after.catalogue.raw_ids))
    assert rest.rows() == [("n2", "Later (2026)", "Later (2026); Drama")]
    keep(folder, Event(before.raw_user_ids()[1], "n2", NEVER))
    stage, _ = updated(run)
    assert stage.settings_after().serve.new_items is None  # all have been taken


def test_events_that_the_log_holds_already_are_not_in_it_twice(folder):
    before = prepared(run_of(folder))
    user, items = before.raw_user_ids()[1], before.catalogue.raw_ids
    held = histories(before)[user]
    keep(folder, *(Event(user, item, NEVER + n) for n, item in enumerate([*held[-2:], items[3]])))
    _, after = updated(run_of(folder))
    assert histories(after)[user] == [*held, items[3]]


@pytest.mark.parametrize("time", [0.0, -5.0, 1e300, 1000.5])
def test_an_event_comes_behind_the_log_whenever_it_was(folder, time):
    before = prepared(run_of(folder))
    user, items = before.raw_user_ids()[1], before.catalogue.raw_ids
    keep(folder, Event(user, items[3], time), Event(user, items[5], max(time, 1.0)))
    _, after = updated(run_of(folder))
    assert histories(after)[user] == [*histories(before)[user], items[3], items[5]]


def test_the_log_reads_as_the_service_reads_log_and_events(folder):
    """Whatever comes: of a model trained on the log with the events, the service adds none of them again."""
    before = prepared(run_of(folder))
    items, users = before.catalogue.raw_ids, before.raw_user_ids()
    draw = random.Random(0)
    for user in users:
        keep(
            folder,
            *(Event(user, draw.choice([*items, "unknown"]), draw.uniform(0, 5e9)) for _ in range(draw.randint(1, 5))),
        )
        held = histories(before)[user]
        keep(folder, *(Event(user, item, NEVER + n) for n, item in enumerate(held[-draw.randint(1, 2) :])))
    _, after = updated(run_of(folder))
    store = Events(f"sqlite:///{folder / 'events.db'}")
    kept = store.of(users)
    store.close()
    for user in users:
        known = [item for item in kept[user] if item != "unknown"]
        expected = joined(histories(before)[user], known)
        assert histories(after)[user] == expected == joined(histories(after)[user], known)


def test_a_user_whom_no_log_can_name_is_left_out(folder, caplog):
    before = prepared(run_of(folder))
    item = before.catalogue.raw_ids[0]
    keep(folder, *(Event(user, item, NEVER + n) for user in (" ", "a\nb", "a\x01b", "fine") for n in range(3)))
    _, after = updated(run_of(folder))
    assert "9 of 12 events are left out" in caplog.text
    assert set(after.raw_user_ids()) == {*before.raw_user_ids(), "fine"}


def test_short_users_are_told_and_rare_items_stay(folder, caplog):
    before = prepared(run_of(folder, "dataset.min_item_interactions=2"))
    keep(folder, Event("short", before.catalogue.raw_ids[0], NEVER))
    (folder / "new.csv").write_text("item,title\nn1,Fresh (2026)\n")
    keep(folder, Event(before.raw_user_ids()[0], "n1", NEVER))
    run = run_of(folder, "dataset.min_item_interactions=2", f"serve.new_items={folder / 'new.csv'}")
    _, after = updated(run)
    assert "1 users have fewer than 3 interactions" in caplog.text
    assert "n1" in after.catalogue.raw_ids and set(before.catalogue.raw_ids) < set(after.catalogue.raw_ids)


def test_a_split_that_the_raw_files_gave_ends_with_each_users_last_two():
    given = compose_settings("dataset=amazon_games").dataset
    assert given.split == "given"
    assert settings_of_log(given, Path("somewhere"))["split"] == "leave_one_out"


def test_texts_come_back_as_they_were():
    items = pl.DataFrame(
        {
            "item": ["a", "b", "c", "d"],
            "title": ["Foo", "Foo", "Foo", ""],
            "text": ["Foo", "Foo; bar; baz", "Foobar", "bar"],
        }
    )
    assert as_items(items)["more"].to_list() == ["", "bar; baz", "Foobar", "bar"]


def test_a_table_that_changes_while_it_is_made_from_makes_nothing(folder):
    before = prepared(run_of(folder))
    (folder / "new.csv").write_text("item,title\nn1,Fresh (2026)\n")
    keep(folder, Event(before.raw_user_ids()[0], "n1", NEVER))
    run = run_of(folder, f"serve.new_items={folder / 'new.csv'}")
    stage = UpdatedLog(run, Prepare(run))
    assert not stage.folder.exists()
    (folder / "new.csv").write_text("item,title\nn1,Another (2026)\n")
    with pytest.raises(UserError, match="has changed since this run began: start the same command again"):
        stage.ensure()
    assert not stage.folder.exists()


def test_a_store_that_is_not_there_is_told_and_not_made(folder):
    prepared(run_of(folder))
    with pytest.raises(UserError, match="is not there: name the file of the service"):
        UpdatedLog(run_of(folder), Prepare(run_of(folder))).own_folder()
    assert not (folder / "events.db").exists()


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
        (["serve.new_items=nowhere.csv"], "serve.new_items=.*nowhere.csv is not there"),
        (["dataset.split=sessions", "dataset.session_gap_minutes=30"], "Which session an event is of cannot be told"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(folder, overrides, told):
    run = run_of(folder, *overrides)
    with pytest.raises(UserError, match=told):
        UpdatedLog(run, Prepare(run)).check_settings()
