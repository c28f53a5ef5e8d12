"""Spark as tests have it: small, one for all tests of a process; or why there is none."""

import os
import shutil
from importlib.util import find_spec

import pytest

SMALL = {  # compiling, for a few rows, would take longer than all else
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.driver.memory": "512m",
}
HERE = find_spec("pyspark") is not None and (shutil.which("java") is not None or "JAVA_HOME" in os.environ)
needs_spark = pytest.mark.skipif(not HERE, reason="needs PySpark (the extra `spark`) and Java")


def start() -> None:
    """Starts the Spark that whoever asks for one afterwards is given."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]")
    for key, value in SMALL.items():
        builder = builder.config(key, value)
    builder.getOrCreate()
