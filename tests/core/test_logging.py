import json
import logging
import warnings

import pytest

from src.core.logging import NOISY, Stopwatch, quiet_libraries


def read(run_dir) -> dict:
    return json.loads((run_dir / "metrics" / "time.json").read_text())


def test_the_stopwatch_writes_each_stage_when_it_ends(tmp_path, monkeypatch):
    ticks = iter([10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr("src.core.logging.time.perf_counter", lambda: next(ticks))
    watch = Stopwatch(tmp_path)
    with watch.stage("prepare"):
        assert not (tmp_path / "metrics").exists()
    assert read(tmp_path)["seconds"] == {"prepare": 2.5}
    with watch.stage("baseline: training"):
        pass
    assert read(tmp_path)["seconds"] == {"prepare": 2.5, "baseline: training": 0.25}
    assert {"git", "python", "libraries", "machine"} < set(read(tmp_path))


def test_the_code_that_is_told_is_the_one_the_run_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr("src.core.logging.git_info", lambda: {"commit": "c0ffee", "dirty": False})
    watch = Stopwatch(tmp_path)
    monkeypatch.setattr("src.core.logging.git_info", lambda: {"commit": "edited meanwhile", "dirty": True})
    with watch.stage("prepare"):
        pass
    assert read(tmp_path)["git"] == {"commit": "c0ffee", "dirty": False}


def test_a_stage_that_fails_keeps_the_times_of_those_before(tmp_path):
    watch = Stopwatch(tmp_path)
    with watch.stage("whole"):
        pass
    with pytest.raises(ZeroDivisionError), watch.stage("failed"):
        raise ZeroDivisionError
    assert list(read(tmp_path)["seconds"]) == ["whole"]
    with watch.stage("next"):
        pass
    assert list(read(tmp_path)["seconds"]) == ["whole", "next"]


def test_a_stage_is_announced(tmp_path, caplog):
    with caplog.at_level(logging.INFO), Stopwatch(tmp_path).stage("teacher: export"):
        assert "teacher: export" in caplog.text


def test_libraries_speak_only_of_faults():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet_libraries()
        warnings.warn("Found 4 module(s) in eval mode at the start of training. Whatever.", stacklevel=1)
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated", stacklevel=1)
        warnings.warn("something new", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["something new"]
    assert all(logging.getLogger(name).level == logging.WARNING for name in NOISY)
