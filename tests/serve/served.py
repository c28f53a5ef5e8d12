"""Served models small enough for tests, and others made of them without another export."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import torch
from onnx import numpy_helper

from src.core.artefact import SERVED, read_manifest, writing
from src.data.dataset import Dataset
from src.serve.files import BIAS, GRAPH, ITEMS
from src.serve.onnx.export import write_served
from src.serve.recommender import Recommender
from src.student.models import SequentialRecommender
from tests.student.students import student

ABOUT = {"dataset": "tiny", "student": "of-tests", "student_is_distilled": False, "seed": 0}


def grown(name: str, seed: int = 0) -> SequentialRecommender:
    """Returns a student whose scores lie as far apart as a trained one's."""
    return with_large_weights(student(name, seed), seed)


def with_large_weights(model: SequentialRecommender, seed: int = 0) -> SequentialRecommender:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw))
        model.items.ids.weight[0].zero_()
    return model.eval()


def serve(folder: Path, name: str, dataset: Dataset, **about: Any) -> Path:
    """Writes `folder`, a served model of `grown(name)`; returns it."""
    told = {**ABOUT, "student_name": name, "architecture": {"hidden_size": 8}, **about}
    write_served(folder, grown(name), dataset, told, filter_seen=True, ks=[1, 5])
    return folder


def remade(
    folder: Path,
    to: Path,
    lift: dict[int, float] | None = None,
    graph: bytes | None = None,
    raw_ids: list[str] | None = None,
    **about: Any,
) -> Path:
    """Writes `to`, a copy of a served model whose manifest says `about`; returns it.

    Args:
        folder: The model.
        to: Becomes the copy, or replaces what is there.
        lift: What is added to the scores of items.
        graph: What the ONNX file holds instead.
        raw_ids: What the items are called instead.
    """
    manifest = {key: value for key, value in read_manifest(folder).items() if key != "files"}
    with writing(to, SERVED, manifest | about) as temporary:
        for file in folder.iterdir():
            shutil.copy(file, temporary)
        if raw_ids is not None:
            items = pl.read_parquet(folder / ITEMS).with_columns(pl.Series("raw_id", raw_ids))
            items.write_parquet(temporary / ITEMS)
        bias = np.load(folder / BIAS)
        for item, by in (lift or {}).items():
            bias[item] += by
        np.save(temporary / BIAS, bias)
        if graph is None:
            _put(temporary / GRAPH, "bias", bias)
        else:
            (temporary / GRAPH).write_bytes(graph)
    return to


def _put(graph: Path, name: str, values: np.ndarray) -> None:
    """Replaces a constant of an ONNX file."""
    model = onnx.load(graph)
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, graph)


def broken(folder: Path) -> Path:
    """Flips a byte of a served model's graph; returns the folder."""
    content = bytearray((folder / GRAPH).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / GRAPH).write_bytes(content)
    return folder


def best_of(
    model: SequentialRecommender,
    history: list[int],
    excluded: set[int],
    k: int,
    allowed: set[int] | None = None,
    added: np.ndarray | None = None,
) -> list[tuple[int, float]]:
    """Returns what PyTorch says are the k best items after one history, and their scores: scored alone, then sorted.

    Args:
        added: `[num_items + 1]`, by item number: added to the scores.
    """
    with torch.inference_mode():
        scores = model.predict(torch.tensor([history[-model.history_length :]]))[0].tolist()
    told = [
        (item, score + (0.0 if added is None else float(added[item])))
        for item, score in enumerate(scores, start=1)
        if item not in excluded and (allowed is None or item in allowed)
    ]
    return sorted((each for each in told if each[1] > -np.inf), key=lambda each: -each[1])[:k]


def top(recommender: Recommender, **asked: Any) -> list[str]:
    """Returns the raw ids that are recommended to the one who is asked about."""
    ((_, items),) = recommender.recommend(**asked)
    return [each.raw_id for each in items]
