"""Logs and items of one's own, in the formats of `dataset=custom`."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from src.data.prepare import prepare_dataset
from tests.data.own_logs import own, write_table
from tests.wrong_files.cases import (
    BOM,
    DAMAGED,
    Case,
    Kind,
    changed,
    dangling,
    folder_instead,
    gone,
    linked,
    put,
    replaced,
    text_faults,
)
from tests.wrong_files.raw_files import EMPTY_TITLES, LOG, ODD_TITLES, TITLES, only_logs, sequences, titles_of

FRAME = pl.DataFrame(LOG, schema=["user", "item", "rating", "timestamp"], orient="row").select(
    pl.col("user", "item").cast(pl.String), "rating", pl.col("timestamp") + 1_700_000_000
)
ITEMS = pl.DataFrame({"item": [str(item) for item in TITLES], "title": [*TITLES.values()]})
MISSING = "cannot be read"


def kind_of(ending: str, **settings: Any) -> Kind:
    """A log and its items in one format."""

    def make(folder: Path) -> None:
        write_table(folder / f"log.{ending}", FRAME)
        write_table(folder / f"items.{ending}", ITEMS)

    def read(folder: Path) -> dict[str, Any]:
        chosen = own(folder / f"log.{ending}", folder / f"items.{ending}", **settings)
        return sequences(prepare_dataset(chosen, [], folder.parent / "processed"))

    return Kind(f"one's own, {ending}", make, read)


KINDS = {ending: kind_of(ending) for ending in ("csv", "tsv", "jsonl", "parquet", "csv.gz")}
CSV, TSV, JSON = KINDS["csv"], KINDS["tsv"], KINDS["jsonl"]
RATED = kind_of("csv", min_rating=1.0)


def cases() -> Iterator[Case]:
    for ending in ("csv", "tsv", "jsonl"):
        for name in (f"log.{ending}", f"items.{ending}"):
            yield from text_faults(KINDS[ending], name, name, MISSING, empty="has no column")
    for ending in ("parquet", "csv.gz"):
        yield from packed(ending)
    yield from unpacked()
    yield from csv_logs()
    yield from cells()
    yield from json_lines()
    yield from parquet()
    yield from items()


def packed(ending: str) -> Iterator[Case]:
    """Files that tell by themselves what is cut; what is wrong with a text is no matter for them."""
    textual = ("old Mac", "without its last", "gzip")
    for name in (f"log.{ending}", f"items.{ending}"):
        for fault, change in DAMAGED.items():
            if not fault.startswith(textual):
                yield Case(KINDS[ending], f"{name}, {fault}", changed(name, change), name)
        for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
            yield Case(KINDS[ending], f"{name}, {fault}", spoil(name), MISSING)
        yield Case(KINDS[ending], f"{name}, a link to it", linked(name))
        yield Case(KINDS[ending], f"{name}, without its last byte", changed(name, lambda content: content[:-1]), name)


def unpacked() -> Iterator[Case]:
    plain = changed("log.csv.gz", gzip.decompress)
    yield Case(KINDS["csv.gz"], "log.csv.gz, not packed at all", plain, "cannot be unpacked")
    no_end = changed("log.csv.gz", lambda content: gzip.compress(gzip.decompress(content)[:-1], mtime=0))
    yield Case(KINDS["csv.gz"], "log.csv.gz, no last line break", no_end)


def csv_logs() -> Iterator[Case]:
    """The table as a whole."""
    name, header = "log.csv", "user,item,rating,timestamp\n"
    for column in ("user", "item", "timestamp"):
        said = f"log.csv has no column '{column}'; there are "
        for other in (column.upper(), f"{column}s", f" {column}", ""):
            renamed = header.replace(column, other)
            yield Case(CSV, f"{name}, {column} called {other!r}", replaced(name, header, renamed), said)
    yield Case(CSV, f"{name}, no header", replaced(name, header, ""), "has no column 'user'; there are '7', '20', ")
    yield Case(CSV, f"{name}, a header alone", put(name, header), "holds no interactions")
    yield Case(
        CSV, f"{name}, a title above", changed(name, lambda content: b"My log\n" + content), "has no column 'user'"
    )
    twice = replaced(name, header, "user,item,user,timestamp\n")
    yield Case(CSV, f"{name}, a column twice", twice, "several columns that are called 'user'")
    wide = replaced(name, header, "user,item,rating,timestamp,more\n")
    yield Case(CSV, f"{name}, a column without cells", wide, "row 2 (the header counted): 4 fields where there are 5")
    narrow = replaced(name, header, "user,item,timestamp\n")
    yield Case(CSV, f"{name}, cells without a column", narrow, "row 2 (the header counted): 4 fields where there are 3")
    typed = replaced(name, header, "user:token,item:token,rating:float,timestamp:float\n")
    yield Case(CSV, f"{name}, RecBole's header", typed)
    quoted = changed(name, lambda content: content.replace(b"\n7,", b'\n"7",'))
    yield Case(CSV, f"{name}, ids in quotes", quoted)
    for written in (";", "\t", "|", " ", "::"):
        other = changed(name, lambda content, written=written: content.replace(b",", written.encode()))
        yield Case(CSV, f"{name}, separated by {written!r}", other, "log.csv has no column ")
    for fault, line, said in (
        ("one field less", b"7,20,5\n", "log.csv, row 4 (the header counted): 3 fields"),
        ("an empty line", b"\n", "log.csv, row 4 (the header counted): 0 fields"),
        ("a line of commas", b",,,\n", "log.csv, data row 3: user is empty"),
        ("a carriage return", b"7,20,5\r,1700000300\n", "log.csv, row 4 (the header counted): 3 fields"),
        ("letters behind a quote", b'7,"20"0,5,1700000300\n', "look for a quote that is not closed"),
    ):
        within = changed(name, lambda content, line=line: content.replace(b"\n9,", b"\n" + line + b"9,", 1))
        yield Case(CSV, f"{name}, {fault} within", within, said)
    more = changed(name, lambda content: content + b"7,20,5,1700000300,5\n")
    yield Case(CSV, f"{name}, one field more", more, "row 12 (the header counted): 5 fields")
    yield Case(CSV, f"{name}, empty lines behind", changed(name, lambda content: content + b"\n\r\n\n"))
    opened = changed(name, lambda content: content.replace(b"\n9,", b'\n"9,', 1))
    yield Case(CSV, f"{name}, a quote that is not closed", opened, "log.csv")
    turned = changed(name, _turned)
    yield Case(CSV, f"{name}, rows in another order", turned)
    whole = changed(name, lambda content: content + content.split(b"\n", 1)[1])
    twice_all = {user: [item for item in log for _ in range(2)] for user, log in _logs().items()}
    yield Case(only_logs(CSV), f"{name}, every row twice", whole, None, twice_all)


def _turned(content: bytes) -> bytes:
    header, *rows = content.splitlines(keepends=True)
    return b"".join([header, *reversed(rows)])


def _logs() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item, _, _ in sorted(LOG, key=lambda row: row[3]):
        found.setdefault(str(user), []).append(str(item))
    return dict(sorted(found.items()))


def cells() -> Iterator[Case]:
    """One cell of the first row (user 7, item 20, rating 5, timestamp 1700000300)."""
    name, row = "log.csv", b"7,20,5,1700000300\n"

    def with_cell(place: int, value: str) -> Any:
        fields = row.decode().rstrip().split(",")
        fields[place] = value
        return replaced(name, row, ",".join(fields) + "\n")

    for place, column in enumerate(("user", "item")):
        for value in ("", " ", '""', "\u00a0"):
            yield Case(CSV, f"{name}, {column} {value!r}", with_cell(place, value), f"data row 1: {column}")
        for value in ("\x01", "\0", "A\x7fB"):
            yield Case(CSV, f"{name}, {column} {value!r}", with_cell(place, value), "no text")
    for value in ("07", "7.0", "null", "NaN", "👩‍🚀", "7 ", "\N{ARABIC-INDIC DIGIT SEVEN}", "#7", "9" * 30, "x" * 300):
        other = "1 of 4 users have fewer than three"  # for it is another user than 7
        yield Case(CSV, f"{name}, user {value[:12]!r}", with_cell(0, value), other)
        yield Case(CSV, f"{name}, item {value[:12]!r}", with_cell(1, value), "has no title in")
    for value in (
        "",
        "noon",
        "nan",
        "inf",
        "1700000300000",
        "2023-11-14",
        "14/11/2023",
        "9" * 40,
        "1,7e9"[:1] + "x",
    ):
        yield Case(CSV, f"{name}, timestamp {value[:12]!r}", with_cell(3, value), "log.csv, data row ")
    for value in ("1700000300.0", "+1700000300", " 1700000300", "1.7000003e9", "1700000300.25"):
        yield Case(CSV, f"{name}, timestamp {value!r}", with_cell(3, value))
    for value in ("", "good", "nan", "inf", "5/5", "★", "5;0"):
        yield Case(RATED, f"{name}, rating {value!r}", with_cell(2, value), "log.csv, data row 1: rating")
    for value in ("5.0", "+5", "5e0"):
        yield Case(RATED, f"{name}, rating {value!r}", with_cell(2, value))
    for fault, times in {
        "milliseconds": "%s000",
        "microseconds": "%s000000",
        "dates": None,
        "fractions": "%s.5",
    }.items():
        frame = FRAME.with_columns(timestamp=pl.col("timestamp").cast(pl.String).str.replace("$", (times or "")[2:]))
        if times is None:
            frame = FRAME.with_columns(timestamp=pl.from_epoch("timestamp").dt.to_string("%Y-%m-%dT%H:%M:%SZ"))
        yield Case(CSV, f"{name}, times as {fault}", put(name, frame.write_csv()))


def json_lines() -> Iterator[Case]:
    name = "log.jsonl"

    def with_first(line: str) -> Any:
        return changed(name, lambda content: line.encode() + b"\n" + content.split(b"\n", 1)[1])

    broken = {
        "a comma too many": '{"user":"7",}', "a list": '["7","20"]', "a number": "7",
        "a text": '"7"', "two objects": '{"user":"7"}{"user":"7"}', "no object": "user=7", "cut": '{"user":"7"',
        "brackets without end": "[" * 100_000, "NaN": '{"user":NaN', "a comment": "// ours",
    }  # fmt: skip
    for fault, line in broken.items():
        yield Case(JSON, f"{name}, {fault}", with_first(line), f"{name}, line 1, is no JSON object")
    behind = changed(name, lambda content: content + b"]\n")
    yield Case(JSON, f"{name}, a bracket behind", behind, f"{name}, line 11, is no JSON object")
    one = changed(name, lambda content: b"[" + content.replace(b"\n", b",\n", 9).rstrip() + b"]\n")
    yield Case(JSON, f"{name}, one list of all", one, f"{name}, line 1, is no JSON object")
    row = '"item":"20","rating":5,"timestamp":1700000300}'
    for fault, user in {"null": '"user":null,', "missing": "", "empty": '"user":"",'}.items():
        yield Case(JSON, f"{name}, a user that is {fault}", with_first("{" + user + row), "data row 1: user is empty"
                   if fault != "empty" else "data row 1: user '' is empty")  # fmt: skip
    for fault, user in {"a number": "7", "a text": '"7"', "escaped": '"\\u0037"'}.items():
        yield Case(JSON, f"{name}, a user that is {fault}", with_first('{"user":' + user + "," + row))
    lonely = with_first('{"user":"\\ud800",' + row)
    yield Case(JSON, f"{name}, half a letter", lonely, "in no text")
    yield Case(JSON, f"{name}, more keys", with_first('{"user":"7","more":{"a":[1]},' + row))
    turned = with_first('{"timestamp":1700000300,"rating":5,"item":"20","user":"7"}')
    yield Case(JSON, f"{name}, keys in another order", turned)
    spaced = changed(name, lambda content: content.replace(b":", b" : "))
    yield Case(JSON, f"{name}, spaces", spaced)
    within = changed(name, lambda content: content.replace(b"\n", b"\n\n", 1))
    yield Case(JSON, f"{name}, an empty line within", within)


def parquet() -> Iterator[Case]:
    kind, name = KINDS["parquet"], "log.parquet"

    def table(frame: pl.DataFrame) -> Any:
        return lambda folder: frame.write_parquet(folder / name)

    whole = FRAME.with_columns(pl.col("user", "item").cast(pl.Int64))
    for dtype in (pl.Int16, pl.UInt8, pl.UInt64, pl.Categorical):
        cast = FRAME.with_columns(
            pl.col("user", "item").cast(pl.Int64 if dtype != pl.Categorical else pl.String).cast(dtype)
        )
        yield Case(kind, f"{name}, ids of {dtype.__name__}", table(cast))
    for dtype in (pl.Float64, pl.Boolean, pl.Date, pl.Binary):
        cast = FRAME if dtype == pl.Binary else whole.with_columns(pl.col("user").cast(pl.Int32))
        yield Case(kind, f"{name}, users of {dtype.__name__}", table(cast.with_columns(pl.col("user").cast(dtype))),
                   "but ids are texts or whole numbers")  # fmt: skip
    lists = table(FRAME.with_columns(pl.concat_list("user")))
    yield Case(kind, f"{name}, users that are lists", lists, "but ids are texts or whole numbers")
    for fault, column in {
        "dates": pl.from_epoch("timestamp"), "dates of a zone": pl.from_epoch("timestamp").dt.replace_time_zone("UTC"),
        "milliseconds": pl.col("timestamp") * 1000, "fractions": pl.col("timestamp").cast(pl.Float64) + 0.5,
        "texts": pl.col("timestamp").cast(pl.String),
    }.items():  # fmt: skip
        yield Case(kind, f"{name}, times that are {fault}", table(FRAME.with_columns(timestamp=column)))
    later = pl.when(pl.col("item") == "20").then("timestamp")
    for fault, column, said in (
        ("durations", pl.duration(seconds="timestamp"), "not times"),
        ("yes or no", pl.col("timestamp") > 5, "not times"),
        ("missing", later, "data row 2: timestamp is missing"),
        ("NaN", later.cast(pl.Float64).fill_null(float("nan")), "is no time"),
    ):
        yield Case(kind, f"{name}, times that are {fault}", table(FRAME.with_columns(timestamp=column)), said)
    yield Case(kind, f"{name}, no rows", table(FRAME.head(0)), "holds no interactions")
    yield Case(kind, f"{name}, no item", table(FRAME.drop("item")), "has no column 'item'")
    missing = whole.with_columns(pl.when(pl.col("rating") > 1).then("user").alias("user"))
    yield Case(kind, f"{name}, a user that is missing", table(missing), "data row 4: user is empty")


def items() -> Iterator[Case]:
    name = "items.csv"
    reads = titles_of(CSV, "20")
    for fault, title in {**ODD_TITLES, "a tab": "A\tB"}.items():
        field = '"' + title.replace('"', '""') + '"'
        spoiled = replaced(name, TITLES[20], field)
        yield Case(reads, f"{name}, a title with {fault}", spoiled, None, " ".join(title.split()))
    for fault, title in {"a line break": "A\nB", "a Windows' line break": "A\r\nB"}.items():
        yield Case(reads, f"{name}, a title with {fault}", replaced(name, TITLES[20], f'"{title}"'), None, "A B")
    for fault, title in EMPTY_TITLES.items():
        yield Case(reads, f"{name}, a title that is {fault}", replaced(name, TITLES[20], title), "has no title")
    for fault, title in {"NUL": "A\0B", "an escape": "\x1b[31mRed", "C1": "A\x93B"}.items():
        yield Case(reads, f"{name}, a title with {fault}", replaced(name, TITLES[20], title), "no text")
    comma = replaced(name, TITLES[20], "Postman, The")
    yield Case(CSV, f"{name}, a comma without quotes", comma, "row 3 (the header counted): 3 fields where there are 2")
    latin = changed(name, lambda content: content.decode().encode("latin-1"))
    yield Case(CSV, f"{name}, latin-1", latin, "items.csv, line 3, is not utf-8 text")
    for column in ("item", "title"):
        renamed = replaced(name, "item,title\n", "item,title\n".replace(column, "other"))
        yield Case(CSV, f"{name}, no {column}", renamed, f"has no column '{column}'; there are")
    twice = changed(name, lambda content: content + b"20,Another\n")
    yield Case(CSV, f"{name}, an item twice, otherwise", twice, "item '20' has several rows that differ")
    same = changed(name, lambda content: content + b"10,Alien (1979)\n")
    yield Case(CSV, f"{name}, an item twice, the same", same)
    missing = changed(name, lambda content: content.replace(b"20,", b"21,"))
    yield Case(CSV, f"{name}, an item's row is missing", missing, "Item 20 of ")
    zeros = changed(name, lambda content: content.replace(b"20,", b"020,"))
    yield Case(CSV, f"{name}, a zero in front", zeros, "Item 20 of ")
    yield Case(CSV, f"{name}, an item without id", replaced(name, "20,", ","), "items.csv, data row 2: item is empty")
    yield Case(
        CSV, f"{name}, byte order mark twice", changed(name, lambda content: BOM + BOM + content), "has no column"
    )
