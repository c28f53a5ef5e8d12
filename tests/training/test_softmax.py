import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from src.training import softmax
from src.training.softmax import Answers, full_softmax_loss, full_softmax_losses


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(softmax, "ROWS", 1)


def case(M: int = 23, N: int = 31, D: int = 8, scale: float = 1.0):
    torch.manual_seed(0)
    hidden, table = scale * torch.randn(M, D), torch.randn(N, D)
    return hidden.requires_grad_(), table.requires_grad_(), torch.randint(N, (M,))


def loss_and_gradients(loss, hidden, table):
    return loss, *torch.autograd.grad(3 * loss, (hidden, table))


@pytest.mark.parametrize("tile", [1, 31 * 5, 1 << 22])  # a row at a time, a last tile of three rows, all at once
@pytest.mark.parametrize("scale", [1.0, 300.0])  # 300: exp would overflow without the largest score taken away
def test_values_and_gradients_equal_pytorch_s_cross_entropy(monkeypatch, tile, scale):
    monkeypatch.setattr(softmax, "TILE", tile)
    hidden, table, column = case(scale=scale)
    found = loss_and_gradients(full_softmax_loss(hidden, table, column, torch.float32), hidden, table)
    expected = loss_and_gradients(F.cross_entropy(hidden @ table.T, column), hidden, table)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_a_bias_is_a_score_of_its_own_and_a_table_that_is_no_parameter_has_no_gradient(monkeypatch, rows, scale):
    monkeypatch.setattr(softmax, "TILE", 1)
    monkeypatch.setattr(softmax, "ROWS", rows)
    hidden, table, _ = case(scale=scale)
    bias, frozen = torch.randn(31, requires_grad=True), table.detach()
    columns, p, rest = distinct()
    if scale > 1:  # hardly anything is left, and nothing is clamped in a literal sum
        rest = torch.zeros_like(rest)
    answers = [Answers(columns, p, rest), Answers(columns[:, :1], torch.ones(23, 1))]
    found = sum(full_softmax_losses(hidden, frozen, answers, torch.float32, bias))
    log_q = (hidden @ frozen.T + bias).log_softmax(1)
    listed = log_q.gather(1, columns)
    left = (1 - listed.exp().sum(1, keepdim=True)).clamp_min(softmax.LEAST_LEFT).log()
    wanted = (-(p * listed).sum(1, keepdim=True) - rest * left - listed[:, :1]).mean()
    gradients = [torch.autograd.grad(3 * loss, (hidden, bias)) for loss in (found, wanted)]
    assert torch.allclose(found, wanted, rtol=1e-5)
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-6) for pair in zip(*gradients, strict=True))


def test_of_a_table_that_is_no_parameter_no_other_of_its_size_is_made():
    made = []

    class Watched(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor) and result.shape == (31, 8) and result.data_ptr() != table.data_ptr():
                made.append(function)
            return result

    hidden, table, column = case()
    with Watched():
        full_softmax_loss(hidden, table.detach(), column, torch.float32, bias=torch.zeros(31, requires_grad=True))
        assert made == []
        full_softmax_loss(hidden, table, column, torch.float32)
        assert made


@pytest.mark.parametrize("tile", [31 * 5, 1 << 22])
def test_several_weighted_answers_are_a_weighted_sum(monkeypatch, tile):
    monkeypatch.setattr(softmax, "TILE", tile)
    hidden, table, _ = case()
    columns, weights = torch.randint(31, (23, 4)), torch.rand(23, 4)
    found = loss_and_gradients(full_softmax_loss(hidden, table, columns, torch.float32, weights), hidden, table)
    wanted = -(weights * (hidden @ table.T).log_softmax(1).gather(1, columns)).sum(1).mean()
    for one, other in zip(found, loss_and_gradients(wanted, hidden, table), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_several_kinds_of_answers_are_as_many_losses(monkeypatch):
    monkeypatch.setattr(softmax, "TILE", 31 * 5)
    hidden, table, column = case()
    kinds = [Answers(column.unsqueeze(1), torch.ones(23, 1)), Answers(torch.randint(31, (23, 4)), torch.rand(23, 4))]
    found = full_softmax_losses(hidden, table, kinds, torch.float32)
    alone = [full_softmax_loss(hidden, table, columns, torch.float32, weights) for columns, weights, _ in kinds]
    assert torch.allclose(torch.stack(found), torch.stack(alone))
    both = loss_and_gradients(sum(found), hidden, table), loss_and_gradients(sum(alone), hidden, table)
    for one, other in zip(*both, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def distinct(M: int = 23, N: int = 31, C: int = 4):
    """Distinct columns of each position, probabilities that leave a rest, and no answers at all at some positions."""
    columns = torch.stack([torch.randperm(N)[:C] for _ in range(M)])
    p = torch.rand(M, C) / C
    p[::5] = 0
    rest = (1 - p.sum(1, keepdim=True)) * (p.sum(1, keepdim=True) > 0)
    return columns, p, rest


@pytest.mark.parametrize("tile", [1, 31 * 5, 1 << 22])
def test_what_answers_leave_is_the_share_of_all_other_columns(monkeypatch, tile):
    monkeypatch.setattr(softmax, "TILE", tile)
    hidden, table, column = case()
    columns, p, rest = distinct()
    kinds = [Answers(column.unsqueeze(1), torch.ones(23, 1)), Answers(columns, p, rest)]
    found = full_softmax_losses(hidden, table, kinds, torch.float32)
    log_q = (hidden @ table.T).log_softmax(1)
    others = torch.ones_like(log_q).scatter(1, columns, 0).log()
    of_rest = -(rest * (log_q + others).logsumexp(1, keepdim=True)).sum(1)
    wanted = [F.cross_entropy(hidden @ table.T, column), (of_rest - (p * log_q.gather(1, columns)).sum(1)).mean()]
    assert torch.allclose(torch.stack(found), torch.stack(wanted), rtol=1e-5)
    both = loss_and_gradients(sum(found), hidden, table), loss_and_gradients(sum(wanted), hidden, table)
    for one, other in zip(*both, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_a_distribution_with_its_rest_is_zero_where_it_is_learned():
    hidden, table, _ = case()
    columns, _, _ = distinct()
    p = (hidden @ table.T).softmax(1).gather(1, columns).detach()
    answers = [Answers(columns, p, 1 - p.sum(1, keepdim=True))]
    _, *gradients = loss_and_gradients(full_softmax_losses(hidden, table, answers, torch.float32)[0], hidden, table)
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients)


def test_a_student_that_is_sure_of_its_answers_is_told_of_the_rest_within_bounds():
    hidden, table, _ = case(scale=300.0)
    columns = (hidden @ table.T).argmax(1, keepdim=True)
    answers = [Answers(columns, torch.full((23, 1), 0.4), torch.full((23, 1), 0.6))]
    loss, *gradients = loss_and_gradients(full_softmax_losses(hidden, table, answers, torch.float32)[0], hidden, table)
    assert 0 < float(loss) < 20 and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("bounded", [softmax.BOUNDED, 0.0])  # scores exponentiated as they are, and less the largest
def test_bf16_comes_near(monkeypatch, bounded):
    monkeypatch.setattr(softmax, "BOUNDED", bounded)
    hidden, table, column = case(M=500, N=700, D=64)
    table = (table / 8).detach().requires_grad_()
    found = loss_and_gradients(full_softmax_loss(hidden, table, column, torch.bfloat16), hidden, table)
    expected = loss_and_gradients(F.cross_entropy(hidden @ table.T, column), hidden, table)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 5e-3 * other.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_around_it_changes_nothing(dtype):
    hidden, table, _ = case()
    columns, weights = torch.randint(31, (23, 4)), torch.rand(23, 4)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = full_softmax_loss(hidden, table, columns, dtype, weights)
        found.append(loss_and_gradients(loss, hidden, table))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_half_precision_states_get_gradients_of_their_own_kind():
    hidden, table, column = case()
    half = hidden.detach().bfloat16().requires_grad_()
    full_softmax_loss(half, table, column, torch.float32).backward()
    assert half.grad.dtype == torch.bfloat16 and half.grad.abs().sum() > 0


def test_logits_of_all_positions_are_never_stored(monkeypatch):
    """The largest matrix product has no more than a tile's values."""
    monkeypatch.setattr(softmax, "TILE", 31 * 4)
    hidden, table, column = case()
    with torch.profiler.profile(record_shapes=True) as profile:
        full_softmax_loss(hidden, table, column, torch.float32).backward()
    rows = [event.input_shapes[0][0] for event in profile.events() if event.name == "aten::mm"]
    assert len(rows) == 3 * 6 and max(rows) == 31  # three products for each of ceil(23 / 4) tiles
    assert sorted(set(rows)) == [3, 4, 31]
