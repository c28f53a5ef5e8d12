"""Tiny raw folders in the four layouts, and the settings that read them."""

import zipfile
from pathlib import Path

from src.core.settings_reading import changed, read_settings
from src.data.settings import DatasetSettings

# In order, user 7 has 10, 30, 20, 20 and user 9 has 10, 20, 30.
RATINGS = [
    (7, 20, 5, 300), (7, 10, 3, 100), (9, 10, 4, 50), (7, 30, 1, 200), (9, 20, 2, 60), (9, 30, 5, 70), (7, 20, 4, 400),
]  # fmt: skip
TITLES = {10: "Alien (1979)", 20: "Brazil (1985)", 30: "Charade (1963)", 40: "Never Rated (1999)"}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def ml_100k(data_dir: Path, log=RATINGS, titles=TITLES) -> DatasetSettings:
    write(data_dir / "ml-100k/u.data", "".join("\t".join(map(str, row)) + "\n" for row in log))
    flags = "|".join("1" if genre in (5, 15) else "0" for genre in range(19))  # Comedy, Sci-Fi
    lines = [f"{item}|{title}|01-Jan-1995||http://x|{flags}\n" for item, title in titles.items()]
    write(data_dir / "ml-100k/u.item", "".join(lines), "latin-1")
    return settings("movielens_100k", "ml-100k", ["u.data", "u.item"])


def ml_1m(data_dir: Path, log=RATINGS, titles=TITLES) -> DatasetSettings:
    write(data_dir / "ml-1m/ratings.dat", "".join("::".join(map(str, row)) + "\n" for row in log))
    lines = [f"{item}::{title}::Comedy|Sci-Fi\n" for item, title in titles.items()]
    write(data_dir / "ml-1m/movies.dat", "".join(lines), "latin-1")
    return settings("movielens_1m", "ml-1m", ["ratings.dat", "movies.dat"])


def amazon_games(data_dir: Path, train="1 1 2 3\n2 3\n", valid="1 2\n2\n", test="1\n2 1 2\n") -> DatasetSettings:
    folder = data_dir / "amazon-games"
    write(folder / "train.txt", train)
    write(folder / "valid.txt", valid)
    write(folder / "test.txt", test)
    write(folder / "items.tsv", "0\tB000A\tPong &amp; Co\n1\tB000B\tQuake\n2\tB000C\tRisk\n")
    names = ["train.txt", "valid.txt", "test.txt", "items.tsv"]
    return changed(settings("amazon_sequential_splits", "amazon-games", names), {"split": "given"})


def amazon_toys(data_dir: Path, sequences="5 2 0 1 2\n3 1 2 0\n") -> DatasetSettings:
    write(data_dir / "amazon-toys/data.txt", sequences)
    write(data_dir / "amazon-toys/items.tsv", "0\tB000A\tTop 18&quot;\n1\tB000B\tKite\n2\tB000C\tKite\n")
    return settings("amazon_sequential", "amazon-toys", ["data.txt", "items.tsv"])


def settings(reader: str, raw_dir: str, names: list[str]) -> DatasetSettings:
    files = [{"name": name} for name in names]
    shares = {"val_share": 0.2, "test_share": 0.2}
    return read_settings(
        DatasetSettings, {"name": "tiny", "reader": reader, "raw_dir": raw_dir, "files": files, **shares}
    )


def write_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """Writes a wheel that pip accepts; its path is a requirement that pip needs no network for."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
