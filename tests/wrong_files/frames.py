"""Frames of windows as `run_convert` reads them, and lines of Python dictionaries as items."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from src.core.paths import ROOT
from src.data.conversion.convert import convert
from src.data.conversion.settings import ConvertSettings
from src.data.raw.published import read_amazon_items
from tests.data.published import FIXTURES
from tests.exp.keys import composed
from tests.wrong_files.cases import DAMAGED, Case, Kind, changed, folder_instead, gone, put, replaced, text_faults

PICKLED = ROOT / "tests" / "fixtures" / "pickled" / "filtered_pandas_2.2.3.df"
ROWS = (
    '{"seq": [9, 9, 9], "len_seq": 1, "next": 2}\n{"seq": [2, 9, 9], "len_seq": 1, "next": 3}\n'
    '{"seq": [2, 3, 9], "len_seq": 2, "next": 4}\n'
)
NAMES = "".join(f"{item}::Näme {item}\n" for item in range(9))
TRAIN, VAL, ITEMS, META = "train_data.jsonl", "Val_data.df", "id2name.txt", "meta.json"


def cases() -> Iterator[Case]:
    yield from windows()
    yield from pickled()
    yield from text_faults(FRAMES, ITEMS, ITEMS, ITEMS)
    yield Case(FRAMES, "names without ::", put(ITEMS, "a\nb\n"), "has no line in")
    yield from python_lines()


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / TRAIN).write_text(ROWS)
    (folder / VAL).write_bytes(PICKLED.read_bytes())
    (folder / ITEMS).write_text(NAMES, encoding="utf-8")


def _read(folder: Path) -> list[Any]:
    out = folder.parent / f"{folder.name}_converted"
    convert(ConvertSettings(train=folder / TRAIN, val=folder / VAL, names=folder / ITEMS), out)
    return [pl.read_parquet(out / f"{name}.parquet").rows() for name in ("interactions", "items")]


FRAMES = Kind("frames of iLoRA and DLLM2Rec", _make, _read)


def windows() -> Iterator[Case]:
    yield from text_faults(FRAMES, TRAIN, TRAIN, "There is no")
    for fault, old, new, told in (
        ("no column", '"len_seq"', '"length"', "has no column len_seq"),
        ("a length beyond the sequence", '"len_seq": 2', '"len_seq": 7', "row 3"),
        ("a length below", '"len_seq": 2', '"len_seq": 1', "several items behind the end"),
        ("a negative length", '"len_seq": 2', '"len_seq": -1', TRAIN),
        ("an item that is no number", "[2, 3, 9]", '["a", 3, 9]', TRAIN),
        ("a fraction of an item", '"next": 4', '"next": 4.5', "row 3"),
        ("no next item", '"next": 4', '"next": null', "row 3"),
        ("padding as the next item", '"next": 4', '"next": 9', "row 3"),
        ("a sequence that is none", "[2, 3, 9]", "7", TRAIN),
        ("not a number", '"next": 4', '"next": NaN', TRAIN),
    ):
        yield Case(FRAMES, f"{TRAIN}, {fault}", replaced(TRAIN, old, new), told)


def pickled() -> Iterator[Case]:
    for fault, change in DAMAGED.items():
        told = None if fault == "NUL bytes behind" else "nothing of it was run"  # a pickle says itself where it ends
        yield Case(FRAMES, f"{VAL}, {fault}", changed(VAL, change), told)
    for fault, spoil in (("is gone", gone), ("a folder instead", folder_instead)):
        yield Case(FRAMES, f"{VAL}, {fault}", spoil(VAL), "There is no")
    yield Case(FRAMES, f"{VAL}, another object", put(VAL, pickle.dumps([1, 2], 4)), "holds no pandas table")
    yield Case(
        FRAMES, f"{VAL}, calls a program", put(VAL, b"\x80\x04cos\nsystem\n(S'true'\ntR."), "nothing of it was run"
    )
    yield Case(FRAMES, f"{VAL}, an older protocol", put(VAL, pickle.dumps({"a": 1}, 2)), "nothing of it was run")


def _make_meta(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / META).write_bytes((FIXTURES / "amazon_2014" / "meta_Toys.json").read_bytes())


def _read_meta(folder: Path) -> list[Any]:
    settings = composed("dataset=amazon_2014", "dataset.columns.texts=[categories]").dataset
    return read_amazon_items(folder / META, settings).rows()


DICTIONARIES = Kind("lines of Python dictionaries", _make_meta, _read_meta)


def python_lines() -> Iterator[Case]:
    first = "{'asin': 'B1', "
    for fault, new in (
        ("a call", "{'asin': __import__('os').getcwd(), "),
        ("a name", "{'asin': asin, "),
        ("a list", "[{'asin': 'B1'}], {"),
        ("not closed", "{'asin': 'B1, "),
        ("brackets without end", "{'asin': " + "[" * 5000),
    ):
        behind = replaced(META, "{'asin': 'B2', ", new)
        yield Case(DICTIONARIES, f"{META}, second line, {fault}", behind, "line 2")
    yield Case(DICTIONARIES, f"{META}, no id", replaced(META, first, "{"), "is empty")
    yield Case(DICTIONARIES, f"{META}, no ids at all", replaced(META, "'asin'", "'id'"), "has no column 'asin'")
    yield Case(DICTIONARIES, f"{META}, as Python 2 wrote it", replaced(META, ": '", ": u'"))
    yield Case(DICTIONARIES, f"{META}, an empty line", replaced(META, "{'asin': 'B2'", "\n{'asin': 'B2'"))
    yield Case(DICTIONARIES, f"{META}, Windows' line ends", changed(META, lambda text: text.replace(b"\n", b"\r\n")))
    yield Case(DICTIONARIES, f"{META}, empty", put(META, ""), "has no column 'asin'")
