"""Settings of what serves: which student, whom to recommend to in a batch, how the server behaves."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..core.paths import absolute
from ..core.settings import (
    Address,
    Names,
    Number,
    Positive,
    PositiveInteger,
    Settings,
    Text,
    UserPath,
    Whole,
    Words,
    YesNo,
    setting,
)

Likeness = Annotated[Number, Field(ge=0, le=100), Words("a number from 0 to 100")]
Boost = Annotated[Number, Field(ge=-100, le=100), Words("a number from -100 to 100")]
Port = Annotated[Whole, Field(ge=0, le=65535), Words("a whole number from 0 to 65535")]


def in_start_folder(address: str) -> str:
    """Returns the address of a database; a relative path of SQLite's means the folder the command was started in."""
    kind, _, path = address.partition(":///")
    if kind.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return address
    return f"{kind}:///{absolute(path)}"


Database = Annotated[Address, AfterValidator(in_start_folder)]
EmptyHistory = Literal["popular", "refuse"]  # what is done for users without a history
Search = Literal["float32", "bytes"]  # how the best items of a catalogue are found
UnknownItems = Literal["skip", "refuse"]  # and about items that a model does not know


class ServeSettings(Settings):
    """What is served, and what is done where a model has nothing to go by: in a batch and over HTTP."""

    student: Literal["distilled", "baseline"] = setting(
        "distilled", "which student is made a served model (run_export_onnx), or is served"
    )
    model: UserPath | None = setting(
        None, "folder of a served model; null: the one of this dataset and kind (serve.student) that was made last"
    )
    new_items: UserPath | None = setting(
        None,
        "a table of items that came after the training (its columns: dataset.columns.item_key, title and texts), which "
        "run_export_onnx makes recommendable by their texts; null: none",
    )
    new_items_texts: Names | None = setting(
        None, "columns of that table which stand behind the title, e.g. [genres]; null: dataset.columns.texts"
    )
    new_items_likeness: Likeness = setting(
        12.0, "how much a new item gains (in logits) by a text like that of the newest item of a history"
    )
    new_items_boost: Boost = setting(
        0.0, "added to the scores (logits) of new items: the more, the more often they are recommended (run_cold_start)"
    )
    search: Search = setting(
        "float32",
        "how run_export_onnx lets the best items be found: by the scores of all, or by a table of a byte a dimension, "
        "which is faster in large catalogues, and the scores of what that finds",
    )
    filter_seen: YesNo = setting(True, "whether items that a user has seen are left out")
    empty_history: EmptyHistory = setting(
        "popular", "for users without a history that the model knows: popular items, or an error"
    )
    unknown_items: UnknownItems = setting(
        "skip", "items of a history that the model does not know: passed over, or an error"
    )
    threads: PositiveInteger = setting(1, "of onnxruntime, for each question")


class RecommendSettings(Settings):
    """`run_recommend`: recommendations for many users, written to a file."""

    by: Literal["model", "teacher"] = setting(
        "model",
        "who recommends: the served model, or, slowly, what teaches (the config's trained teacher or ensemble)",
    )
    output: UserPath = setting(Path("recommendations.parquet"), "the file: .parquet or .csv")
    users: UserPath | None = setting(None, "a text file of raw user ids, one on each line; null: every user of the log")
    k: PositiveInteger = setting(10, "items for each user")
    chunk: PositiveInteger | None = setting(
        None, "users that are written at once, and where it goes on; null: 20000 of a model's, 500 of a teacher's"
    )


class ServerSettings(Settings):
    """`run_serve`: the HTTP service."""

    host: Text = setting("127.0.0.1", "address it listens on; 0.0.0.0: every one")
    port: Port = setting(8000, "port; 0: any that is free")
    beside: Annotated[list[UserPath], Words("a list of paths")] = setting(
        [], "folders of more served models, which answer the requests that name them"
    )
    lists: Annotated[list[UserPath], Words("a list of paths")] = setting(
        [],
        "files of run_recommend, such as a teacher's (recommend.by=teacher): lists made beforehand, which answer the "
        "requests that name them, of users of the log",
    )
    processes: PositiveInteger = setting(
        1, "that serve, each with the model in its memory; limits and the look for a newer model are those of each"
    )
    max_batch: PositiveInteger = setting(64, "requests that are ranked together")
    max_waiting: PositiveInteger = setting(1024, "requests that may wait; one more is answered 503 with Retry-After")
    timeout_seconds: Positive = setting(5.0, "after which a request that still waits is answered 503")
    max_body_kb: PositiveInteger = setting(256, "size of a request in KiB; a larger one is answered 413")
    reload_seconds: Positive = setting(5.0, "how often a newer model is looked for, and taken over")
    events: Database | None = setting(
        None, "where POST /events is kept: sqlite:///<path> or postgresql://…; null: events are refused"
    )
    requests_per_second: Positive | None = setting(None, "of one client; above that 429; null: any number")
