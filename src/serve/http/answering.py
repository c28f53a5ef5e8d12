"""What is recommended for a batch of requests, with the events that users had since the log ended."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...data.histories import joined
from ..answers import Recommendation
from ..lists import Lists
from ..recommender import Query, Ranking, Recommender
from ..settings import ServeSettings
from .current import CurrentModel
from .schemas import Item, RecommendAnswer, RecommendRequest

if TYPE_CHECKING:
    from ..events import Events


class MissingError(UserError):
    """A request names a model that is not there, or a user of whom lists hold none."""


class Answering:
    """Answers requests: those of a batch that ask the same model by that one, together.

    Args:
        current: Which model answers where a request names none.
        beside: Others, by name.
        lists: Made beforehand, by name; a model of the same name goes before.
        policies: What is done where a model has nothing to go by.
        events: What users did since; None: nothing is known.
    """

    def __init__(
        self,
        current: CurrentModel,
        beside: Mapping[str, Recommender],
        lists: Mapping[str, Lists],
        policies: ServeSettings,
        events: "Events | None",
    ) -> None:
        self.current, self.beside, self.lists = current, beside, lists
        self.policies, self.events = policies, events

    def __call__(self, requests: Sequence[RecommendRequest]) -> list[RecommendAnswer | Exception]:
        """Returns an answer for each request, or a UserError where there is none."""
        models = self.models()
        first = next(iter(models))
        since = self._events_of([each.user for each in requests if each.user is not None])
        dataset = models[first].files.dataset  # events are of its users
        answers: dict[int, RecommendAnswer | Exception] = {}
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            name = first if request.model is None else request.model
            if name in models:
                groups.setdefault(name, []).append(place)
            elif name in self.lists:
                answers[place] = self._listed(self.lists[name], models[first], request, since)
            else:
                there = ", ".join([*models, *self.lists])
                answers[place] = MissingError(f"There is no model {name!r}: ask one of {there}.")
        for name, places in groups.items():
            known = since if models[name].files.dataset == dataset else {}
            answered = self._by(models[name], [requests[place] for place in places], known)
            answers.update(zip(places, answered, strict=True))
        return [answers[place] for place in range(len(requests))]

    def models(self) -> dict[str, Recommender]:
        """Returns all models by name, the one that answers where a request names none first."""
        recommender = self.current.recommender
        first = {recommender.files.name: recommender}
        return first | dict(self.beside) | first  # one beside it that has its name does not take its place

    def _by(
        self, recommender: Recommender, requests: Sequence[RecommendRequest], since: Mapping[str, Sequence[str]]
    ) -> list[RecommendAnswer | Exception]:
        asked: list[Query | UserError] = []
        for each in requests:
            try:
                asked.append(self._query(recommender, each, since))
            except UserError as error:
                asked.append(error)
        rankings = iter(recommender.rank([each for each in asked if isinstance(each, Query)]))
        return [
            each if isinstance(each, UserError) else _answer(recommender, request, each, next(rankings))
            for request, each in zip(requests, asked, strict=True)
        ]

    def _listed(
        self, lists: Lists, recommender: Recommender, request: RecommendRequest, since: Mapping[str, Sequence[str]]
    ) -> RecommendAnswer | UserError:
        """Returns what stands in lists, of it what the model that answers by itself knows and the request allows."""
        if request.user is None:
            return UserError(
                f"{lists.name} holds lists that were made beforehand for users of the log: ask it with a user, not "
                "with a history."
            )
        found = lists.of(request.user)
        if found is None:
            return MissingError(f"{lists.name} holds no list of user {request.user!r}.")
        try:
            query = self._asked(recommender, request, self._history(recommender, request, since))
        except UserError as error:
            return error
        items = [Item.of(each) for each in _allowed(recommender, query, found.items)][: query.k]
        return RecommendAnswer.model_construct(model=lists.name, version=lists.version, by=found.by, items=items)

    def _events_of(self, users: Sequence[str]) -> dict[str, list[str]]:
        return {} if self.events is None or not users else self.events.of(list(dict.fromkeys(users)))

    def _query(self, recommender: Recommender, request: RecommendRequest, since: Mapping[str, Sequence[str]]) -> Query:
        history = self._history(recommender, request, since)
        if not history and self.policies.empty_history == "refuse":
            raise UserError("The history holds nothing that the model knows: there is nothing to go by.")
        return self._asked(recommender, request, history)

    def _history(
        self, recommender: Recommender, request: RecommendRequest, since: Mapping[str, Sequence[str]]
    ) -> list[int]:
        if request.user is None:
            return recommender.numbers(request.history or (), self.policies.unknown_items == "skip")
        events = recommender.numbers(since.get(request.user, ()), skip=True)
        return joined(recommender.files.history(request.user), events)

    def _asked(self, recommender: Recommender, request: RecommendRequest, history: list[int]) -> Query:
        skip = self.policies.unknown_items == "skip"
        seen = self.policies.filter_seen if request.filter_seen is None else request.filter_seen
        allowed = None if request.items is None else frozenset(recommender.numbers(request.items, skip))
        denied = recommender.numbers(request.exclude, skip)
        return Query(history, [*denied, *(history if seen else ())], allowed, request.k)


def _allowed(recommender: Recommender, query: Query, found: Sequence[Recommendation]) -> Iterator[Recommendation]:
    out = set(query.excluded)
    for each in found:
        number = recommender.files.item(each.raw_id)  # another than the list's where another model answers by now
        if number and number not in out and (query.allowed is None or number in query.allowed):
            yield each


def _answer(recommender: Recommender, request: RecommendRequest, query: Query, ranking: Ranking) -> RecommendAnswer:
    files, told = recommender.files, recommender.told(ranking)
    because: list[list[str] | None] = [None] * len(told.items)
    if request.because and ranking.by == "model" and ranking.items:
        carriers = recommender.carriers(query.history, ranking.items)
        because = [[files.raw_ids[item - 1] for item in each] for each in carriers]
    items = [Item.of(*each) for each in zip(told.items, because, strict=True)]
    return RecommendAnswer.model_construct(model=files.name, version=files.version, by=told.by, items=items)
