"""Which log is reduced (`reduce.*`); what of it is kept, and where to, is said by `dataset.*`."""

from typing import Annotated

from pydantic import AfterValidator, Strict

from ...core.paths import absolute
from ...core.settings import Settings, Words, nameable, setting, without_password


def _where(log: str) -> str:
    return without_password(log) if "://" in log else absolute(nameable(log))


PathOrAddress = Annotated[
    str, Strict(), AfterValidator(_where), Words("a path or an address with ://, without a password")
]


class ReduceSettings(Settings):
    """`run_reduce`: a log that is longer than one machine takes, made into the file that dataset.interactions names."""

    log: PathOrAddress | None = setting(
        None, "folder of the log's Parquet parts, in the order of their names; or what Spark reads: s3a://…, hdfs://…"
    )
