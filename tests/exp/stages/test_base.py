import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from src.core.artefact import Kind, making, read_manifest, unfinished, writing
from src.core.errors import UserError
from src.exp.program.run import Run
from src.exp.stages.base import Prepared, Stage
from tests.exp.roads import road_in
from tests.processes import child
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()


class Dough(Stage):
    title, what, command, elsewhere = "dough: kneading", "dough", "knead", "flour"
    kind = Kind("food", 1)
    made, contents = 0, "flour and water"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "dough-", self.settings.seed)

    def make(self) -> None:
        self.made += 1
        with writing(self.folder, self.kind, self.about({"weight": 500})) as temporary:
            (temporary / "dough.txt").write_text(self.contents)


class Cake(Dough):
    title, what, command, elsewhere = "cake: baking", "cake", "bake", "an oven"
    given_folder: Path | None = None

    def __init__(self, run: Run, prepared: Prepared, dough: Dough) -> None:
        super().__init__(run, prepared)
        self.dough = dough

    def inputs(self) -> Sequence[Stage]:
        return (self.dough,)

    @property
    def given(self) -> Path | None:
        return self.given_folder

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "cake-", {"layers": 2})


class Slice(Cake):
    title, what = "slice: cutting", "slice"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "slice-")


@pytest.fixture
def bakery(tmp_path, caplog):
    """Returns new stages for the same folder, and for the same settings unless overrides say otherwise."""
    caplog.set_level(logging.INFO)

    def open_again(*overrides: str) -> tuple[Dough, Cake]:
        road = road_in(tmp_path, DATASET, *overrides)
        dough = Dough(road.run, road.prepared)
        return dough, Cake(dough.run, dough.prepared, dough)

    return open_again


def bake(dough: Dough, cake: Cake) -> None:
    dough.ensure()
    cake.ensure()


class SlowCake(Cake):
    """While it is in the oven, somebody kneads the dough anew."""

    def make(self) -> None:
        with writing(self.dough.folder, self.kind, read_manifest(self.dough.folder)) as temporary:
            (temporary / "dough.txt").write_text("rye")
        super().make()


def test_a_folder_is_known_before_anything_is_made_and_says_dataset_and_kind(bakery, tmp_path):
    dough, cake = bakery()
    assert not dough.folder.exists() and not cake.folder.exists()
    assert cake.folder.parent == tmp_path / "models_dir" / "tiny"
    assert cake.folder.name.startswith("cake-") and len(cake.folder.name) == len("cake-") + 16
    bake(dough, cake)
    assert [each.folder for each in bakery()] == [dough.folder, cake.folder]


def test_a_key_follows_from_ones_own_settings_and_the_keys_of_the_inputs(bakery):
    dough, cake = bakery()
    other_dough, other_cake = bakery("seed=1")
    assert other_dough.folder != dough.folder and other_cake.folder != cake.folder
    assert Cake(other_cake.run, other_cake.prepared, dough).folder == cake.folder
    assert [each.folder for each in bakery("student.train.lr=0.5")] == [dough.folder, cake.folder]


def test_stages_that_are_called_otherwise_have_other_keys(bakery):
    _, cake = bakery()
    other = type("Other", (Cake,), {"title": "cake: freezing"})(cake.run, cake.prepared, cake.dough)
    assert other.folder != cake.folder


def test_a_stage_is_made_once(bakery, caplog):
    bake(*bakery())
    made = caplog.messages
    caplog.clear()
    dough, cake = bakery()
    assert made == ["── dough: kneading", f"made: {dough.folder}", "── cake: baking", f"made: {cake.folder}"]
    assert dough.is_made() and cake.is_made() and cake.why_to_make() is None
    bake(dough, cake)
    assert (dough.made, cake.made) == (0, 0)
    assert [record.message for record in caplog.records] == [
        f"already there: {dough.folder}", f"already there: {cake.folder}",
    ]  # fmt: skip


def test_a_stage_is_made_again_where_that_is_asked_for(bakery):
    bake(*bakery())
    dough, cake = bakery("rerun=true")
    assert cake.is_made()
    bake(dough, cake)
    assert (dough.made, cake.made) == (1, 1)


def test_what_is_not_there_is_to_be_made(bakery):
    dough, cake = bakery()
    assert not dough.is_made()
    assert dough.why_to_make() == cake.why_to_make() == "not there"


def test_half_a_folder_is_none(bakery):
    dough, _ = bakery()
    dough.folder.mkdir(parents=True)
    (dough.folder / "dough.txt").write_text("flour")
    assert dough.why_to_make() == "not there"


def test_what_was_made_from_another_input_is_made_again(bakery, caplog):
    bake(*bakery())
    dough, cake = bakery("rerun=true")
    dough.contents = "rye and water"
    dough.ensure()
    assert cake.why_to_make() == "made from another dough"
    dough, cake = bakery()
    assert dough.is_made() and not cake.is_made()
    caplog.clear()
    bake(dough, cake)
    assert (dough.made, cake.made) == (0, 1)
    assert f"{cake.folder.name} is made from another dough: it is made again" in caplog.text
    assert bakery()[1].is_made()


def test_an_input_that_comes_out_the_same_changes_nothing_below_it(bakery):
    bake(*bakery())
    dough, cake = bakery("rerun=true")
    dough.ensure()
    assert dough.made == 1 and cake.is_made()


def test_the_change_reaches_what_is_made_from_what_was_made_again(bakery):
    bake(*bakery())
    Slice(bakery()[1].run, bakery()[1].prepared, bakery()[1]).ensure()
    dough, _ = bakery("rerun=true")
    dough.contents = "rye and water"
    dough.ensure()
    dough, cake = bakery()
    cake.contents = "a darker cake"
    cake.ensure()
    assert Slice(cake.run, cake.prepared, cake).why_to_make() == "made from another cake"


def test_an_artefact_without_its_input_stays_as_it_is(bakery):
    dough, cake = bakery()
    bake(dough, cake)
    for file in dough.folder.iterdir():
        file.unlink()
    dough.folder.rmdir()
    assert bakery()[1].is_made()


def test_a_missing_input_is_named_with_its_command_and_key_before_anything_is_made(bakery):
    _, cake = bakery()
    with pytest.raises(UserError, match=r"There is no dough at .*dough-.*src\.exp\.knead` and .* or set flour\."):
        cake.ensure()
    assert cake.made == 0 and not cake.folder.exists()


def test_a_missing_artefact_is_named_with_its_command_and_key(bakery):
    with pytest.raises(UserError, match=r"There is no cake at .*cake-.*src\.exp\.bake` and .* or set an oven\."):
        bakery()[1].require()


def test_a_folder_that_the_config_names_takes_the_place_of_ones_own(bakery, tmp_path):
    _, cake = bakery()
    own = cake.folder
    _, cake = bakery()
    cake.given_folder = tmp_path / "bought"
    assert cake.folder == tmp_path / "bought" != own
    assert cake.why_to_make() == "named by the config, but not there"
    with pytest.raises(UserError, match=r"There is no cake at .*bought"):
        cake.ensure()
    (tmp_path / "bought").mkdir()
    assert cake.is_made()
    cake.ensure()
    assert cake.made == 0


def test_what_follows_from_a_given_folder_follows_from_its_contents(bakery, tmp_path):
    (tmp_path / "bought").mkdir()
    (tmp_path / "bought" / "cake.txt").write_text("one")

    def folder_of_slice() -> Path:
        _, cake = bakery()
        cake.given_folder = tmp_path / "bought"
        return Slice(cake.run, cake.prepared, cake).folder

    first = folder_of_slice()
    assert folder_of_slice() == first
    (tmp_path / "bought" / "cake.txt").write_text("two")
    second = folder_of_slice()
    (tmp_path / "bought" / "cream.txt").write_text("three")
    assert len({first, second, folder_of_slice()}) == 3


def test_the_manifest_says_of_what_and_from_what_it_was_made_how_and_where(bakery):
    dough, cake = bakery()
    bake(dough, cake)
    about, first = read_manifest(cake.folder), read_manifest(dough.folder)
    assert (about["stage"], about["dataset"], about["dataset_fingerprint"]) == (
        "cake: baking", "tiny", DATASET.fingerprint,
    )  # fmt: skip
    assert (about["seed"], about["result"]) == (0, {"weight": 500})
    assert first["inputs"] == {} and list(about["inputs"]) == ["dough: kneading"]
    assert 0 <= about["seconds_of_stage"] < 60
    assert {"git", "python", "libraries", "machine"} <= about.keys()


def test_only_what_was_made_is_timed(bakery, tmp_path):
    dough, cake = bakery()
    bake(dough, cake)
    assert set(json.loads((tmp_path / "metrics" / "time.json").read_text())["seconds"]) == {
        "dough: kneading", "cake: baking",
    }  # fmt: skip
    dough, cake = bakery()
    bake(dough, cake)
    assert dough.run.stopwatch.seconds == {}


def test_an_input_that_is_replaced_meanwhile_is_not_said_to_be_what_it_was_made_from(bakery):
    dough, cake = bakery()
    bake(dough, SlowCake(cake.run, cake.prepared, dough))
    assert bakery()[1].why_to_make() == "made from another dough"


# --- trusted without looking


def test_a_folder_under_another_name_is_not_taken_for_what_it_is_called(bakery):
    dough, cake = bakery()
    bake(dough, cake)
    other_dough, other_cake = bakery("seed=1")
    shutil.copytree(dough.folder, other_dough.folder)
    assert other_dough.why_to_make() == f"not what its name says, but food 1 {dough.folder.name}"
    with pytest.raises(UserError, match=r"The dough at .* is not what its name says, but food 1 dough-"):
        other_cake.ensure()
    other_dough.ensure()
    assert other_dough.made == 1 and other_dough.is_made()


def test_another_format_of_an_artefact_has_another_key(bakery, monkeypatch):
    before = [each.folder for each in bakery()]
    monkeypatch.setattr(Dough, "kind", Kind("food", 2))
    assert not {each.folder for each in bakery()} & set(before)


def test_two_processes_that_make_the_same_do_the_work_once(bakery, tmp_path):
    def knead_slowly() -> None:
        dough, _ = bakery()
        make = dough.make

        def slowly() -> None:
            with (tmp_path / "made").open("a") as file:
                file.write("once ")
            time.sleep(0.3)
            make()

        dough.make = slowly
        dough.ensure()

    children = [child(knead_slowly) for _ in range(3)]
    assert [end(None) for end in children] == [0, 0, 0]
    assert (tmp_path / "made").read_text() == "once "
    assert bakery()[0].is_made()


def test_a_plan_says_what_goes_on(bakery):
    dough, _ = bakery()
    (unfinished(dough.folder) / "half").mkdir(parents=True)
    assert dough.why_to_make() == "goes on where it was stopped"
    dough.ensure()
    assert not unfinished(dough.folder).exists()


class Sourdough(Dough):
    """Keeps what is done; asked to, the process ends once the bread is there but before it could tidy up."""

    title = "sourdough: kneading"
    killed = False

    def make(self) -> None:
        half = self.kept_so_far() / "half"
        self.began_with = half.read_text() if half.is_file() else None
        half.write_text("half of it")
        super().make()

    def tidy(self, left: Path) -> None:
        if self.killed:
            raise KeyboardInterrupt
        super().tidy(left)


def test_what_a_finished_making_left_is_none_that_the_next_goes_on_from(bakery):
    """Else rerun=true would hand over the old artefact once more."""

    def sourdough(*overrides: str) -> Sourdough:
        return Sourdough(bakery(*overrides)[0].run, bakery(*overrides)[0].prepared)

    first = sourdough()
    first.killed = True
    with pytest.raises(KeyboardInterrupt):
        first.ensure()
    assert first.is_made() and unfinished(first.folder).is_dir()
    again = sourdough("rerun=true")
    again.ensure()
    assert again.began_with is None and not unfinished(again.folder).exists()


def test_what_a_finished_making_left_is_removed_by_whoever_finds_the_artefact_there(bakery):
    def sourdough(*overrides: str) -> Sourdough:
        return Sourdough(bakery(*overrides)[0].run, bakery(*overrides)[0].prepared)

    first = sourdough()
    first.killed = True
    with pytest.raises(KeyboardInterrupt):
        first.ensure()
    with making(first.folder):
        assert child(sourdough().ensure)(None) == 0  # not while another process may be at it
        assert unfinished(first.folder).is_dir()
    sourdough().ensure()
    assert not unfinished(first.folder).exists()


def test_an_interrupted_making_over_an_artefact_that_is_there_is_gone_on_with(bakery, monkeypatch):
    def sourdough() -> Sourdough:
        road, _ = bakery("rerun=true")
        return Sourdough(road.run, road.prepared)

    sourdough().ensure()
    broken = sourdough()
    monkeypatch.setattr(Dough, "make", lambda self: pytest.fail("the oven is cold"))
    with pytest.raises(pytest.fail.Exception):
        broken.ensure()
    monkeypatch.undo()
    again = sourdough()
    again.ensure()
    assert again.began_with == "half of it"


def test_what_was_begun_without_rerun_is_not_gone_on_with_by_one_that_asks_for_all_again(bakery, monkeypatch):
    def sourdough(*overrides: str) -> Sourdough:
        road, _ = bakery(*overrides)
        return Sourdough(road.run, road.prepared)

    def break_off(*overrides: str) -> None:
        with monkeypatch.context() as broken, pytest.raises(pytest.fail.Exception):
            broken.setattr(Dough, "make", lambda self: pytest.fail("the oven is cold"))
            sourdough(*overrides).ensure()

    break_off()
    again = sourdough("rerun=true")
    again.ensure()
    assert again.began_with is None
    shutil.rmtree(again.folder)
    for asked in (["rerun=true"], []):  # what was begun for all again is good enough for both
        break_off("rerun=true")
        after = sourdough(*asked)
        after.ensure()
        assert after.began_with == "half of it"
        shutil.rmtree(after.folder)


def test_an_input_of_the_same_bytes_that_was_made_from_another_is_another_one(bakery):
    """A calibration may be the same file although its teacher is not the same."""
    dough, cake = bakery()
    bake(dough, cake)
    Slice(cake.run, cake.prepared, cake).ensure()
    dough, cake = bakery("rerun=true")
    dough.contents = "rye and water"
    bake(dough, cake)
    assert Slice(cake.run, cake.prepared, cake).why_to_make() == "made from another cake"


def test_a_making_that_fails_before_anything_is_done_leaves_nothing(bakery):
    class Burnt(Dough):
        def make(self) -> None:
            self.kept_so_far()
            raise UserError("The dough is burnt.")

    road, _ = bakery()
    burnt = Burnt(road.run, road.prepared)
    with pytest.raises(UserError, match="burnt"):
        burnt.ensure()
    assert not unfinished(burnt.folder).exists()


def test_an_input_whose_manifest_is_gone_is_not_there(bakery):
    dough, cake = bakery()
    bake(dough, cake)
    (dough.folder / "manifest.json").unlink()
    dough, cake = bakery()
    assert dough.why_to_make() == "not there"
    assert cake.why_to_make() is None
    bake(dough, cake)
    assert dough.made == 1 and cake.made == 0
