import os
import signal
from functools import partial

import pytest
import torch

from src.core.errors import UserError
from src.training import checkpoints, loop, processes
from src.training.processes import as_the_first_says, gathered, largest, line, rank, size, summed
from src.training.started import leads, place, started_together
from tests.processes import leave, together, told
from tests.training.scripted import Numbers, Scripted, plan_of


def test_alone_a_process_leads_and_has_what_it_has():
    assert (started_together(), place(), leads(), size(), rank()) == (1, 0, True, 1, 0)
    values = torch.tensor([1.0, 2.0])
    assert summed(values) is values
    assert gathered(values) is values
    assert largest([3, 1]) == [3, 1]
    assert as_the_first_says("x") == "x"


def test_in_a_training_processes_know_what_the_others_have(tmp_path):
    def job() -> None:
        before = size()
        with line.group():
            mine = torch.arange(3 * rank(), dtype=torch.float).unsqueeze(1)  # no row, and three
            words = as_the_first_says({"said by": place(), "path": "ä/b"})
            found = [summed(torch.tensor([1.0, rank()])).tolist(), gathered(mine).flatten().tolist()]
            found += [largest([rank(), -rank()]), words, size()]
        leave(tmp_path, [before, *found, size()])

    assert together(job) == [0, 0]
    expected = [1, [2.0, 1.0], [0.0, 1.0, 2.0], [1, 0], {"said by": 0, "path": "ä/b"}, 2, 1]
    assert told(tmp_path) == [expected, expected]


def test_what_the_first_one_tells_is_heard_in_order(tmp_path):
    def job() -> None:
        if leads():
            for number in range(3):
                line.tell({"number": number})
            leave(tmp_path, [])
        else:
            leave(tmp_path, [line.heard()["number"] for _ in range(3)])

    assert together(job) == [0, 0]
    assert told(tmp_path)[1] == [0, 1, 2]


def test_what_one_process_is_asked_all_do_after_the_same_step(tmp_path):
    class Asked(Scripted):
        def training_step(self, batch, batch_idx):
            if place() == 1 and self.global_step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(batch, batch_idx)

    def job() -> None:
        with line.group():
            loop.fit(Asked([0.1] * 4), Numbers(), plan_of(tmp_path))

    assert together(job) == [128 + signal.SIGTERM] * 2
    kept = torch.load(tmp_path / "kept" / checkpoints.LAST, weights_only=True)
    assert kept["global_step"] == 5
    states = kept["callbacks"]["RandomState"]["torch_of_each"]
    assert len(states) == 2
    assert not torch.equal(states[0], states[1])  # what is dropped differs


def test_as_many_processes_go_on_with_what_each_was_to_draw(tmp_path):
    def asked_at(step: int | None) -> None:
        found = []

        class Asked(Scripted):
            def training_step(self, batch, batch_idx):
                found.append(torch.get_rng_state().tolist())
                if self.global_step == step:
                    os.kill(os.getpid(), signal.SIGTERM)
                return super().training_step(batch, batch_idx)

        try:
            with line.group():
                loop.fit(Asked([0.1] * 4), Numbers(), plan_of(tmp_path, max_epochs=2))
        finally:
            leave(tmp_path, found)

    assert together(partial(asked_at, 4)) == [128 + signal.SIGTERM] * 2
    before = told(tmp_path)
    assert together(partial(asked_at, None)) == [0, 0]
    assert [each[0] for each in told(tmp_path)] == [each[-1] for each in before]
    assert before[0][-1] != before[1][-1]


def test_batch_normalisation_is_refused(tmp_path):
    class Normalised(Scripted):
        def __init__(self, ndcg):
            super().__init__(ndcg)
            self.norm = torch.nn.BatchNorm1d(1)

    def job() -> None:
        with line.group(), pytest.raises(UserError, match="looks at all rows of a batch together"):
            loop.fit(Normalised([0.1]), Numbers(), plan_of(tmp_path))

    assert together(job) == [0, 0]


def test_a_process_that_does_not_come_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    def job() -> None:
        monkeypatch.setattr(processes, "JOINING", 0.1)
        if leads():
            with pytest.raises(UserError, match="Process 1 did not join the training within"), line.group():
                pass

    assert together(job) == [0, 0]
