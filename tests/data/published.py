"""What must come of the few lines of each preset in `tests/fixtures/published/`, invented in its layout."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from src.core.paths import ROOT

FIXTURES = ROOT / "tests" / "fixtures" / "published"


@dataclass(frozen=True)
class Published:
    """A preset's lines.

    histories: What each user did, oldest first, in raw ids.
    titles: Of the items in the log, by raw id.
    folder: Where the publisher's files lie below the data folder.
    overrides: Beside `dataset=<preset>`; `{}` is the data folder.
    text: Raw id of an item, and its text.
    packed: Whether files of JSON lines are published packed.
    lines: Folder below `FIXTURES`, where it is not called as the preset.
    """

    histories: dict[str, list[str]]
    titles: dict[str, str]
    folder: str = "."
    overrides: list[str] = field(default_factory=list)
    text: tuple[str, str] | None = None
    packed: bool = True
    lines: str | None = None

    def write(self, preset: str, data_dir: Path) -> None:
        folder = data_dir / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted((FIXTURES / (self.lines or preset)).iterdir()):
            content = source.read_bytes()
            if self.packed and source.suffix in (".json", ".jsonl"):
                (folder / f"{source.name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / source.name).write_bytes(content)


NO_CORE = ["dataset.min_user_interactions=3", "dataset.min_item_interactions=0"]
SHARES = ["dataset.val_share=0.2", "dataset.test_share=0.2"]
TWO_USERS = {"7": ["1", "2", "3", "1"], "9": ["2", "1", "3"]}
FILMS = {"1": "Alien (1979)", "2": 'Brazil, "cut" (1985)', "3": "Charade (1963)"}
TOYS = {"B1": "Kite & Co", "B2": 'Top 18"', "B3": "Yo-Yo"}
BUYERS = {user: [f"B{item}" for item in items] for user, items in TWO_USERS.items()}
GAMES = {"10": "Lost", "20": "Karts", "30": "Quiz"}
PLAYERS = {user: [f"{item}0" for item in items] for user, items in TWO_USERS.items()}


def own(log: str, items: str, *overrides: str) -> list[str]:
    return [f"dataset.interactions={{}}/{log}", f"dataset.items={{}}/{items}", *overrides]


def movielens_csv(folder: str) -> Published:
    text = ("1", "Alien (1979); Horror|Sci-Fi")
    return Published(TWO_USERS, FILMS, folder, text=text, lines="movielens_csv")


PRESETS = {
    "recbole": Published(TWO_USERS, FILMS, overrides=own("x.inter", "x.item", "dataset.columns.title=movie_title")),
    "ml_10m": Published(TWO_USERS, FILMS, "ml-10M100K", text=("1", "Alien (1979); Horror, Sci-Fi")),
    "ml_20m": movielens_csv("ml-20m"),
    "ml_25m": movielens_csv("ml-25m"),
    "ml_latest": movielens_csv("ml-latest"),
    "ml_latest_small": movielens_csv("ml-latest-small"),
    "amazon_2014": Published(
        BUYERS,
        TOYS,
        overrides=own("reviews_Toys_5.json.gz", "meta_Toys.json.gz", *NO_CORE, "dataset.columns.texts=[categories]"),
        text=("B1", "Kite & Co; Toys, It's"),
    ),
    "amazon_2018": Published(
        BUYERS,
        TOYS,
        overrides=own("Toys_5.json.gz", "meta_Toys.json.gz", *NO_CORE, "dataset.columns.texts=[brand,category]"),
        text=("B1", "Kite & Co; Acme; Toys, Fun"),
    ),
    "amazon_2023": Published(BUYERS, TOYS, overrides=own("Toys.jsonl.gz", "meta_Toys.jsonl.gz", *NO_CORE)),
    "amazon_2023_5core": Published(BUYERS, TOYS, overrides=own("Toys.csv", "meta_Toys.jsonl.gz", *NO_CORE)),
    "steam": Published(PLAYERS, GAMES, "steam", NO_CORE, ("10", "Lost; Action, Indie")),
    "steam_australian": Published({"7": PLAYERS["7"]}, GAMES, "steam"),
    "lastfm_hetrec": Published(
        {"2": ["1", "3", "2", "1"]}, {"1": "Æsa", "2": 'Two "2"', "3": "Three"}, "hetrec2011-lastfm-2k"
    ),
    "lastfm_1k": Published(
        {"user_000001": ["Drei", "雨の日", "Night Bus", "Drei"]},
        {artist: artist for artist in ("Drei", "雨の日", "Night Bus")},
        "lastfm-dataset-1K",
        ["dataset.min_item_interactions=0"],
    ),
    "lastfm_ilora": Published(
        {"0": ["0", "1", "2"], "1": ["2", "1", "0"], "2": ["1", "2"]},
        {"0": "Morning::Band", "1": "Two", "2": "Three"},
        "lastfm-ilora",
        packed=False,
    ),
    "sessions": Published(
        {f"s{number}": ["a", "b"] for number in range(9)},
        {"a": "Apple", "b": "Book"},
        overrides=own("log.csv", "items.csv", *SHARES),
    ),
    "yoochoose": Published(
        {str(number): ["21451", "21452"] for number in range(1, 10)},
        {"21451": "", "21452": ""},
        "yoochoose-data",
        ["dataset.min_item_interactions=0", *SHARES],
    ),
}
