import pytest
import torch

from src.teacher.gated_model import gates_of_users
from tests.teacher.teachers import HISTORY_LENGTH, tiny_teacher
from tests.worlds import tiny_dataset, tiny_logs

DATASET = tiny_dataset()


def one_by_one(teacher, layers: int) -> torch.Tensor:
    """Gates of every test history `[12, layers, 4]`, each asked for by itself."""
    histories = [torch.tensor([log[:-1][-HISTORY_LENGTH:]]) for log in tiny_logs()]
    return torch.cat([teacher.gates(history) for history in histories]).unflatten(1, (layers, -1))


@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_every_user_has_the_gates_that_his_history_gets_alone(at_once):
    teacher = tiny_teacher(DATASET, max_tokens=60)
    gates = gates_of_users(teacher, DATASET, "test", at_once)
    torch.testing.assert_close(gates, one_by_one(teacher, 1)[:, 0].detach())
    torch.testing.assert_close(gates.sum(1), torch.ones(12))
    assert len(gates.unique(dim=0)) > 3


def test_layers_with_gates_of_their_own_are_averaged():
    teacher = tiny_teacher(DATASET, gate_per_layer=True)
    gates = gates_of_users(teacher, DATASET, "test", 100)
    wanted = one_by_one(teacher, teacher.binding.mixtures).mean(1).detach()
    assert gates.shape == (12, 4)
    torch.testing.assert_close(gates, wanted)
