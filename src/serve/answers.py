"""What is recommended, by raw id."""

from typing import Literal, NamedTuple

By = Literal["model", "popularity", "precomputed"]


class Recommendation(NamedTuple):
    """An item that is recommended: the raw log's id, its title ("" if it has none), its score (higher is better)."""

    raw_id: str
    title: str
    score: float


class Answer(NamedTuple):
    """What is recommended to one user, best first.

    by: "popularity" where there was no history to go by (scores are training interactions); "precomputed" of a list
    that was made beforehand (`server.lists`), from what was known then.
    items: Fewer than asked for where no more are left.
    """

    by: By
    items: list[Recommendation]
