import logging
import shutil

import pytest

from src.core.errors import UserError
from src.serve.http.current import CurrentModel, working
from tests.serve.served import broken, remade, top


class Finds:
    """What finds a model: the folder that a test says, or an error."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __call__(self):
        if self.folder is None:
            raise UserError("There is no served model.")
        return self.folder


@pytest.fixture
def first(sasrec_folder, tmp_path):
    return remade(sasrec_folder, tmp_path / "first", {3: 100.0})


@pytest.fixture
def second(sasrec_folder, tmp_path):
    return remade(sasrec_folder, tmp_path / "second", {8: 100.0})


def best(current: CurrentModel) -> list[str]:
    return top(current.recommender, histories=[["10"]], k=1)


def test_another_model_is_taken_over_and_the_same_one_is_not(first, second, caplog):
    caplog.set_level(logging.INFO)
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    assert best(current) == ["30"] and current.look() is None
    find.folder = second
    earlier = current.recommender
    assert current.look() is True
    assert (best(current), current.recommender.files.folder) == (["80"], second)
    assert f"taken over: second, version {current.recommender.files.version}" in caplog.text
    assert current.look() is None
    assert top(earlier, histories=[["10"]], k=1) == ["30"]  # for those who had taken it before


def test_a_model_that_is_made_again_in_its_place_is_taken_over(first, sasrec_folder):
    current = CurrentModel(Finds(first), threads=1)
    version = current.recommender.files.version
    remade(sasrec_folder, first, {5: 100.0})
    assert current.look() is True
    assert best(current) == ["50"] and current.recommender.files.version != version


def test_a_model_that_answers_needs_its_folder_no_longer(first, recommender):
    model = working(first, threads=1)
    shutil.rmtree(first)
    assert top(model, users=[recommender.files.raw_user_ids[3]], items=["10", "30", "90"], filter_seen=False)[0] == "30"
    assert model.similar("40") == recommender.similar("40")


def damage(kind: str, sasrec_folder, folder):
    """Returns a served model at `folder` that does not work."""
    if kind == "changed":
        return broken(remade(sasrec_folder, folder))
    if kind == "no graph":
        return remade(sasrec_folder, folder, graph=b"no graph")
    if kind == "recommends nothing":
        return remade(sasrec_folder, folder, dict.fromkeys(range(1, 16), float("-inf")))
    return remade(sasrec_folder, folder, history_length="six")


DAMAGES = {
    "changed": "has changed since it was written",
    "no graph": "cannot be run by onnxruntime",
    "recommends nothing": "recommends nothing after item 1: make it again",
    "answers nothing": r"answers nothing \(ufunc .*\): make it again",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_broken_model_is_refused_once_and_the_one_before_stays(kind, first, second, sasrec_folder, tmp_path, caplog):
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    find.folder = damage(kind, sasrec_folder, tmp_path / "bad")
    assert current.look() is False
    assert caplog.text.count("refused, first stays: ") == 1
    assert [current.look(), current.look()] == [None, None]
    assert best(current) == ["30"] and caplog.text.count("refused, first stays: ") == 1
    find.folder = second
    assert current.look() is True and best(current) == ["80"]


def test_a_model_that_was_looked_at_while_it_was_copied_is_taken_over_once_it_is_whole(first, second, tmp_path):
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    find.folder = tmp_path / "copied"
    find.folder.mkdir()
    for file in sorted(second.iterdir(), key=lambda file: file.name != "manifest.json"):
        shutil.copy(file, find.folder)
        assert current.look() in (False, True)
    assert best(current) == ["80"] and current.look() is None


def test_a_broken_model_that_is_made_again_is_taken_over(first, sasrec_folder, tmp_path):
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    find.folder = damage("no graph", sasrec_folder, tmp_path / "next")
    assert current.look() is False
    remade(sasrec_folder, tmp_path / "next", {9: 100.0})
    assert current.look() is True and best(current) == ["90"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_nothing_is_served_where_the_first_model_is_broken(kind, sasrec_folder, tmp_path):
    folder = damage(kind, sasrec_folder, tmp_path / "bad")
    with pytest.raises(UserError, match=DAMAGES[kind]):
        CurrentModel(Finds(folder), threads=1)
    with pytest.raises(UserError, match="There is no served model"):
        CurrentModel(Finds(None), threads=1)


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_begins_beside_a_broken_model_answers_by_the_newest_that_works(
    kind, first, second, sasrec_folder, tmp_path, caplog
):
    bad, worse = (damage(kind, sasrec_folder, tmp_path / name) for name in ("bad", "worse"))
    find = Finds(bad)
    current = CurrentModel(find, 1, lambda: [bad, worse, second, first])
    assert best(current) == ["80"] and "refused, second answers in its place: " in caplog.text
    assert current.look() is None  # refused once
    find.folder = first
    assert current.look() is True and best(current) == ["30"]
    with pytest.raises(UserError, match=DAMAGES[kind]):
        CurrentModel(Finds(bad), 1, lambda: [bad, worse])


def test_an_error_without_words_is_told_too(first, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("src.serve.recommender.Recommender.rank", fails)
    with pytest.raises(UserError, match=r"first answers nothing \(\)"):
        working(first, threads=1)


def test_between_two_models_the_one_that_answers_stays(first, second, tmp_path):
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    for gone in (None, tmp_path / "nowhere"):
        find.folder = gone
        assert current.look() is None and best(current) == ["30"]
    find.folder = second
    assert current.look() is True


def test_back_to_the_model_before_a_refused_one_nothing_changes(first, sasrec_folder, tmp_path):
    find = Finds(first)
    current = CurrentModel(find, threads=1)
    find.folder = damage("changed", sasrec_folder, tmp_path / "bad")
    assert current.look() is False
    find.folder = first
    assert current.look() is None and best(current) == ["30"]
