import os
import shutil
from pathlib import Path

import pytest

from src.teacher.language_model import contents
from src.teacher.language_model.contents import language_model_digest
from src.teacher.settings import LanguageModelSettings


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder with a model in it."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "some" / "config.json").write_bytes(b"{}")
    return tmp_path


def of(name: str, models: Path, path: Path | None = None) -> str | None:
    return language_model_digest(LanguageModelSettings(name=name, path=path), models)


def test_the_contents_tell_a_model_wherever_it_lies(models, tmp_path):
    mark = of("some", models)
    assert len(mark) == 16 and int(mark, 16) >= 0
    shutil.copytree(models / "some", tmp_path / "elsewhere" / "mine")
    assert of("some", models, tmp_path / "elsewhere" / "mine") == mark
    assert of("another", models, tmp_path / "elsewhere" / "mine") == mark


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_another_byte_or_file_is_another_model(models, name):
    before = of("some", models)
    path = models / "some" / name
    path.write_bytes((path.read_bytes() if path.is_file() else b"") + b"!")
    assert of("some", models) not in (before, None)


def test_files_are_read_once_until_they_change(models, monkeypatch):
    mark = of("some", models)
    monkeypatch.setattr(contents, "sha256_of", lambda path: pytest.fail("read again"))
    assert of("some", models) == mark
    monkeypatch.undo()
    path = models / "some" / "model.safetensors"
    path.write_bytes(b"other 7")  # as long as before
    os.utime(path, ns=(1, 1))
    assert of("some", models) != mark


def test_other_weights_of_the_same_size_and_time_are_another_model(models):
    """Whoever unpacks an archive may give every file the same time."""
    path = models / "some" / "model.safetensors"
    os.utime(path, ns=(1, 1))
    before = of("some", models)
    path.unlink()
    path.write_bytes(b"Weights")
    os.utime(path, ns=(1, 1))
    assert of("some", models) != before


def test_a_damaged_list_of_digests_is_made_anew(models):
    mark = of("some", models)
    for damaged in ('{"some": ', "[]", '{"some": 3}'):
        (models / ".digests.json").write_text(damaged)
        assert of("some", models) == mark


def test_a_model_that_is_gone_keeps_its_digest_and_one_that_never_was_has_none(models):
    mark = of("some", models)
    shutil.rmtree(models / "some")
    assert of("some", models) == mark
    assert of("no/such-model-on-this-machine", models) is None


def test_a_model_that_is_made_here_is_its_name(tmp_path):
    assert of("tiny-random", tmp_path) == "tiny-random"
    assert list(tmp_path.iterdir()) == []
