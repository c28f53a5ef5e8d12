import itertools
import shutil
from dataclasses import replace

import pytest

from src.core.logging import Stopwatch
from tests.exp.roads import road_in
from tests.exp.stages.whole import whole
from tests.worlds import tiny_dataset


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A folder in which the whole road was gone once, over the tiny world; not to be written into."""
    folder = tmp_path_factory.mktemp("road")
    road = road_in(folder, tiny_dataset())
    assert road.go(*whole(road))
    return folder


@pytest.fixture
def made(made_once, tmp_path):
    """Returns roads, by their overrides, over a copy of everything that was made, each with a run of its own."""
    shutil.copytree(made_once, tmp_path / "made", ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    runs = (tmp_path / f"run_{number}" for number in itertools.count())

    def road(*overrides: str):
        over, folder = road_in(tmp_path / "made", tiny_dataset(), *overrides), next(runs)
        folder.mkdir()
        over.run = replace(over.run, dir=folder, stopwatch=Stopwatch(folder))
        return over

    return road
