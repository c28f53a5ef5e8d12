from dataclasses import replace

import pytest

from src.training import figures as module
from src.training.figures import FiguresTo
from src.training.loop import fit
from tests.training.scripted import STEPS, Numbers, Scripted, plan_of


class Heard(list):
    def __call__(self, figures):
        self.append(list(figures))


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_figures_are_handed_over_together_now_and_then_and_at_the_end(clock, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    heard = Heard()
    logger = FiguresTo(heard, "baseline")
    logger.log_metrics({"train/loss": 2, "epoch": 0}, 4)
    assert heard == []
    logger.log_metrics({"train/loss": 1, "epoch": 0}, 5)
    rows = [("baseline/train/loss", 2.0, 4), ("baseline/epoch", 0.0, 4)]
    rows += [("baseline/train/loss", 1.0, 5), ("baseline/epoch", 0.0, 5)]
    assert heard == [rows[:3], rows[3:]]
    clock[0] += 11
    logger.log_metrics({"train/loss": 3}, 6)
    assert heard[2:] == [[("baseline/train/loss", 3.0, 6)]]
    logger.log_metrics({"train/loss": 4}, 7)
    logger.finalize("success")
    assert heard[3:] == [[("baseline/train/loss", 4.0, 7)]]


@pytest.mark.parametrize("nan_at", [None, STEPS + 1])
def test_a_training_hands_over_all_that_it_logs_however_it_ends(tmp_path, nan_at):
    heard = Heard()
    plan = replace(plan_of(tmp_path, max_epochs=2), loggers=[FiguresTo(heard, "tiny")])
    try:
        fit(Scripted([0.1, 0.2], nan_at=nan_at), Numbers(), plan)
    except Exception as error:
        assert nan_at and "became nan" in str(error)
    told = [figure for part in heard for figure in part]
    validations = [(value, step) for name, value, step in told if name == "tiny/val/NDCG@10"]
    wanted = [(0.1, STEPS - 1), (0.2, 2 * STEPS - 1)][: 1 if nan_at else 2]
    assert validations == [(pytest.approx(value), step) for value, step in wanted]
    rates = [value for name, value, _ in told if name == "tiny/lr-SGD"]
    assert rates == [1.0] * len(rates) and len(rates) >= STEPS
