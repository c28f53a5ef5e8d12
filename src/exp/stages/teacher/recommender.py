"""What teaches, as one who recommends to the users of the log: too slow to be asked while somebody waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
import torch

from ....core.artefact import fingerprint
from ....core.precision import autocast, best_device, resolve_precision, teacher_precision
from ....data.dataset import Dataset, ExampleBatch
from ....evaluation.ranking import rows_at_once
from ....serve.graph import padded
from ....serve.recommender import Query, Ranking, by_popularity
from ....teacher.interfaces import best_items
from .calibration import Calibration
from .ensemble import Ensemble
from .teacher import Teacher


@dataclass(frozen=True)
class KnownToTeacher:
    """See `serve.batch.Known`: what a teacher knows is the prepared dataset, all of it, nothing held out.

    version: Changes with the teacher's settings and weights, with the dataset, and with the number format in which it
        reads here.
    """

    name: str
    version: str
    data: Dataset

    @property
    def dataset(self) -> str:
        return self.data.name

    @property
    def raw_ids(self) -> list[str]:
        return self.data.catalogue.raw_ids

    @property
    def titles(self) -> list[str]:
        return self.data.catalogue.titles

    @cached_property
    def raw_user_ids(self) -> list[str]:
        return self.data.raw_user_ids()

    @cached_property
    def _users(self) -> dict[str, int]:
        return {raw_id: user for user, raw_id in enumerate(self.raw_user_ids)}

    def users_with_history(self, raw_user_ids: Sequence[str]) -> np.ndarray:
        """Returns the place of each user in the log, `[n]` int64; -1 for one whom it does not know."""
        return np.fromiter((self._users.get(each, -1) for each in raw_user_ids), np.int64, len(raw_user_ids))

    def history(self, user: int) -> list[int]:
        """Returns the item numbers that the user at a place of the log has, oldest first; none at -1."""
        offsets = self.data.offsets
        return [] if user < 0 else self.data.item_log[offsets[user] : offsets[user + 1]].tolist()


class TeacherRecommender:
    """See `serve.batch.Recommends`; scores are log-probabilities over the whole catalogue.

    Args:
        teacher: What ranks; nothing of it is made here.

    Raises:
        UserError: It has not been trained, or is another one.
    """

    def __init__(self, teacher: Teacher | Calibration | Ensemble) -> None:
        teacher.find()
        self.settings, dataset = teacher.settings, teacher.prepared.dataset
        self.model = teacher.load().to(best_device())
        precision = teacher_precision(self.settings.teacher.train.precision)
        version = fingerprint(teacher.identity, teacher.content_digest, precision)
        self.files = KnownToTeacher(teacher.folder.name, version, dataset)
        self.counts = dataset.train_item_counts().numpy()

    def rank_log(self, users: np.ndarray, k: int, filter_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """See `serve.recommender.Recommender.rank_log`."""
        k = min(k, self.files.data.num_items)
        histories = [self.files.history(user) for user in users.tolist()]
        rankings = self.rank([Query(each, each if filter_seen else (), k=k) for each in histories])
        items, scores = np.zeros((len(users), k), dtype=np.int64), np.full((len(users), k), -np.inf, dtype=np.float32)
        for row, ranking in enumerate(rankings):
            items[row, : len(ranking.items)], scores[row, : len(ranking.items)] = ranking.items, ranking.scores
        return items, scores

    @torch.inference_mode()
    def rank(self, queries: Sequence[Query]) -> list[Ranking]:
        """Returns the best items of each query, in which any item is allowed: of those without a history by popularity.

        Raises:
            UserError: Not even one user fits into `metrics.memory_mb`.
        """
        found = {place: self._popular(query.k) for place, query in enumerate(queries) if not query.history}
        read = [place for place in range(len(queries)) if place not in found]
        precision, device = resolve_precision(self.settings.teacher.train.precision), best_device()
        at_once = rows_at_once(self.settings.metrics, self.files.data, with_seen=True)
        with autocast(precision, device):
            for first in range(0, len(read), at_once):
                part = read[first : first + at_once]
                found.update(zip(part, self._ranked([queries[place] for place in part], device), strict=True))
        return [found[place] for place in range(len(queries))]

    def _ranked(self, queries: Sequence[Query], device: torch.device) -> list[Ranking]:
        newest = [query.history[-self.model.history_length :] for query in queries]
        # As wide as in evaluation: a model may count places from the left.
        history = torch.zeros(len(queries), self.model.history_length, dtype=torch.long)
        shown = torch.from_numpy(padded(newest))
        history[:, : shown.shape[1]] = shown
        # A teacher that shuffles candidates draws by these: they must not depend on who else is asked for.
        ids = torch.tensor([crc32(np.array(query.history).tobytes()) for query in queries])
        batch = ExampleBatch(ids, history, target=torch.zeros_like(ids)).to(device)  # nothing is held out
        excluded = torch.from_numpy(padded([query.excluded for query in queries])).to(device)
        k = min(max(query.k for query in queries), self.files.data.num_items)
        items, scores = best_items(self.model.score(batch), k, excluded)
        left = (scores > -torch.inf).sum(1).tolist()  # the last places of a row hold what may not be recommended
        return [
            Ranking("model", row[:n].tolist(), of_row[:n].tolist())
            for row, of_row, n in zip(items.cpu(), scores.cpu(), map(min, left, (q.k for q in queries)), strict=True)
        ]

    def _popular(self, k: int) -> Ranking:
        items = by_popularity(self.counts)[:k]
        return Ranking("popularity", items, self.counts[items].astype(float).tolist())
