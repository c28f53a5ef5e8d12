"""What the reading of a log judges by more than the row itself, told in Spark's words, without the judging.

A fault in a dropped row, or a dropped time of another unit, refuses the log all the same. So of all rows that are alike
in what is looked at here, the first is kept whatever the filters say; `raw.columns` and `raw.times` judge it as ever.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..raw.columns import PARTS
from ..raw.lines import CONTROL
from ..raw.times import FIRST_OF_NEXT_UNIT, UNITS, WRITTEN

if TYPE_CHECKING:
    from pyspark.sql import Column

WHOLE = ("tinyint", "smallint", "int", "bigint")
DATES = ("date", "timestamp", "timestamp_ntz")
TYPES = {  # of Spark that come back from it as they were; what raw.columns and raw.times take
    "user": (*WHOLE, "string"),
    "item": (*WHOLE, "string"),
    "timestamp": (*WHOLE, "double", *DATES),
    "rating": (*WHOLE, "float", "double"),
    "part": ("string",),
}
BLANK = r"(?U)\A\s*\z"
PATTERNS = {"%Y%m%d": "yyyyMMdd", "%Y%m%d%H%M%S": "yyyyMMddHHmmss"}  # of `WRITTEN`, as Spark writes them
LARGEST = 2**63


def kinds(types: dict[str, str]) -> "list[Column]":
    """Returns columns of Spark; rows in which all of them are the same are of one kind.

    Args:
        types: The type of each column of the log, by what it means.
    """
    from pyspark.sql import functions as F

    told: dict[str, Callable[[Column, str], list[Column]]] = {
        "user": _of_ids,
        "item": _of_ids,
        "timestamp": _of_times,
        "rating": lambda ratings, _: [F.abs(ratings.cast("float")) < math.inf],
        "part": lambda parts, _: [parts.isin(*PARTS)],
    }
    return [kind for name, type in types.items() for kind in (F.col(name).isNull(), *told[name](F.col(name), type))]


def _of_ids(ids: "Column", type: str) -> "list[Column]":
    from pyspark.sql import functions as F

    return [ids.rlike(BLANK), ids.rlike(CONTROL), F.is_valid_utf8(ids)] if type == "string" else []


def _of_times(times: "Column", type: str) -> "list[Column]":
    from pyspark.sql import functions as F

    if type in DATES:
        return []
    limits = [FIRST_OF_NEXT_UNIT * 1000**unit for unit in range(len(UNITS))]
    exact = [limit if limit < LARGEST else float(limit) for limit in limits]
    units = [(times >= F.lit(limit)) | (times <= F.lit(-limit)) for limit in exact]
    dates = [
        F.when(times.between(*ends), F.try_to_timestamp(times.cast("bigint").cast("string"), F.lit(PATTERNS[format])))
        for format, ends in WRITTEN.items()
    ]
    smallest = times <= F.lit(-LARGEST)  # no time, although its size is that of nanoseconds: pandas writes NaT so
    return [*units, smallest, F.isnan(times.cast("double")), *(date.isNotNull() for date in dates)]
