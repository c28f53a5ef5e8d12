"""Spark as tests have it: small, one for all tests of a process; or why there is none."""

import os
import shutil
from importlib.util import find_spec

import pytest

HERE = find_spec("pyspark") is not None and (shutil.which("java") is not None or "JAVA_HOME" in os.environ)
needs_spark = pytest.mark.skipif(not HERE, reason="needs PySpark (the extra `spark`) and Java")


def start() -> None:
    """Starts the Spark that whoever asks for one afterwards is given."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder.config("spark.ui.showConsoleProgress", "false").config("spark.sql.shuffle.partitions", "3").getOrCreate()
