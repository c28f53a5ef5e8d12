"""What requests and answers look like; FastAPI's OpenAPI document is made of it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict
from typing_extensions import Self

from ..answers import By, Recommendation

# no NUL, which PostgreSQL takes in no text
RawId = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]*$", strict=True)]
Ids = Annotated[list[RawId], Field(max_length=10_000)]


def _whole(value: object) -> object:
    """Returns 3 for 3.0, which JSON does not tell apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


MAX_K = 1000  # items that a request may ask for
USER: JsonDict = {"user": "196", "k": 3}
HISTORY: JsonDict = {"history": ["50", "172"], "k": 3, "exclude": ["181"], "because": True}


class RecommendRequest(BaseModel):
    """Who is to be recommended to, and what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [USER, HISTORY],
            "oneOf": [
                {"required": ["user"], "properties": {"user": {"type": "string"}, "history": {"type": "null"}}},
                {"required": ["history"], "properties": {"history": {"type": "array"}, "user": {"type": "null"}}},
            ],
        },
    )

    user: RawId | None = Field(None, description="raw id of a user: history and events that the server knows")
    history: Ids | None = Field(None, description="raw ids of items, oldest first, in the place of a user")
    k: Annotated[int, BeforeValidator(_whole)] = Field(10, ge=1, le=MAX_K, strict=True, description="how many items")
    filter_seen: bool | None = Field(None, strict=True, description="whether items of the history are left out")
    items: Ids | None = Field(None, description="the items that alone may be recommended")
    exclude: Ids = Field(default_factory=list, description="items that may not be recommended")
    model: RawId | None = Field(None, description="which of /models; left out: the first")
    because: bool = Field(False, strict=True, description="whether the items of the history that carry each are told")

    @model_validator(mode="after")
    def _has_one_history(self) -> Self:
        if (self.user is None) == (self.history is None):
            raise ValueError("give either user or history")
        return self


class BatchRequest(BaseModel):
    """Several requests at once."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"requests": [USER, HISTORY]}]})

    requests: list[RecommendRequest] = Field(min_length=1, max_length=256)


class Item(BaseModel):
    """An item that is recommended."""

    item: str = Field(description="raw id")
    title: str
    score: float = Field(description="higher is better; training interactions where `by` is popularity")
    because: list[str] | None = Field(
        None, description="items of the history without which the score is lower, most first"
    )

    @staticmethod
    def of(told: Recommendation, because: list[str] | None = None) -> "Item":
        """Returns a recommendation, which is sound, as it is sent."""
        return Item.model_construct(item=told.raw_id, title=told.title, score=told.score, because=because)


class RecommendAnswer(BaseModel):
    """What is recommended, best first."""

    model: str = Field(description="the served model's name")
    version: str = Field(description="changes with any of the model's files, or with that of lists")
    by: By = Field(description="precomputed: a list that was made beforehand, from what was known then")
    items: list[Item]


class BatchAnswer(BaseModel):
    """One answer for each request, in their order."""

    answers: list[RecommendAnswer]


class SimilarAnswer(BaseModel):
    """The items whose vectors are most like an item's; scores are cosines."""

    model: str
    version: str
    items: list[Item]


class KnownItem(BaseModel):
    """An item of the catalogue."""

    item: str
    title: str
    count: int = Field(description="interactions in the training part")


class ItemsAnswer(BaseModel):
    """Items of the catalogue, those that were taken most first."""

    total: int = Field(description="how many there are, those that are not shown included")
    items: list[KnownItem]


class EventIn(BaseModel):
    """A user took an item."""

    model_config = ConfigDict(extra="forbid")

    user: RawId
    item: RawId
    time: float | None = Field(
        None, ge=0, le=1e11, strict=True, allow_inf_nan=False, description="seconds since 1970; left out: now"
    )


class EventsRequest(BaseModel):
    """What users did."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"events": [{"user": "196", "item": "50"}]}]}
    )

    events: list[EventIn] = Field(min_length=1, max_length=1000)


class EventsAnswer(BaseModel):
    """What was stored."""

    stored: int
    unknown_items: list[str] = Field(description="stored, too, but the model does not know them")


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class KnownModel(BaseModel):
    """A model, or lists, that answer."""

    model: str
    version: str
    distilled: bool = Field(description="whether it was distilled from a teacher")
    items: int = Field(description="size of its catalogue")
    precomputed: bool = Field(description="whether it is lists that were made beforehand, for users of the log alone")
    users: int | None = Field(description="of lists: how many there are")


class ModelsAnswer(BaseModel):
    """The models that answer, the one that does where a request names none first."""

    models: list[KnownModel]


class Health(BaseModel):
    """That the process answers, and with which model."""

    status: Literal["ok"]
    model: str | None = None
    version: str | None = None
