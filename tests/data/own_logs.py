"""Logs of one's own, in every format that is read, and the settings that read them."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl

from src.core.settings_reading import read_settings
from src.data.settings import DatasetSettings

# In order of time, u_17 has "x,y", 123, 00123, a and u_2 has 00123, a, 123.
ROWS = [
    ("u_17", "00123", 5, "2024-01-03"), ("u_17", "x,y", 4, "2024-01-01"), ("u_2", "00123", 3, "2024-01-05"),
    ("u_17", "123", 2, "2024-01-02"), ("u_17", "a", 2, "2024-01-04"), ("u_2", "a", 1, "2024-01-06"),
    ("u_2", "123", 1, "2024-01-07"),
]  # fmt: skip
LOG = pl.DataFrame(ROWS, schema=["user", "item", "rating", "timestamp"], orient="row")
ITEMS = pl.DataFrame(
    {
        "item": ["00123", "123", "a", "x,y", "never seen"],
        "title": ["Alien", 'Brazil, "the" film', "Charade\n(1963)", "Dune", "Else"],
        "genre": ["Horror", "", "Comedy", None, "Drama"],
        "year": ["1979", "1985", None, "2021", ""],
    }
)
ENDINGS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.gz", "inter")


def write_table(path: Path, frame: pl.DataFrame) -> Path:
    """Writes a table as its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix.lower() == ".parquet":
        frame.write_parquet(plain)
    elif plain.suffix.lower() == ".jsonl":
        frame.write_ndjson(plain)
    elif plain.suffix.lower() == ".csv":
        frame.write_csv(plain)
    else:
        lines = [frame.columns, *frame.rows()]
        plain.write_text(
            "".join("\t".join("" if cell is None else str(cell) for cell in line) + "\n" for line in lines)
        )
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
        plain.unlink()
    return path


def own(interactions: Path | None, items: Path | None = None, **more: Any) -> DatasetSettings:
    """Returns what `dataset=custom dataset.interactions=… dataset.items=…` composes to."""
    tree = {"name": "custom", "reader": "table", "raw_dir": "custom", "files": []}
    named = {"interactions": interactions and str(interactions), "items": None if items is None else str(items)}
    return read_settings(DatasetSettings, {**tree, **named, **more})
