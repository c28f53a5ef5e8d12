"""Two small models of one catalogue, with titles that are out to do harm, and a service that answers with them."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import uvicorn
from fastapi import FastAPI

from src.serve.files import BIAS, USERS, ServedFiles
from src.serve.http.app import create_app
from src.serve.lists import Lists
from src.serve.recommender import Recommender
from src.serve.settings import EmptyHistory, ServerSettings, ServeSettings

ATTACK = '<img src=x onerror="window.attacked=1">'
LONG = "Supercalifragilistic" * 12
TITLES = [
    "Heat (1995)", "Alien (1979)", "Aliens (1986)", ATTACK, LONG, "", "Ran (1985)", "Amélie \\ ½ & <b>", "فيلم (1990)",
    "羅生門 (1950)", "Solaris (1972)", "Stalker (1979)", "Mirror (1975)", "Ivan's Childhood (1962)", "Sacrifice (1986)",
]  # fmt: skip
RAW_IDS = [f"m{item}" for item in range(1, len(TITLES) + 1)]
NAMES = ["distilled-gru", "baseline-gru"]
LOG = {"u1": [1, 4, 5], "u2": [1, 2, 3, 4, 5, 6]}  # item numbers, oldest first


class Scores:
    """In the place of an ONNX file: an item's score is the sum of what each item of the history gives it.

    Args:
        gives: `[num_items + 1, num_items + 1]`, by item number; row 0 is 0, column 0 is -inf.
    """

    def __init__(self, gives: np.ndarray) -> None:
        self.gives = gives

    def best(
        self, history: np.ndarray, excluded: np.ndarray, k: int, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = self.gives[history].sum(axis=1) + (0 if bias is None else bias)
        np.put_along_axis(scores, excluded, -np.inf, axis=1)
        items = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return items, np.take_along_axis(scores, items, axis=1)


class Model(Recommender):
    """A model that needs no file of onnxruntime."""

    def __init__(self, files: ServedFiles, graph: Scores) -> None:
        self.files, self.graph = files, graph


def models_in(folder: Path) -> list[Model]:
    """Returns the models, the first distilled; `folder` holds what they read later."""
    n = len(TITLES)
    pl.DataFrame({"raw_id": list(LOG)}).write_parquet(folder / USERS)
    np.save(folder / BIAS, np.array([-np.inf, *[0] * n], dtype=np.float32))
    found = []
    for seed, name in enumerate(NAMES):
        gives = np.random.default_rng(seed).normal(size=(n + 1, n + 1))
        gives[0], gives[:, 0] = 0, -np.inf
        files = ServedFiles(
            folder=folder,
            version=f"{seed:016x}",
            name=name,
            dataset="films",
            distilled=seed == 0,
            history_length=8,
            raw_ids=RAW_IDS,
            titles=TITLES,
            counts=np.array([0, *range(n, 0, -1)]),
            offsets=np.cumsum([0, *map(len, LOG.values())]),
            item_log=np.concatenate(list(LOG.values())),
        )
        found.append(Model(files, Scores(gives)))
    return found


class Current:
    """The first of some models, whichever that is when it is asked for."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models

    @property
    def recommender(self) -> Model:
        return self.models[0]

    def look(self) -> None:
        """Finds no other."""


def app_of(
    models: Sequence[Model],
    api_key: str | None = None,
    empty_history: EmptyHistory = "popular",
    lists: Mapping[str, Lists] | None = None,
    **server: Any,
) -> FastAPI:
    """Returns the service; the first model answers where a request names none."""
    return create_app(
        Current(models),
        {each.files.name: each for each in models[1:]},
        lists or {},
        ServeSettings(empty_history=empty_history),
        ServerSettings(**server),
        api_key=api_key,
    )


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Answers on a free port of this machine within a `with` block: its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
