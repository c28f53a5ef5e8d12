import copy

import torch
import torch.nn.functional as F

from src.student.optimizer import RowwiseAdamW


def model() -> torch.nn.ModuleDict:
    torch.manual_seed(0)
    return torch.nn.ModuleDict({"table": torch.nn.Embedding(6, 3, sparse=True), "map": torch.nn.Linear(3, 2)})


def optimizer_of(parts: torch.nn.ModuleDict, weight_decay: float = 0.1) -> RowwiseAdamW:
    return RowwiseAdamW(parts["table"].parameters(), parts["map"].parameters(), lr=0.1, weight_decay=weight_decay)


def step(parts: torch.nn.ModuleDict, optimizer: torch.optim.Optimizer, items: list[int]) -> None:
    optimizer.zero_grad()
    F.mse_loss(parts["map"](parts["table"](torch.tensor(items))), torch.ones(len(items), 2)).backward()
    optimizer.step()


def test_only_the_rows_of_the_batch_move():
    parts = model()
    before, optimizer = parts["table"].weight.clone(), optimizer_of(parts)
    step(parts, optimizer, [1, 4, 4])
    step(parts, optimizer, [1])
    assert (parts["table"].weight != before).any(1).tolist() == [False, True, False, False, True, False]


def test_a_row_in_every_batch_and_the_other_parameters_go_as_with_adamw():
    parts, dense = model(), model()
    dense["table"].sparse = False
    groups = [
        {"params": dense["table"].parameters(), "weight_decay": 0.0},
        {"params": dense["map"].parameters(), "weight_decay": 0.1},
    ]
    optimizer, expected = optimizer_of(parts), torch.optim.AdamW(groups, lr=0.1)
    for _ in range(5):
        step(parts, optimizer, [2, 2, 3])
        step(dense, expected, [2, 2, 3])
    for name, value in parts.state_dict().items():
        assert torch.allclose(value, dense.state_dict()[name], atol=1e-6), name


def test_a_schedule_reaches_both_parts():
    parts = model()
    before, optimizer = parts["table"].weight.clone(), optimizer_of(parts)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    weight = parts["map"].weight.clone()
    step(parts, optimizer, [1])
    assert torch.equal(parts["table"].weight, before) and torch.equal(parts["map"].weight, weight)


def test_a_restored_optimiser_goes_on_alike():
    parts, again = model(), model()
    optimizer = optimizer_of(parts)
    step(parts, optimizer, [1, 2])
    again.load_state_dict(parts.state_dict())
    restored = optimizer_of(again)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as through a file
    restored.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] = 0.02
    for items in ([2, 3], [1]):
        step(parts, optimizer, items)
        step(again, restored, items)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in parts.state_dict().items())
