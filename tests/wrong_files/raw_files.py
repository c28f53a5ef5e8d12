"""Raw logs and item tables, as `prepare` reads them."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from src.core.settings_reading import changed as with_settings
from src.data.dataset import Dataset
from src.data.prepare import prepare_dataset
from src.data.settings import DatasetSettings
from tests.data.raw_folders import amazon_games, amazon_toys, ml_1m, ml_100k
from tests.wrong_files.cases import AS_BEFORE, Case, Kind, changed, put, replaced, text_faults

LOG = [
    (7, 20, 5, 300), (7, 10, 3, 100), (9, 10, 4, 50), (7, 30, 1, 200), (9, 20, 2, 60), (9, 30, 5, 70), (7, 20, 4, 400),
    (12, 30, 4, 90), (12, 10, 4, 91), (12, 20, 4, 92),
]  # fmt: skip
TITLES = {10: "Alien (1979)", 20: "Amélie (2001)", 30: "Charade (1963)", 40: "Never Rated (1999)"}
TRAIN, VALID, TEST = "1 1 2 3\n2 3 1\n", "1 2\n2 2\n", "1 1\n2 1 2\n"
Layout = Callable[[Path], DatasetSettings]


def sequences(dataset: Dataset) -> dict[str, Any]:
    """What a prepared dataset says, in raw ids and titles."""
    item_of = ["", *dataset.catalogue.raw_ids]
    users = pl.read_parquet(dataset.folder / "users.parquet")["raw_id"].to_list()
    ends = dataset.offsets.tolist()
    logs = [[item_of[item] for item in dataset.item_log[a:b].tolist()] for a, b in pairwise(ends)]
    return {
        "logs": dict(zip(users, logs, strict=True)),
        "train": dataset.num_train.tolist(),
        "titles": dict(zip(dataset.catalogue.raw_ids, dataset.catalogue.titles, strict=True)),
        "texts": dataset.catalogue.texts,
    }


def kind_of(name: str, layout: Layout, **settings: Any) -> Kind:
    """The folder of a case is the raw folder itself."""

    @cache
    def right() -> tuple[DatasetSettings, dict[str, bytes]]:
        with tempfile.TemporaryDirectory() as temporary:
            chosen = layout(Path(temporary))
            folder = Path(temporary) / chosen.raw_dir
            return with_settings(chosen, settings), {path.name: path.read_bytes() for path in folder.iterdir()}

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        for file, content in right()[1].items():
            (folder / file).write_bytes(content)

    def read(folder: Path) -> dict[str, Any]:
        chosen = right()[0].model_copy(update={"raw_dir": folder.name})
        return sequences(prepare_dataset(chosen, [folder.parent], folder.parent / "processed"))

    return Kind(name, make, read)


ML_100K = kind_of("MovieLens-100K", lambda folder: ml_100k(folder, LOG, TITLES))
ML_1M = kind_of("MovieLens-1M", lambda folder: ml_1m(folder, LOG, TITLES))
GAMES = kind_of("Amazon, three files", lambda folder: amazon_games(folder, TRAIN, VALID, TEST))
TOYS = kind_of("Amazon, one file", lambda folder: amazon_toys(folder, "5 2 0 1 2\n3 1 2 0\n8 0 0 1\n"))

NO_LOG = "not to be found"


def cases() -> Iterator[Case]:
    yield from movielens_log(ML_100K, "u.data", "\t")
    yield from movielens_log(ML_1M, "ratings.dat", "::")
    yield from u_item()
    yield from movies_dat()
    yield from amazon_log(TOYS, "data.txt")
    for name in ("train.txt", "valid.txt", "test.txt"):
        yield from text_faults(GAMES, name, name, NO_LOG, empty="leaves no")
    yield from amazon_splits()
    yield from amazon_items()
    yield from whole_logs()


def movielens_log(kind: Kind, name: str, separator: str) -> Iterator[Case]:
    yield from text_faults(kind, name, name, NO_LOG, empty="holds no interactions")

    def line(*fields: object) -> bytes:
        return (separator.join(map(str, fields)) + "\n").encode()

    def with_first(column: int, value: str) -> Callable[[bytes], bytes]:
        fields: list[object] = list(LOG[0])
        fields[column] = value
        return lambda content: content.replace(line(*LOG[0]), line(*fields), 1)

    columns = ("user", "item", "rating", "timestamp")
    refusals = {
        0: [
            "x",
            "",
            "7.0",
            "7e0",
            '"7"',
            "#7",
            "7 ",
            "0x7",
            "1_0",
            "\N{ARABIC-INDIC DIGIT SEVEN}",
            "2147483648",
            "9" * 30,
            "true",
            "nan",
            "u7",
            "-",
        ],
        1: ["x", "", "20.5", "'20'", "2147483648", "99999999999", "NaN", "20 20"],
        2: ["x", "", "nan", "NaN", "inf", "-inf", "1e39", "9" * 50, "5,0", "5/5", '"5"', "0x5", "★★★", "5 "],
        3: ["x", "", "nan", "inf", "300.0", "3e2", "1998-01-01", "9223372036854775808", "9" * 40, "noon", "300 "],
    }
    for column, values in refusals.items():
        for value in values:
            fault = f"{name}, {columns[column]} {value[:12]!r}"
            yield Case(kind, fault, changed(name, with_first(column, value)), f"{name}, line 1: {columns[column]}")
    same = {0: ["+7", "007", " 7"], 1: ["+20", "0020"], 2: ["5.0", "+5", "5.", "1e0"], 3: ["+300", "0300"]}
    for column, values in same.items():
        for value in values:
            yield Case(kind, f"{name}, {columns[column]} {value!r}", changed(name, with_first(column, value)))

    def before(text: str) -> Callable[[bytes], bytes]:
        return lambda content: text.encode() + content

    def behind(text: str | bytes) -> Callable[[bytes], bytes]:
        return lambda content: content + (text if isinstance(text, bytes) else text.encode())

    fields = f"{name}, line "
    bad = str(len(LOG) + 1)
    yield Case(kind, f"{name}, a header", changed(name, before("user_id:token\titem_id:token\n")), f"{fields}1: ")
    yield Case(kind, f"{name}, a header with as many columns", changed(name, before(line(*columns).decode())), "'user'")
    yield Case(kind, f"{name}, a comment", changed(name, before("# ratings\n")), f"{fields}1: 1 of 4 fields")
    yield Case(kind, f"{name}, an empty line in front", changed(name, before("\n")), f"{fields}1: 1 of 4 fields")
    yield Case(kind, f"{name}, an empty line behind", changed(name, behind("\n")), f"{fields}{bad}: 1 of 4 fields")
    yield Case(kind, f"{name}, a line of spaces", changed(name, behind("   \n")), f"{fields}{bad}: 1 of 4 fields")
    yield Case(kind, f"{name}, DOS' end of file", changed(name, behind(b"\x1a\n")), f"{fields}{bad}: 1 of 4 fields")
    yield Case(kind, f"{name}, a line too short", changed(name, behind(line(7, 20, 5))), f"{fields}{bad}: 3 of 4")
    yield Case(kind, f"{name}, a line too long", changed(name, behind(line(7, 20, 5, 1, 1))), f"{fields}{bad}: 5 of 4")
    yield Case(kind, f"{name}, a thousand columns", put(name, line(*range(1000))), f"{fields}1: 1000 of 4")
    yield Case(kind, f"{name}, no last line break", changed(name, lambda content: content[:-1]), "line break")
    yield Case(kind, f"{name}, cut within the last number", changed(name, lambda content: content[:-2]), "line break")
    other = {"\t": "::", "::": "\t"}[separator]
    for written in (other, ",", ";", " ", "|", ":"):
        turned = changed(name, lambda content, written=written: content.replace(separator.encode(), written.encode()))
        yield Case(kind, f"{name}, separated by {written!r}", turned, f"{fields}1: 1 of 4 fields")
    csv = "userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n"
    yield Case(kind, f"{name}, ml-latest's ratings.csv", put(name, csv), f"{fields}1: 1 of 4 fields")
    recbole = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t20\t5\t300\n"
    yield Case(kind, f"{name}, RecBole's .inter", put(name, recbole), f"{fields}1: ")
    yield Case(kind, f"{name}, in quotes", put(name, b'"' + line(*LOG[0])[:-1] + b'"\n'), f"{fields}1: user")
    yield Case(kind, f"{name}, a number in latin-1", changed(name, with_first(2, "½")), f"{fields}1: rating")


def whole_logs() -> Iterator[Case]:
    """What a log as a whole may be like; worked by hand."""

    def log(*rows: tuple[object, ...]) -> Callable[[Path], object]:
        return put("u.data", "".join("\t".join(map(str, row)) + "\n" for row in rows))

    def case(fault: str, rows: list[tuple[object, ...]], right: Any = None, refused: str | None = None) -> Case:
        return Case(SEQUENCES, fault, log(*rows), refused, right if refused is None else AS_BEFORE)

    one = [(1, 10, 5, 3), (1, 20, 5, 1), (1, 30, 5, 2), (1, 10, 5, 4)]
    yield case("one user", one, {"1": ["20", "30", "10", "10"]})
    yield case("one item", [(1, 10, 5, n) for n in range(4)], {"1": ["10"] * 4})
    yield case(
        "every line twice",
        [row for row in one for _ in range(2)],
        {"1": ["20", "20", "30", "30", "10", "10", "10", "10"]},
    )
    yield case("all at one time", [(*row[:3], 7) for row in one], {"1": ["10", "20", "30", "10"]})
    yield case("times before 1970", [(*row[:3], -row[3]) for row in one], {"1": ["10", "10", "30", "20"]})
    huge = 2**63 - 1
    yield case("the largest times", [(*row[:3], huge - 9 + row[3]) for row in one], {"1": ["20", "30", "10", "10"]})
    yield case("negative users", [(-row[0], *row[1:]) for row in one], {"-1": ["20", "30", "10", "10"]})
    yield case("user 0", [(0, *row[1:]) for row in one], {"0": ["20", "30", "10", "10"]})
    yield case("the largest user", [(2**31 - 1, *row[1:]) for row in one], {str(2**31 - 1): ["20", "30", "10", "10"]})
    yield case("ratings of any size", [(*row[:2], -99, row[3]) for row in one], {"1": ["20", "30", "10", "10"]})
    yield case("an item that has no line", [*one, (1, 50, 5, 9)], refused="Item 50 of ")
    yield case("negative items", [*one, (1, -10, 5, 9)], refused="Item -10 of ")
    yield case("an item that is 0", [*one, (1, 0, 5, 9)], refused="Item 0 of ")
    yield case("the largest item", [*one, (1, 2**31 - 1, 5, 9)], refused="Item 2147483647 of ")
    yield case("a user with one interaction", [*one, (2, 10, 5, 9)], refused="1 of 2 users have fewer than three")
    yield case("a user with two interactions", [*one, (2, 10, 5, 9), (2, 20, 5, 9)], refused="user 2 has 2")
    yield case("two interactions in all", one[:2], refused="fewer than three interactions")
    yield case("no train example", one[:3], refused="leaves no train example")
    yield Case(FILTERED, "every user filtered away", log(*one), "is left after dataset.min_rating=")
    yield Case(BY_TIME, "split by time, all at one time", log(*[(*row[:3], 7) for row in one]), "leaves no train")
    yield Case(
        BY_TIME, "split by time, no val moment", log((1, 10, 5, 1), (1, 20, 5, 2), (1, 30, 5, 3)), "leaves no val"
    )
    latest = [(user, item, 5, huge) for user in (1, 2) for item in (10, 20, 30)]
    yield Case(BY_TIME, "split by time, all at the latest moment", log(*latest), "leaves no train")


def only_logs(kind: Kind) -> Kind:
    return Kind(kind.name, kind.make, lambda folder: kind.read(folder)["logs"])


ML_LAYOUT: Layout = lambda folder: ml_100k(folder, LOG, TITLES)  # noqa: E731
SEQUENCES = only_logs(kind_of("whole logs", ML_LAYOUT))
FILTERED = only_logs(kind_of("whole logs", ML_LAYOUT, min_rating=5.5))
BY_TIME = only_logs(kind_of("whole logs", ML_LAYOUT, split="global_time"))


def titles_of(kind: Kind, of: str) -> Kind:
    return Kind(kind.name, kind.make, lambda folder: kind.read(folder)["titles"][of])


ODD_TITLES = {
    "emoji": "👩‍🚀 Moon 🌕",
    "Chinese": "羅生門 (1950)",
    "right to left": "أغنية (1999)",
    "quotes": "\"So-called\" 'Film'",
    "a comma": "Postman, The (1994)",
    "a comma and quotes, as CSV writes them": '"Postman, ""The"" (1994)"',
    "a backslash": "AC\\DC \\n",
    "a tag": "<b>Bold</b> & [HistoryHere]",
    "braces": "{x} ${y} %s",
    "a combining accent": "Ame\u0301lie",
    "a line separator of Unicode": "One\u2028Two",
    "a space of another kind within": "One\u00a0Two",
    "a single letter": "M",
    "a number": "1984",
    "null": "null",
    "NaN": "NaN",
    "a thousand letters": "Long " * 200 + "End",
}
EMPTY_TITLES = {"empty": "", "a space": " ", "a space that does not break": "\u00a0", "a space of no width": "\u200b"}


def odd_titles(kind: Kind, name: str, item: str, old: str, separators: dict[str, str]) -> Iterator[Case]:
    """Titles of one item, in UTF-8 throughout: `old` is its field with what stands around it, `{}` the title."""
    reads = titles_of(kind, item)

    def with_title(title: str) -> Callable[[bytes], bytes]:
        return lambda content: _as_utf8(content).replace(old.encode(), title_field(title), 1)

    def title_field(title: str) -> bytes:
        return old.replace(TITLE_OF[name], title).encode()

    for fault, title in {**ODD_TITLES, **separators}.items():
        yield Case(reads, f"{name}, a title with {fault}", changed(name, with_title(title)), None, title)
    for fault, title in EMPTY_TITLES.items():
        yield Case(reads, f"{name}, a title that is {fault}", changed(name, with_title(title)), "has no title")
    for fault, title in {
        "NUL": "A\0B",
        "an escape": "\x1b[31mRed",
        "a carriage return": "A\rB",
        "C1": "A\x93B",
    }.items():
        yield Case(reads, f"{name}, a title with {fault}", changed(name, with_title(title)), "which is in no text")
    yield Case(reads, f"{name}, a title with a line break", changed(name, with_title("A\nB")), f"{name}, line ")


TITLE_OF = {"u.item": TITLES[20], "movies.dat": TITLES[20], "items.tsv": "Kite"}


def _as_utf8(content: bytes) -> bytes:
    try:
        content.decode()
        return content
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()


def u_item() -> Iterator[Case]:
    name = "u.item"
    yield from text_faults(ML_100K, name, name, NO_LOG, empty="has no title")
    yield from item_numbers(ML_100K, name, "|")
    yield Case(ML_100K, f"{name}, in UTF-8", changed(name, _as_utf8))
    mixed = changed(name, lambda content: content + "41|Ämter|d||u|".encode() + b"|".join([b"0"] * 19) + b"\n")
    yield Case(ML_100K, f"{name}, UTF-8 and latin-1", mixed, "is UTF-8, line 2 is latin-1")
    yield from odd_titles(ML_100K, name, "20", f"20|{TITLES[20]}|", {"two colons": "A::B", "a tab": "A\tB"})
    yield Case(ML_100K, f"{name}, a title with its separator", replaced(name, b"Alien", b"Al|ien"), "line 1: 25 fields")
    for value in ("2", "", "x", "-1", "true"):
        flag = changed(name, lambda content, value=value: content.replace(b"|0\n", f"|{value}\n".encode(), 1))
        yield Case(ML_100K, f"{name}, a genre's flag {value!r}", flag, "line 1: a flag of a genre is neither 0 nor 1")
    yield Case(ML_100K, f"{name}, a flag missing", replaced(name, b"|0\n", b"\n"), "line 1: 23 fields")
    yield Case(ML_100K, f"{name}, ml-latest's movies.csv", put(name, "movieId,title,genres\r\n10,A,B\r\n"), "1 fields")


def movies_dat() -> Iterator[Case]:
    name = "movies.dat"
    yield from text_faults(ML_1M, name, name, NO_LOG, empty="has no title")
    yield from item_numbers(ML_1M, name, "::")
    yield Case(ML_1M, f"{name}, in UTF-8", changed(name, _as_utf8))
    mixed = changed(name, lambda content: content + "41::Ämter::War\n".encode())
    yield Case(ML_1M, f"{name}, UTF-8 and latin-1", mixed, "is UTF-8, line 2 is latin-1")
    yield from odd_titles(ML_1M, name, "20", f"20::{TITLES[20]}::", {"one colon": "A:B", "a bar": "A|B"})
    yield Case(ML_1M, f"{name}, a title with its separator", replaced(name, b"Alien", b"Al::ien"), "line 1: 4 fields")
    yield Case(ML_1M, f"{name}, ml-latest's movies.csv", put(name, "movieId,title,genres\r\n10,A,B\r\n"), "1 fields")


def item_numbers(kind: Kind, name: str, separator: str) -> Iterator[Case]:
    for value in ("x", "", "20.0", '"20"', "2147483648", "9" * 30, "2e1", "٢٠", "20 ", "nan"):
        spoil = changed(name, lambda content, value=value: _numbered(content, value, separator))
        yield Case(kind, f"{name}, item {value[:12]!r}", spoil, f"{name}, line 2: item")
    twice = changed(name, lambda content: content + content.splitlines(keepends=True)[0])
    yield Case(kind, f"{name}, an item twice", twice, "is listed a second time")
    again = changed(name, lambda content: content + b"0" + content.splitlines(keepends=True)[0])
    yield Case(kind, f"{name}, an item twice, once with a 0 in front", again, "is listed a second time")
    missing = changed(name, lambda content: b"".join(content.splitlines(keepends=True)[1:]))
    yield Case(kind, f"{name}, an item's line is missing", missing, "has no title")
    turned = changed(name, lambda content: b"".join(reversed(content.splitlines(keepends=True))))
    yield Case(kind, f"{name}, in another order", turned)
    behind = changed(name, lambda content: content + b"\n\n")
    yield Case(kind, f"{name}, empty lines behind", behind)
    within = changed(name, lambda content: content.replace(b"\n", b"\n\n", 1))
    yield Case(kind, f"{name}, an empty line within", within, f"{name}, line 2: 1 fields")


def _numbered(content: bytes, value: str, separator: str) -> bytes:
    """Gives the item of the second line another number."""
    lines = content.splitlines(keepends=True)
    _, rest = lines[1].split(separator.encode(), 1)
    lines[1] = value.encode() + separator.encode() + rest
    return (b"".join(lines).decode("latin-1") if value.isascii() else _as_utf8(b"".join(lines)).decode()).encode(
        "latin-1" if value.isascii() else "utf-8"
    )


def amazon_log(kind: Kind, name: str) -> Iterator[Case]:
    yield from text_faults(kind, name, name, NO_LOG, empty="holds no interactions")
    for value in ("x", "2.0", "2147483648", "9" * 30, "1e0", '"2"', "nan", "2,0", "\N{FULLWIDTH DIGIT TWO}"):
        yield Case(kind, f"{name}, item {value[:12]!r}", replaced(name, "5 2 0", f"5 {value} 0"), f"{name}, line 1: ")
    yield Case(kind, f"{name}, two spaces", replaced(name, "5 2", "5  2"), f"{name}, line 1: ''")
    yield Case(kind, f"{name}, a space in front", replaced(name, "5 2", " 5 2"), f"{name}, line 1: ''")
    yield Case(kind, f"{name}, tabs", replaced(name, " ", "\t"), f"{name}, line 1: ")
    yield Case(kind, f"{name}, commas", replaced(name, " ", ","), f"{name}, line 1: ")
    yield Case(kind, f"{name}, spaces behind", replaced(name, "\n", "  \n"))
    yield Case(kind, f"{name}, empty lines behind", changed(name, lambda content: content + b"\n\n"))
    yield Case(kind, f"{name}, an empty line within", replaced(name, "\n3 ", "\n\n3 "), f"{name}, line 2: ''")
    again = changed(name, lambda content: content + b"5 1\n")
    yield Case(kind, f"{name}, a user twice", again, f"{name}, line 4: user 5 has a line already")
    yield Case(kind, f"{name}, a negative item", replaced(name, "5 2", "5 -2"), "Item -2 of ")
    yield Case(kind, f"{name}, an item without a line", replaced(name, "5 2", "5 77"), "Item 77 of ")
    yield Case(kind, f"{name}, a user without items", changed(name, lambda content: content + b"6\n"))
    yield Case(
        kind, f"{name}, a user with one item", changed(name, lambda content: content + b"6 1\n"), "fewer than three"
    )
    yield Case(kind, f"{name}, users alone", put(name, "1\n2\n"), "holds no interactions")


def amazon_splits() -> Iterator[Case]:
    cut = "leaves no val and no test example"
    yield Case(GAMES, "no val and no test", lambda f: (put("valid.txt", "1\n")(f), put("test.txt", "2\n")(f)), cut)
    swapped = lambda f: (put("train.txt", VALID)(f), put("valid.txt", TRAIN)(f))  # noqa: E731
    yield Case(GAMES, "one interaction of each user for training", swapped, "leaves no train example")
    again = changed("valid.txt", lambda content: content + b"1 3\n")
    yield Case(GAMES, "valid.txt, a user twice", again, "valid.txt, line 3: user 1 has a line already")
    newcomer = changed("test.txt", lambda content: content + b"3 1 2\n")
    yield Case(only_logs(GAMES), "test.txt, a user of its own", newcomer, None, {
        "1": ["1", "2", "3", "2", "1"], "2": ["3", "1", "2", "1", "2"], "3": ["1", "2"]
    })  # fmt: skip


def amazon_items() -> Iterator[Case]:
    name = "items.tsv"
    yield from text_faults(TOYS, name, name, NO_LOG, empty="has no title")
    yield from item_numbers(TOYS, name, "\t")
    yield Case(TOYS, f"{name}, a title in latin-1", replaced(name, b"Kite", b"Caf\xe9"), "line 2, is not utf-8 text")
    separators = {"two colons": "A::B", "a bar": "A|B", "four spaces": "A    B"}
    yield from odd_titles(TOYS, name, "1", "1\tB000B\tKite\n", separators)
    yield Case(TOYS, f"{name}, a title with its separator", replaced(name, "Top", "To\tp"), "line 1: 4 fields")
    for fault, written in {"line break": "A&#10;B", "carriage return": "A&#13;B"}.items():
        escaped = replaced(name, "Top 18&quot;", written)
        yield Case(TOYS, f"{name}, an escaped {fault}", escaped, "line 1, holds")
    yield Case(TOYS, f"{name}, an escaped space alone", replaced(name, "Top 18&quot;", "&nbsp;"), "Item 0 of ")
    entities = titles_of(TOYS, "0")
    yield Case(
        entities, f"{name}, entities", replaced(name, "18&quot;", "&amp;amp; &eacute; &#x41;"), None, "Top &amp; é A"
    )
