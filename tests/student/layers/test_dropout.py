import pytest
import torch

from src.student.layers.dropout import Dropout

ONES = torch.ones(1000, 1003)  # not a multiple of eight


@pytest.mark.parametrize(("p", "share"), [(0.5, 0.5), (0.2, 51 / 256), (0.001, 1 / 256), (0.999, 255 / 256)])
def test_values_are_dropped_with_probability_p_and_the_rest_scaled_so_that_the_mean_stays(p, share):
    torch.manual_seed(0)
    out = Dropout(p)(ONES)
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - share))]
    assert (out == 0).double().mean().item() == pytest.approx(share, abs=4 * (share * (1 - share) / 1e6) ** 0.5)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(ONES) == 0).double().flatten() - 0.5
    for distance in (1, 2, 3, 4, 7, 8):
        assert abs((dropped[:-distance] * dropped[distance:]).mean().item()) < 0.25 * 5e-3


def test_the_gradient_goes_where_the_value_went():
    x = torch.randn(64, 9, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, (out != 0) * 2.0)


def test_the_seed_repeats_the_draw():
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(Dropout(0.3)(ONES))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_evaluation_and_p_zero_change_nothing():
    assert Dropout(0.5).eval()(ONES) is ONES
    assert Dropout(0.0)(ONES) is ONES
