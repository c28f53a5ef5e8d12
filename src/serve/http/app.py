"""The application: its addresses, and what runs beside them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from ...core.errors import UserError
from ..files import ServedFiles
from ..lists import Lists
from ..recommender import Recommender
from ..settings import ServerSettings, ServeSettings
from .answering import Answering, MissingError
from .batching import Batcher, TooManyError
from .current import CurrentModel
from .limits import Limits
from .observation import Observation
from .pages import add_page
from .schemas import (
    MAX_K,
    BatchAnswer,
    BatchRequest,
    EventsAnswer,
    EventsRequest,
    Health,
    Item,
    ItemsAnswer,
    KnownItem,
    KnownModel,
    ModelsAnswer,
    Problem,
    RecommendAnswer,
    RecommendRequest,
    SimilarAnswer,
)

if TYPE_CHECKING:
    from ..events import Events

log = logging.getLogger(__name__)

Asked = Batcher[RecommendRequest, RecommendAnswer]

MOST_AHEAD = 86_400  # seconds that a client's clock may be ahead: what lies in the future would stay the newest

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        401: "without the key",
        404: "no such address, item or model",
        408: "the request came too slowly",
        413: "the request is too large",
        422: "unusable input",
        429: "too many requests of this client",
        503: "too many requests wait",
    }.items()
}


def create_app(
    current: CurrentModel,
    beside: Mapping[str, Recommender],
    lists: Mapping[str, Lists],
    serve: ServeSettings,
    server: ServerSettings,
    events: "Events | None" = None,
    api_key: str | None = None,
) -> FastAPI:
    """Returns the application.

    Args:
        current: Which model answers where a request names none.
        beside: Others, by name.
        lists: Made beforehand, by name.
        serve, server: See the settings.
        events: Where events are kept; None: they are refused.
        api_key: What `X-API-Key` must hold; None: nothing.
    """
    seen = Observation()
    answering = Answering(current, beside, lists, serve, events)

    def compute(requests: Any) -> list[Any]:
        seen.batch.observe(len(requests))
        seen.waiting.set(many.waiting + explained.waiting)
        return answering(requests)

    many: Asked = Batcher(compute, server.max_batch, server.max_waiting, server.timeout_seconds)
    # What an item is recommended because of costs as much as a batch: it is found out in a thread of its own.
    explained: Asked = Batcher(compute, 1, server.max_waiting, server.timeout_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        seen.answers_with(current.recommender.files.name, current.recommender.files.version)
        many.start()
        explained.start()
        watching = asyncio.create_task(_watch(current, server.reload_seconds, seen))
        yield
        watching.cancel()
        await many.stop()
        await explained.stop()
        if events is not None:
            events.close()

    app = FastAPI(
        title="anyo",
        summary="Recommendations of a small sequential recommender, by the log's own ids.",
        version="1",
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    app.add_middleware(
        Limits,
        observation=seen,
        max_body=server.max_body_kb * 1024,
        timeout=server.timeout_seconds,
        api_key=api_key,
        per_second=server.requests_per_second,
    )

    _add_recommendations(app, many, explained, server.max_waiting, seen)
    _add_catalogue(app, answering)
    _add_events(app, answering, seen)
    _add_state(app, current, (many, explained), seen)
    add_page(app)
    _add_problems(app)
    return app


def _add_recommendations(app: FastAPI, many: Asked, explained: Asked, max_waiting: int, seen: Observation) -> None:
    async def ask(request: RecommendRequest) -> RecommendAnswer:
        try:
            return await (explained if request.because else many).ask(request)
        except TooManyError:
            raise HTTPException(503, "Too many requests wait.", {"Retry-After": "1"}) from None
        except MissingError as error:
            raise HTTPException(404, str(error)) from None
        except UserError as error:
            raise HTTPException(422, str(error)) from None

    @app.post("/recommend", response_model=RecommendAnswer)
    async def recommend(request: RecommendRequest) -> Response:
        """Recommends to a user of the log, or after a history that need not be in it."""
        answer = await ask(request)
        seen.by.labels(answer.by).inc()
        return _json(answer)

    @app.post("/batch", response_model=BatchAnswer)
    async def batch(request: BatchRequest) -> Response:
        """Answers several requests; if one cannot be answered, none is."""
        if len(request.requests) > max_waiting:
            raise HTTPException(422, f"requests: this service takes {max_waiting} at once")
        answers = await asyncio.gather(*(ask(each) for each in request.requests))
        for answer in answers:
            seen.by.labels(answer.by).inc()
        return _json(BatchAnswer.model_construct(answers=answers))


def _add_catalogue(app: FastAPI, answering: Answering) -> None:
    @app.get("/similar/{item:path}", response_model=SimilarAnswer)
    async def similar(item: str, k: Annotated[int, Query(ge=1, le=MAX_K)] = 10) -> Response:
        """Tells the items whose vectors are most like an item's; an id may hold slashes."""
        recommender = answering.current.recommender
        try:
            found = await asyncio.to_thread(recommender.similar, item, k)
        except UserError as error:
            raise HTTPException(404, str(error)) from None
        files = recommender.files
        items = [Item.of(each) for each in found]
        return _json(SimilarAnswer.model_construct(model=files.name, version=files.version, items=items))

    @app.get("/items", response_model=ItemsAnswer)
    async def items(
        query: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> Response:
        """Tells the items of the catalogue whose title or id holds a text, those that were taken most first."""
        recommender = answering.current.recommender
        return _json(await asyncio.to_thread(_items, recommender, query.casefold(), limit, offset))

    @app.get("/models", response_model=ModelsAnswer)
    async def models() -> Response:
        """Tells which models answer, and which lists."""
        known = [_known(name, each.files) for name, each in answering.models().items()]
        listed = [_known_lists(each) for each in answering.lists.values()]
        return _json(ModelsAnswer.model_construct(models=[*known, *listed]))


def _add_events(app: FastAPI, answering: Answering, seen: Observation) -> None:
    @app.post("/events", response_model=EventsAnswer)
    async def add_events(request: EventsRequest) -> Response:
        """Stores what users did: their next recommendation knows it. An answer means that it is on the disk."""
        events = answering.events
        if events is None:
            raise HTTPException(404, "This service keeps no events: start it with server.events=sqlite:///<path>.")
        from ..events import Event  # a database's toolkit is not imported where there is none: it takes a while

        late = time.time() + MOST_AHEAD
        if any(each.time is not None and each.time > late for each in request.events):
            raise HTTPException(422, "events: a time lies in the future; times are seconds since 1970")
        given = [Event(each.user, each.item, each.time) for each in request.events]
        await asyncio.to_thread(events.add, given)
        seen.events.inc(len(given))
        files = answering.current.recommender.files
        unknown = list(dict.fromkeys(each.item for each in given if not files.item(each.item)))
        return _json(EventsAnswer(stored=len(given), unknown_items=unknown))


def _add_state(app: FastAPI, current: CurrentModel, batchers: Sequence[Asked], seen: Observation) -> None:
    @app.get("/health", response_model=Health, response_model_exclude_none=True)
    async def health() -> Health:
        """Tells that the process answers."""
        return Health(status="ok")

    @app.get("/ready", response_model=Health)
    async def ready() -> Health:
        """Tells that a model answers, and which."""
        if not all(each.is_at_work for each in batchers):
            raise HTTPException(503, "Requests are not answered.")
        files = current.recommender.files
        return Health(status="ok", model=files.name, version=files.version)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Tells Prometheus what was counted and measured."""
        seen.waiting.set(sum(each.waiting for each in batchers))
        return Response(await asyncio.to_thread(seen.told), media_type=CONTENT_TYPE_LATEST)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(400)
    async def no_json(request: Request, error: Exception) -> JSONResponse:
        """Tells that a body is no text: as unusable as one that is no JSON."""
        return JSONResponse({"detail": "body: no JSON in UTF-8"}, 422)

    @app.exception_handler(RequestValidationError)
    async def unusable(request: Request, error: RequestValidationError) -> JSONResponse:
        """Tells what is wrong with a request in one sentence, without repeating what was sent."""
        told = [f"{'.'.join(str(part)[:40] for part in each['loc'])}: {each['msg']}" for each in error.errors()[:10]]
        return JSONResponse({"detail": "; ".join(told)}, 422)


async def _watch(current: CurrentModel, seconds: float, seen: Observation) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            changed = await asyncio.to_thread(current.look)
        except Exception:  # a look that fails must not be the last one
            log.exception("could not look for another model")
            continue
        if changed is not None:
            seen.models.labels("taken over" if changed else "refused").inc()
            files = current.recommender.files
            seen.answers_with(files.name, files.version)


def _known(name: str, files: ServedFiles) -> KnownModel:
    return KnownModel.model_construct(
        model=name,
        version=files.version,
        distilled=files.distilled,
        items=files.num_items,
        precomputed=False,
        users=None,
    )


def _known_lists(lists: Lists) -> KnownModel:
    return KnownModel.model_construct(
        model=lists.name,
        version=lists.version,
        distilled=False,
        items=len(lists.raw_ids),
        precomputed=True,
        users=len(lists.users),
    )


def _items(recommender: Recommender, query: str, limit: int, offset: int) -> ItemsAnswer:
    files = recommender.files
    found = [
        item
        for item in recommender.by_popularity
        if query in files.titles[item - 1].casefold() or query in files.raw_ids[item - 1].casefold()
    ]
    shown = [
        KnownItem.model_construct(
            item=files.raw_ids[item - 1], title=files.titles[item - 1], count=int(files.counts[item])
        )
        for item in found[offset : offset + limit]
    ]
    return ItemsAnswer.model_construct(total=len(found), items=shown)


def _json(answer: BaseModel) -> Response:
    """Returns an answer that is known to be sound as JSON: FastAPI would look at it again."""
    return Response(answer.model_dump_json(), media_type="application/json")
