import json
from argparse import Namespace

import pytest

from benchmarks.side_by_side import Worker, in_turn, markdown, median_rate, report


@pytest.fixture
def worker_module(tmp_path):
    """Writes modules of `benchmarks.workers` where a worker with the working directory `tmp_path` finds them."""
    folder = tmp_path / "benchmarks" / "workers"
    folder.mkdir(parents=True)
    return lambda name, code: (folder / f"{name}.py").write_text(code)


def test_a_worker_tells_its_facts_and_measures_when_asked(tmp_path, worker_module):
    worker_module(
        "counting",
        "import itertools, os\n"
        "from benchmarks.timing import Line\n"
        "line, numbers = Line(), itertools.count()\n"
        "print('noise')\n"
        "line.serve({'threads': os.environ['OMP_NUM_THREADS'], **line.settings}, lambda: {'number': next(numbers)})\n",
    )
    workers = {"one": Worker("counting", {"key": "value"}, 3, tmp_path)}

    facts, measured = in_turn(workers, 2)

    assert facts == {"one": {"threads": "3", "key": "value"}}
    assert measured == {"one": [{"number": 0}, {"number": 1}]}
    assert workers["one"].process.returncode == 0


def test_a_worker_that_ends_early_is_heard(tmp_path, worker_module):
    worker_module("broken", "raise SystemExit('no data here')\n")
    with pytest.raises(RuntimeError, match="no data here"):
        in_turn({"one": Worker("broken", {}, 1, tmp_path)}, 1)


def test_workers_measure_in_turn():
    order = []

    class Fake:
        facts = None

        def __init__(self, name):
            self.name = name

        def __enter__(self):
            order.append(f"{self.name} ready")

        def __exit__(self, *_):
            pass

        def measure(self):
            order.append(self.name)

    in_turn({name: Fake(name) for name in "AB"}, 2)
    assert order == ["A ready", "B ready", "A", "B", "A", "B"]


def test_the_median_rate_is_of_rates_not_of_totals():
    runs = [{"examples": 10, "seconds": 1}, {"examples": 100, "seconds": 50}, {"examples": 9, "seconds": 3}]
    assert median_rate(runs) == 3


def test_a_report_prints_the_table_and_keeps_every_measurement(tmp_path, capsys):
    table = markdown(["what", "how fast"], [["ours", 3]])
    arguments = Namespace(repeats=1, quick=False, out=tmp_path / "new")

    report("some", arguments, table, measured=[1.5])

    assert capsys.readouterr().out == "| what | how fast |\n| :-- | --: |\n| ours | 3 |\n"
    kept = json.loads((tmp_path / "new" / "some.json").read_text())
    assert (kept["measured"], kept["settings"]) == ([1.5], {"repeats": 1, "quick": False})
    assert {"git", "machine", "libraries"} <= kept.keys()
