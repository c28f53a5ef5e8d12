import torch

from src.distill.hint import Hint


def test_it_is_the_squared_distance_to_standardised_states():
    torch.manual_seed(0)
    states = (5 + 3 * torch.randn(9000, 4)).half()
    hint, hidden, row = Hint(states, 3, 0.7), torch.randn(2, 3), torch.tensor([8999, 4])
    wide = states.double()
    centred = wide - wide.mean(0)
    wanted = centred[row] / centred.square().mean().sqrt()
    expected = 0.7 * (hint.projection(hidden) - wanted).square().mean(1)
    assert torch.allclose(hint(hidden, row).double(), expected, atol=1e-4)


def test_it_trains_its_map_and_the_student_and_keeps_the_teacher_out_of_checkpoints():
    hint, hidden = Hint(torch.randn(5, 4).half(), 3, 1.0), torch.randn(2, 3, requires_grad=True)
    hint(hidden, torch.tensor([0, 3])).sum().backward()
    assert hidden.grad.any() and hint.projection.weight.grad.any()
    assert set(hint.state_dict()) == {"projection.weight", "projection.bias"}
