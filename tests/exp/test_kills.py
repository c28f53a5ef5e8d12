import json
import subprocess
import sys

import pytest

from src.core.paths import ROOT
from tests.exp.kills import STAGES

KILLS = 20  # of each stage


@pytest.mark.slow
def test_stages_that_are_killed_and_started_again_end_in_the_same_bytes():
    """Real processes, at random moments (`tests.exp.kills`)."""
    command = [sys.executable, "-m", "tests.exp.kills", "--kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["stage"] for each in found] == list(STAGES)
    for each in found:
        told = f"{each}\n{done.stderr}"  # a text, which pytest shows whole
        assert each["killed"] + each["asked_to_end"] >= KILLS and each["finished"] > 0, told
        assert each["differing"] == each["wrong_status"] == each["left_behind"] == 0, told
