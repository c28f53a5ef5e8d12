import re

import pytest

from src.core.artefact import DATASET, read_manifest, writing
from src.core.errors import UserError
from src.data.export.folder import exporting


def export(folder, text="1", layout="recbole"):
    with exporting(folder, layout, {"dataset": "tiny"}) as temporary:
        (temporary / "log").write_text(text)


def test_an_export_replaces_an_earlier_one_of_its_layout(tmp_path):
    export(tmp_path / "out", "1")
    export(tmp_path / "out", "2")
    assert (tmp_path / "out" / "log").read_text() == "2"
    manifest = read_manifest(tmp_path / "out")
    assert (manifest["layout"], manifest["dataset"]) == ("recbole", "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_nothing_else(tmp_path):
    (tmp_path / "out").mkdir()
    export(tmp_path / "out")
    assert (tmp_path / "out" / "log").is_file()


@pytest.mark.parametrize("case", ["a file of theirs", "another layout", "another kind", "a file beside ours", "a file"])
def test_something_else_is_neither_replaced_nor_touched(tmp_path, case):
    out, told = tmp_path / "out", "thesis.txt"
    if case == "a file of theirs":
        out.mkdir()
    elif case == "another layout":
        export(out, layout="dllm2rec")
        told = "dllm2rec exported data"
    elif case == "another kind":
        told = "dataset"
        with writing(out, DATASET, {}):
            pass
    elif case == "a file beside ours":
        export(out)
    if case in ("a file of theirs", "a file beside ours"):
        (out / "thesis.txt").write_text("years of work")
    if case == "a file":
        out, told = tmp_path / "thesis.txt", "thesis.txt"
        out.write_text("years of work")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=rf"{re.escape(str(out))} holds {told}, which this export would replace"):
        export(out, "2")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), exporting(tmp_path / "out", "recbole", {}) as temporary:
        (temporary / "log").write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
