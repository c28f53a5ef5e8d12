"""Benchmarks run seldom: what they take from `src` must not go away unnoticed."""

from importlib import import_module

import pytest

from src.core.paths import ROOT

PEERS = {
    "bitsandbytes",
    "faiss",
    "peft",
    "recbole",
    "rectools",
    "replay",
}  # in environments of their own, or of whoever has them
FILES = [path.relative_to(ROOT) for path in sorted((ROOT / "benchmarks").rglob("*.py"))]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_everything_that_a_benchmark_imports_is_there_but_for_its_peers(file):
    try:
        import_module(".".join(file.with_suffix("").parts))
    except ModuleNotFoundError as error:
        assert error.name in PEERS
