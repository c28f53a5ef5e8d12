from pathlib import Path

import pytest

from src.data.dataset import Dataset
from src.serve.recommender import Recommender
from tests.serve.served import serve
from tests.worlds import tiny_dataset


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Dataset:
    """The tiny world, prepared."""
    return tiny_dataset(folder=tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def sasrec_folder(tmp_path_factory, world) -> Path:
    """A served SASRec that reads six items; not to be written into."""
    return serve(tmp_path_factory.mktemp("served") / "sasrec-0123", "sasrec", world)


@pytest.fixture(scope="session")
def caser_folder(tmp_path_factory, world) -> Path:
    """A served Caser with an output layer of its own; not to be written into."""
    return serve(tmp_path_factory.mktemp("served") / "caser-4567", "caser_paper", world)


@pytest.fixture(scope="session")
def recommender(sasrec_folder) -> Recommender:
    return Recommender.load(sasrec_folder)
