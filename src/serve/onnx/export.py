"""A student's folder and its dataset → a served model: all that is needed to recommend, without PyTorch."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch.nn.functional as F

from ...core.artefact import SERVED, write_text, writing
from ...core.errors import UserError
from ...data.dataset import Dataset
from ...student.models import SequentialRecommender
from ..files import BIAS, CARD, GRAPH, INTERACTIONS, ITEMS, USERS, VECTORS
from ..settings import Search
from .card import model_card
from .graph import write_graph
from .parity import check_parity

BY_BYTES = "Its best items were looked for by a table of bytes (serve.search=bytes), float32 looks at all scores."


def write_served(
    folder: Path,
    student: SequentialRecommender,
    dataset: Dataset,
    about: dict[str, Any],
    filter_seen: bool,
    ks: list[int],
    search: Search = "float32",
    new_items: int = 0,
) -> None:
    """Writes `folder` whole or not at all, once the file was found to rank every test user as the student does.

    Args:
        folder: Becomes the artefact.
        student: In evaluation mode, on the CPU.
        dataset: What it was trained on.
        about: What the manifest says of both.
        filter_seen, ks: See `check_parity`.
        search: See `ServeSettings.search`.
        new_items: How many of its items, the last, came after its training.

    Raises:
        UserError: See `BestItems` and `check_parity`.
    """
    manifest = {**about, "history_length": student.history_length, "search": search, "new_items": new_items}
    with writing(folder, SERVED, manifest) as temporary:
        np.save(temporary / BIAS, write_graph(student, temporary / GRAPH, search))
        try:
            parity = check_parity(student, temporary / GRAPH, dataset, filter_seen, ks)
        except UserError as error:
            raise error if search == "float32" else UserError(f"{error} {BY_BYTES}") from None
        _write_tables(temporary, dataset)
        vectors = F.normalize(student.output_layer()[0].detach().float(), dim=1)
        np.save(temporary / VECTORS, vectors.numpy())
        manifest["result"] = {"parity": asdict(parity)}
        write_text(temporary / CARD, model_card(folder.name, student, dataset, parity, manifest))


def _write_tables(folder: Path, dataset: Dataset) -> None:
    catalogue = dataset.catalogue
    counts = dataset.train_item_counts()[1:].numpy()
    items = {"raw_id": catalogue.raw_ids, "title": catalogue.titles, "count": counts}
    users = {"raw_id": dataset.raw_user_ids(), "num_interactions": dataset.offsets.diff().numpy()}
    pl.DataFrame(items).write_parquet(folder / ITEMS)
    pl.DataFrame(users).write_parquet(folder / USERS)
    pl.DataFrame({"item": dataset.item_log.numpy().astype(np.int32)}).write_parquet(folder / INTERACTIONS)
