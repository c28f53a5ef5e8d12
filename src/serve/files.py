"""What a served model's folder holds, read without PyTorch: an ONNX file, the catalogue, what users have seen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import Self

from ..core.artefact import MANIFEST, SERVED, digest, opened, read_manifest
from ..core.errors import UserError

GRAPH = "model.onnx"
ITEMS, USERS, INTERACTIONS = "items.parquet", "users.parquet", "interactions.parquet"
BIAS, VECTORS = "item_bias.npy", "item_vectors.npy"
CARD = "MODEL_CARD.md"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedFiles:
    """A served model.

    folder: Where it lies.
    version: 16 hex digits that change with any of its files.
    name: The folder's name: student, dataset's settings and training in a key.
    dataset: The dataset's name.
    distilled: Whether the student was distilled from a teacher.
    history_length: The most items that the model reads; of longer histories the newest.
    raw_ids, titles: Of item number i + 1 at i.
    counts: `[num_items + 1]` int64, interactions of each item in the training part; [0] is 0.
    offsets, item_log: User u of the log owns `item_log[offsets[u]:offsets[u + 1]]`, item numbers, oldest first.
    """

    folder: Path
    version: str
    name: str
    dataset: str
    distilled: bool
    history_length: int
    raw_ids: list[str]
    titles: list[str]
    counts: np.ndarray
    offsets: np.ndarray
    item_log: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads a folder that `run_export_onnx` made.

        Raises:
            UserError: It is no such folder, or not as it was written.
        """
        folder = folder.resolve()  # a link may come to mean another model
        manifest = opened(folder, SERVED, "dataset", "history_length", "student_is_distilled")
        items = pl.read_parquet(folder / ITEMS)
        lengths = pl.read_parquet(folder / USERS, columns=["num_interactions"])["num_interactions"].to_numpy()
        return cls(
            folder=folder,
            version=digest(folder),
            name=folder.name,
            dataset=manifest["dataset"],
            distilled=manifest["student_is_distilled"],
            history_length=manifest["history_length"],
            raw_ids=items["raw_id"].to_list(),
            titles=items["title"].to_list(),
            counts=np.concatenate([[0], items["count"].to_numpy()]),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            item_log=pl.read_parquet(folder / INTERACTIONS)["item"].to_numpy(),
        )

    @property
    def num_items(self) -> int:
        return len(self.raw_ids)

    @cached_property
    def raw_user_ids(self) -> list[str]:
        """The raw log's id of every user."""
        return pl.read_parquet(self.folder / USERS, columns=["raw_id"])["raw_id"].to_list()

    @cached_property
    def _users(self) -> dict[str, int]:
        return {raw_id: user for user, raw_id in enumerate(self.raw_user_ids)}

    @cached_property
    def _items(self) -> dict[str, int]:
        return {raw_id: item for item, raw_id in enumerate(self.raw_ids, start=1)}

    @cached_property
    def item_bias(self) -> np.ndarray:
        """`[num_items + 1]` float32, what the model adds to scores where a caller names nothing else; [0] is -inf."""
        return np.load(self.folder / BIAS)

    @cached_property
    def item_vectors(self) -> np.ndarray:
        """`[num_items, D]` float32 of length 1 each."""
        return np.load(self.folder / VECTORS)

    def hold(self) -> None:
        """Reads what is else read when it is first asked for: another model may stand in the folder by then.

        Raises:
            UserError: It does already.
        """
        for name in ("_users", "_items", "item_bias", "item_vectors"):
            getattr(self, name)
        if digest(self.folder) != self.version:
            raise UserError(f"{self.folder} has changed while it was read: read it again.")

    def item(self, raw_id: str) -> int:
        """Returns the number of an item, 0 where the catalogue holds none of that id."""
        return self._items.get(raw_id, 0)

    def history(self, raw_user_id: str) -> list[int]:
        """Returns the item numbers that a user has in the log, oldest first; none of a user whom it does not know."""
        user = self._users.get(raw_user_id)
        return [] if user is None else self.item_log[self.offsets[user] : self.offsets[user + 1]].tolist()

    def users_with_history(self, raw_user_ids: Sequence[str]) -> np.ndarray:
        """Returns the place of each user in the log, `[n]` int64; -1 for one without an interaction in it."""
        users = np.fromiter((self._users.get(each, -1) for each in raw_user_ids), np.int64, len(raw_user_ids))
        return np.where(self.lengths(users) > 0, users, -1)

    def lengths(self, users: np.ndarray) -> np.ndarray:
        """Returns how many interactions users have in the log, `[n]` int64; `users` is `[n]`, -1: none."""
        return np.where(users < 0, 0, self.offsets[users + 1] - self.offsets[users])

    def histories(self, users: np.ndarray, newest: int | None = None) -> np.ndarray:
        """Returns item numbers `[n, L]` int64, oldest first, padded on the right with 0 to the longest of them.

        Args:
            users: `[n]`, places in the log of users with a history, at least one.
            newest: How many of each at most; None: all.
        """
        lengths = self.lengths(users)
        shown = (lengths if newest is None else np.minimum(lengths, newest))[:, None]
        place = np.arange(shown.max())
        index = self.offsets[users + 1][:, None] - shown + place
        real = place < shown
        return np.where(real, self.item_log[np.where(real, index, 0)], 0).astype(np.int64, copy=False)


def newest_served(served_dir: Path, dataset: str, distilled: bool) -> Path:
    """Returns the first folder of `served_newest_first`."""
    return served_newest_first(served_dir, dataset, distilled)[0]


def served_newest_first(served_dir: Path, dataset: str, distilled: bool) -> list[Path]:
    """Returns the folders of the served models of a dataset and a kind, at least one: what was asked for last first.

    Args:
        served_dir: Where served models lie, in a folder for each dataset.
        dataset: Whose.
        distilled: Whether of a distilled student, or of one without a teacher.

    Raises:
        UserError: There is none.
    """
    found = [path.parent for path in (served_dir / dataset).glob(f"[!.]*/{MANIFEST}")]
    found = [folder for folder in found if _is_of_kind(folder, distilled)]
    if not found:
        what = "distilled" if distilled else "baseline"
        raise UserError(
            f"There is no served model of a {what} student below {served_dir / dataset}: make one with "
            "`run_export_onnx` and the overrides of your run, give these (dataset=…, serve.student=…) here, too, or "
            "name a folder in serve.model."
        )
    return sorted(found, key=lambda folder: ((folder / MANIFEST).stat().st_mtime_ns, folder.name), reverse=True)


def _is_of_kind(folder: Path, distilled: bool) -> bool:
    try:
        manifest = read_manifest(folder, "student_is_distilled")
    except UserError as error:
        _warn(str(error))
        return False
    return manifest.get("kind") == SERVED.name and manifest["student_is_distilled"] is distilled


@cache
def _warn(text: str) -> None:
    """Tells something once, however often a running service comes upon it."""
    log.warning("passed over: %s", text)
