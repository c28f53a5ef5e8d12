"""Recommendations by raw id from a served model, without PyTorch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
from typing_extensions import Self

from ..core.errors import UserError
from .answers import Answer, By, Recommendation
from .files import GRAPH, ServedFiles
from .graph import Graph, padded
from .settings import EmptyHistory, UnknownItems

AT_ONCE = 256  # histories that are ranked together


@dataclass(frozen=True)
class Query:
    """One user's question, in item numbers.

    history: Oldest first; may be empty.
    excluded: What is not recommended.
    allowed: What alone is recommended; None: anything.
    k: How many items, at least 1.
    """

    history: Sequence[int]
    excluded: Sequence[int] = ()
    allowed: frozenset[int] | None = None
    k: int = 10


@dataclass(frozen=True)
class Ranking:
    """The answer to a `Query`: item numbers and scores `[n]`, best first; `n <= k`."""

    by: By
    items: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class Recommender:
    """A served model.

    Args:
        files: What its folder holds.
        threads: Of onnxruntime.

    Raises:
        UserError: The model file is none that onnxruntime runs.
    """

    def __init__(self, files: ServedFiles, threads: int = 1) -> None:
        self.files, self.graph = files, Graph(files.folder / GRAPH, threads)
        files.hold()

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1) -> Self:
        """Returns the model of a folder that `run_export_onnx` made.

        Raises:
            UserError: It holds no served model, or not all of it as it was written.
        """
        return cls(ServedFiles.load(Path(folder)), threads)

    # --- by raw id

    def recommend(
        self,
        users: Sequence[str] | None = None,
        histories: Sequence[Sequence[str]] | None = None,
        k: int = 10,
        filter_seen: bool = True,
        items: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        empty_history: EmptyHistory = "popular",
        unknown_items: UnknownItems = "skip",
    ) -> list[Answer]:
        """Returns what is recommended to users of the log, or after histories that need not be in it.

        Args:
            users: Raw ids of users; all that the log holds of them is their history.
            histories: Raw ids of items, oldest first, in the place of `users`.
            k: How many items each, at least 1.
            filter_seen: Whether items of the whole history are left out.
            items: Raw ids of the items that alone may be recommended; None: all.
            exclude: Raw ids of items that may not.
            empty_history: What is done for a user without a history that the model knows: "popular" recommends the
                items with the most training interactions, "refuse" raises.
            unknown_items: What is done about items that the model does not know, in histories and lists alike: "skip"
                passes over them, "refuse" raises.

        Raises:
            UserError: Neither or both of `users` and `histories` are given, k is below 1, something is no list of raw
                ids, or a policy refuses.
        """
        if (users is None) == (histories is None) or k < 1:
            raise UserError("recommend() takes either users or histories, and k of 1 or more.")
        for name, value, known in (
            ("empty_history", empty_history, get_args(EmptyHistory)),
            ("unknown_items", unknown_items, get_args(UnknownItems)),
        ):
            if value not in known:
                raise UserError(f"{name}={value!r} must be one of {', '.join(known)}.")
        skip = unknown_items == "skip"
        allowed = None if items is None else frozenset(self.numbers(_texts("items", items), skip))
        denied = self.numbers(_texts("exclude", exclude), skip)
        if users is not None:
            users = _texts("users", users)
            read = [self.files.history(user) for user in users]
        else:
            read = [self.numbers(_texts("each of histories", history), skip) for history in histories or ()]
        if empty_history == "refuse" and not all(read):
            who = read.index([]) if users is None else users[read.index([])]
            raise UserError(f"Nothing that the model knows stands in the history of {who!r}: no recommendation.")
        queries = [Query(each, [*denied, *(each if filter_seen else ())], allowed, k) for each in read]
        return [self.told(ranking) for ranking in self.rank(queries)]

    def similar(self, item: str, k: int = 10) -> list[Recommendation]:
        """Returns the k items whose vectors point most nearly where that of `item` does; scores are cosines.

        Raises:
            UserError: The model does not know the item.
        """
        (number,) = self.numbers([item], skip=False)
        vectors = self.files.item_vectors
        cosine = vectors @ vectors[number - 1]
        cosine[number - 1] = -np.inf
        best = _largest(cosine, min(k, len(cosine) - 1))
        return self.told(Ranking("model", (best + 1).tolist(), cosine[best].tolist())).items

    def numbers(self, raw_ids: Iterable[str], skip: bool) -> list[int]:
        """Returns the item numbers of raw ids, in their order; unknown ones are passed over, or refused.

        Raises:
            UserError: One is not known, and `skip` is false.
        """
        found = [(raw_id, self.files.item(raw_id)) for raw_id in raw_ids]
        if not skip:
            for raw_id, number in found:
                if not number:
                    raise UserError(f"Item {raw_id!r} is not in the catalogue of {self.files.num_items} items.")
        return [number for _, number in found if number]

    def told(self, ranking: Ranking) -> Answer:
        """Returns a ranking in raw ids and titles."""
        ids, titles = self.files.raw_ids, self.files.titles
        return Answer(
            ranking.by,
            [
                Recommendation(ids[item - 1], titles[item - 1], score)
                for item, score in zip(ranking.items, ranking.scores, strict=True)
            ],
        )

    # --- by item number

    def rank(self, queries: Sequence[Query]) -> list[Ranking]:
        """Returns the best items of each query: of those without a history by popularity."""
        found: dict[int, Ranking] = {}
        together: dict[frozenset[int] | None, list[int]] = {}
        for place, query in enumerate(queries):
            if query.history:
                together.setdefault(query.allowed, []).append(place)
            else:
                found[place] = self._popular(query)
        for allowed, places in together.items():
            for rows in self._alike(np.array([len(queries[place].history) for place in places])):
                part = [places[row] for row in rows]
                found.update(zip(part, self._ranked([queries[place] for place in part], allowed), strict=True))
        return [found[place] for place in range(len(queries))]

    def rank_log(self, users: np.ndarray, k: int, filter_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """Does in arrays what `rank` does, for very many users.

        Args:
            users: `[n]`, places in the log, see `ServedFiles.users_with_history`; -1: no history.
            k: How many items, at least 1.
            filter_seen: Whether items of the whole history are left out.

        Returns:
            Item numbers `[n, k]` int64 and scores `[n, k]` float32, best first, -inf where fewer are left: as many
            columns as there are items, if these are fewer than k.
        """
        files = self.files
        k = min(k, files.num_items)
        items, scores = np.zeros((len(users), k), dtype=np.int64), np.zeros((len(users), k), dtype=np.float32)
        popular = self._popular(Query((), k=k))
        items[users < 0], scores[users < 0] = popular.items, popular.scores
        known = (users >= 0).nonzero()[0]
        for rows in self._alike(files.lengths(users[known])):
            part = known[rows]
            seen = files.histories(users[part]) if filter_seen else np.zeros((len(part), 1), dtype=np.int64)
            read = files.histories(users[part], files.history_length)
            items[part], scores[part] = self.graph.best(read, seen, k)
        return items, scores

    def carriers(self, history: Sequence[int], items: Sequence[int]) -> list[list[int]]:
        """Returns, for each of some items, which items of a history carry it: those without which (all of their
        occurrences taken out of what the model reads) its score is lower, the one that it loses most without first.

        Args:
            history: Not empty, oldest first.
            items: Item numbers, not empty.
        """
        read = list(history[-self.files.history_length :])
        carriers = list(dict.fromkeys(reversed(read)))
        if len(carriers) == 1:  # nothing would be left to read
            return [carriers for _ in items]
        less = [[other for other in read if other != carrier] for carrier in carriers]
        allowed = frozenset(items)
        rankings = self.rank([Query(each, (), allowed, len(allowed)) for each in (read, *less)])
        whole, *without = (dict(zip(ranking.items, ranking.scores, strict=True)) for ranking in rankings)
        found = []
        for item in items:
            lost = {carrier: whole[item] - scores[item] for carrier, scores in zip(carriers, without, strict=True)}
            found.append(sorted((each for each in carriers if lost[each] > 0), key=lambda each: -lost[each]))
        return found

    def _alike(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Returns the rows that are ranked together: those whose histories, `[n]` long, are of like lengths."""
        order = np.argsort(np.minimum(lengths, self.files.history_length), kind="stable")
        return [order[first : first + AT_ONCE] for first in range(0, len(order), AT_ONCE)]

    def _ranked(self, queries: Sequence[Query], allowed: frozenset[int] | None) -> list[Ranking]:
        files, bias = self.files, None
        if allowed is not None:
            kept = np.fromiter(allowed, dtype=np.int64, count=len(allowed))
            bias = np.full_like(files.item_bias, -np.inf)
            bias[kept] = files.item_bias[kept]
        items, scores = self.graph.best(
            padded([query.history[-files.history_length :] for query in queries]),
            padded([query.excluded for query in queries]),
            min(max(query.k for query in queries), files.num_items),
            bias,
        )
        left = (scores > -np.inf).sum(axis=1)  # the last places of a row hold what may not be recommended
        found = []
        for row, query in enumerate(queries):
            n = min(query.k, int(left[row]))
            found.append(Ranking("model", items[row, :n].tolist(), scores[row, :n].tolist()))
        return found

    def _popular(self, query: Query) -> Ranking:
        out: set[int] = set(query.excluded)
        found: list[int] = []
        for item in self.by_popularity:
            if len(found) == query.k:
                break
            if item not in out and (query.allowed is None or item in query.allowed):
                found.append(item)
        return Ranking("popularity", found, [float(self.files.counts[item]) for item in found])

    @cached_property
    def by_popularity(self) -> list[int]:
        """See `by_popularity`."""
        return by_popularity(self.files.counts)


def by_popularity(counts: np.ndarray) -> list[int]:
    """Returns all items, those with the most training interactions first; of as many the lower number first.

    Args:
        counts: `[num_items + 1]` int64, training interactions by item number; [0] is of none.
    """
    return (np.argsort(-counts[1:], kind="stable") + 1).tolist()


def _texts(name: str, given: Iterable[str]) -> list[str]:
    """Returns a list of raw ids.

    Raises:
        UserError: It is none: a text would be a list of its letters, which may be ids themselves.
    """
    listed = [] if isinstance(given, str) else list(given)
    if isinstance(given, str) or not all(isinstance(each, str) for each in listed):
        raise UserError(f"{name} must be a list of raw ids, which are texts, not {given!r}.")
    return listed


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the places of the k largest values `[n]`, largest first."""
    best = np.argpartition(-values, k - 1)[:k] if k < len(values) else np.arange(len(values))
    return best[np.argsort(-values[best], kind="stable")]
