"""The tables of a prepared dataset as they are read: numbers are int32; those of a long log are mapped, not loaded."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ..core.artefact import MAPPED, making, opened, writing
from ..core.errors import UserError

SPLITS = ("train", "val", "test")
MAPPED_FROM = 5_000_000  # interactions
LONG_COLUMNS = {"interactions": ["item"], **{f"examples_{split}": ["example_id", "user", "end"] for split in SPLITS}}
AT_ONCE = 1 << 22  # numbers that are looked at together

log = logging.getLogger(__name__)


def long_columns(folder: Path, manifest: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the columns that have a row for each interaction or example, int32, by `table.column`.

    Those of a long log lie in files beside the dataset, `<folder>.mapped/`, made when they are first asked for. They
    are mapped: what is read of them is in memory once, however many processes and workers read it, and goes when the
    system needs the memory. Where the files cannot be written, the columns are loaded, which is told.

    Args:
        folder: The dataset.
        manifest: Of it.

    Raises:
        UserError: A table is damaged.
    """
    names = [f"{table}.{column}" for table, columns in LONG_COLUMNS.items() for column in columns]
    if manifest["counts"]["interactions"] < MAPPED_FROM:
        return {name: torch.from_numpy(_column(folder, name)) for name in names}
    mapped = folder.with_name(f"{folder.name}.mapped")
    try:
        if not _is_of(mapped, manifest):
            with making(mapped):
                if not _is_of(mapped, manifest):  # another process may have made it meanwhile
                    _make(mapped, folder, names, manifest)
    except PermissionError as error:
        log.warning("%s cannot be written (%s): the log is loaded into memory", mapped, error.strerror)
        return {name: torch.from_numpy(_column(folder, name)) for name in names}
    # "c": pages are shared as long as nobody writes to them, which nobody does; PyTorch knows no read-only tensor
    return {name: torch.from_numpy(np.load(mapped / f"{name}.npy", mmap_mode="c")) for name in names}


def _make(mapped: Path, folder: Path, names: list[str], manifest: dict[str, Any]) -> None:
    with writing(mapped, MAPPED, {"tables": manifest["files"]}) as temporary:
        for name in names:
            np.save(temporary / f"{name}.npy", _column(folder, name))


def _is_of(mapped: Path, manifest: dict[str, Any]) -> bool:
    """Whether mapped columns are there, whole, and of this dataset."""
    try:
        return opened(mapped, MAPPED, "tables")["tables"] == manifest["files"]
    except UserError:
        return False


def _column(folder: Path, name: str) -> np.ndarray:
    table, column = name.split(".")
    values = read_table(folder / f"{table}.parquet", **{column: True})[column]
    if len(values) and not -(2**31) <= int(values.min()) <= int(values.max()) < 2**31:  # type: ignore[arg-type]
        raise _no_table(folder / f"{table}.parquet", f"column {column}: numbers beyond 32 bits")
    return values.cast(pl.Int32).to_numpy(writable=True)


def read_table(path: Path, **whole: bool) -> pl.DataFrame:
    """Reads columns by name; `whole` says which hold whole numbers, the others texts.

    Raises:
        UserError: The file is no such table.
    """
    try:
        table = pl.read_parquet(path, columns=list(whole))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _no_table(path, str(error).splitlines()[0]) from None
    for name, numbers in whole.items():
        kind = table[name].dtype
        if table[name].has_nulls() or not (kind.is_integer() if numbers else kind == pl.String):
            raise _no_table(path, f"column {name}: {kind}, {table[name].null_count()} missing")
    return table


def _no_table(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is not the table of a prepared dataset, or is cut short ({why}): delete the folder and prepare "
        "it again."
    )
